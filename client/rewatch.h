#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

namespace oauthvault::client {

/// Begins streams of the daemon again that break: with a pause in between, and so many in a row
/// without an answer as come to 10 minutes. For one thread.
class Rewatch {
 public:
  explicit Rewatch(std::stop_token stop) : stop_(std::move(stop)) {}

  /// The stream answered.
  void Heard() { broken_ = 0; }
  /// Counts a stream that ended. False: it was one too many.
  bool MayGoOn() { return ++broken_ <= kMaxBrokenStreams; }
  /// Waits before the next one, or until it is asked to stop.
  void Pause() {
    std::mutex mutex;
    std::condition_variable_any pause;
    std::unique_lock lock(mutex);
    pause.wait_for(lock, stop_, kPause, [] { return false; });
  }

 private:
  static constexpr std::chrono::milliseconds kPause{1000};
  static constexpr int kMaxBrokenStreams = 600;

  const std::stop_token stop_;
  int broken_ = 0;
};

}  // namespace oauthvault::client
