#pragma once

#include <sodium.h>

#include <cstdint>
#include <span>
#include <string>

namespace oauthvault::crypto {

/// Lower-case hex, two digits a byte. For what is no secret: the text is not wiped.
inline std::string HexOf(std::span<const std::uint8_t> bytes) {
  std::string hex(2 * bytes.size() + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), bytes.data(), bytes.size());
  hex.pop_back();
  return hex;
}

}  // namespace oauthvault::crypto
