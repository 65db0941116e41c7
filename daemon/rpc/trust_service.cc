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

}  // namespace oauthvault::rpc
