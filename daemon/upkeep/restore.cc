#include "daemon/upkeep/restore.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include "crypto/descriptor.h"
#include "crypto/durable_file.h"
#include "crypto/fields.h"
#include "crypto/keys_file.h"
#include "daemon/audit/history.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/projects.h"
#include "daemon/registry/tokens.h"
#include "daemon/upkeep/backup.h"
#include "daemon/upkeep/check.h"
#include "daemon/upkeep/shredding.h"
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
    const ssize_t got = read(source, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
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

// What the trail says came after a position.
struct Since {
  using GrantNames = std::array<std::string, 3>;  // principal, project, component
  std::map<GrantNames, std::set<std::string>> grants;  // the rights that are left
  std::map<std::string, std::string> identities;       // serial -> principal
  std::set<std::string> anchors;                       // ids, removed and not added again
  std::set<std::string> keys;                          // hashes of those that were revoked
  std::set<std::string> projects;                      // shredded or removed
  std::map<std::string, storage::Backup> backups;      // by folder
};

// An object is a list of words: `principal right..`, `serial principal serial..`, or `id domain
// kind..`.
std::vector<std::string> WordsOf(const std::string& object) {
  std::istringstream stream(object);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// Seconds since 1970 of a line's time, 0 for another text.
std::int64_t SecondsOf(const std::string& time) {
  std::tm parts{};
  if (std::sscanf(time.c_str(), "%d-%d-%dT%d:%d:%d", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
                  &parts.tm_hour, &parts.tm_min, &parts.tm_sec) != 6) {
    return 0;
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return timegm(&parts);
}

void Take(const audit::HistoryLine& line, Since& since) {
  const audit::Entry& entry = line.entry;
  if (entry.outcome != audit::Outcome::kAllowed) return;
  const std::vector<std::string> words = WordsOf(entry.object);
  if (entry.act == "Registry.AddGrant" || entry.act == "Registry.RemoveGrant") {
    if (words.empty()) return;
    since.grants[{words[0], entry.project, entry.component}] = {words.begin() + 1, words.end()};
  } else if (entry.act == "Registry.RevokeIdentity" && words.size() >= 2) {
    // `serial principal`, and the serials of what it was renewed into.
    since.identities[words[0]] = words[1];
    for (std::size_t i = 2; i < words.size(); ++i) since.identities[words[i]] = words[1];
  } else if (entry.act == "Trust.Remove" && !words.empty()) {
    since.anchors.insert(words[0]);
  } else if (entry.act == "Trust.Add" && !words.empty()) {
    since.anchors.erase(words[0]);
  } else if (entry.act == "Trust.RevokeKey" && !words.empty()) {
    since.keys.insert(words[0]);
  } else if (entry.act == "Operations.ShredProject" || entry.act == "Registry.RemoveProject") {
    since.projects.insert(entry.project);
  } else if (entry.act == "Operations.Backup") {
    auto backup = BackupIn(entry.object);
    if (!backup) return;
    backup->at_s = SecondsOf(line.time);
    since.backups[backup->folder] = std::move(*backup);
  }
}

Result<Since> ReadSince(const std::filesystem::path& audit, const crypto::Keyring& keyring,
                        storage::Position after) {
  Since since;
  auto read = audit::ReadHistory(audit, keyring.AuditKey(), after,
                                 [&](const audit::HistoryLine& line) -> Result<void> {
                                   Take(line, since);
                                   return {};
                                 });
  if (!read) return Fail(std::move(read));
  return since;
}

Result<std::uint64_t> RevokeGrants(const Since& since, const storage::Store& store,
                                   registry::Grants& grants, const storage::Act& act) {
  std::uint64_t revoked = 0;
  for (const auto& [names, left] : since.grants) {
    auto standing = store.Find<storage::Grant>(storage::Grant::Names(names[0], names[1], names[2]));
    if (!standing) return Fail(std::move(standing));
    if (!*standing) continue;
    storage::Grant narrowed = (*standing)->row;
    std::erase_if(narrowed.rights,
                  [&](const std::string& right) { return !left.contains(right); });
    if (narrowed.rights == (*standing)->row.rights) continue;
    auto changed = narrowed.rights.empty() ? grants.RemoveExact(narrowed, act)
                                           : grants.ReplaceExact(narrowed, act);
    if (!changed) return Fail(std::move(changed));
    ++revoked;
  }
  return revoked;
}

// Certificates that were issued after the backup are unknown to it and still good by the CA: those
// that were revoked get a row, too.
Result<std::uint64_t> RevokeIdentities(const Since& since, storage::Store& store,
                                       const storage::Act& act, std::int64_t now_s) {
  std::uint64_t revoked = 0;
  for (const auto& [serial, principal] : since.identities) {
    auto standing = store.Find<storage::Identity>(storage::Identity::Names(serial));
    if (!standing) return Fail(std::move(standing));
    if (*standing && (*standing)->row.revoked_at_s != 0) continue;
    storage::Identity row = *standing ? (*standing)->row : storage::Identity{serial, principal};
    row.revoked_at_s = now_s;
    storage::Act one = act;
    one.object = serial + " " + principal;
    storage::Batch batch(std::move(one));
    if (*standing) {
      batch.Replace(row, (*standing)->version);
    } else {
      batch.Insert(row);
    }
    if (auto committed = store.Commit(std::move(batch)); !committed) {
      return Fail(std::move(committed));
    }
    ++revoked;
  }
  return revoked;
}

// CAs outside that are believed no more.
Result<std::uint64_t> RemoveAnchors(const Since& since, storage::Store& store,
                                    const storage::Act& act) {
  std::uint64_t removed = 0;
  for (const std::string& id : since.anchors) {
    auto standing = store.Find<storage::TrustAnchor>(storage::TrustAnchor::Names(id));
    if (!standing) return Fail(std::move(standing));
    if (!*standing) continue;
    storage::Act one = act;
    one.object = id + " " + (*standing)->row.trust_domain;
    storage::Batch batch(std::move(one));
    batch.Remove((*standing)->row, (*standing)->version);
    if (auto committed = store.Commit(std::move(batch)); !committed) {
      return Fail(std::move(committed));
    }
    ++removed;
  }
  return removed;
}

// Keys that no certificate is believed for any more.
Result<std::uint64_t> RevokeKeys(const Since& since, storage::Store& store,
                                 const storage::Act& act, std::int64_t now_s) {
  std::uint64_t revoked = 0;
  for (const std::string& key_hash : since.keys) {
    const storage::RevokedKey row{key_hash, now_s, act.principal};
    auto standing = store.Find<storage::RevokedKey>(row.Names());
    if (!standing) return Fail(std::move(standing));
    if (*standing) continue;
    storage::Act one = act;
    one.object = key_hash;
    storage::Batch batch(std::move(one));
    batch.Insert(row);
    if (auto committed = store.Commit(std::move(batch)); !committed) {
      return Fail(std::move(committed));
    }
    ++revoked;
  }
  return revoked;
}

// Backups that were made later still open, whatever this one knows.
Result<void> NoteBackups(const Since& since, storage::Store& store, const storage::Act& act) {
  for (const auto& [folder, backup] : since.backups) {
    auto standing = store.Find<storage::Backup>(storage::Backup::Names(folder));
    if (!standing) return Fail(std::move(standing));
    if (*standing) continue;
    storage::Act one = act;
    one.object = ObjectOf(backup);
    storage::Batch batch(std::move(one));
    batch.Insert(backup);
    if (auto committed = store.Commit(std::move(batch)); !committed) {
      return Fail(std::move(committed));
    }
  }
  return {};
}

// What came after the backup, once more, each change with its line.
Result<void> Replay(const Since& since, storage::Store& store, crypto::Keyring& keyring,
                    const storage::Act& act, std::int64_t now_s, Restored& restored) {
  auto grants = registry::Grants::Load(store);
  if (!grants) return Fail(std::move(grants));
  auto revoked = RevokeGrants(since, store, **grants, act);
  if (!revoked) return Fail(std::move(revoked));
  restored.grants_revoked = *revoked;

  auto denied = RevokeIdentities(since, store, act, now_s);
  if (!denied) return Fail(std::move(denied));
  restored.identities_revoked = *denied;
  auto removed = RemoveAnchors(since, store, act);
  if (!removed) return Fail(std::move(removed));
  restored.anchors_removed = *removed;
  auto keys = RevokeKeys(since, store, act, now_s);
  if (!keys) return Fail(std::move(keys));
  restored.keys_revoked = *keys;
  auto tokens = registry::Tokens(store, keyring).RemoveAll(act);
  if (!tokens) return Fail(std::move(tokens));
  restored.tokens_revoked = *tokens;
  if (auto noted = NoteBackups(since, store, act); !noted) return noted;
  for (const std::string& name : since.projects) {
    auto id = ProjectId::Parse(name);
    if (!id) continue;
    auto shredded = ShredProject(keyring, store, **grants, *id, act, now_s);
    if (!shredded && shredded.error().GetCode() == Code::kNotFound) continue;
    if (!shredded) return Fail(std::move(shredded));
    ++restored.projects_shredded;
  }
  return FinishShredding(keyring, store, **grants);
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
    if (auto ok = registry::CheckText(reason, "reason"); !ok) return Fail(std::move(ok));
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
