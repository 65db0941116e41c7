#include "daemon/rpc/trust_service.h"

#include <string>
#include <utility>
#include <vector>

namespace oauthvault::rpc {
namespace {

void Write(const storage::TrustAnchor& row, v1::TrustAnchor& message) {
  message.set_id(row.id);
  message.set_trust_domain(row.trust_domain);
  for (const std::string& kind : row.kinds) message.add_kinds(kind);
  message.set_expires_at_s(row.expires_at_s);
  message.set_created_at_s(row.created_at_s);
  message.set_created_by(row.created_by);
}

void Write(const storage::RevokedKey& row, v1::RevokedKey& message) {
  message.set_key_sha256(row.key_hash);
  message.set_revoked_at_s(row.revoked_at_s);
  message.set_revoked_by(row.revoked_by);
}

}  // namespace

grpc::ServerUnaryReactor* TrustService::Add(grpc::CallbackServerContext* call,
                                            const v1::AddTrustRequest* request,
                                            v1::TrustAnchor* response) {
  return edge_.Serve(call, "Trust.Add", workers_, request, response,
                     [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
                       std::vector<std::string> kinds(asked.kinds().begin(), asked.kinds().end());
                       auto anchor =
                           trusts_.Add(asked.certificate_pem(), asked.trust_domain(),
                                       std::move(kinds), admitted.ForCommit(), edge_.NowS());
                       if (!anchor) return Fail(std::move(anchor));
                       Write(anchor->row, answer);
                       return {};
                     });
}

grpc::ServerUnaryReactor* TrustService::List(grpc::CallbackServerContext* call,
                                             const v1::ListTrustRequest* request,
                                             v1::ListTrustResponse* response) {
  return edge_.Serve(call, "Trust.List", workers_, request, response,
                     [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
                       auto page = store_.List<storage::TrustAnchor>("", "", asked.page_token(),
                                                                     asked.page_size());
                       if (!page) return Fail(std::move(page));
                       for (const auto& stored : page->rows) {
                         Write(stored.row, *answer.add_anchors());
                       }
                       answer.set_next_page_token(page->next);
                       return {};
                     });
}

grpc::ServerUnaryReactor* TrustService::Remove(grpc::CallbackServerContext* call,
                                               const v1::RemoveTrustRequest* request,
                                               v1::RemoveTrustResponse* response) {
  return edge_.Serve(call, "Trust.Remove", workers_, request, response,
                     [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
                       if (!IsValidId(asked.id())) {
                         return Fail(Code::kInvalid,
                                     "a trust anchor's id is hex digits, as its list shows it");
                       }
                       return trusts_.Remove(asked.id(), admitted.ForCommit());
                     });
}

grpc::ServerUnaryReactor* TrustService::RevokeKey(grpc::CallbackServerContext* call,
                                                  const v1::RevokeKeyRequest* request,
                                                  v1::RevokedKey* response) {
  return edge_.Serve(call, "Trust.RevokeKey", workers_, request, response,
                     [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
                       Result<std::string> key_hash = asked.key_sha256();
                       if (asked.has_certificate_pem()) {
                         key_hash = registry::RevokedKeyIn(asked.certificate_pem());
                       }
                       if (!key_hash) return Fail(std::move(key_hash));
                       auto revoked =
                           trusts_.RevokeKey(*key_hash, admitted.ForCommit(), edge_.NowS());
                       if (!revoked) return Fail(std::move(revoked));
                       Write(revoked->row, answer);
                       return {};
                     });
}

grpc::ServerUnaryReactor* TrustService::ListRevokedKeys(
    grpc::CallbackServerContext* call, const v1::ListRevokedKeysRequest* request,
    v1::ListRevokedKeysResponse* response) {
  return edge_.Serve(call, "Trust.ListRevokedKeys", workers_, request, response,
                     [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
                       auto page = store_.List<storage::RevokedKey>("", "", asked.page_token(),
                                                                    asked.page_size());
                       if (!page) return Fail(std::move(page));
                       for (const auto& stored : page->rows) {
                         Write(stored.row, *answer.add_keys());
                       }
                       answer.set_next_page_token(page->next);
                       return {};
                     });
}

}  // namespace oauthvault::rpc
