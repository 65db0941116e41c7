#include "daemon/rpc/tokens_service.h"

#include <optional>
#include <span>
#include <utility>

namespace oauthvault::rpc {
namespace {

void Write(const storage::Token& row, v1::Token& message) {
  message.set_id(row.id.Str());
  message.set_title(row.title);
  message.set_project(row.project);
  message.set_component(row.component);
  for (const std::string& right : row.rights) message.add_rights(right);
  message.set_created_at_s(row.created_at_s);
  message.set_created_by(row.created_by);
  message.set_expires_at_s(row.expires_at_s);
}

Result<registry::NewToken> WantedBy(const v1::IssueTokenRequest& asked) {
  registry::NewToken wanted{asked.title(), asked.project(), asked.component(), {}, asked.ttl_s()};
  for (const std::string& word : asked.rights()) {
    const std::optional<access::Right> right = access::RightOf(word);
    if (!right) return Fail(Code::kInvalid, "a token's right is store, describe, encrypt, connect "
                                            "or register");
    wanted.rights.push_back(*right);
  }
  return wanted;
}

}  // namespace

void TokensService::AddTo(Methods& methods) {
  methods.Add("Tokens.Issue", *this, &TokensService::Issue);
  methods.Add("Tokens.List", *this, &TokensService::List);
  methods.Add("Tokens.Revoke", *this, &TokensService::Revoke);
}

void TokensService::Issue(Call& call) {
  edge_.Serve<v1::IssueTokenRequest, v1::IssueTokenResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto wanted = WantedBy(asked);
        if (!wanted) return Fail(std::move(wanted));
        auto issued = tokens_.Issue(*wanted, admitted.ForCommit(), edge_.NowS());
        if (!issued) return Fail(std::move(issued));
        Write(issued->token.row, *answer.mutable_token());
        // Shown once and on purpose; the message's memory is wiped when it is freed.
        issued->text.Bytes().Expose([&](std::span<const std::uint8_t> bytes) {
          answer.set_text(bytes.data(), bytes.size());
        });
        return {};
      });
}

void TokensService::List(Call& call) {
  edge_.Serve<v1::ListTokensRequest, v1::ListTokensResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto page = store_.List<storage::Token>("", "", asked.page_token(),
                                                asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) {
          Write(stored.row, *answer.add_tokens());
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void TokensService::Revoke(Call& call) {
  edge_.Serve<v1::RevokeTokenRequest, v1::RevokeTokenResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
        auto id = TokenId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        return tokens_.Revoke(*id, admitted.ForCommit());
      });
}

}  // namespace oauthvault::rpc
