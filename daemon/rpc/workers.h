#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace oauthvault::rpc {

/// Threads that run calls which may wait for a commit or for Rivery, so that the calls' loop never
/// does. The queue is bounded: beyond it a call is refused at once.
class Workers {
 public:
  /// `name`: at most 15 characters, seen in `ps -L`.
  Workers(const std::string& name, std::size_t threads, std::size_t queue_limit);
  /// Runs what waits, then ends.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  using Work = std::move_only_function<void()>;
  /// False when the queue is full: `work` was not taken.
  [[nodiscard]] bool Post(Work& work);

 private:
  void Run();

  const std::size_t queue_limit_;
  std::mutex guard_;  // guards queue_ and stopping_
  std::condition_variable wake_;
  std::deque<Work> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace oauthvault::rpc
