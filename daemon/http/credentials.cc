#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "crypto/fields.h"
#include "daemon/custody/eight_keys.h"
#include "daemon/custody/kept.h"
#include "daemon/custody/sealed_copy.h"
#include "daemon/custody/store.h"
#include "daemon/http/body.h"
#include "daemon/http/listing.h"
#include "daemon/http/stories.h"

namespace oauthvault::http {
namespace {

using Json = nlohmann::ordered_json;

/// What a body with credentials may have, in either form. `creator` is set here and refused there.
constexpr std::array<std::string_view, 7> kMembers = {
    "id", "authorizedFor", "data", "#data", "appKey", "appSecret", "#appSecret"};

Json Short(const storage::Credentials& row) {
  return {{"id", row.id.Str()},
          {"authorizedFor", row.authorized_for},
          {"creator", {{"id", row.creator_id}, {"description", row.creator_description}}},
          {"created", custody::CreatedText(row.created_at_s)}};
}

std::string TextOf(const custody::EightKeys& keys) {
  return custody::EightKeysAsJson(keys).Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(crypto::AsField(bytes));
  });
}

/// The eight keys with sealed copies in the places of their two secrets.
Result<std::string> SealedKeys(const access::Permit& to_describe, const OauthId& id,
                               const storage::Store& store) {
  auto keys = custody::SealedCopy(to_describe, id, store);
  if (!keys) return Fail(std::move(keys));
  return TextOf(*keys);
}

/// What is answered when credentials were stored: who may not describe sees no sealed copies.
Result<std::string> KeysAfterStoring(const Visit& visit, const storage::Credentials& row) {
  auto permit = access::Decide(visit.holder->principal, access::Right::kDescribe,
                               visit.permit->Where(), visit.holder->rights);
  if (!permit) return TextOf(custody::PublicKeysOf(row));
  return SealedKeys(*permit, row.id, visit.vault->store);
}

/// `"data": {..}` is kept as the text that came, `"#data": ".."` as the string's value.
Result<crypto::CredentialsData> DataIn(Body& body) {
  if (body.Has("data") == body.Has("#data")) {
    return Fail(Code::kInvalid, "the body has one of data and #data");
  }
  auto data = body.Has("data") ? body.TakeRaw("data") : body.TakeSecret("#data");
  if (!data) return Fail(std::move(data));
  return crypto::CredentialsData(std::move(**data));
}

Result<custody::NewCredentials> CredentialsIn(Body& body, const storage::Token& token) {
  auto id_text = body.TakeText("id");
  if (!id_text) return Fail(std::move(id_text));
  if (!*id_text) return Fail(Code::kInvalid, "the body names no id");
  auto id = OauthId::Parse(**id_text);
  if (!id) return Fail(std::move(id));
  auto authorized_for = body.TakeText("authorizedFor");
  if (!authorized_for) return Fail(std::move(authorized_for));
  auto app_key = body.TakeText("appKey");
  if (!app_key) return Fail(std::move(app_key));
  if (body.Has("appSecret") && body.Has("#appSecret")) {
    return Fail(Code::kInvalid, "the body has one of appSecret and #appSecret");
  }
  auto app_secret = body.TakeSecret(body.Has("appSecret") ? "appSecret" : "#appSecret");
  if (!app_secret) return Fail(std::move(app_secret));
  auto data = DataIn(body);
  if (!data) return Fail(std::move(data));

  custody::NewCredentials credentials{*id};
  credentials.authorized_for = std::move(*authorized_for).value_or(std::string());
  credentials.creator_description = token.title;
  credentials.data = std::move(*data);
  credentials.app_key = std::move(*app_key).value_or(std::string());
  if (*app_secret) credentials.app_secret = crypto::AppSecret(std::move(**app_secret));
  return credentials;
}

}  // namespace

Result<Reply> ListCredentials(Visit& visit) {
  const access::Scope& where = visit.permit->Where();
  return ListAll<storage::Credentials>(visit.vault->store, where.project, where.component, Short);
}

Result<Reply> StoreCredentials(Visit& visit) {
  auto body = Body::Parse(visit.request.body, kMembers);
  if (!body) return Fail(std::move(body));
  auto credentials = CredentialsIn(*body, visit.holder->token);
  if (!credentials) return Fail(std::move(credentials));
  visit.entry.oauth_id = credentials->id.Str();
  auto stored =
      custody::Put(*visit.permit, std::move(*credentials), custody::IfThere::kReplace,
                   visit.vault->kept_versions, visit.ForCommit(), visit.vault->store,
                   visit.vault->now_s());
  if (!stored) return Fail(std::move(stored));
  auto keys = KeysAfterStoring(visit, stored->row);
  if (!keys) return Fail(std::move(keys));
  return Reply{.status = 201, .body = std::move(*keys)};
}

Result<Reply> ShowCredentials(Visit& visit) {
  auto id = OauthId::Parse(visit.id);
  if (!id) return Fail(std::move(id));
  auto keys = SealedKeys(*visit.permit, *id, visit.vault->store);
  if (!keys) return Fail(std::move(keys));
  return Reply{.body = std::move(*keys)};
}

Result<Reply> RemoveCredentials(Visit& visit) {
  auto id = OauthId::Parse(visit.id);
  if (!id) return Fail(std::move(id));
  auto removed =
      custody::Delete(*visit.permit, *id, visit.ForCommit(), visit.vault->store);
  if (!removed) return Fail(std::move(removed));
  return Reply{.status = 204};
}

}  // namespace oauthvault::http
