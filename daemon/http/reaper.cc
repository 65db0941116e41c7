#include "daemon/http/reaper.h"

#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>

namespace oauthvault::http {

Reaper::Reaper() : thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), "http-reaper");
}

Reaper::~Reaper() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Reaper::Set(int socket, Deadline deadline) {
  const std::lock_guard lock(guard_);
  deadlines_[socket] = deadline;
  changed_.notify_one();
}

void Reaper::Give(int socket, Duration until_shut) {
  Set(socket, std::chrono::steady_clock::now() + until_shut);
}

void Reaper::Hold(int socket) { Set(socket, Deadline::max()); }

void Reaper::TakeOut(int socket) {
  const std::lock_guard lock(guard_);
  deadlines_.erase(socket);
}

void Reaper::Run() {
  std::unique_lock lock(guard_);
  while (!stopping_) {
    Deadline next = Deadline::max();
    const Deadline now = std::chrono::steady_clock::now();
    for (auto& [socket, deadline] : deadlines_) {
      if (deadline <= now) {
        // Under the lock: the number is this connection's until it is taken out.
        shutdown(socket, SHUT_RDWR);
        deadline = Deadline::max();
      }
      next = std::min(next, deadline);
    }
    if (next == Deadline::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, next);
    }
  }
}

}  // namespace oauthvault::http
