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

void TrustService::AddTo(Methods& methods) {
  methods.Add("Trust.Add", *this, &TrustService::Add);
  methods.Add("Trust.List", *this, &TrustService::List);
  methods.Add("Trust.Remove", *this, &TrustService::Remove);
  methods.Add("Trust.RevokeKey", *this, &TrustService::RevokeKey);
  methods.Add("Trust.ListRevokedKeys", *this, &TrustService::ListRevokedKeys);
}

void TrustService::Add(Call& call) {
  edge_.Serve<v1::AddTrustRequest, v1::TrustAnchor>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        std::vector<std::string> kinds(asked.kinds().begin(), asked.kinds().end());
        auto anchor =
            trusts_.Add(asked.certificate_pem(), asked.trust_domain(),
                        std::move(kinds), admitted.ForCommit(), edge_.NowS());
        if (!anchor) return Fail(std::move(anchor));
        Write(anchor->row, answer);
        return {};
      });
}

void TrustService::List(Call& call) {
  edge_.Serve<v1::ListTrustRequest, v1::ListTrustResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
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

void TrustService::Remove(Call& call) {
  edge_.Serve<v1::RemoveTrustRequest, v1::RemoveTrustResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
        if (!IsValidId(asked.id())) {
          return Fail(Code::kInvalid,
                      "a trust anchor's id is hex digits, as its list shows it");
        }
        return trusts_.Remove(asked.id(), admitted.ForCommit());
      });
}

void TrustService::RevokeKey(Call& call) {
  edge_.Serve<v1::RevokeKeyRequest, v1::RevokedKey>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
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

void TrustService::ListRevokedKeys(Call& call) {
  edge_.Serve<v1::ListRevokedKeysRequest, v1::ListRevokedKeysResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
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
