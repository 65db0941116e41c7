#include "daemon/store_check.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "daemon/clock.h"
#include "daemon/ending.h"
#include "daemon/opening.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"

namespace oauthvault {
namespace {

void LogProblems(const upkeep::CheckResult& checked) {
  for (const auto& problem : checked.problems) {
    spdlog::error("check: {} row={}", problem.what, problem.row_key);
  }
}

}  // namespace

std::expected<void, Refusal> CheckBefore(const Config& config, const crypto::Keyring& keyring,
                                         upkeep::LastCheck& last_check) {
  last_check.Begin();
  auto checked = upkeep::RunCheck(config.StoreFolder(), config.KeysFile(), keyring,
                                  upkeep::CheckPatience(config.store.map_size_mib << 20),
                                  IsToldToEnd);
  last_check.End(checked, NowS());
  if (!checked) return Refuse(std::move(checked), kAboutStore);
  if (checked->verdict == upkeep::CheckResult::Verdict::kWhole) return {};
  if (checked->verdict == upkeep::CheckResult::Verdict::kNoStore) {
    // Another vault's, another format, no store at all: opening it says which, with its own advice.
    storage::Ledger unused(keyring, nullptr);
    auto engine = storage::OpenLmdbStore(StoreSettings(config), keyring.Id(), unused);
    if (!engine) return Refuse(std::move(engine), kAboutStore);
  }
  LogProblems(*checked);
  return Refuse(Result<void>(Fail(Code::kCorrupt, "the store does not verify")), kAboutCheck);
}

CheckBehind::CheckBehind(const Config& config, const crypto::Keyring& keyring, std::mutex& alone,
                         upkeep::LastCheck& last_check)
    : thread_([this, &config, &keyring, &alone, &last_check] {
        std::unique_lock lock(alone);
        last_check.Begin();
        auto checked = upkeep::RunLiveCheck(
            config.StoreFolder(), config.KeysFile(), keyring,
            upkeep::CheckPatience(config.store.map_size_mib << 20),
            [this] { return stopping_.load(); });
        // Whoever sees that it is done may ask for the next check, or for a backup, at once.
        lock.unlock();
        last_check.End(checked, NowS());
        if (!checked) {
          spdlog::error("the check behind has failed: {}", checked.error().GetText());
        } else if (checked->verdict != upkeep::CheckResult::Verdict::kWhole) {
          LogProblems(*checked);
          spdlog::error("the store does not verify; rows that are whole are served");
        }
      }) {}

CheckBehind::~CheckBehind() {
  stopping_ = true;
  thread_.join();
}

}  // namespace oauthvault
