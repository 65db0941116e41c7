#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/principal.h"
#include "daemon/rivery/client.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// An API token has 1 to 4,096 bytes of printable ASCII.
inline constexpr std::size_t kMaxApiTokenSize = 4096;

/// What a caller wants of an account: fields that are absent stay as they are.
struct AccountFields {
  std::optional<std::string> base_url;
  std::optional<crypto::ApiToken> token;
  std::optional<std::vector<std::string>> projects;  ///< ids of registered projects, or one `*`
};

/// Adds an account or changes it. A new base URL asks for the token again: an edited address must
/// not make the vault send the old token elsewhere. A new account needs all three.
/// Errors: Invalid, NotFound (a project), Stale (new base URL without the token), Conflict,
/// Unavailable.
Result<storage::Stored<storage::Account>> SetAccount(storage::Store& store, const AccountId& id,
                                                     AccountFields fields, const Reach& reach,
                                                     storage::Act act,
                                                     std::int64_t now_s);

/// An account opened for one call: its URL and its token.
struct OpenAccount {
  std::string base_url;
  crypto::ApiToken token;

  Endpoint AsEndpoint() const { return {base_url, token}; }
};

/// Opens an account for calls of `project`, or for the vault's own where `project` is nullopt.
/// Errors: NotFound, Denied (the project may not use it), Corrupt, Unavailable.
Result<OpenAccount> OpenAccountFor(const storage::Store& store, const AccountId& id,
                                   const std::optional<ProjectId>& project);

}  // namespace oauthvault::rivery
