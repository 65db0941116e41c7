#include "daemon/upkeep/replay.h"

#include <sstream>
#include <utility>
#include <vector>

#include "daemon/audit/history.h"
#include "daemon/audit/line.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/tokens.h"
#include "daemon/upkeep/backup.h"
#include "daemon/upkeep/restore.h"
#include "daemon/upkeep/shredding.h"

namespace oauthvault::upkeep {
namespace {

// An object is a list of words: `principal right..`, `serial principal serial..`, or `id domain
// kind..`.
std::vector<std::string> WordsOf(const std::string& object) {
  std::istringstream stream(object);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
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
    backup->at_s = audit::MomentOf(line.time).value_or(0) / 1'000'000;
    since.backups[backup->folder] = std::move(*backup);
  }
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

}  // namespace

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

}  // namespace oauthvault::upkeep
