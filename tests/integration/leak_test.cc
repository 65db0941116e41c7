// Planted secrets are looked for everywhere that is not theirs, with a control that finds them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

constexpr uid_t kNobody = 65534;
constexpr char kDataCanary[] = "canary-data-3b9f2c71";
constexpr char kOwnAppCanary[] = "canary-own-app-secret-8d20";
constexpr char kAppCanary[] = "canary-app-secret-51ce";
constexpr char kTokenCanary[] = "canary-api-token-7a44";

json Parsed(const std::string& text) { return json::parse(text, nullptr, false); }

// 0 when a process of the same non-root user may open the file, else errno.
int OpenedByNobody(const std::string& file) {
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) _exit(0);
    _exit(open(file.c_str(), O_RDONLY | O_CLOEXEC) >= 0 ? 0 : errno);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WEXITSTATUS(status);
}

TEST(Leaks, NoVerbLeavesASecretInLogsTrailStoreOrErrors) {
  Place place;
  place.Init();
  place.StartRivery(kTokenCanary, {"--pending", "202"});
  place.Serve({.environment = {{"GRPC_TRACE", "all"}, {"GRPC_VERBOSITY", "debug"},
                               {"OAUTHVAULT_LOG_LEVEL", "debug"}}});
  place.Register();
  place.SetAccount();
  WriteTo(place.At("data"), std::string("{\"access_token\":\"") + kDataCanary + "\"}");
  WriteTo(place.At("own-app"), kOwnAppCanary);
  WriteTo(place.At("app"), kAppCanary);
  WriteTo(place.At("over"), kDataCanary + std::string(64 * 1024, 'x'));
  WriteTo(place.At("binary"), kDataCanary + std::string("\xff\xfe"));
  WriteTo(place.At("broken.json"), std::string("{\"a\": \"") + kDataCanary);
  WriteTo(place.At("config.json"), R"({"authorization":{"oauth_api":{"id":"main"}}})");
  WriteTo(place.At("none.json"), R"({"authorization":{"oauth_api":{"id":"none"}}})");
  const std::string out = place.At("result").string();
  const auto file = [&](const char* name) { return place.At(name).string(); };

  std::vector<Ended> all;
  const auto run = [&](std::vector<std::string> words, int code) {
    Ended ended = place.Cli(words);
    std::string line;
    for (const std::string& word : words) line += word + " ";
    EXPECT_EQ(ended.exit_code, code) << line << ended.err;
    all.push_back(std::move(ended));
  };
  run({"status"}, 0);
  run({"component", "set", "ex-drive", "--app-key", "key", "--app-secret-file", file("app")}, 0);
  run({"component", "show", "ex-drive"}, 0);
  run({"component", "list"}, 0);
  run({"component", "set", "ex-drive", "--app-secret-file", file("binary")}, 1);
  run({"component", "remove", "none"}, 1);
  run({"project", "list"}, 0);
  run({"project", "show", "acme"}, 0);
  run({"grant", "list"}, 0);
  run({"explain"}, 1);
  run(OnPair({"credentials", "put", "main", "--data-file", file("data"), "--app-key", "own",
              "--app-secret-file", file("own-app")}), 0);
  run(OnPair({"credentials", "put", "main", "--new", "--data-file", file("data")}), 1);
  run(OnPair({"credentials", "put", "x", "--data-file", file("over")}), 1);
  run(OnPair({"credentials", "put", "x", "--data-file", file("binary")}), 1);
  run(OnPair({"credentials", "put", "x", kDataCanary}), 1);
  run(OnPair({"credentials", "put", "..", "--data-file", file("data")}), 1);
  run({"credentials", "put", "x", "--project", "none", "--component", "ex-drive", "--data-file",
       file("data")}, 1);
  run(OnPair({"credentials", "list"}), 0);
  run(OnPair({"credentials", "show", "main"}), 0);
  run(OnPair({"credentials", "reveal", "main", "--out", out + "-1"}), 0);
  run(OnPair({"credentials", "reveal", "none"}), 1);
  run({"credentials", "reveal", "main", "--project", "acme", "--component", "none"}, 1);
  run(OnPair({"inject", file("config.json"), "--out", out + "-2"}), 0);
  run(OnPair({"inject", file("broken.json"), "--out", out + "-3"}), 1);
  run(OnPair({"inject", file("none.json"), "--out", out + "-3"}), 1);
  run({"rivery", "account", "show", "main"}, 0);
  run({"rivery", "account", "list"}, 0);
  run({"rivery", "account", "set", "main", "--base-url", "https://elsewhere.example/api"}, 1);
  run({"rivery", "account", "set", "bad", "--base-url", "ftp://x", "--token-file", file("app")}, 1);
  run({"rivery", "types", "--account", "main"}, 0);
  run(OnPair({"connect", "--account", "main", "--id", "main", "--name", "One"}), 0);
  run(OnPair({"connect", "--account", "main", "--id", "none", "--name", "Two"}), 1);
  run(OnPair({"connection", "list"}), 0);
  const json connections = Parsed(all.back().out);
  ASSERT_EQ(connections.size(), 1U);
  const std::string connection = connections[0]["id"];
  run(OnPair({"connection", "show", connection, "--account", "main"}), 0);
  run(OnPair({"connection", "update", connection, "--account", "main"}), 0);
  run(OnPair({"connection", "update", std::string(24, '0'), "--account", "main"}), 1);

  // An authorization: its link's state and the tokens are secrets, too.
  run(OnPair({"rivery", "authorize", "--account", "main", "--id", "two", "--no-wait"}), 0);
  const json started = Parsed(all.back().out.substr(0, all.back().out.find('\n')));
  all.back().out.clear();  // shows the link on purpose
  const std::string attempt = started["attempt"];
  std::string link = started["auth_uri"];
  const std::string consent_state = link.substr(link.find("state=") + 6);
  run(OnPair({"attempt", "link", attempt}), 0);
  all.back().out.clear();
  run(OnPair({"attempt", "list"}), 0);
  Get(link.replace(link.find("/consent"), 8, "/consent/allow"));
  ASSERT_TRUE(Await([&] {
    return place.Cli(OnPair({"attempt", "show", attempt})).out.find("\"stored\"") !=
           std::string::npos;
  }));
  run(OnPair({"attempt", "cancel", attempt}), 1);
  const Ended two = place.Cli(OnPair({"credentials", "reveal", "two", "--field", "data"}));
  const json tokens = Parsed(two.out);
  ASSERT_TRUE(tokens.contains("access_token")) << two.err;

  // Failures of Rivery: its answers hold more than a log may.
  for (const char* fault : {"html_502", "unauthorized", "truncated_json"}) {
    Post(place.RiveryUrl() + "/standin/faults",
         std::string(R"({"operation":"update","fault":")") + fault + R"("})");
    all.push_back(
        place.Cli(OnPair({"connection", "update", connection, "--account", "main"})));
    EXPECT_NE(all.back().exit_code, 0) << fault;
  }
  run({"audit", "show"}, 1);
  run(OnPair({"credentials", "delete", "main"}), 0);
  run(OnPair({"credentials", "delete", "main"}), 1);

  const std::vector<std::string> secrets = {
      kDataCanary, kOwnAppCanary, kAppCanary, kTokenCanary, consent_state,
      tokens["access_token"], tokens["refresh_token"]};
  // The control: where they stand on purpose they are found.
  EXPECT_NE(ContentOf(out + "-1").find(kDataCanary), std::string::npos);
  EXPECT_NE(ContentOf(out + "-2").find(kOwnAppCanary), std::string::npos);
  const std::string at_rivery = Get(place.RiveryUrl() + "/standin/state");
  EXPECT_NE(at_rivery.find(kDataCanary), std::string::npos);

  const std::string process = "/proc/" + std::to_string(place.Server().Id());
  std::map<std::string, std::string> searched = Files(place.At("state"));
  for (const auto& [name, content] : Files(place.At("audit"))) searched[name] = content;
  searched["the log"] = place.Server().Err() + place.Server().Out();
  searched["the environment"] = ContentOf(process + "/environ");
  searched["the command line"] = ContentOf(process + "/cmdline");
  for (std::size_t i = 0; i < all.size(); ++i) {
    searched["output of call " + std::to_string(i)] = all[i].out + all[i].err;
  }
  EXPECT_NE(searched["the log"].find("serving"), std::string::npos);
  for (const auto& [name, content] : searched) {
    for (const std::string& secret : secrets) {
      EXPECT_EQ(content.find(secret), std::string::npos) << name << " holds " << secret;
    }
  }
}

TEST(Leaks, AHostileEnvironmentMakesNoLibraryWriteOrPrint) {
  Place place;
  place.Init();
  const std::string traces = place.At("traces").string();
  std::filesystem::create_directory(traces);
  Start hostile;
  hostile.environment = {{"GRPC_TRACE", "all"},
                         {"GRPC_VERBOSITY", "debug"},
                         {"GRPC_STACKTRACE_MINLOGLEVEL", "debug"},
                         {"SSLKEYLOGFILE", traces + "/tls"},
                         {"MALLOC_TRACE", traces + "/malloc"},
                         {"CURL_HOME", traces},
                         {"OPENSSL_CONF", traces + "/none.cnf"},
                         {"SSL_CERT_FILE", traces + "/none.pem"},
                         {"https_proxy", "http://127.0.0.1:1"},
                         {"http_proxy", "http://127.0.0.1:1"},
                         {"all_proxy", "http://127.0.0.1:1"}};
  place.StartRivery("rivery-token-of-the-test");
  place.Serve(hostile);
  place.Register();
  place.SetAccount();
  ASSERT_EQ(place.Cli(OnPair({"credentials", "put", "main", "--data-file", "-"}),
                      {.environment = hostile.environment, .input = kDataCanary}).exit_code, 0);
  ASSERT_EQ(place.Cli({"identity", "issue", "project/acme/component/ex-drive", "--out",
                       place.At("id").string()}).exit_code, 0);
  ASSERT_EQ(place.Cli(OnPair({"grant", "add", "--principal", "project/acme/component/ex-drive",
                              "--right", "reveal"})).exit_code, 0);
  const Ended revealed =
      place.CliAs("id", OnPair({"credentials", "reveal", "main", "--field", "data"}));
  EXPECT_EQ(revealed.out, kDataCanary) << revealed.err;
  // To Rivery it goes without the proxy, which nobody answers.
  EXPECT_EQ(place.Cli({"rivery", "types", "--account", "main"}).exit_code, 0);
  const Ended stopped = place.Stop();
  EXPECT_EQ(stopped.exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_empty(traces));
  EXPECT_EQ(stopped.err.find(kDataCanary), std::string::npos);
  EXPECT_EQ(std::count(stopped.err.begin(), stopped.err.end(), '\n'), 4) << stopped.err;
}

TEST(Leaks, NoCoreIsWrittenAndTheSameUserCannotReadTheMemory) {
  Place place;
  place.Init();
  GiveToNobody(place.Folder());
  place.Serve({.user = User::kNobody, .unlimited_core = true});
  const std::string process = "/proc/" + std::to_string(place.Server().Id());
  struct stat status {};
  ASSERT_EQ(stat(process.c_str(), &status), 0);
  for (const char* file : {"/mem", "/environ", "/maps"}) {
    EXPECT_EQ(OpenedByNobody(process + file), EACCES) << file;
  }
  const std::string limits = ContentOf(process + "/limits");
  const std::size_t at = limits.find("Max core file size");
  ASSERT_NE(at, std::string::npos);
  const std::string core = limits.substr(at, limits.find('\n', at) - at);
  EXPECT_EQ(core.find("unlimited"), std::string::npos) << core;
  std::set<std::string> before;
  for (const auto& entry : std::filesystem::directory_iterator(place.Folder())) {
    before.insert(entry.path());
  }
  place.Server().Send(SIGABRT);
  EXPECT_EQ(place.Server().Wait().exit_code, 128 + SIGABRT);
  for (const auto& entry : std::filesystem::directory_iterator(place.Folder())) {
    EXPECT_TRUE(before.contains(entry.path())) << entry.path();
  }
}

// The control of the test above: what that test asks of the daemon is not so of any program.
TEST(Leaks, TheMemoryOfAnotherProgramOfThatUserCanBeOpened) {
  Place place;
  GiveToNobody(place.Folder());
  Program sleeper("/bin/sleep", {"60"}, place.Folder(), {.user = User::kNobody});
  const std::string process = "/proc/" + std::to_string(sleeper.Id());
  EXPECT_TRUE(Await([&] { return OpenedByNobody(process + "/mem") == 0; }));
}

}  // namespace
}  // namespace oauthvault::integration
