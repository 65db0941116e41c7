#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>

namespace oauthvault::http {

/// Shuts connections that are slower than they may be. A connection has one deadline at a time, and
/// whoever serves it says when the next stage begins. Shutting wakes the connection's thread, which
/// closes it. Threads: any, one of its own.
class Reaper {
 public:
  using Duration = std::chrono::steady_clock::duration;

  Reaper();
  ~Reaper();
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  /// A stage of this connection has begun, the first or the next. Its socket must be taken out
  /// before it is closed.
  void Give(int socket, Duration until_shut);
  /// Nothing is asked of the client now: we are working.
  void Hold(int socket);
  /// The connection ends.
  void TakeOut(int socket);

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  void Run();
  void Set(int socket, Deadline deadline);

  mutable std::mutex guard_;  // guards the members below
  std::condition_variable changed_;
  std::map<int, Deadline> deadlines_;
  bool stopping_ = false;
  std::thread thread_;  // the last member: it uses the others
};

}  // namespace oauthvault::http
