#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "daemon/registry/identities.h"

namespace oauthvault::upkeep {

/// Between two looks for rows that have had their time.
inline constexpr std::chrono::hours kPruneInterval{1};

/// Removes identities whose certificates ended long ago: short-lived ones would fill the table, and
/// each revocation and each start reads it whole. Looks at its start and every kPruneInterval.
/// Owns one thread. Threads: all members from any thread.
class Pruner {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;
  /// Whether a commit's line finds room in the trail; asked before each look.
  using HasRoom = std::function<bool()>;

  /// `kept`: how long a row stays behind its certificate's end.
  Pruner(registry::Identities& identities, std::chrono::seconds kept, HasRoom has_room, Clock clock)
      : identities_(identities), kept_(kept), has_room_(std::move(has_room)),
        clock_(std::move(clock)) {}
  ~Pruner() { Stop(); }
  Pruner(const Pruner&) = delete;
  Pruner& operator=(const Pruner&) = delete;

  /// Begins to look; once.
  void Start();
  /// Ends the thread after the look that is under way; idempotent.
  void Stop();

 private:
  void Look();

  registry::Identities& identities_;
  const std::chrono::seconds kept_;
  const HasRoom has_room_;
  const Clock clock_;
  std::mutex guard_;  // guards stopping_
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace oauthvault::upkeep
