#include "daemon/custody/versions.h"

#include <algorithm>
#include <string>
#include <utility>

#include "daemon/registry/projects.h"

namespace oauthvault::custody {
namespace {

crypto::RowNames NamesOf(const StoredCredentials& current, std::uint64_t version) {
  const storage::Credentials& row = current.row;
  return storage::CredentialsVersion::Names(row.project, row.component, row.id, version);
}

void Remove(storage::Batch& batch, const StoredCredentials& current, std::uint64_t version) {
  batch.RemoveAnyhow<storage::CredentialsVersion>(NamesOf(current, version));
}

Result<StoredCredentials> Current(const access::PairIds& pair, const OauthId& id,
                                  const storage::Store& store) {
  return store.Get<storage::Credentials>(
      storage::Credentials::Names(pair.project, pair.component, id));
}

}  // namespace

// Row keys hash all names, so the versions of one id do not lie together: they are looked up by
// their numbers, which are those before the present one.
Result<std::vector<FormerVersion>> FormerVersions(const StoredCredentials& current,
                                                  const storage::Store& store) {
  const std::uint64_t newest = current.version - 1;
  const std::uint64_t count = std::min<std::uint64_t>(newest, kMaxKeptVersions);
  std::vector<crypto::RowNames> names;
  for (std::uint64_t back = 0; back < count; ++back) {
    names.push_back(NamesOf(current, newest - back));
  }
  auto each = store.FindEach<storage::CredentialsVersion>(names);
  if (!each) return Fail(std::move(each));
  std::vector<FormerVersion> former;
  std::uint64_t version = newest;
  for (auto& found : *each) {
    if (!found && found.error().GetCode() != Code::kCorrupt) return Fail(std::move(found));
    if (!found) {
      former.push_back({version, std::nullopt});
    } else if (*found) {
      former.push_back({version, std::move(**found)});
    }
    --version;
  }
  return former;
}

Result<storage::Stored<storage::CredentialsVersion>> FormerVersionOf(
    const StoredCredentials& current, std::uint64_t version, const storage::Store& store) {
  return store.Get<storage::CredentialsVersion>(NamesOf(current, version));
}

Result<void> KeepFormer(storage::Batch& batch, const StoredCredentials& current, KeptVersions kept,
                        const storage::Store& store) {
  auto former = FormerVersions(current, store);
  if (!former) return Fail(std::move(former));
  // By their numbers, whether or not those between are there: nothing is left where FormerVersions
  // of the new version would not look.
  for (const FormerVersion& one : *former) {
    if (one.version + kept.most <= current.version) Remove(batch, current, one.version);
  }
  std::optional<storage::Secrets> secrets;
  if (kept.most != 0) {
    auto opened = store.OpenSecrets(current);
    if (!opened && opened.error().GetCode() != Code::kCorrupt) return Fail(std::move(opened));
    if (opened) secrets = std::move(*opened);
  }
  // Under this number may stand what an earlier life of the id left behind.
  if (secrets) {
    batch.PutWhereRoom(storage::CredentialsVersion{current.version, current.row},
                       std::move(*secrets));
  } else {
    Remove(batch, current, current.version);
  }
  return {};
}

Result<std::uint64_t> RemoveFormer(storage::Batch& batch, const StoredCredentials& current,
                                   std::uint64_t keep, const storage::Store& store) {
  auto former = FormerVersions(current, store);
  if (!former) return Fail(std::move(former));
  std::uint64_t removed = 0;
  for (std::size_t i = keep; i < former->size(); ++i, ++removed) {
    Remove(batch, current, (*former)[i].version);
  }
  return removed;
}

Result<std::uint64_t> RemoveFormerOfDamaged(storage::Batch& batch, const access::PairIds& pair,
                                            const OauthId& id, const storage::Store& store) {
  std::uint64_t highest = 0;
  std::uint64_t unknown = 0;
  auto looked = store.ForEach<storage::CredentialsVersion>(
      pair.project.Str(), pair.component.Str(),
      [&](const auto& stored) {
        if (stored.row.credentials.id != id) return;
        highest = std::max(highest, stored.row.version);
        batch.RemoveAnyhow<storage::CredentialsVersion>(stored.row.Names());
      },
      &unknown);
  if (!looked) return Fail(std::move(looked));
  return highest;
}

Result<StoredCredentials> RollBack(const access::Permit& permit, const OauthId& id,
                                   std::uint64_t version, KeptVersions kept, storage::Act act,
                                   storage::Store& store) {
  auto pair = PairToStore(permit);
  if (!pair) return Fail(std::move(pair));
  if (auto open = registry::ExpectOpenProject(pair->project, store); !open) {
    return Fail(std::move(open));
  }
  auto current = Current(*pair, id, store);
  if (!current) return Fail(std::move(current));
  if (version == current->version) {
    return Fail(Code::kConflict, "this version is the present one", id);
  }
  auto former = FormerVersionOf(*current, version, store);
  if (!former) return Fail(std::move(former));
  auto secrets = store.OpenSecrets(*former);
  if (!secrets) return Fail(std::move(secrets));

  act.object = "from:" + std::to_string(version);
  act.version = current->version + 1;
  NameIn(act, *pair, id);
  storage::Batch batch(std::move(act));
  if (auto ok = KeepFormer(batch, *current, kept, store); !ok) return Fail(std::move(ok));
  batch.Replace(former->row.credentials, current->version, std::move(*secrets));
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return Current(*pair, id, store);
}

Result<std::uint64_t> Prune(const access::Permit& permit, const OauthId& id, std::uint64_t keep,
                            storage::Act act, storage::Store& store) {
  auto pair = PairToStore(permit);
  if (!pair) return Fail(std::move(pair));
  auto current = Current(*pair, id, store);
  if (!current) return Fail(std::move(current));
  act.version = current->version;
  NameIn(act, *pair, id);
  storage::Batch batch(std::move(act));
  auto removed = RemoveFormer(batch, *current, keep, store);
  if (!removed || *removed == 0) return removed;
  batch.GetAct().object = "removed:" + std::to_string(*removed);
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return removed;
}

}  // namespace oauthvault::custody
