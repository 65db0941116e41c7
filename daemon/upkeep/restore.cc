#include "daemon/upkeep/restore.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "crypto/descriptor.h"
#include "crypto/durable_file.h"
#include "crypto/fields.h"
#include "crypto/keys_file.h"
#include "daemon/upkeep/backup.h"
#include "daemon/upkeep/check.h"
#include "daemon/upkeep/replay.h"
#include "storage/free_text.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"

namespace oauthvault::upkeep {
namespace {

// `restoring` holds a copy that is being made ready; `restored` one that is, and only has to be put
// in its place. The name is the state: a rename is all or nothing. `replaying` is a file: the store
// that stands is being taken as it is, and came from the position in it.
constexpr const char* kRestoring = "restoring";
constexpr const char* kRestored = "restored";
constexpr const char* kReplaying = "replaying";
constexpr const char* kDataFile = "data.mdb";
constexpr std::size_t kCopyPart = std::size_t{1} << 20;

// False: errno says why.
bool CopyContent(int source, int target) {
  std::vector<std::uint8_t> part(kCopyPart);
  for (;;) {
    const ssize_t got = crypto::ReadAll(source, part);
    if (got < 0) return false;
    if (got == 0) return fsync(target) == 0;
    const auto read_now = std::span(part).first(static_cast<std::size_t>(got));
    if (!crypto::WriteAll(target, read_now)) return false;
  }
}

Result<void> CopyFile(const std::filesystem::path& from, const std::filesystem::path& to) {
  const int source = open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (source < 0) {
    return Fail(Code::kInvalid, "a file of the backup cannot be read",
                Subject::Path(from.string()));
  }
  const int target = open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const bool copied = target >= 0 && CopyContent(source, target);
  const bool no_room = !copied && (errno == ENOSPC || errno == EDQUOT);
  close(source);
  if (target >= 0) close(target);
  if (copied) return {};
  if (no_room) return Fail(Code::kExhausted, "the disk has no room to restore the backup");
  return Fail(Code::kUnavailable, "a file of the backup cannot be copied",
              Subject::Path(to.string()));
}

Result<void> Rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return {};
  return Fail(Code::kUnavailable, "a restored part cannot be put in its place",
              Subject::Path(to.string()));
}

// `a/b/` is the folder `a/b`.
std::filesystem::path WithoutSlash(const std::filesystem::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

bool IsThere(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::symlink_status(path, ignored));
}

Result<void> Remove(const std::filesystem::path& path) {
  std::error_code wrong;
  std::filesystem::remove_all(path, wrong);
  if (!wrong) return {};
  return Fail(Code::kUnavailable, "what a restore left cannot be removed",
              Subject::Path(path.string()));
}

// The first commit of the new epoch: the authority's row once more.
Result<void> BeginEpoch(storage::Store& store, const std::string& trust_domain,
                        const storage::Act& act) {
  auto authority = store.Get<storage::Authority>(storage::Authority::Names(trust_domain));
  if (!authority) return Fail(std::move(authority));
  auto secrets = store.OpenSecrets(*authority);
  if (!secrets) return Fail(std::move(secrets));
  storage::Batch batch(act);
  batch.Replace(authority->row, authority->version, std::move(*secrets));
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

// The vault whose `keys` these are; nothing where there are none that can be read.
std::optional<crypto::VaultId> VaultOf(const std::filesystem::path& keys) {
  const auto stored = crypto::StoredKeys::Read(keys);
  if (!stored) return std::nullopt;
  return stored->File().vault;
}

// Notes in `replaying` where the store came from, before anything is done to it: a restore of the
// store as it stands that is cut off leaves it further, and not all done again.
Result<void> NoteOrigin(const std::filesystem::path& state, storage::Position position) {
  const std::string text =
      std::to_string(position.epoch) + " " + std::to_string(position.generation) + "\n";
  auto placed = crypto::PlaceFile(state / kReplaying, crypto::AsBytes(text),
                                  crypto::Existing::kReplace);
  if (!placed) return Fail(std::move(placed));
  return {};
}

Result<storage::Position> ReadOrigin(const std::filesystem::path& state) {
  std::ifstream note(state / kReplaying);
  storage::Position origin;
  if (note >> origin.epoch >> origin.generation) return origin;
  return Fail(Code::kCorrupt, "the note about an unfinished restore cannot be understood",
              Subject::Path((state / kReplaying).string()));
}

// What is to be done to a store that was checked.
struct Plan {
  storage::LmdbSettings settings;
  std::string trust_domain;
  storage::Ledger::Restart restart;
  Since since;
  storage::Act act;
  std::int64_t now_s = 0;
};

// `begun` becomes true before the trail may hold a line of it.
Result<Restored> Rewrite(const Plan& plan, crypto::Keyring& keyring, audit::Trail& trail,
                         bool& begun) {
  storage::Ledger ledger(keyring, audit::RecorderOf(trail), plan.restart);
  auto engine = storage::OpenLmdbStore(plan.settings, keyring.Id(), ledger);
  if (!engine) return Fail(std::move(engine));
  storage::Store store(**engine, keyring);
  begun = true;
  if (auto epoch = BeginEpoch(store, plan.trust_domain, plan.act); !epoch) {
    return Fail(std::move(epoch));
  }
  Restored restored;
  storage::Act act = plan.act;
  act.act = "restore.replay";
  if (auto replayed = Replay(plan.since, store, keyring, act, plan.now_s, restored); !replayed) {
    return Fail(std::move(replayed));
  }
  auto anchor = store.GetAnchor();
  if (!anchor) return Fail(std::move(anchor));
  restored.position = anchor->position;
  return restored;
}

}  // namespace

bool IsRestoring(const std::filesystem::path& state) {
  return IsThere(state / kRestoring) || IsThere(state / kRestored) || IsThere(state / kReplaying);
}

void DropStaged(const std::filesystem::path& state) {
  std::error_code ignored;
  std::filesystem::remove_all(state / kRestoring, ignored);
}

Result<std::filesystem::path> StageBackup(const std::filesystem::path& backup,
                                          const VaultPlaces& places) {
  // The name counts, not the note alone: a backup that died just before it was renamed is whole,
  // but nobody was told that it exists, and the next one removes it.
  const bool has_name = !WithoutSlash(backup).native().ends_with(kUnfinishedBackup);
  if (!has_name || !IsThere(backup / kBackupNote)) {
    return Fail(Code::kInvalid, "the folder holds no finished backup",
                Subject::Path(backup.string()));
  }
  const auto standing = VaultOf(places.state / kBackupKeys);
  const auto wanted = VaultOf(backup / kBackupKeys);
  if (standing && wanted && *standing != *wanted) {
    return Fail(Code::kInvalid, "the backup is another vault's", Subject::Path(backup.string()));
  }
  const std::filesystem::path staged = places.state / kRestoring;
  if (auto removed = Remove(staged); !removed) return Fail(std::move(removed));
  const auto copy = [&]() -> Result<void> {
    for (const auto& folder : {staged, staged / kBackupStore}) {
      if (auto made = MakeFolder(folder); !made) return made;
    }
    const std::filesystem::path data = std::filesystem::path(kBackupStore) / kDataFile;
    for (const std::filesystem::path& file : {data, std::filesystem::path(kBackupKeys)}) {
      if (auto copied = CopyFile(backup / file, staged / file); !copied) return copied;
    }
    for (const auto& folder : {staged / kBackupStore, staged, places.state}) {
      if (auto synced = SyncFolder(folder); !synced) return synced;
    }
    return {};
  };
  if (auto copied = copy(); !copied) {
    DropStaged(places.state);
    return Fail(std::move(copied));
  }
  return staged;
}

Result<Restored> Restore(const std::filesystem::path& staged, const VaultPlaces& places,
                         crypto::Keyring& keyring, audit::Trail& trail, const std::string& reason,
                         std::int64_t now_s) {
  const bool present = staged.empty();
  storage::LmdbSettings settings = places.store;
  if (!present) settings.folder = staged / kBackupStore;
  const std::filesystem::path keys = (present ? places.state : staged) / kBackupKeys;

  const bool goes_on = present && IsThere(places.state / kReplaying);
  bool begun = false;
  const auto rewrite = [&]() -> Result<Restored> {
    if (reason.empty()) return Fail(Code::kInvalid, "a restore needs a reason");
    if (auto ok = CheckText(reason, "reason"); !ok) return Fail(std::move(ok));
    auto checked =
        RunCheck(settings.folder, keys, keyring, CheckPatience(settings.map_size_bytes));
    if (!checked) return Fail(std::move(checked));
    if (checked->verdict != CheckResult::Verdict::kWhole) {
      return Fail(Code::kCorrupt, "what is to be restored does not verify");
    }
    storage::Position origin = checked->position;
    if (goes_on) {
      auto noted = ReadOrigin(places.state);
      if (!noted) return Fail(std::move(noted));
      origin = std::min(origin, *noted);
    }
    auto since = ReadSince(places.audit, keyring, origin);
    if (!since) return Fail(std::move(since));
    if (present && !goes_on) {
      if (auto noted = NoteOrigin(places.state, origin); !noted) return Fail(std::move(noted));
    }
    const storage::Position head = trail.Head();
    return Rewrite({settings, places.trust_domain,
                    {std::max(head.epoch, checked->position.epoch) + 1, head}, std::move(*since),
                    {.act = "restore", .principal = "local/admin", .object = reason}, now_s},
                   keyring, trail, begun);
  };
  auto restored = rewrite();
  if (!restored) {
    // Nothing was done: the vault is as it was.
    if (!begun && !present) DropStaged(places.state);
    if (!begun && present && !goes_on) (void)Remove(places.state / kReplaying);
    return restored;
  }
  if (present) {
    DropStaged(places.state);
    if (auto removed = Remove(places.state / kReplaying); !removed) return Fail(std::move(removed));
    if (auto synced = SyncFolder(places.state); !synced) return Fail(std::move(synced));
    return restored;
  }
  const std::filesystem::path ready = places.state / kRestored;
  if (auto renamed = Rename(staged, ready); !renamed) return Fail(std::move(renamed));
  if (auto synced = SyncFolder(places.state); !synced) return Fail(std::move(synced));
  auto aside = FinishRestore(places.state);
  if (!aside) return Fail(std::move(aside));
  if (*aside) restored->aside = std::move(**aside);
  return restored;
}

Result<std::optional<std::filesystem::path>> FinishRestore(const std::filesystem::path& state) {
  const std::filesystem::path ready = state / kRestored;
  if (!IsThere(ready)) return std::optional<std::filesystem::path>();
  const std::filesystem::path before = ready / "before";
  if (!IsThere(before)) {
    if (auto made = MakeFolder(before); !made) return Fail(std::move(made));
  }
  // A part that is not in `restored` any more has been put in its place.
  for (const char* part : {kBackupStore, kBackupKeys}) {
    if (!IsThere(ready / part)) continue;
    if (IsThere(state / part)) {
      if (auto moved = Rename(state / part, before / part); !moved) return Fail(std::move(moved));
    }
    if (auto moved = Rename(ready / part, state / part); !moved) return Fail(std::move(moved));
    for (const auto& folder : {before, ready, state}) {
      if (auto synced = SyncFolder(folder); !synced) return Fail(std::move(synced));
    }
  }
  // What was unfinished about the store before is of no more interest.
  for (const char* left : {kReplaying, kRestoring}) {
    if (auto removed = Remove(state / left); !removed) return Fail(std::move(removed));
  }
  std::filesystem::path aside;
  std::error_code wrong;
  if (!std::filesystem::is_empty(before, wrong)) {
    for (int number = 1; aside.empty() || IsThere(aside); ++number) {
      aside = state / ("before-restore-" + std::to_string(number));
    }
    if (auto moved = Rename(before, aside); !moved) return Fail(std::move(moved));
  }
  if (auto removed = Remove(ready); !removed) return Fail(std::move(removed));
  if (auto synced = SyncFolder(state); !synced) return Fail(std::move(synced));
  return std::optional(aside);
}

}  // namespace oauthvault::upkeep
