// Fills a vault that nobody serves with credentials, a thousand with one commit, and syncs once:
// a million in about a minute. The rows, the commits and their lines in the
// trail are those that the daemon makes.
//   fill FOLDER MAP_SIZE_MIB COUNT DATA_BYTES
// FOLDER holds state, audit and key, as tests/faults/vault.py lays them out. Exit code 1: not done.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/store.h"
#include "daemon/upkeep/anchor.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"
#include "tests/bench/credentials_data.h"

namespace oauthvault::bench {
namespace {

constexpr std::size_t kRowsOfCommit = storage::kMaxBatchChanges;
constexpr int kThreads = 8;
constexpr std::int64_t kNowS = 1'800'000'000;

struct Order {
  std::filesystem::path folder;
  std::uint64_t map_size_bytes;
  std::size_t count;
  std::size_t data_bytes;
};

// Of the rows from `first` on, one commit.
Result<void> FillOnce(const Order& order, std::size_t first, const access::Permit& permit,
                      storage::Store& store) {
  storage::Batch batch({.act = "Credentials.Store", .principal = permit.Who().Str(),
                        .peer = "unix:"});
  const std::size_t end = std::min(order.count, first + kRowsOfCommit);
  for (std::size_t at = first; at < end; ++at) {
    auto id = OauthId::Parse(IdOf(at));
    if (!id) return Fail(std::move(id));
    custody::NewCredentials credentials{*id};
    credentials.authorized_for = "Marketing";
    credentials.data =
        crypto::CredentialsData(crypto::SecretBytes::CopyOf(DataOf(at, order.data_bytes)));
    auto added = custody::AddToBatch(batch, permit, std::move(credentials),
                                     custody::IfThere::kRefuse, {}, store, kNowS);
    if (!added) return added;
  }
  auto committed = store.Commit(std::move(batch));
  if (!committed) return Fail(std::move(committed));
  return {};
}

// As the local admin, who may: the grants that the store holds are not asked. Batches of several
// threads share a sync.
Result<void> FillStore(const Order& order, storage::Store& store) {
  const access::Principal admin = access::Principal::LocalAdmin();
  const access::GrantTable grants(
      {{admin.Str(), kProject, kComponent, {access::Right::kStore}}});
  auto permit = access::Decide(admin, access::Right::kStore, {kProject, kComponent}, grants);
  if (!permit) return Fail(std::move(permit));
  std::atomic<std::size_t> next = 0;
  std::mutex guard;  // guards failed
  Result<void> failed;
  const auto work = [&] {
    for (std::size_t first = next.fetch_add(kRowsOfCommit); first < order.count;
         first = next.fetch_add(kRowsOfCommit)) {
      auto filled = FillOnce(order, first, *permit, store);
      if (filled) continue;
      const std::lock_guard lock(guard);
      failed = std::move(filled);
      next = order.count;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back(work);
  }
  return failed;
}

Result<void> FillVault(const Order& order) {
  if (auto ready = crypto::Prepare(); !ready) return ready;
  auto secret = crypto::ReadKeyFile(order.folder / "key");
  if (!secret) return Fail(std::move(secret));
  auto keyring = crypto::Keyring::Unlock(order.folder / "state" / "keys", *secret);
  if (!keyring) return Fail(std::move(keyring));
  auto trail = audit::Trail::Open(order.folder / "audit", (*keyring)->AuditKey(),
                                  [] { return kNowS * 1'000'000; });
  if (!trail) return Fail(std::move(trail));
  storage::Ledger ledger(**keyring, audit::RecorderOf(**trail));
  storage::LmdbSettings settings;
  settings.folder = order.folder / "state" / "store";
  settings.map_size_bytes = order.map_size_bytes;
  auto engine = storage::OpenLmdbStore(settings, (*keyring)->Id(), ledger);
  if (!engine) return Fail(std::move(engine));
  storage::Store store(**engine, **keyring);
  if (auto reconciled = upkeep::Reconcile(store, **keyring, **trail); !reconciled) {
    return Fail(std::move(reconciled));
  }
  return FillStore(order, store);
}

// The commits were not synced (switches.cc): a million rows at random places would be written many
// times over.
bool SyncStore(const Order& order) {
  const int file = ::open((order.folder / "state" / "store" / "data.mdb").c_str(), O_RDWR);
  const bool synced = file >= 0 && ::fdatasync(file) == 0;
  if (file >= 0) ::close(file);
  return synced;
}

}  // namespace
}  // namespace oauthvault::bench

int main(int count, char** words) {
  if (count != 5) return 1;
  const oauthvault::bench::Order order{words[1], std::stoull(words[2]) << 20, std::stoull(words[3]),
                                       std::stoull(words[4])};
  if (auto filled = oauthvault::bench::FillVault(order); !filled) {
    std::fprintf(stderr, "fill: %s\n", filled.error().Message().c_str());
    return 1;
  }
  return oauthvault::bench::SyncStore(order) ? 0 : 1;
}
