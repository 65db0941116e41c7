#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/failure.h"
#include "crypto/descriptor.h"

namespace oauthvault::client {

/// What is to be run, word for word, and in which environment (`NAME=value`).
struct Command {
  std::vector<std::string> words;
  std::vector<std::string> environment;
};

/// A process that outlives this one: it runs a command, and removes a data folder when the command
/// has ended or this process has, also by SIGKILL. Whatever the command leaves running is killed
/// before: a data folder that somebody writes to cannot be removed. It sits in a process group of
/// its own, so that what is sent to this one's group does not reach it; the command is of this
/// process's group, where the terminal's signals go.
///
/// If the guardian itself is killed the command dies with it, and `Next` says so.
/// Threads: one; Start before any other thread is there, as it forks.
class Guardian {
 public:
  /// How the command ended: what the shell would say, 0 to 255 (128 and the signal's number).
  struct Ended {
    int exit_code = 0;
    bool is_folder_gone = false;
  };

  /// Forks. The command will write to `output` and `errors` (which may be the same).
  /// Errors: kUnavailable when the system has no more processes or descriptors.
  static Outcome<Guardian> Start(std::filesystem::path folder, const Command& command,
                                 const crypto::Descriptor& output,
                                 const crypto::Descriptor& errors);
  Guardian(Guardian&&) noexcept = default;
  Guardian& operator=(Guardian&&) = delete;
  /// As if this process had ended: the command is killed, the folder removed, before it returns.
  ~Guardian();

  /// Runs the command. Errors: kInvalid when it cannot be run; kUnavailable.
  Outcome<void> Run();
  /// Sends the command a signal; one that has ended gets none.
  void Signal(int signal);
  /// Readable when Next will not wait.
  int Number() const { return control_.Get(); }
  /// Waits for the end of the command and of the guardian. Errors: kUnavailable when the guardian
  /// was killed; command and folder are gone all the same.
  Outcome<Ended> Next();

 private:
  Guardian(std::filesystem::path folder, crypto::Descriptor control, pid_t process)
      : folder_(std::move(folder)), control_(std::move(control)), process_(process) {}
  void Reap();

  std::filesystem::path folder_;
  crypto::Descriptor control_;
  pid_t process_;
};

}  // namespace oauthvault::client
