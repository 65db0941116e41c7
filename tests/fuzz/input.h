#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "crypto/secret.h"

namespace oauthvault::fuzz {

/// The input as text.
inline std::string_view AsText(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A secret's text, for comparing.
inline std::string TextOf(const crypto::SecretBytes& secret) {
  return secret.Expose(
      [](std::span<const std::uint8_t> bytes) { return std::string(AsText(bytes)); });
}

}  // namespace oauthvault::fuzz
