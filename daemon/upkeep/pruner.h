#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "daemon/audit/trail.h"
#include "daemon/registry/identities.h"
#include "storage/tables/store.h"

namespace oauthvault::upkeep {

/// Between two looks for rows that have had their time.
inline constexpr std::chrono::hours kPruneInterval{1};

/// The time, in seconds since 1970, of the last line but one that `trail` has (behind a crash, its
/// opening writes one); 0 where none can be read.
std::int64_t LastToldAtS(const audit::Trail& trail);

/// Removes identities whose certificates ended long ago, and attempts that ended long ago: they
/// would fill their tables, and each start reads these whole. Looks at its start and every
/// kPruneInterval. By the wall clock, but never faster than time passes: a clock that is ahead for
/// an hour must not take certificates off the deny list that have not ended once it is right again.
/// So a daemon that was away for a while keeps rows so much longer, until its next start. The bound
/// is as good as the trail's last time: one that was written by a clock that is still ahead at the
/// next start bounds nothing.
/// Owns one thread. Threads: all members from any thread.
class Pruner {
 public:
  /// What time it is said to be, and how it passes.
  struct Clocks {
    std::function<std::int64_t()> wall_s;  ///< seconds since 1970
    std::function<std::chrono::steady_clock::time_point()> steady;
  };
  /// Whether a commit's line finds room in the trail; asked before each look.
  using HasRoom = std::function<bool()>;
  /// How long a row stays behind its certificate's end, and behind the end of its attempt.
  struct Kept {
    std::chrono::seconds identities;
    std::chrono::seconds attempts;
  };

  /// `told_at_s`: when the wall clock was seen last before this start (`LastToldAtS`).
  Pruner(registry::Identities& identities, storage::Store& store, Kept kept, HasRoom has_room,
         std::int64_t told_at_s, Clocks clocks)
      : identities_(identities), store_(store), kept_(kept), has_room_(std::move(has_room)),
        told_at_s_(told_at_s), clocks_(std::move(clocks)), began_(clocks_.steady()) {}
  ~Pruner() { Stop(); }
  Pruner(const Pruner&) = delete;
  Pruner& operator=(const Pruner&) = delete;

  /// Begins to look; once.
  void Start();
  /// Ends the thread after the look that is under way; idempotent.
  void Stop();

 private:
  void Look();
  std::int64_t NowS();

  registry::Identities& identities_;
  storage::Store& store_;
  const Kept kept_;
  const HasRoom has_room_;
  const std::int64_t told_at_s_;
  const Clocks clocks_;
  const std::chrono::steady_clock::time_point began_;
  bool said_ahead_ = false;  // by the thread alone
  std::mutex guard_;  // guards stopping_
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace oauthvault::upkeep
