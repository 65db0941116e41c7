#include "client/guardian.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "client/data_folder.h"

namespace oauthvault::client {
namespace {

/// What goes between the two processes, whole each time (SOCK_SEQPACKET).
struct Message {
  enum class Kind : std::uint8_t {
    kRun,         ///< to the guardian
    kSignal,      ///< to the guardian; value: its number
    kRuns,        ///< from it
    kCannotRun,   ///< from it; value: errno
    kEnded,       ///< from it; value: the exit code; the folder is gone
    kFolderLeft,  ///< likewise, and the folder is not
  };
  Kind kind{};
  int value = 0;
};

/// Signals that end a process and that the guardian must outlive. The terminal's stops, too: a
/// guardian that is stopped removes nothing.
constexpr std::array<int, 10> kOutlived = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                                           SIGUSR2, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU};

bool Send(int control, Message message) {
  return ::send(control, &message, sizeof message, MSG_NOSIGNAL) == sizeof message;
}

/// Nothing: the other side has ended.
std::optional<Message> Receive(int control) {
  Message message;
  ssize_t size = 0;
  do {
    size = ::recv(control, &message, sizeof message, 0);
  } while (size < 0 && errno == EINTR);
  if (size != sizeof message) return std::nullopt;
  return message;
}

int ExitCodeOf(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// Kills all processes below this one. As a subreaper it gets the children of those that die, so
/// that in the end none is left, however they were started.
void KillDescendants() {
  for (;;) {
    std::ifstream children("/proc/thread-self/children");
    bool known = false;
    for (pid_t child = 0; children >> child; known = true) ::kill(child, SIGKILL);
    const pid_t reaped = ::waitpid(-1, nullptr, known ? 0 : WNOHANG);
    if (reaped < 0 && errno == EINTR) continue;
    if (reaped <= 0) return;
  }
}

/// The guardian's side. Never returns to the program it was forked from.
class Guard {
 public:
  Guard(std::filesystem::path folder, const Command& command, int control, int output, int errors)
      : folder_(std::move(folder)), control_(control), output_(output), errors_(errors),
        group_(::getpgrp()) {
    // Made before: between fork and exec nothing may ask for memory.
    for (const std::string& word : command.words) words_.push_back(const_cast<char*>(word.c_str()));
    words_.push_back(nullptr);
    for (const std::string& entry : command.environment) {
      environment_.push_back(const_cast<char*>(entry.c_str()));
    }
    environment_.push_back(nullptr);
  }

  [[noreturn]] void Live() {
    ::setpgid(0, 0);
    ::prctl(PR_SET_NAME, "oauthvault-run");
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (std::size_t i = 0; i < kOutlived.size(); ++i) {
      struct sigaction ignore {};
      ignore.sa_handler = SIG_IGN;
      ::sigaction(kOutlived[i], &ignore, &before_[i]);
    }
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &ended, &mask_);
    children_ = ::signalfd(-1, &ended, SFD_CLOEXEC);

    const auto asked = Receive(control_);
    if (asked && asked->kind == Message::Kind::kRun) {
      if (const int error = Spawn(); error != 0) {
        CleanUp();
        Send(control_, {Message::Kind::kCannotRun, error});
      } else {
        Send(control_, {Message::Kind::kRuns, 0});
        const std::optional<int> exit_code = AwaitEnd();
        const bool gone = CleanUp();
        Send(control_, {gone ? Message::Kind::kEnded : Message::Kind::kFolderLeft,
                        exit_code.value_or(0)});
      }
    } else {
      CleanUp();
    }
    ::_exit(0);
  }

 private:
  bool CleanUp() {
    KillDescendants();
    return RemoveDataFolder(folder_);
  }

  /// 0, or errno of what failed before the command ran.
  int Spawn() {
    std::array<int, 2> failed{};
    if (::pipe2(failed.data(), O_CLOEXEC) != 0) return errno;
    const pid_t guardian = ::getpid();
    command_ = ::fork();
    if (command_ == 0) BecomeCommand(guardian, failed[1]);
    const int fork_error = errno;
    ::close(failed[1]);
    // From here on only the command has them: their readers see its end.
    ::close(output_);
    if (errors_ != output_) ::close(errors_);
    int error = command_ < 0 ? fork_error : 0;
    while (command_ > 0 && ::read(failed[0], &error, sizeof error) < 0 && errno == EINTR) {
    }
    ::close(failed[0]);
    return error;
  }

  [[noreturn]] void BecomeCommand(pid_t guardian, int failed) {
    ::setpgid(0, group_);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != guardian) ::_exit(0);
    for (std::size_t i = 0; i < kOutlived.size(); ++i) {
      ::sigaction(kOutlived[i], &before_[i], nullptr);
    }
    ::signal(SIGPIPE, SIG_DFL);  // the program ignores it for itself
    ::sigprocmask(SIG_SETMASK, &mask_, nullptr);
    if (::dup2(output_, STDOUT_FILENO) >= 0 && ::dup2(errors_, STDERR_FILENO) >= 0) {
      ::execvpe(words_.front(), words_.data(), environment_.data());
    }
    const int error = errno;
    if (::write(failed, &error, sizeof error) < 0) ::_exit(126);
    ::_exit(127);
  }

  /// The command's exit code; nothing when the one who asked for it has ended before.
  std::optional<int> AwaitEnd() {
    for (;;) {
      std::array<pollfd, 2> ready = {{{control_, POLLIN, 0}, {children_, POLLIN, 0}}};
      if (::poll(ready.data(), ready.size(), -1) < 0) continue;
      if (ready[1].revents != 0) {
        signalfd_siginfo info{};
        if (::read(children_, &info, sizeof info) < 0) continue;
        int status = 0;
        for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
          if (ended == command_) return ExitCodeOf(status);
        }
      }
      if (ready[0].revents != 0) {
        const auto message = Receive(control_);
        if (!message) return std::nullopt;
        if (message->kind == Message::Kind::kSignal) ::kill(command_, message->value);
      }
    }
  }

  const std::filesystem::path folder_;
  const int control_;
  const int output_;
  const int errors_;
  const pid_t group_;
  std::vector<char*> words_;
  std::vector<char*> environment_;
  std::array<struct sigaction, kOutlived.size()> before_{};
  sigset_t mask_{};
  int children_ = -1;
  pid_t command_ = -1;
};

std::unexpected<Failure> NoMore(const char* what) {
  return Refuse(Code::kUnavailable, std::string("the system has no more ") + what + ": " +
                                        std::strerror(errno));
}

}  // namespace

Outcome<Guardian> Guardian::Start(std::filesystem::path folder, const Command& command,
                                  const crypto::Descriptor& output,
                                  const crypto::Descriptor& errors) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return NoMore("descriptors");
  }
  crypto::Descriptor here(ends[0]);
  const crypto::Descriptor there(ends[1]);
  // Whatever the command leaves behind comes to this process if the guardian is killed.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  Guard guard(folder, command, there.Get(), output.Get(), errors.Get());
  const pid_t process = ::fork();
  if (process < 0) return NoMore("processes");
  if (process == 0) {
    here.Close();
    guard.Live();
  }
  return Guardian(std::move(folder), std::move(here), process);
}

Guardian::~Guardian() { Reap(); }

void Guardian::Reap() {
  if (!control_) return;
  control_.Close();
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
  KillDescendants();
  RemoveDataFolder(folder_);
}

Outcome<void> Guardian::Run() {
  const bool sent = Send(control_.Get(), {Message::Kind::kRun, 0});
  const auto answer = sent ? Receive(control_.Get()) : std::nullopt;
  if (!answer) return Refuse(Code::kUnavailable, "the guardian of the data folder was killed");
  if (answer->kind == Message::Kind::kCannotRun) {
    return Refuse(Code::kInvalid, std::string("cannot run the command: ") +
                                      std::strerror(answer->value));
  }
  return {};
}

void Guardian::Signal(int signal) {
  Send(control_.Get(), {Message::Kind::kSignal, signal});
}

Outcome<Guardian::Ended> Guardian::Next() {
  const auto message = Receive(control_.Get());
  Reap();
  if (!message) {
    return Refuse(Code::kUnavailable, "the guardian of the data folder was killed, and the command "
                                      "with it");
  }
  return Ended{message->value, message->kind == Message::Kind::kEnded};
}

}  // namespace oauthvault::client
