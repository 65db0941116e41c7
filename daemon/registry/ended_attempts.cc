#include "daemon/registry/ended_attempts.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace oauthvault::registry {

Result<std::uint64_t> RemoveEndedAttempts(storage::Store& store, const ProjectId& project,
                                          std::int64_t before_s, const storage::Act& act) {
  struct Ended {
    storage::Attempt names;  // nothing else of the row
    std::uint64_t version;
  };
  std::vector<Ended> ended;
  auto read = store.ForEach<storage::Attempt>(project.Str(), "", [&](const auto& stored) {
    const storage::Attempt& row = stored.row;
    if (!storage::IsFinal(row) || row.updated_at_s >= before_s) return;
    ended.push_back({{row.project, row.component, row.id, row.account, row.oauth_id},
                     stored.version});
  });
  if (!read) return Fail(std::move(read));
  for (std::size_t at = 0; at < ended.size(); at += kMaxAttemptsTogether) {
    const auto part =
        std::span(ended).subspan(at, std::min(kMaxAttemptsTogether, ended.size() - at));
    storage::Act one = act;
    one.project = project.Str();
    one.object = "removed:" + std::to_string(part.size());
    storage::Batch batch(std::move(one));
    for (const Ended& each : part) batch.Remove(each.names, each.version);
    if (auto committed = store.Commit(std::move(batch)); !committed) {
      return Fail(std::move(committed));
    }
  }
  return ended.size();
}

Result<std::uint64_t> PruneAttempts(storage::Store& store, std::int64_t before_s,
                                    const storage::Act& act) {
  std::vector<ProjectId> projects;
  auto read = store.ForEach<storage::Project>("", "", [&](const auto& stored) {
    if (stored.row.shredding_at_s == 0) projects.push_back(stored.row.id);
  });
  if (!read) return Fail(std::move(read));
  Result<std::uint64_t> pruned = 0;
  for (const ProjectId& project : projects) {
    auto removed = RemoveEndedAttempts(store, project, before_s, act);
    if (!pruned) continue;
    if (removed) {
      *pruned += *removed;
    } else {
      pruned = Fail(std::move(removed));
    }
  }
  return pruned;
}

}  // namespace oauthvault::registry
