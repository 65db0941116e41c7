#include "crypto/no_echo.h"

#include <termios.h>
#include <unistd.h>

namespace oauthvault::crypto {
namespace {

// The terminal as it was; a signal's action puts it back, too.
termios loud;

// Puts the terminal back and lets the signal do what it does. Both calls may be made here
// (POSIX, signal-safety).
void PutBackAndDie(int signal) {
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &loud);
  ::raise(signal);
}

}  // namespace

NoEcho::NoEcho() {
  ::tcgetattr(STDIN_FILENO, &loud);
  struct sigaction action {};
  action.sa_handler = PutBackAndDie;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (std::size_t i = 0; i < kDeadly.size(); ++i) {
    ::sigaction(kDeadly[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) ::sigaction(kDeadly[i], &action, nullptr);
  }
  termios silent = loud;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  silent.c_lflag |= ECHONL;
  // A shell that takes over turns echo on, and it would stay on afterwards.
  silent.c_cc[VSUSP] = _POSIX_VDISABLE;
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
}

NoEcho::~NoEcho() {
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &loud);
  for (std::size_t i = 0; i < kDeadly.size(); ++i) ::sigaction(kDeadly[i], &before_[i], nullptr);
}

}  // namespace oauthvault::crypto
