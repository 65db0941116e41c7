#include "daemon/upkeep/pruner.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace oauthvault::upkeep {

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

void Pruner::Look() {
  if (!has_room_()) return;
  auto pruned = identities_.Prune(clock_() - kept_.count(),
                                  {.act = "identities.prune", .principal = "-"});
  if (!pruned) {
    spdlog::warn("identities that ended long ago are not pruned code={}: {}",
                 NameOf(pruned.error().GetCode()), pruned.error().GetText());
    return;
  }
  if (*pruned != 0) spdlog::info("identities pruned rows={}", *pruned);
}

}  // namespace oauthvault::upkeep
