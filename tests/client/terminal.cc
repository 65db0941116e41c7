#include "tests/client/terminal.h"

#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace oauthvault::client {
namespace {

constexpr int kTooLongMs = 30'000;

}  // namespace

Terminal::Terminal(const std::string& command) {
  program_ = ::forkpty(&descriptor_, nullptr, nullptr, nullptr);
  if (program_ == 0) {
    ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
}

Terminal::~Terminal() {
  if (program_ > 0) {
    ::kill(program_, SIGKILL);
    Wait();
  }
  ::close(descriptor_);
}

bool Terminal::Read() {
  pollfd ready{descriptor_, POLLIN, 0};
  if (::poll(&ready, 1, kTooLongMs) <= 0) {
    stuck_ = true;
    return false;
  }
  std::array<char, 4096> bytes{};
  const ssize_t size = ::read(descriptor_, bytes.data(), bytes.size());
  if (size <= 0) return false;
  seen_.append(bytes.data(), static_cast<std::size_t>(size));
  return true;
}

bool Terminal::Shows(std::string_view text) {
  for (;;) {
    const std::size_t at = seen_.find(text, found_);
    if (at != std::string::npos) {
      found_ = at + text.size();
      return true;
    }
    if (!Read()) return false;
  }
}

void Terminal::Type(std::string_view text) {
  [[maybe_unused]] const auto typed = ::write(descriptor_, text.data(), text.size());
}

bool Terminal::Echoes() const {
  termios state{};
  ::tcgetattr(descriptor_, &state);
  return (state.c_lflag & ECHO) != 0;
}

int Terminal::Wait() {
  while (Read()) {
  }
  if (stuck_) ::kill(program_, SIGKILL);
  int status = 0;
  ::waitpid(program_, &status, 0);
  program_ = -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace oauthvault::client
