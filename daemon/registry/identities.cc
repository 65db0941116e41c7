#include "daemon/registry/identities.h"

#include <algorithm>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

#include "crypto/sabotage.h"
#include "storage/names.h"

namespace oauthvault::registry {
namespace {

/// A component's certificate is for a pair that exists: a typing error is found when it is issued
/// and not on the first reveal.
Result<void> MustBeRegistered(const storage::Store& store, const access::Principal& principal) {
  if (principal.GetKind() != access::Kind::kComponent) return {};
  auto project = ProjectId::Parse(principal.Project());
  if (!project) return Fail(std::move(project));
  auto component = ComponentId::Parse(principal.Component());
  if (!component) return Fail(std::move(component));
  auto found_project = store.Get<storage::Project>(storage::Project::Names(*project));
  if (!found_project) return Fail(std::move(found_project));
  auto found_component = store.Get<storage::Component>(storage::Component::Names(*component));
  if (!found_component) return Fail(std::move(found_component));
  return {};
}

// A restore knows some revoked certificates by their serials alone: those have no end of their own.
std::int64_t EndOf(const storage::Identity& identity) {
  if (identity.expires_at_s != 0) return identity.expires_at_s;
  return identity.revoked_at_s + kMaxIdentityTtlS;
}

}  // namespace

IdentityState StateOf(const storage::Identity& identity, std::int64_t now_s) {
  if (identity.revoked_at_s != 0) return IdentityState::kRevoked;
  return now_s >= identity.expires_at_s ? IdentityState::kExpired : IdentityState::kValid;
}

Result<void> CreateAuthority(storage::Store& store, const std::string& trust_domain,
                             std::int64_t now_s) {
  auto material = CertificateAuthority::Generate(trust_domain, now_s);
  if (!material) return Fail(std::move(material));
  storage::Secrets secrets;
  secrets.data = std::move(material->key).Take();
  storage::Batch batch(storage::Act{.act = "init", .principal = "-", .object = trust_domain});
  batch.Insert(storage::Authority{trust_domain, std::move(material->certificate_pem), now_s},
               std::move(secrets));
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

Result<std::unique_ptr<Identities>> Identities::Load(storage::Store& store,
                                                     const std::string& trust_domain) {
  std::unique_ptr<Identities> identities(new Identities(store, trust_domain));
  auto row = store.Get<storage::Authority>(storage::Authority::Names(trust_domain));
  if (!row) return Fail(std::move(row));
  auto key = store.OpenSecret(*row, crypto::Part::kData);
  if (!key) return Fail(std::move(key));
  auto authority =
      CertificateAuthority::Load(row->row.certificate_pem, PrivateKeyPem(std::move(*key)));
  if (!authority) return Fail(std::move(authority));
  identities->authority_ = std::move(*authority);

  auto read = store.ForEach<storage::Identity>("", "", [&](const auto& stored) {
    if (stored.row.revoked_at_s != 0) identities->revoked_.insert(stored.row.serial);
  });
  if (!read) return Fail(std::move(read));
  return identities;
}

Result<Identities::Issued> Identities::Issue(std::string_view path, std::string_view csr_pem,
                                             std::int64_t ttl_s, storage::Act act,
                                             std::int64_t now_s) {
  const std::string spiffe_id = "spiffe://" + trust_domain_ + "/" + std::string(path);
  auto principal = access::Principal::FromSpiffeId(spiffe_id, trust_domain_);
  if (!principal) {
    return Fail(Code::kInvalid,
                "an identity is project/<p>/component/<c>, runner/<n>, admin/<n> or auditor/<n>");
  }
  if (auto ok = MustBeRegistered(store_, *principal); !ok) return Fail(std::move(ok));
  return Sign(*principal, csr_pem, ttl_s == 0 ? kDefaultIdentityTtlS : ttl_s, {}, std::move(act),
              now_s);
}

Result<Identities::Issued> Identities::Sign(const access::Principal& principal,
                                            std::string_view csr_pem, std::int64_t ttl_s,
                                            const std::string& renewed_from, storage::Act act,
                                            std::int64_t now_s) {
  auto issued = authority_->IssueClient(csr_pem, principal.Str(), ttl_s, now_s);
  if (!issued) return Fail(std::move(issued));
  const storage::Identity identity{.serial = issued->serial,
                                   .principal = principal.Str(),
                                   .issued_at_s = issued->issued_at_s,
                                   .expires_at_s = issued->expires_at_s,
                                   .issued_by = act.principal,
                                   .renewed_from = renewed_from,
                                   .key_hash = issued->key_hash};
  act.object = identity.serial + " " + identity.principal;
  if (!renewed_from.empty()) act.object += " " + renewed_from;
  storage::Batch batch(std::move(act));
  batch.Insert(identity);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  auto stored = store_.Get<storage::Identity>(identity.Names());
  if (!stored) return Fail(std::move(stored));
  return Issued{std::move(*stored), std::move(issued->certificate_pem)};
}

Result<Identities::Issued> Identities::Renew(const std::string& serial, By by,
                                             std::string_view csr_pem, std::int64_t ttl_s,
                                             storage::Act act, std::int64_t now_s) {
  const std::lock_guard lock(changing_);
  auto standing = store_.Get<storage::Identity>(storage::Identity::Names(serial));
  if (!standing) return Fail(std::move(standing));
  const storage::Identity& old = standing->row;
  if (old.revoked_at_s != 0 || IsRevoked(serial)) {
    return Fail(Code::kDenied, "an identity that was revoked is not renewed; issue a new one");
  }
  auto principal = access::Principal::FromSpiffeId(old.principal, trust_domain_);
  if (!principal) return Fail(Code::kCorrupt, "a stored identity names no principal");
  if (auto ok = MustBeRegistered(store_, *principal); !ok) return Fail(std::move(ok));
  const std::int64_t life_s = old.expires_at_s - old.issued_at_s;
  if (by == By::kHolder) {
    if (now_s >= old.expires_at_s) {
      return Fail(Code::kDenied, "an identity that has expired is not renewed by its holder");
    }
    if (ttl_s > life_s) {
      return Fail(Code::kInvalid, "a renewed identity lives at most as long as the one before",
                  Subject::Number(life_s));
    }
  }
  if (!old.key_hash.empty()) {
    auto key_hash = KeyHashOfRequest(csr_pem);
    if (!key_hash) return Fail(std::move(key_hash));
    if (*key_hash == old.key_hash) {
      return Fail(Code::kInvalid, "a renewed identity needs a new key");
    }
  }
  return Sign(*principal, csr_pem, ttl_s == 0 ? life_s : ttl_s, serial, std::move(act), now_s);
}

// What stands in the rows as renewed from `serial`, from those, and so on, and has not ended. One
// pass over the table: a revocation is rare.
Result<std::vector<storage::Stored<storage::Identity>>> Identities::RenewedFrom(
    const std::string& serial, std::int64_t now_s) const {
  std::unordered_multimap<std::string, storage::Stored<storage::Identity>> by_source;
  auto read = store_.ForEach<storage::Identity>("", "", [&](auto& stored) {
    if (stored.row.renewed_from.empty()) return;
    std::string source = stored.row.renewed_from;
    by_source.emplace(std::move(source), std::move(stored));
  });
  if (!read) return Fail(std::move(read));

  std::vector<storage::Stored<storage::Identity>> found;
  std::vector<std::string> sources = {serial};
  while (!sources.empty()) {
    const std::string source = std::move(sources.back());
    sources.pop_back();
    const auto [begin, end] = by_source.equal_range(source);
    for (auto one = begin; one != end; ++one) {
      sources.push_back(one->second.row.serial);
      // One that has expired may still have been renewed into others.
      if (one->second.row.expires_at_s > now_s) found.push_back(std::move(one->second));
    }
    by_source.erase(begin, end);
  }
  return found;
}

Result<storage::Stored<storage::Identity>> Identities::Revoke(const std::string& serial,
                                                              storage::Act act,
                                                              std::int64_t now_s) {
  const std::lock_guard changing(changing_);
  auto standing = store_.Get<storage::Identity>(storage::Identity::Names(serial));
  if (!standing) return Fail(std::move(standing));
  auto revoked = RenewedFrom(serial, now_s);
  if (!revoked) return Fail(std::move(revoked));
  const storage::Identity first = standing->row;
  revoked->insert(revoked->begin(), std::move(*standing));

  Result<void> told;
  for (std::size_t at = 0; told && at < revoked->size(); at += kMaxRevokedTogether) {
    const auto part = std::span(*revoked).subspan(
        at, std::min(kMaxRevokedTogether, revoked->size() - at));
    // `serial principal`, then the serials of what it was renewed into: a restore reads this.
    storage::Act one = act;
    one.object = part.front().row.serial + " " + first.principal;
    for (const auto& each : part.subspan(1)) one.object += " " + each.row.serial;
    storage::Batch batch(std::move(one));
    for (const auto& each : part) {
      storage::Identity row = each.row;
      if (row.revoked_at_s == 0) row.revoked_at_s = now_s;
      batch.Replace(row, each.version);
    }
    auto committed = store_.Commit(std::move(batch));
    if (!committed) told = Fail(std::move(committed));
    if (!told && told.error().GetCode() != Code::kUnavailable) break;
    // One that is Unavailable may stand all the same, and no more of them are tried: those behind
    // it are refused as well, and the next revocation writes them.
    const auto refused = told ? part : std::span(*revoked);
    const std::lock_guard lock(guard_);
    for (const auto& each : refused) revoked_.insert(each.row.serial);
  }
  if (!told) return Fail(std::move(told));
  return store_.Get<storage::Identity>(first.Names());
}

Result<std::uint64_t> Identities::Prune(std::int64_t ended_before_s, const storage::Act& act) {
  const std::lock_guard changing(changing_);
  struct Known {
    std::string renewed_from;
    bool goes;
  };
  std::unordered_map<std::string, Known> known;
  auto read = store_.ForEach<storage::Identity>("", "", [&](auto& stored) {
    storage::Identity& row = stored.row;
    const bool goes = EndOf(row) < ended_before_s;
    known.emplace(std::move(row.serial), Known{std::move(row.renewed_from), goes});
  });
  if (!read) return Fail(std::move(read));

  // First the links, then the rows: whatever a crash leaves is a chain.
  struct Change {
    std::string serial;
    std::optional<std::string> renewed_from;  // nothing: the row goes
  };
  std::vector<Change> changes;
  for (const auto& [serial, one] : known) {
    if (one.goes || one.renewed_from.empty()) continue;
    std::string source = one.renewed_from;
    for (auto at = known.find(source); at != known.end() && at->second.goes;
         at = known.find(source)) {
      source = at->second.renewed_from;
    }
    if (source != one.renewed_from) changes.push_back({serial, std::move(source)});
  }
  for (const auto& [serial, one] : known) {
    if (one.goes) changes.push_back({serial, std::nullopt});
  }

  std::uint64_t pruned = 0;
  for (std::size_t at = 0; at < changes.size(); at += kMaxPrunedTogether) {
    const auto part =
        std::span(changes).subspan(at, std::min(kMaxPrunedTogether, changes.size() - at));
    const auto removed = static_cast<std::uint64_t>(
        std::ranges::count_if(part, [](const Change& change) { return !change.renewed_from; }));
    storage::Act one = act;
    one.object = "removed:" + std::to_string(removed);
    storage::Batch batch(std::move(one));
    for (const Change& change : part) {
      auto standing = store_.Get<storage::Identity>(storage::Identity::Names(change.serial));
      if (!standing) return Fail(std::move(standing));
      if (!change.renewed_from) {
        batch.Remove(standing->row, standing->version);
        continue;
      }
      storage::Identity row = standing->row;
      row.renewed_from = *change.renewed_from;
      batch.Replace(row, standing->version);
    }
    if (auto committed = store_.Commit(std::move(batch)); !committed) {
      return Fail(std::move(committed));
    }
    pruned += removed;
    const std::lock_guard lock(guard_);
    for (const Change& change : part) {
      if (!change.renewed_from) revoked_.erase(change.serial);
    }
  }
  return pruned;
}

Result<access::Standing> Identities::StandingOf(const access::Principal& principal,
                                                const TrustTable& trusts,
                                                std::int64_t now_s) const {
  using enum access::Standing;
  if (principal.GetKind() == access::Kind::kLocalAdmin) return kNeedsNone;
  if (!trusts.PrincipalOf(principal.Str())) return kNotVouched;
  if (access::TrustDomainIn(principal.Str()) != trust_domain_) return kOutside;
  bool any_valid = false;
  bool any_expired = false;
  bool any_revoked = false;
  auto read = store_.ForEach<storage::Identity>("", "", [&](const auto& stored) {
    if (stored.row.principal != principal.Str()) return storage::Walk::kOn;
    switch (StateOf(stored.row, now_s)) {
      case IdentityState::kValid: any_valid = true; break;
      case IdentityState::kExpired: any_expired = true; break;
      case IdentityState::kRevoked: any_revoked = true; break;
    }
    return any_valid ? storage::Walk::kEnds : storage::Walk::kOn;
  });
  if (!read) return Fail(std::move(read));
  if (any_valid) return kGood;
  if (any_expired) return kExpired;
  return any_revoked ? kRevoked : kNone;
}

bool Identities::IsRevoked(const std::string& serial) const {
  if (crypto::IsSabotaged(crypto::Sabotage::kNoDenyList)) return false;
  const std::lock_guard lock(guard_);
  return revoked_.contains(serial);
}

}  // namespace oauthvault::registry
