#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>

namespace oauthvault::audit {

using Sha256Hash = std::array<std::uint8_t, 32>;

/// SHA-256 (FIPS 180-4) over the parts, one behind the other; before them stands the byte that says
/// what it is that is hashed, where there is one. By OpenSSL, which uses the processor's own
/// instructions: each line of the trail is hashed several times over.
Sha256Hash Sha256(std::optional<std::uint8_t> kind,
                  std::initializer_list<std::span<const std::uint8_t>> parts);

}  // namespace oauthvault::audit
