#pragma once

#include <cstdint>
#include <string>

#include "crypto/secret.h"
#include "daemon/custody/json_text.h"

namespace oauthvault::custody {

/// The eight keys of stored credentials, as they go into a configuration or an answer. In a sealed
/// copy `data` and `app_secret` are sealed values, which are no secrets.
struct EightKeys {
  std::string id;
  std::string authorized_for;
  std::string creator_id;
  std::string creator_description;
  std::string created;  ///< `YYYY-MM-DD hh:mm:ss`, UTC
  crypto::CredentialsData data;
  std::string oauth_version;
  std::string app_key;
  crypto::AppSecret app_secret;
};

/// `YYYY-MM-DD hh:mm:ss` in UTC, as the eight keys have it.
std::string CreatedText(std::int64_t seconds);

/// Writes them as a JSON object, in the order of the documentation. All texts are valid UTF-8.
void WriteEightKeys(JsonText& out, const EightKeys& keys);

/// The same into memory of its own: what an answer to a program holds.
crypto::SecretBytes EightKeysAsJson(const EightKeys& keys);

}  // namespace oauthvault::custody
