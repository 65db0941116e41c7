#include "daemon/registry/identities.h"

#include <utility>

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

}  // namespace

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

  std::string page_token;
  do {
    auto page = store.List<storage::Identity>("", "", page_token, storage::kMaxPageSize);
    if (!page) return Fail(std::move(page));
    for (const auto& stored : page->rows) {
      if (stored.row.revoked_at_s != 0) identities->revoked_.insert(stored.row.serial);
    }
    page_token = page->next;
  } while (!page_token.empty());
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
  auto issued = authority_->IssueClient(csr_pem, spiffe_id,
                                        ttl_s == 0 ? kDefaultIdentityTtlS : ttl_s, now_s);
  if (!issued) return Fail(std::move(issued));

  const storage::Identity identity{issued->serial,       principal->Str(), issued->issued_at_s,
                                   issued->expires_at_s, 0,                act.principal};
  act.object = identity.serial + " " + identity.principal;
  storage::Batch batch(std::move(act));
  batch.Insert(identity);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  auto stored = store_.Get<storage::Identity>(identity.Names());
  if (!stored) return Fail(std::move(stored));
  return Issued{std::move(*stored), std::move(issued->certificate_pem)};
}

Result<storage::Stored<storage::Identity>> Identities::Revoke(const std::string& serial,
                                                              storage::Act act,
                                                              std::int64_t now_s) {
  auto standing = store_.Get<storage::Identity>(storage::Identity::Names(serial));
  if (!standing) return Fail(std::move(standing));
  storage::Identity revoked = standing->row;
  if (revoked.revoked_at_s == 0) revoked.revoked_at_s = now_s;
  act.object = revoked.serial + " " + revoked.principal;
  storage::Batch batch(std::move(act));
  batch.Replace(revoked, standing->version);
  auto committed = store_.Commit(std::move(batch));
  // One that is Unavailable may stand all the same.
  if (committed || committed.error().GetCode() == Code::kUnavailable) {
    const std::lock_guard lock(guard_);
    revoked_.insert(serial);
  }
  if (!committed) return Fail(std::move(committed));
  return store_.Get<storage::Identity>(revoked.Names());
}

bool Identities::IsRevoked(const std::string& serial) const {
  const std::lock_guard lock(guard_);
  return revoked_.contains(serial);
}

}  // namespace oauthvault::registry
