#include "daemon/rpc/ticker.h"

#include <pthread.h>

#include <utility>

namespace oauthvault::rpc {

Ticker::Ticker(std::chrono::milliseconds interval)
    : interval_(interval), thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), "ticker");
}

Ticker::~Ticker() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Ticker::Add(const void* who, std::function<void()> tick) {
  const std::lock_guard lock(guard_);
  ticks_[who] = std::move(tick);
}

void Ticker::Remove(const void* who) {
  const std::lock_guard lock(guard_);
  ticks_.erase(who);
}

void Ticker::Run() {
  std::unique_lock lock(guard_);
  while (!stopping_) {
    wake_.wait_for(lock, interval_, [this] { return stopping_; });
    if (stopping_) return;
    for (const auto& [who, tick] : ticks_) tick();
  }
}

}  // namespace oauthvault::rpc
