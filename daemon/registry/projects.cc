#include "daemon/registry/projects.h"

#include <limits>
#include <utility>

#include "daemon/registry/ended_attempts.h"
#include "storage/free_text.h"

namespace oauthvault::registry {
namespace {

template <class R>
Result<void> MustBeEmpty(const storage::Store& store, const ProjectId& id) {
  auto page = store.List<R>(id.Str(), "", "", 1);
  if (!page) return Fail(std::move(page));
  if (!page->rows.empty()) {
    return Fail(Code::kConflict,
                "the project still holds credentials, connections or grants", id);
  }
  return {};
}

// Tokens are not listed by project, so all are looked at.
Result<void> MustHaveNoToken(const storage::Store& store, const ProjectId& id) {
  return store.ForEach<storage::Token>("", "", [&](const auto& token) -> Result<void> {
    if (token.row.project != id.Str()) return {};
    return Fail(Code::kConflict, "the project still has tokens; revoke them first", id);
  });
}

std::unexpected<Error> TakenBy(const ProjectId& id) {
  return Fail(Code::kConflict, "the project is registered already", id);
}

Result<void> MustHaveNoOpenAttempt(const storage::Store& store, const ProjectId& id) {
  return store.ForEach<storage::Attempt>(id.Str(), "", [&](const auto& stored) -> Result<void> {
    if (storage::IsFinal(stored.row)) return {};
    return Fail(Code::kConflict,
                "the project has unfinished attempts; cancel them, or wait until they end", id);
  });
}

}  // namespace

Result<void> ExpectOpenProject(const ProjectId& id, const storage::Store& store) {
  auto project = store.Get<storage::Project>(storage::Project::Names(id));
  if (!project) return Fail(std::move(project));
  if (project->row.shredding_at_s != 0) {
    return Fail(Code::kNotFound, "the project is being shredded", id);
  }
  return {};
}

Result<storage::ProjectClaims::Claim> KeepOpen(const ProjectId& id, const storage::Store& store) {
  auto claim = store.Claims().ToAdd(id.Str());
  if (!claim) return claim;
  if (auto open = ExpectOpenProject(id, store); !open) return Fail(std::move(open));
  return claim;
}

Result<storage::Stored<storage::Project>> AddProject(crypto::Keyring& keyring,
                                                     storage::Store& store, const ProjectId& id,
                                                     std::string title,
                                                     storage::Act act, std::int64_t now_s) {
  if (auto ok = CheckText(title, "title"); !ok) return Fail(std::move(ok));
  // A project that is there gets no other key: one that is being shredded has none any more.
  auto standing = store.Find<storage::Project>(storage::Project::Names(id));
  if (!standing) return Fail(std::move(standing));
  if (*standing) return TakenBy(id);
  // The key first: a row without its key could never be opened, a key without rows does no harm.
  if (auto made = keyring.EnsureKek(crypto::Owner::Project(id.Str())); !made) {
    return Fail(std::move(made));
  }
  storage::Project project{id, std::move(title), now_s, act.principal};
  act.project = id.Str();
  storage::Batch batch(std::move(act));
  batch.Insert(project);
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    if (committed.error().GetCode() == Code::kConflict) return TakenBy(id);
    return Fail(std::move(committed));
  }
  return store.Get<storage::Project>(storage::Project::Names(id));
}

Result<void> RemoveProject(storage::Store& store, const ProjectId& id, storage::Act act) {
  // From the look whether it is empty to the commit.
  auto claim = store.Claims().ToRemove(id.Str());
  if (!claim) return Fail(std::move(claim));
  auto project = store.Get<storage::Project>(storage::Project::Names(id));
  if (!project) return Fail(std::move(project));
  // First: one that is under way may put a connection here, and then no other comes.
  if (auto ok = MustHaveNoOpenAttempt(store, id); !ok) return ok;
  if (auto ok = MustBeEmpty<storage::Credentials>(store, id); !ok) return ok;
  if (auto ok = MustBeEmpty<storage::CredentialsVersion>(store, id); !ok) return ok;
  if (auto ok = MustBeEmpty<storage::Connection>(store, id); !ok) return ok;
  if (auto ok = MustBeEmpty<storage::Grant>(store, id); !ok) return ok;
  if (auto ok = MustHaveNoToken(store, id); !ok) return ok;
  storage::Act prune = act;
  prune.act = "attempts.prune";
  auto pruned = RemoveEndedAttempts(store, id, std::numeric_limits<std::int64_t>::max(), prune);
  if (!pruned) return Fail(std::move(pruned));
  act.project = id.Str();
  storage::Batch batch(std::move(act));
  batch.Remove(project->row, project->version);
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

}  // namespace oauthvault::registry
