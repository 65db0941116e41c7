#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "client/failure.h"
#include "client/vault.h"
#include "crypto/secret.h"

namespace oauthvault::client {

/// A component's configuration has at most this many bytes and levels.
inline constexpr std::size_t kMaxConfigurationSize = 240 * 1024;
inline constexpr int kMaxConfigurationDepth = 64;

/// The finished configuration where no vault is needed: nothing is to be looked up (no
/// `authorization.oauth_api.id`, or credentials stand beside it) and nothing to be opened (no
/// string `KBC::` under a `#` key, or `injected` is kSandbox).
/// The bytes stay as they are, but an `authorization` that is absent, null or empty becomes `{}`,
/// and kDropped takes `id` and `version` away beside credentials. Empty when the vault is needed.
/// Errors: kInvalid: not a JSON object, too deep, an `authorization` that nobody knows how to read.
Outcome<std::optional<crypto::SecretBytes>> FinishWithoutVault(
    std::span<const std::uint8_t> configuration, OauthIdInOutput oauth_id,
    Injected injected = Injected::kClear);

}  // namespace oauthvault::client
