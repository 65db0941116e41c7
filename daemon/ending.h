#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace oauthvault {

/// The flag that starts the daemon sealed, whatever opens it.
inline constexpr char kSealedFlag[] = "--sealed";

/// Keeps the signals that end the daemon, and the one that wakes who waits for them, for `Phase`.
/// Called before the first thread is made.
void BlockEndingSignals();

/// Whether the daemon is told to end, by a signal that nobody has taken yet.
bool IsToldToEnd();

/// Something that goes on until it is ended: from outside, by SIGTERM or SIGINT, or from inside.
/// There a signal is only what wakes: anybody of this user may send one.
class Phase {
 public:
  /// Threads: any.
  void End();
  /// Waits. Whether it was ended from inside. One caller.
  bool AwaitEnd();

 private:
  std::atomic<bool> ended_ = false;
};

/// Acts when ending takes longer than `bound`: a call to Rivery may last a minute. What was
/// acknowledged is durable, and so is each step of an attempt before its call leaves, so this is no
/// worse than a kill: the next start goes on from there.
class LastResort {
 public:
  /// `act` does not return.
  LastResort(std::chrono::milliseconds bound, std::function<void()> act);
  ~LastResort();
  LastResort(const LastResort&) = delete;
  LastResort& operator=(const LastResort&) = delete;

 private:
  void Run(std::chrono::milliseconds bound);

  const std::function<void()> act_;
  std::mutex guard_;  // guards stopped_
  std::condition_variable wake_;
  bool stopped_ = false;
  std::thread thread_;  // the last member: it uses the others
};

/// What a stop does at last: removes the socket, and ends the process.
std::function<void()> EndProcess(std::filesystem::path socket);

/// What sealing does at last: puts a sealed daemon in the place of this one, so that no key is left
/// in its memory, whatever still uses one. `words` are those that this one was started with. Does
/// not return.
void BecomeSealed(std::vector<std::string> words);

}  // namespace oauthvault
