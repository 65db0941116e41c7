#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/principal.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::registry {

/// An app secret has at most this many bytes.
inline constexpr std::size_t kMaxAppSecretSize = 4096;

/// What a caller wants of a component: fields that are absent stay as they are.
struct ComponentFields {
  std::optional<std::string> title;
  std::optional<std::string> oauth_version;
  std::optional<std::string> app_key;
  std::optional<crypto::AppSecret> app_secret;
  std::optional<std::string> auth_url;
  std::optional<std::string> token_url;
  std::optional<std::string> request_token_url;
  std::optional<std::string> rivery_datasource_id;
  std::optional<std::string> rivery_connection_type;
  std::optional<bool> rotating;
};

/// What is done where the component is registered; kExpect: it has to be.
enum class IfRegistered : std::uint8_t { kChange, kRefuse, kExpect };

/// Registers a component or changes it. Errors: Invalid (oauth_version, a URL that is not https,
/// a text, the secret's size), Conflict (registered already, or changed meanwhile), NotFound (it
/// was expected), Unavailable.
Result<storage::Stored<storage::Component>> SetComponent(storage::Store& store,
                                                         const ComponentId& id,
                                                         ComponentFields fields,
                                                         IfRegistered if_registered,
                                                         storage::Act act, std::int64_t now_s);

/// Errors: NotFound; Conflict while some project holds credentials for it, or a grant or a token
/// names it.
Result<void> RemoveComponent(storage::Store& store, const ComponentId& id, storage::Act act);

}  // namespace oauthvault::registry
