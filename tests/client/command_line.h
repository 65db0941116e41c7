#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/client/fake_vault.h"
#include "tests/client/temporary_folder.h"

namespace oauthvault::client {

inline constexpr std::string_view kCanary = "canary-5f2b8c0d1e3a";

inline std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void WriteText(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline mode_t ModeOf(const std::filesystem::path& path) {
  struct stat status {};
  ::stat(path.c_str(), &status);
  return status.st_mode & 07777U;
}

/// Compares with tests/golden/cli/<name>; with OAUTHVAULT_UPDATE_GOLDEN set, writes it.
inline void ExpectGolden(const std::string& name, const std::string& text) {
  const std::string path = OAUTHVAULT_SOURCE_DIR "/tests/golden/cli/" + name;
  if (std::getenv("OAUTHVAULT_UPDATE_GOLDEN") != nullptr) WriteText(path, text);
  EXPECT_EQ(text, ReadText(path)) << path;
}

/// The program against a fake vault, in a folder of its own.
class CommandLineTest : public testing::Test {
 protected:
  struct Ran {
    int exit = -1;
    std::string out;
    std::string err;
  };

  /// Runs the program with a clean environment against the fake. `command` is for a shell.
  Ran Run(const std::string& command, const std::string& in = "",
          const std::string& environment = "") {
    WriteText(folder_ / "in", in);
    const std::string place =
        environment.empty() ? "OAUTHVAULT_SOCKET=" + (folder_ / "v.sock").string() : environment;
    const std::string line = "cd " + (folder_ / "").string() + " && exec env -i " + place +
                             " " OAUTHVAULT_BIN_DIR "/oauthvault " + command + " <in >out 2>err";
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadText(folder_ / "out"),
            ReadText(folder_ / "err")};
  }
  /// The same with its output where a shell sends it: `>/dev/full`, `| head -1 >out`.
  Ran RunInto(const std::string& where, const std::string& command) {
    WriteText(folder_ / "out", "");
    const std::string line = "cd " + (folder_ / "").string() +
                             " && env -i OAUTHVAULT_SOCKET=v.sock bash -c '" OAUTHVAULT_BIN_DIR
                             "/oauthvault " + command + " </dev/null 2>err " + where +
                             "; exit ${PIPESTATUS[0]}'";
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadText(folder_ / "out"),
            ReadText(folder_ / "err")};
  }
  /// A command line for a Terminal.
  std::string AtTerminal(const std::string& command) const {
    return "cd " + (folder_ / "").string() + " && exec env -i OAUTHVAULT_SOCKET=v.sock " +
           OAUTHVAULT_BIN_DIR "/oauthvault " + command;
  }
  /// As Run, without a vault anywhere.
  Ran RunAlone(const std::string& command) { return Run(command, "", "NOTHING=1"); }

  TemporaryFolder folder_;
  FakeVault fake_{folder_ / "v.sock"};
};

}  // namespace oauthvault::client
