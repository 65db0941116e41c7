#include "daemon/upkeep/shredding.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

#include "daemon/registry/tokens.h"

namespace oauthvault::upkeep {
namespace {

constexpr std::size_t kRowsACommit = 500;
constexpr int kMostConflicts = 10;

Result<std::uint64_t> RemoveAll(storage::Store& store, storage::TableId table,
                                const ProjectId& project, const storage::Act& act) {
  std::uint64_t all = 0;
  for (;;) {
    Result<std::uint64_t> removed = store.RemoveUnopened(table, project, kRowsACommit, act);
    if (!removed) return removed;
    if (*removed == 0) return all;
    all += *removed;
  }
}

Result<std::uint64_t> RemoveGrants(const storage::Store& store, registry::Grants& grants,
                                   const ProjectId& project, const storage::Act& act) {
  std::vector<storage::Grant> found;
  auto looked = store.ForEach<storage::Grant>(
      project.Str(), "", [&](const auto& stored) { found.push_back(stored.row); });
  if (!looked) return Fail(std::move(looked));
  for (const storage::Grant& grant : found) {
    auto removed = grants.RemoveExact(grant, act);
    if (!removed && removed.error().GetCode() != Code::kNotFound) return Fail(std::move(removed));
  }
  return found.size();
}

// Former versions of credentials are not told of apart.
template <storage::Row R>
void CountIn(Shredded& shredded, std::uint64_t removed) {
  if (R::kTable == storage::TableId::kCredentials) shredded.credentials += removed;
  if (R::kTable == storage::TableId::kAttempts) shredded.attempts += removed;
  if (R::kTable == storage::TableId::kConnections) shredded.connections += removed;
}

// Removes what the project has, opened or not; counts it.
Result<void> RemoveRows(const crypto::Keyring& keyring, storage::Store& store,
                        registry::Grants& grants, const ProjectId& id, const storage::Act& act,
                        Shredded& shredded) {
  // First who may ask for the rest.
  auto tokens_removed = registry::Tokens(store, keyring).RemoveOf(id, act);
  if (!tokens_removed) return Fail(std::move(tokens_removed));
  auto grants_removed = RemoveGrants(store, grants, id, act);
  if (!grants_removed) return Fail(std::move(grants_removed));
  shredded.grants += *grants_removed;
  Result<void> looked;
  storage::ForEachRowType([&]<storage::Row R>() {
    if (R::kOwner != crypto::OwnerKind::kProject || !looked) return;
    auto removed = RemoveAll(store, R::kTable, id, act);
    if (!removed) looked = Fail(std::move(removed));
    if (removed) CountIn<R>(shredded, *removed);
  });
  return looked;
}

// The last commit: the project's own row, and the note that its rows are being rewrapped, which the
// rewrapper may take away meanwhile.
Result<void> RemoveProject(storage::Store& store, const ProjectId& id, const storage::Act& act) {
  const crypto::Owner owner = crypto::Owner::Project(id.Str());
  for (int attempt = 1;; ++attempt) {
    auto project = store.Get<storage::Project>(storage::Project::Names(id));
    if (!project) return Fail(std::move(project));
    storage::Batch batch(act);
    batch.Remove(project->row, project->version);
    auto rewrapping = store.Find<storage::Rewrapping>(storage::Rewrapping::Names(owner));
    if (rewrapping && *rewrapping) batch.Remove((*rewrapping)->row, (*rewrapping)->version);
    auto committed = store.Commit(std::move(batch));
    if (committed) return {};
    if (committed.error().GetCode() != Code::kConflict || attempt == kMostConflicts) {
      return Fail(std::move(committed));
    }
  }
}

// From the mark on: can be done again from the begin, as often as it is needed.
Result<void> Destroy(crypto::Keyring& keyring, storage::Store& store, registry::Grants& grants,
                     const ProjectId& id, const storage::Act& act, Shredded& shredded) {
  auto keys = keyring.RemoveOwner(crypto::Owner::Project(id.Str()));
  if (!keys) return Fail(std::move(keys));
  shredded.keys = static_cast<std::uint32_t>(keys->keks);
  // Twice: what was on its way when the mark was made came in behind the first time.
  for (int time = 0; time < 2; ++time) {
    auto removed = RemoveRows(keyring, store, grants, id, act, shredded);
    if (!removed) return removed;
  }
  storage::Act done = act;
  done.act = "project.shredded";
  done.object = "keys:" + std::to_string(shredded.keys) +
                " credentials:" + std::to_string(shredded.credentials);
  return RemoveProject(store, id, done);
}

}  // namespace

Result<Shredded> ShredProject(crypto::Keyring& keyring, storage::Store& store,
                              registry::Grants& grants, const ProjectId& id,
                              storage::Act act, std::int64_t now_s) {
  act.project = id.Str();
  auto project = store.Get<storage::Project>(storage::Project::Names(id));
  if (!project) return Fail(std::move(project));
  Shredded shredded;
  auto backups = store.ForEach<storage::Backup>(
      "", "", [&](const auto& stored) { shredded.open_backups.push_back(stored.row); });
  if (!backups) return Fail(std::move(backups));
  // A damaged connection must not keep a tenant from being destroyed; after the keys are gone none
  // can be read any more.
  std::uint64_t unknown = 0;
  (void)store.ForEach<storage::Connection>(
      id.Str(), "",
      [&](const auto& stored) { shredded.live_connections.push_back(stored.row); }, &unknown);
  if (unknown != 0) {
    spdlog::warn("damaged connections of a project that is shredded live on at Rivery, and nobody "
                 "knows which project={} connections={}", id.Str(), unknown);
  }

  storage::Project marked = project->row;
  marked.shredding_at_s = now_s;
  storage::Batch batch(act);
  batch.Replace(marked, project->version);
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  auto destroyed = Destroy(keyring, store, grants, id, act, shredded);
  if (!destroyed) return Fail(std::move(destroyed));
  return shredded;
}

Result<void> FinishShredding(crypto::Keyring& keyring, storage::Store& store,
                             registry::Grants& grants) {
  std::vector<ProjectId> begun;
  auto looked = store.ForEach<storage::Project>("", "", [&](const auto& stored) {
    if (stored.row.shredding_at_s != 0) begun.push_back(stored.row.id);
  });
  // What cannot be finished keeps nothing else from it.
  for (const ProjectId& id : begun) {
    Shredded shredded;
    const storage::Act act{.act = "project.shred-finish", .principal = "-", .project = id.Str()};
    auto destroyed = Destroy(keyring, store, grants, id, act, shredded);
    if (!destroyed && looked) looked = Fail(std::move(destroyed));
  }
  return looked;
}

}  // namespace oauthvault::upkeep
