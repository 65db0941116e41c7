#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace oauthvault::integration {

/// Nothing that these tests wait for takes this long, also on a busy machine.
inline constexpr std::chrono::seconds kPatience{30};

/// Asks until it is true, at most kPatience. False: it never was.
bool Await(const std::function<bool()>& condition);

/// Who runs a program.
enum class User : std::uint8_t {
  kSame,    ///< who runs the tests
  kNobody,  ///< uid and gid 65534 where the tests run as root, else who runs them
};

/// How a program is started. Its environment holds PATH, HOME and `environment`, nothing else.
struct Start {
  std::map<std::string, std::string> environment;
  std::string input;            ///< on standard input
  User user = User::kSame;
  bool unlimited_core = false;  ///< `ulimit -c unlimited`
};

/// How a program ended, and what it said.
struct Ended {
  int exit_code = -1;  ///< 128 + the signal's number when a signal ended it
  std::string out;
  std::string err;
};

/// A program that runs; killed when it goes. Its standard output and error go to files in `folder`.
/// Threads: one.
class Program {
 public:
  /// `name` is one of the binaries of the build, or a path.
  Program(const std::string& name, const std::vector<std::string>& words,
          const std::filesystem::path& folder, const Start& start = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t Id() const { return id_; }
  std::string Out() const;
  std::string Err() const;
  bool Running();
  void Send(int signal);
  /// Waits for its end, at most kPatience; kills it then, and the exit code is that of the kill.
  Ended Wait();

 private:
  pid_t id_;
  int status_ = -1;
  bool ended_ = false;
  std::filesystem::path out_;
  std::filesystem::path err_;
};

/// Runs a program to its end.
Ended Run(const std::string& name, const std::vector<std::string>& words,
          const std::filesystem::path& folder, const Start& start = {});

/// The content of a file; empty when there is none.
std::string ContentOf(const std::filesystem::path& path);

/// Writes a file of mode 0600.
void WriteTo(const std::filesystem::path& path, const std::string& content);

/// Where the tests run as root: gives a folder and all that is in it to kNobody.
void GiveToNobody(const std::filesystem::path& folder);

/// Every regular file below `folder` with its content.
std::map<std::string, std::string> Files(const std::filesystem::path& folder);

/// A GET to `http://127.0.0.1:port/..`, as the person at the stand-in clicks. The body.
std::string Get(const std::string& url);

/// A POST of JSON, to the stand-in's control routes. The body.
std::string Post(const std::string& url, const std::string& json);

/// A vault of its own in a temporary folder, which goes with it, and the programs around it.
class Place {
 public:
  Place();
  ~Place();

  std::filesystem::path Folder() const { return folder_; }
  std::filesystem::path At(const std::string& name) const { return folder_ / name; }
  std::string Config() const { return At("oauthvaultd.toml").string(); }

  /// `oauthvaultd VERB.. --config ..`, to its end.
  Ended Daemon(const std::vector<std::string>& words, const Start& start = {}) const;
  /// `oauthvaultd init`; the test fails when it fails.
  void Init() const;
  /// Starts the daemon and waits until it serves.
  void Serve(const Start& start = {});
  /// The same with other words; waits until the log has `text`. False: the daemon ended before.
  bool ServeUntil(const std::string& text, const std::vector<std::string>& words = {},
                  const Start& start = {});
  /// Waits until the log of the running daemon has `text` that often, and takes the address from a
  /// line that says it serves.
  bool AwaitLog(const std::string& text, std::size_t times = 1);
  /// SIGTERM, and the end.
  Ended Stop();
  Program& Server() { return *server_; }
  /// SIGKILL, and the end.
  void KillServer();

  /// Starts the stand-in, which takes `token`. `words`: its knobs.
  void StartRivery(const std::string& token, const std::vector<std::string>& words = {});
  /// `http://127.0.0.1:port`, without `/api`.
  std::string RiveryUrl() const { return rivery_url_; }

  /// The lines of the trail about an act.
  std::vector<nlohmann::json> Trail(const std::string& act) const;

  /// `oauthvault --json WORDS..` over the unix socket, as the local admin.
  Ended Cli(const std::vector<std::string>& words, const Start& start = {}) const;
  /// The same over TLS, with the identity in the folder `identity`.
  Ended CliAs(const std::string& identity, const std::vector<std::string>& words) const;
  /// What the CLI prints, which must end with 0, as JSON.
  nlohmann::json Asked(const std::vector<std::string>& words, const Start& start = {}) const;
  /// Gives secrets, one a line, to a sealed vault.
  Ended Unseal(const std::string& secrets) const {
    return Cli({"unseal"}, {.input = secrets});
  }
  /// Stores a value under an id of the pair, and reveals it.
  Ended Put(const std::string& id, const std::string& value) const;
  std::string Reveal(const std::string& id) const;
  /// Starts the CLI in the background, over the unix socket.
  std::unique_ptr<Program> Background(const std::vector<std::string>& words) const;

  /// Project `acme`, component `ex-drive`, all rights on them for the local admin.
  void Register() const;
  /// Account `main` at the stand-in.
  void SetAccount() const;

 private:
  void TakeAddress(const std::string& log);

  std::filesystem::path folder_;
  std::unique_ptr<Program> server_;
  std::unique_ptr<Program> rivery_;
  std::string rivery_url_;
  std::string address_;
};

/// `--project acme --component ex-drive` behind `words`.
std::vector<std::string> OnPair(std::vector<std::string> words);

}  // namespace oauthvault::integration
