#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "daemon/http/body.h"
#include "daemon/http/listing.h"
#include "daemon/http/stories.h"
#include "daemon/registry/components.h"

namespace oauthvault::http {
namespace {

using Json = nlohmann::ordered_json;

/// What a body about a component may have. An id has two names: one of either version.
constexpr std::array<std::string_view, 9> kMembers = {
    "component_id", "id",       "friendly_name", "app_key",          "app_secret",
    "auth_url",     "token_url", "oauth_version", "request_token_url"};

Json Short(const storage::Component& row) {
  return {{"component_id", row.id.Str()},
          {"id", row.id.Str()},
          {"friendly_name", row.title},
          {"app_key", row.app_key},
          {"oauth_version", row.oauth_version}};
}

/// Never the secret, sealed or not.
Json Whole(const storage::Component& row) {
  Json json = Short(row);
  json["auth_url"] = row.auth_url;
  json["token_url"] = row.token_url;
  json["request_token_url"] = row.request_token_url;
  return json;
}

Result<registry::ComponentFields> FieldsIn(Body& body) {
  registry::ComponentFields fields;
  const std::pair<std::string_view, std::optional<std::string>*> texts[] = {
      {"friendly_name", &fields.title},
      {"oauth_version", &fields.oauth_version},
      {"app_key", &fields.app_key},
      {"auth_url", &fields.auth_url},
      {"token_url", &fields.token_url},
      {"request_token_url", &fields.request_token_url},
  };
  for (const auto& [name, field] : texts) {
    auto text = body.TakeText(name);
    if (!text) return Fail(std::move(text));
    *field = std::move(*text);
  }
  auto secret = body.TakeSecret("app_secret");
  if (!secret) return Fail(std::move(secret));
  if (*secret) fields.app_secret = crypto::AppSecret(std::move(**secret));
  return fields;
}

Result<ComponentId> NewIdIn(Body& body) {
  for (const std::string_view name : {"component_id", "id"}) {
    auto text = body.TakeText(name);
    if (!text) return Fail(std::move(text));
    if (*text) return ComponentId::Parse(**text);
  }
  return Fail(Code::kInvalid, "the body names no component_id");
}

}  // namespace

Result<Reply> ListComponents(Visit& visit) {
  return ListAll<storage::Component>(visit.vault->store, "", "", Short);
}

Result<Reply> RegisterComponent(Visit& visit) {
  auto body = Body::Parse(visit.request.body, kMembers);
  if (!body) return Fail(std::move(body));
  auto id = NewIdIn(*body);
  if (!id) return Fail(std::move(id));
  visit.entry.component = id->Str();
  auto fields = FieldsIn(*body);
  if (!fields) return Fail(std::move(fields));
  auto stored = registry::SetComponent(visit.vault->store, *id, std::move(*fields),
                                       registry::IfRegistered::kRefuse, visit.ForCommit(),
                                       visit.vault->now_s());
  if (!stored) return Fail(std::move(stored));
  return Reply{.status = 201,
               .body = BodyText({{"status", "created"}, {"component_id", stored->row.id.Str()}})};
}

Result<Reply> ShowComponent(Visit& visit) {
  auto id = ComponentId::Parse(visit.component);
  if (!id) return Fail(std::move(id));
  auto stored = visit.vault->store.Get<storage::Component>(storage::Component::Names(*id));
  if (!stored) return Fail(std::move(stored));
  return Reply{.body = BodyText(Whole(stored->row))};
}

Result<Reply> ChangeComponent(Visit& visit) {
  auto id = ComponentId::Parse(visit.component);
  if (!id) return Fail(std::move(id));
  auto body = Body::Parse(visit.request.body, kMembers);
  if (!body) return Fail(std::move(body));
  if (body->Has("component_id") || body->Has("id")) {
    auto named = NewIdIn(*body);
    if (!named) return Fail(std::move(named));
    if (*named != *id) return Fail(Code::kInvalid, "a component keeps its id");
  }
  auto fields = FieldsIn(*body);
  if (!fields) return Fail(std::move(fields));
  // The path names one that is there: this route registers nothing.
  auto stored = registry::SetComponent(visit.vault->store, *id, std::move(*fields),
                                       registry::IfRegistered::kExpect, visit.ForCommit(),
                                       visit.vault->now_s());
  if (!stored) return Fail(std::move(stored));
  return Reply{.body = BodyText(Whole(stored->row))};
}

Result<Reply> RemoveComponent(Visit& visit) {
  auto id = ComponentId::Parse(visit.component);
  if (!id) return Fail(std::move(id));
  auto removed = registry::RemoveComponent(visit.vault->store, *id, visit.ForCommit());
  if (!removed) return Fail(std::move(removed));
  return Reply{.status = 204};
}

}  // namespace oauthvault::http
