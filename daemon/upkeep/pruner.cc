#include "daemon/upkeep/pruner.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "daemon/audit/line.h"
#include "daemon/registry/ended_attempts.h"

namespace oauthvault::upkeep {
namespace {

// So far ahead a clock may be before the log says so.
constexpr std::int64_t kAheadS = 24 * 3600;

void Note(std::string_view what, const Result<std::uint64_t>& pruned) {
  if (!pruned) {
    spdlog::warn("rows that ended long ago are not pruned what={} code={}: {}", what,
                 NameOf(pruned.error().GetCode()), pruned.error().GetText());
  } else if (*pruned != 0) {
    spdlog::info("pruned what={} rows={}", what, *pruned);
  }
}

}  // namespace

void Pruner::Start() {
  thread_ = std::thread([this] {
    std::unique_lock lock(guard_);
    while (!stopping_) {
      lock.unlock();
      Look();
      lock.lock();
      wake_.wait_for(lock, kPruneInterval, [this] { return stopping_; });
    }
  });
  pthread_setname_np(thread_.native_handle(), "pruner");
}

void Pruner::Stop() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::int64_t LastToldAtS(const audit::Trail& trail) {
  const std::uint64_t last = trail.LastSequence();
  const auto lines = trail.Show(last < 2 ? 0 : last - 2, 2);
  if (!lines || lines->empty()) return 0;
  return audit::TimeOf(lines->front().json).value_or(0) / 1'000'000;
}

// The wall clock, but no more than the time when it was seen last and what has passed since.
std::int64_t Pruner::NowS() {
  const std::int64_t wall_s = clocks_.wall_s();
  const auto passed = std::chrono::floor<std::chrono::seconds>(clocks_.steady() - began_);
  const std::int64_t passed_s = told_at_s_ + passed.count();
  if (wall_s - passed_s > kAheadS && told_at_s_ != 0 && !std::exchange(said_ahead_, true)) {
    spdlog::warn("since the trail's last line before this start more time has gone by than the "
                 "daemon has seen: it was away, or the clock is ahead; rows are pruned so much "
                 "later, until the next start unseen_s={}",
                 wall_s - passed_s);
  }
  return std::min(wall_s, passed_s);
}

void Pruner::Look() {
  if (!has_room_()) return;
  const std::int64_t now_s = NowS();
  Note("identities", identities_.Prune(now_s - kept_.identities.count(),
                                       {.act = "identities.prune", .principal = "-"}));
  Note("attempts", registry::PruneAttempts(store_, now_s - kept_.attempts.count(),
                                           {.act = "attempts.prune", .principal = "-"}));
}

}  // namespace oauthvault::upkeep
