#include "tests/integration/running.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

namespace oauthvault::integration {
namespace {

constexpr uid_t kNobody = 65534;
constexpr std::chrono::milliseconds kLook{10};
std::atomic<int> programs_started = 0;

std::string Request(const std::string& url, const std::string& head, const std::string& body) {
  const std::size_t host = std::string("http://127.0.0.1:").size();
  const std::size_t slash = url.find('/', host);
  const auto port = static_cast<std::uint16_t>(std::stoi(url.substr(host, slash - host)));
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string text = head + " " + url.substr(slash) +
                             " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                             "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    EXPECT_EQ(write(connection, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    char block[4096];
    for (ssize_t got; (got = read(connection, block, sizeof block)) > 0;) {
      answer.append(block, static_cast<std::size_t>(got));
    }
  }
  close(connection);
  const std::size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

}  // namespace

bool Await(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(kLook);
  }
  return true;
}

Program::Program(const std::string& name, const std::vector<std::string>& words,
                 const std::filesystem::path& folder, const Start& start) {
  const std::string tag = std::to_string(++programs_started);
  const std::string path = name.starts_with('/') ? name : OAUTHVAULT_BIN_DIR "/" + name;
  out_ = folder / ("program-" + tag + ".out");
  err_ = folder / ("program-" + tag + ".err");
  const std::filesystem::path in = folder / ("program-" + tag + ".in");
  WriteTo(in, start.input);
  std::vector<std::string> environment = {"PATH=/usr/bin:/bin", "HOME=" + folder.string()};
  // What a sanitizer's build needs of the environment that the tests run in.
  for (const char* kept : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"}) {
    const char* value = std::getenv(kept);
    if (value != nullptr) environment.push_back(std::string(kept) + "=" + value);
  }
  for (const auto& [key, value] : start.environment) environment.push_back(key + "=" + value);
  std::vector<char*> envp;
  for (std::string& variable : environment) envp.push_back(variable.data());
  envp.push_back(nullptr);
  std::vector<std::string> all = {path};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  id_ = fork();
  if (id_ != 0) return;
  // Between fork and exec: only calls that are safe there. The program is opened while this is
  // still the user who built it: nobody else need be able to walk to the build folder.
  const int program = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int input = open(in.c_str(), O_RDONLY);
  const int output = open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int error = open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(input, 0);
  dup2(output, 1);
  dup2(error, 2);
  if (start.unlimited_core) {
    rlimit limit{};
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
  }
  if (chdir(folder.c_str()) != 0) _exit(126);
  if (start.user == User::kNobody && geteuid() == 0 &&
      (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0)) {
    _exit(126);
  }
  fexecve(program, argv.data(), envp.data());
  _exit(127);
}

Program::~Program() {
  if (!ended_) {
    kill(id_, SIGKILL);
    waitpid(id_, &status_, 0);
  }
}

std::string Program::Out() const { return ContentOf(out_); }
std::string Program::Err() const { return ContentOf(err_); }
void Program::Send(int signal) { kill(id_, signal); }

bool Program::Running() {
  if (!ended_) ended_ = waitpid(id_, &status_, WNOHANG) == id_;
  return !ended_;
}

Ended Program::Wait() {
  if (!Await([this] { return !Running(); })) {
    Send(SIGKILL);
    waitpid(id_, &status_, 0);
    ended_ = true;
    ADD_FAILURE() << "a program did not end\n" << Out() << Err();
  }
  const int code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  return {code, Out(), Err()};
}

Ended Run(const std::string& name, const std::vector<std::string>& words,
          const std::filesystem::path& folder, const Start& start) {
  return Program(name, words, folder, start).Wait();
}

std::string ContentOf(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteTo(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  std::filesystem::permissions(
      path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

void GiveToNobody(const std::filesystem::path& folder) {
  if (geteuid() != 0) return;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    ASSERT_EQ(lchown(entry.path().c_str(), kNobody, kNobody), 0);
  }
  ASSERT_EQ(chown(folder.c_str(), kNobody, kNobody), 0);
}

std::map<std::string, std::string> Files(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[entry.path().string()] = ContentOf(entry.path());
  }
  return files;
}

std::string Get(const std::string& url) { return Request(url, "GET", ""); }

std::string Post(const std::string& url, const std::string& json) {
  return Request(url, "POST", json);
}

Place::Place() {
  std::string name = (std::filesystem::temp_directory_path() / "vault-XXXXXX").string();
  folder_ = mkdtemp(name.data());
  const std::string at = folder_.string();
  WriteTo(Config(), "state = \"" + at + "/state\"\naudit = \"" + at + "/audit\"\nkey_file = \"" +
                        at + "/key\"\nsocket = \"" + at +
                        "/socket\"\nlisten = \"127.0.0.1:0\"\n[edge]\nstop_timeout_ms = 1000\n"
                        "[store]\nmap_size_mib = 16\n"
                        "[rivery]\nallow_loopback = true\npoll_interval_ms = 100\n"
                        "settle_time_ms = 0\n");
}

Place::~Place() {
  server_.reset();
  rivery_.reset();
  std::filesystem::remove_all(folder_);
}

Ended Place::Daemon(const std::vector<std::string>& words, const Start& start) const {
  std::vector<std::string> all = words;
  all.insert(all.end(), {"--config", Config()});
  return Run("oauthvaultd", all, folder_, start);
}

void Place::Init() const {
  const Ended made = Daemon({"init"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
}

void Place::Serve(const Start& start) {
  ASSERT_TRUE(ServeUntil(" serving tcp=", {}, start)) << server_->Err();
}

bool Place::ServeUntil(const std::string& text, const std::vector<std::string>& words,
                       const Start& start) {
  std::vector<std::string> all = words;
  all.insert(all.end(), {"--config", Config()});
  server_ = std::make_unique<Program>("oauthvaultd", all, folder_, start);
  return AwaitLog(text);
}

bool Place::AwaitLog(const std::string& text, std::size_t times) {
  const auto is_there = [&] {
    const std::string log = server_->Err();
    std::size_t found = 0;
    for (std::size_t at = 0; (at = log.find(text, at)) != std::string::npos; ++at) ++found;
    return found >= times;
  };
  Await([&] { return !server_->Running() || is_there(); });
  TakeAddress(server_->Err());
  return is_there();
}

void Place::TakeAddress(const std::string& log) {
  const std::string before = " serving tcp=";
  const std::size_t at = log.rfind(before);
  if (at == std::string::npos) return;
  const std::size_t begin = at + before.size();
  address_ = log.substr(begin, log.find(' ', begin) - begin);
}

Ended Place::Stop() {
  server_->Send(SIGTERM);
  return server_->Wait();
}

void Place::KillServer() {
  server_->Send(SIGKILL);
  EXPECT_EQ(server_->Wait().exit_code, 128 + SIGKILL);
}

void Place::StartRivery(const std::string& token, const std::vector<std::string>& words) {
  WriteTo(At("rivery-token"), token);
  std::vector<std::string> all = {"--port", "0", "--token-file", At("rivery-token").string()};
  all.insert(all.end(), words.begin(), words.end());
  rivery_ = std::make_unique<Program>("rivery-standin", all, folder_);
  ASSERT_TRUE(Await([&] { return rivery_->Out().find("/api\n") != std::string::npos; }));
  const std::string out = rivery_->Out();
  const std::size_t begin = out.find("http://");
  rivery_url_ = out.substr(begin, out.find("/api\n") - begin);
}

Ended Place::Cli(const std::vector<std::string>& words, const Start& start) const {
  std::vector<std::string> all = {"--json", "--socket", At("socket").string()};
  all.insert(all.end(), words.begin(), words.end());
  return Run("oauthvault", all, folder_, start);
}

std::vector<nlohmann::json> Place::Trail(const std::string& act) const {
  std::vector<nlohmann::json> lines;
  std::istringstream stream(ContentOf(At("audit/audit.jsonl")));
  for (std::string line; std::getline(stream, line);) {
    auto parsed = nlohmann::json::parse(line, nullptr, false);
    if (parsed.value("act", "") == act) lines.push_back(std::move(parsed));
  }
  return lines;
}

nlohmann::json Place::Asked(const std::vector<std::string>& words, const Start& start) const {
  const Ended ended = Cli(words, start);
  EXPECT_EQ(ended.exit_code, 0) << words[0] << ": " << ended.err;
  return nlohmann::json::parse(ended.out, nullptr, false);
}

Ended Place::Put(const std::string& id, const std::string& value) const {
  return Cli(OnPair({"credentials", "put", id, "--data-file", "-"}), {.input = value});
}

std::string Place::Reveal(const std::string& id) const {
  return Cli(OnPair({"credentials", "reveal", id, "--field", "data"})).out;
}

Ended Place::CliAs(const std::string& identity, const std::vector<std::string>& words) const {
  std::vector<std::string> all = {"--json", "--address", address_, "--identity",
                                  At(identity).string()};
  all.insert(all.end(), words.begin(), words.end());
  return Run("oauthvault", all, folder_);
}

std::unique_ptr<Program> Place::Background(const std::vector<std::string>& words) const {
  std::vector<std::string> all = {"--json", "--socket", At("socket").string()};
  all.insert(all.end(), words.begin(), words.end());
  return std::make_unique<Program>("oauthvault", all, folder_);
}

void Place::Register() const {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"project", "add", "acme"},
        {"component", "add", "ex-drive", "--datasource", "gspreadsheet", "--connection-type",
         "gspreadsheet"},
        OnPair({"grant", "add", "--principal", "local/admin", "--right",
                "store,describe,reveal,encrypt,connect"})}) {
    const Ended done = Cli(words);
    ASSERT_EQ(done.exit_code, 0) << words[0] << done.err;
  }
}

void Place::SetAccount() const {
  const Ended done = Cli({"rivery", "account", "set", "main", "--base-url", rivery_url_ + "/api",
                          "--token-file", At("rivery-token").string(), "--project", "acme"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
}

std::vector<std::string> OnPair(std::vector<std::string> words) {
  words.insert(words.end(), {"--project", "acme", "--component", "ex-drive"});
  return words;
}

}  // namespace oauthvault::integration
