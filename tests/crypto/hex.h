#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/secret.h"

namespace oauthvault::crypto {

/// The bytes of lower-case hex digits; ends the test program on anything else.
std::vector<std::uint8_t> FromHex(std::string_view digits);

/// The same as a secret.
SecretBytes SecretFromHex(std::string_view digits);

/// Lower-case hex digits.
std::string ToHex(std::span<const std::uint8_t> bytes);

/// Lower-case hex digits of a secret, for comparing in a test.
std::string ToHex(const SecretBytes& secret);

/// One entry of a vector file: name to hex digits or word.
using Vector = std::map<std::string, std::string>;

/// Reads `tests/<path>`: lines `name = value`, entries parted by empty lines, comments after `#`.
/// Ends the test program when there is no entry.
std::vector<Vector> ReadVectors(std::string_view path);

}  // namespace oauthvault::crypto
