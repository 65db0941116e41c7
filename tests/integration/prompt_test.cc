// What a person at a terminal sees while a secret is asked for.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <string>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

// A program at a terminal of its own, and the person before it. Killed when it goes.
class AtTerminal {
 public:
  AtTerminal(const std::string& program, std::vector<std::string> words) {
    EXPECT_EQ(openpty(&person_, &terminal_, nullptr, nullptr, nullptr), 0);
    EXPECT_EQ(fcntl(person_, F_SETFL, O_NONBLOCK), 0);
    words.insert(words.begin(), OAUTHVAULT_BIN_DIR "/" + program);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    id_ = fork();
    if (id_ != 0) return;
    close(person_);
    login_tty(terminal_);
    execv(argv[0], argv.data());
    _exit(127);
  }
  ~AtTerminal() {
    kill(id_, SIGKILL);
    if (status_ == kRunning) waitpid(id_, &status_, 0);
    close(person_);
    close(terminal_);
  }
  AtTerminal(const AtTerminal&) = delete;
  AtTerminal& operator=(const AtTerminal&) = delete;

  bool AwaitText(const std::string& text) {
    return Await([&] { return Shown().find(text) != std::string::npos; });
  }
  void Type(const std::string& text) {
    EXPECT_EQ(write(person_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  bool Echoes() const {
    termios mode{};
    EXPECT_EQ(tcgetattr(terminal_, &mode), 0);
    return (mode.c_lflag & ECHO) != 0;
  }
  // The number of the signal that ended the program, else 0.
  int EndingSignal() {
    EXPECT_TRUE(Await([&] { return waitpid(id_, &status_, WNOHANG) == id_; }));
    return WIFSIGNALED(status_) ? WTERMSIG(status_) : 0;
  }
  // All that was shown until now.
  const std::string& Shown() {
    char block[4096];
    for (ssize_t got; (got = read(person_, block, sizeof block)) > 0;) {
      shown_.append(block, static_cast<std::size_t>(got));
    }
    return shown_;
  }

 private:
  static constexpr int kRunning = -1;
  int person_ = -1;
  int terminal_ = -1;
  pid_t id_ = -1;
  int status_ = kRunning;
  std::string shown_;
};

TEST(Prompt, Interrupted_GivesTheTerminalItsEchoBack) {
  const Place place;
  place.Init();
  std::filesystem::remove(place.At("key"));
  for (const char end : {'\x03', '\x1c'}) {  // Ctrl-C, and VQUIT's
    AtTerminal recovering("oauthvaultd", {"recover", "--slot", "shares", "--shares", "2/3",
                                          "--config", place.Config()});
    ASSERT_TRUE(recovering.AwaitText("a passphrase: ")) << recovering.Shown();
    ASSERT_TRUE(Await([&] { return !recovering.Echoes(); }));
    recovering.Type("canary-secret");
    recovering.Type(std::string(1, end));
    EXPECT_EQ(recovering.EndingSignal(), end == '\x03' ? SIGINT : SIGQUIT);
    EXPECT_TRUE(recovering.Echoes());
    EXPECT_EQ(recovering.Shown().find("canary-secret"), std::string::npos);
  }
}

TEST(Prompt, Answered_GivesTheTerminalItsEchoBack) {
  const Place place;
  place.Init();
  const std::string key = ContentOf(place.At("key"));
  std::filesystem::remove(place.At("key"));
  AtTerminal recovering("oauthvaultd", {"recover", "--slot", "shares", "--shares", "2/3",
                                        "--config", place.Config()});
  ASSERT_TRUE(recovering.AwaitText("a passphrase: ")) << recovering.Shown();
  ASSERT_TRUE(Await([&] { return !recovering.Echoes(); }));
  recovering.Type(key);
  EXPECT_TRUE(recovering.AwaitText("is added")) << recovering.Shown();
  EXPECT_EQ(recovering.EndingSignal(), 0);
  EXPECT_TRUE(recovering.Echoes());
  EXPECT_EQ(recovering.Shown().find(key.substr(0, key.find('\n'))), std::string::npos);
}

}  // namespace
}  // namespace oauthvault::integration
