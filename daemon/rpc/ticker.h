#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace oauthvault::rpc {

/// Calls everyone who asked, again and again: streams decide anew though nothing happens on them.
/// One thread (`ticker`). Threads: any.
class Ticker {
 public:
  explicit Ticker(std::chrono::milliseconds interval);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  /// `tick` must not call back into this object. `who` names it for Remove.
  void Add(const void* who, std::function<void()> tick);
  /// When it returns, `tick` is not running and will not run again. Unknown ones are passed over.
  void Remove(const void* who);

 private:
  void Run();

  const std::chrono::milliseconds interval_;
  std::mutex guard_;  // guards ticks_ and stopping_; held while a tick runs
  std::condition_variable wake_;
  std::map<const void*, std::function<void()>> ticks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace oauthvault::rpc
