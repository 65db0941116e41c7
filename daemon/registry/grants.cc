#include "daemon/registry/grants.h"

#include <algorithm>

#include "daemon/registry/projects.h"

namespace oauthvault::registry {
namespace {

Result<access::GrantRule> RuleOf(const storage::Grant& grant) {
  access::GrantRule rule{grant.principal, grant.project, grant.component, {}};
  for (const std::string& word : grant.rights) {
    const std::optional<access::Right> right = access::RightOf(word);
    if (!right) return Fail(Code::kCorrupt, "a stored grant names an unknown right");
    rule.rights.push_back(*right);
  }
  return rule;
}

template <class R, class IdType>
Result<void> MustExist(const storage::Store& store, std::string_view text) {
  if (text == "*") return {};
  Result<IdType> id = IdType::Parse(text);
  if (!id) return Fail(std::move(id));
  auto found = store.Find<R>(R::Names(*id));
  if (!found) return Fail(std::move(found));
  if (!*found) return Fail(Code::kNotFound, "register it before granting rights on it", *id);
  return {};
}

// What a line about a grant says.
storage::Act ActAbout(const storage::Grant& grant, std::span<const std::string> rights,
                      storage::Act act) {
  act.project = grant.project;
  act.component = grant.component;
  act.object = grant.principal;
  for (const std::string& right : rights) act.object.append(" ").append(right);
  return act;
}

}  // namespace

Result<std::unique_ptr<Grants>> Grants::Load(storage::Store& store) {
  std::unique_ptr<Grants> grants(new Grants(store));
  if (auto loaded = grants->Swap(); !loaded) return Fail(std::move(loaded));
  return grants;
}

Result<void> Grants::Swap() {
  std::vector<access::GrantRule> rules;
  auto read = store_.ForEach<storage::Grant>("", "", [&](const auto& stored) -> Result<void> {
    Result<access::GrantRule> rule = RuleOf(stored.row);
    if (!rule) return Fail(std::move(rule));
    rules.push_back(std::move(*rule));
    return {};
  });
  if (!read) return read;
  PutInForce(std::move(rules));
  return {};
}

void Grants::PutInForce(std::vector<access::GrantRule> rules) {
  in_force_.store(std::make_shared<const access::GrantTable>(rules));
  rules_ = std::move(rules);
}

// `changed`: the grant as the batch leaves it; without rights where the batch removes it. Where the
// commit is in doubt, or stands and the rows cannot be read back, the table in force is narrowed.
Result<void> Grants::Commit(storage::Batch batch, const storage::Grant& changed) {
  auto committed = store_.Commit(std::move(batch));
  if (!committed && committed.error().GetCode() != Code::kUnavailable) {
    return Fail(std::move(committed));
  }
  Result<void> swapped = committed ? Swap() : Fail(std::move(committed));
  if (swapped) return swapped;
  std::vector<access::GrantRule> narrowed = rules_;
  for (access::GrantRule& rule : narrowed) {
    if (rule.principal != changed.principal || rule.project != changed.project ||
        rule.component != changed.component) {
      continue;
    }
    std::erase_if(rule.rights, [&](access::Right right) {
      return std::ranges::find(changed.rights, access::NameOf(right)) == changed.rights.end();
    });
  }
  PutInForce(std::move(narrowed));
  return swapped;
}

Result<storage::Stored<storage::Grant>> Grants::Add(const access::Principal& principal,
                                                    std::string_view project,
                                                    std::string_view component,
                                                    const std::vector<access::Right>& rights,
                                                    storage::Act act, std::int64_t now_s) {
  if (auto ok = access::CheckGrant(principal, project, component, rights); !ok) {
    return Fail(std::move(ok));
  }
  // On all projects: nobody removes them.
  auto claim = store_.Claims().ToAdd(std::string(project));
  if (!claim) return Fail(std::move(claim));
  if (auto ok = MustExist<storage::Project, ProjectId>(store_, project); !ok) {
    return Fail(std::move(ok));
  }
  if (project != "*") {
    auto id = ProjectId::Parse(project);
    if (!id) return Fail(std::move(id));
    if (auto open = ExpectOpenProject(*id, store_); !open) return Fail(std::move(open));
  }
  if (auto ok = MustExist<storage::Component, ComponentId>(store_, component); !ok) {
    return Fail(std::move(ok));
  }
  storage::Grant grant;
  grant.principal = principal.Str();
  grant.project = project;
  grant.component = component;
  for (const access::Right right : rights) grant.rights.emplace_back(access::NameOf(right));
  std::sort(grant.rights.begin(), grant.rights.end());
  grant.rights.erase(std::unique(grant.rights.begin(), grant.rights.end()), grant.rights.end());
  grant.created_at_s = now_s;
  grant.created_by = act.principal;
  act = ActAbout(grant, grant.rights, std::move(act));

  const std::lock_guard lock(changing_);
  auto standing = store_.Find<storage::Grant>(grant.Names());
  if (!standing) return Fail(std::move(standing));
  storage::Batch batch(std::move(act));
  if (*standing) {
    batch.Replace(grant, (*standing)->version);
  } else {
    batch.Insert(grant);
  }
  if (auto committed = Commit(std::move(batch), grant); !committed) {
    return Fail(std::move(committed));
  }
  return store_.Get<storage::Grant>(grant.Names());
}

Result<void> Grants::Remove(const access::Principal& principal, const std::string& project,
                            const std::string& component, storage::Act act) {
  storage::Grant grant;
  grant.principal = principal.Str();
  grant.project = project;
  grant.component = component;
  return RemoveExact(grant, std::move(act));
}

Result<void> Grants::RemoveExact(const storage::Grant& grant, storage::Act act) {
  const std::lock_guard lock(changing_);
  auto standing = store_.Get<storage::Grant>(grant.Names());
  if (!standing) return Fail(std::move(standing));
  storage::Batch batch(ActAbout(grant, {}, std::move(act)));
  batch.Remove(standing->row, standing->version);
  storage::Grant removed = standing->row;
  removed.rights.clear();
  return Commit(std::move(batch), removed);
}

Result<void> Grants::ReplaceExact(const storage::Grant& grant, storage::Act act) {
  const std::lock_guard lock(changing_);
  auto standing = store_.Get<storage::Grant>(grant.Names());
  if (!standing) return Fail(std::move(standing));
  storage::Batch batch(ActAbout(grant, grant.rights, std::move(act)));
  batch.Replace(grant, standing->version);
  return Commit(std::move(batch), grant);
}

}  // namespace oauthvault::registry
