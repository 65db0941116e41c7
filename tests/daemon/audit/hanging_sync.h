#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "daemon/audit/file_calls.h"

namespace oauthvault::audit {

/// No test is decided by a clock; this bound only ends a wait that would have no end.
inline constexpr std::chrono::seconds kGenerous{30};

/// A disk whose next syncs hang until they are released.
class HangingSync {
 public:
  FileCalls Calls() {
    FileCalls calls = FileCalls::System();
    calls.fdatasync = [this, system = calls.fdatasync](int file) {
      std::unique_lock lock(mutex_);
      ++begun_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return !hanging_; });
      return system(file);
    };
    return calls;
  }
  void Hang() { Set(true); }
  void Release() { Set(false); }
  /// Waits until a sync hangs.
  void AwaitSync() {
    std::unique_lock lock(mutex_);
    const int before = std::exchange(begun_, 0);
    if (before > 0) return;
    changed_.wait_for(lock, kGenerous, [this] { return begun_ > 0; });
  }

 private:
  void Set(bool hanging) {
    const std::lock_guard lock(mutex_);
    hanging_ = hanging;
    begun_ = 0;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool hanging_ = false;
  int begun_ = 0;
};

}  // namespace oauthvault::audit
