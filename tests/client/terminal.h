#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace oauthvault::client {

/// A program at a terminal of its own, as a person has it: what it shows, and what is typed.
class Terminal {
 public:
  /// Runs a command of `sh` whose standard input, output and error are the terminal.
  explicit Terminal(const std::string& command);
  /// Ends the program if it still runs.
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// Waits until this is shown, after what an earlier wait has found. False when the program has
  /// ended before, or after a time that is too long for any test.
  bool Shows(std::string_view text);
  void Type(std::string_view text);
  /// Whether the terminal shows what is typed.
  bool Echoes() const;
  /// Waits for the end: the exit code, or 128 and the signal's number. A program that shows nothing
  /// for too long is killed.
  int Wait();
  /// All that was shown so far.
  const std::string& Seen() const { return seen_; }

 private:
  /// Reads what comes; false at the end or after that time.
  bool Read();

  pid_t program_ = -1;
  int descriptor_ = -1;
  bool stuck_ = false;
  std::string seen_;
  std::size_t found_ = 0;
};

}  // namespace oauthvault::client
