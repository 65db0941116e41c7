#pragma once

#include <csignal>

namespace oauthvault::client {

/// What a program exits with that Ctrl-C ended.
inline constexpr int kInterruptedExit = 130;

/// Takes Ctrl-C while it lives: what goes on in the daemon is left to it, and people are told how
/// to find it again. A second Ctrl-C ends the program at once. One at a time.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// Whether it came.
  bool Came() const;

 private:
  struct sigaction before_ {};
};

}  // namespace oauthvault::client
