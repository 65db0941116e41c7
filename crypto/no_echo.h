#pragma once

#include <array>
#include <csignal>
#include <cstddef>

namespace oauthvault::crypto {

/// Turns the echo of the terminal on standard input off for as long as it lives; only the end of a
/// line shows. What ends the program meanwhile (Ctrl-C, a hang-up, ..) puts the terminal back
/// first, and so does its own end; what was typed and not read is dropped. Ctrl-Z does nothing: a
/// shell that took over would leave the echo on. Standard input is a terminal. One at a time.
/// Threads: one, the program's only one.
class NoEcho {
 public:
  NoEcho();
  ~NoEcho();
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  static constexpr std::array<int, 4> kDeadly = {SIGINT, SIGTERM, SIGQUIT, SIGHUP};

  std::array<struct sigaction, kDeadly.size()> before_{};
};

}  // namespace oauthvault::crypto
