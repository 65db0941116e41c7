#include "daemon/registry/components.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "storage/free_text.h"
#include "storage/utf8.h"

namespace oauthvault::registry {
namespace {

constexpr std::array<std::string_view, 4> kOauthVersions = {"1.0", "2.0", "facebook",
                                                            "quickbooks"};

/// An endpoint is https, or empty. Templates (`%%client_id%%`) are allowed behind the host.
Result<void> CheckUrl(const std::string& url, Text field) {
  if (url.empty()) return {};
  if (!url.starts_with("https://") || url.size() == 8 || url[8] == '/' ||
      url.find_first_of(" \t\"<>\\^`{|}") != std::string::npos) {
    return Fail(Code::kInvalid, "an endpoint is an https URL", Subject::Key(field));
  }
  return CheckText(url, field);
}

Result<void> Check(const storage::Component& component) {
  if (std::ranges::find(kOauthVersions, component.oauth_version) == kOauthVersions.end()) {
    return Fail(Code::kInvalid, "oauth_version is 1.0, 2.0, facebook or quickbooks");
  }
  struct Field {
    const std::string* value;
    Text name;
  };
  const Field texts[] = {
      {&component.title, "title"},
      {&component.app_key, "app_key"},
      {&component.rivery_datasource_id, "rivery_datasource_id"},
      {&component.rivery_connection_type, "rivery_connection_type"},
  };
  for (const auto& [text, field] : texts) {
    if (auto ok = CheckText(*text, field); !ok) return ok;
  }
  const Field urls[] = {
      {&component.auth_url, "auth_url"},
      {&component.token_url, "token_url"},
      {&component.request_token_url, "request_token_url"},
  };
  for (const auto& [url, field] : urls) {
    if (auto ok = CheckUrl(*url, field); !ok) return ok;
  }
  return {};
}

template <class T>
void Take(std::optional<T>& from, T& to) {
  if (from) to = std::move(*from);
}

}  // namespace

Result<storage::Stored<storage::Component>> SetComponent(storage::Store& store,
                                                         const ComponentId& id,
                                                         ComponentFields fields,
                                                         IfRegistered if_registered,
                                                         storage::Act act, std::int64_t now_s) {
  auto standing = store.Find<storage::Component>(storage::Component::Names(id));
  if (!standing) return Fail(std::move(standing));
  if (*standing && if_registered == IfRegistered::kRefuse) {
    return Fail(Code::kConflict, "the component is registered already", id);
  }
  if (!*standing && if_registered == IfRegistered::kExpect) {
    return Fail(Code::kNotFound,
                "the component is not registered; component add (or POST /manage) does that", id);
  }

  storage::Component component{.id = id};
  storage::Secrets secrets;
  if (*standing) {
    component = (*standing)->row;
    auto kept = store.OpenSecrets(**standing);
    if (!kept) return Fail(std::move(kept));
    secrets = std::move(*kept);
  } else {
    component.created_at_s = now_s;
    component.created_by = act.principal;
  }
  Take(fields.title, component.title);
  Take(fields.oauth_version, component.oauth_version);
  Take(fields.app_key, component.app_key);
  Take(fields.auth_url, component.auth_url);
  Take(fields.token_url, component.token_url);
  Take(fields.request_token_url, component.request_token_url);
  Take(fields.rivery_datasource_id, component.rivery_datasource_id);
  Take(fields.rivery_connection_type, component.rivery_connection_type);
  Take(fields.rotating, component.rotating);
  if (fields.app_secret) {
    if (fields.app_secret->Bytes().Size() > kMaxAppSecretSize) {
      return Fail(Code::kInvalid, "an app secret has at most 4,096 bytes");
    }
    if (!IsValidUtf8(fields.app_secret->Bytes())) {
      return Fail(Code::kInvalid, "an app secret must be valid UTF-8");
    }
    secrets.app_secret = std::move(*fields.app_secret).Take();
    if (secrets.app_secret->Empty()) secrets.app_secret.reset();
  }
  if (auto ok = Check(component); !ok) return Fail(std::move(ok));

  act.component = id.Str();
  act.version = *standing ? (*standing)->version + 1 : 1;
  storage::Batch batch(std::move(act));
  if (*standing) {
    batch.Replace(component, (*standing)->version, std::move(secrets));
  } else {
    batch.Insert(component, std::move(secrets));
  }
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return store.Get<storage::Component>(storage::Component::Names(id));
}

Result<void> RemoveComponent(storage::Store& store, const ComponentId& id, storage::Act act) {
  auto component = store.Get<storage::Component>(storage::Component::Names(id));
  if (!component) return Fail(std::move(component));
  // Credentials are listed by project, so each project is asked.
  auto unused = store.ForEach<storage::Project>("", "", [&](const auto& project) -> Result<void> {
    auto held = store.List<storage::Credentials>(project.row.id.Str(), id.Str(), "", 1);
    if (!held) return Fail(std::move(held));
    if (held->rows.empty()) return {};
    return Fail(Code::kConflict, "a project still holds credentials for the component",
                project.row.id);
  });
  if (!unused) return unused;
  unused = store.ForEach<storage::Grant>("", "", [&](const auto& grant) -> Result<void> {
    if (grant.row.component != id.Str()) return {};
    return Fail(Code::kConflict, "a grant still names the component", id);
  });
  if (!unused) return unused;
  unused = store.ForEach<storage::Token>("", "", [&](const auto& token) -> Result<void> {
    if (token.row.component != id.Str()) return {};
    return Fail(Code::kConflict, "a token still names the component", id);
  });
  if (!unused) return unused;
  act.component = id.Str();
  act.version = component->version;
  storage::Batch batch(std::move(act));
  batch.Remove(component->row, component->version);
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

}  // namespace oauthvault::registry
