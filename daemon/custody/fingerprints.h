#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/secret.h"

namespace oauthvault::custody {

/// A fingerprint has 16 bytes; a leaf that is shorter than kMinLeafSize could be guessed and has
/// none.
inline constexpr std::size_t kFingerprintSize = 16;
inline constexpr std::size_t kMaxLeaves = 16;
inline constexpr std::size_t kMinLeafSize = 16;

/// What a value is called in audit lines: keyed BLAKE2b over the project and the value, 16 bytes.
/// The same value has another one in each project. `key` is `Keyring::FingerprintKey`.
std::string FingerprintOf(const crypto::SecretBytes& key, std::string_view project,
                          const crypto::SecretBytes& value);

/// The fingerprint of `data` and, where it is JSON, those of its longest texts: at most kMaxLeaves
/// of at least kMinLeafSize bytes, the longest first, of equal ones the first; each once.
std::vector<std::string> FingerprintsOf(const crypto::SecretBytes& key, std::string_view project,
                                        const crypto::SecretBytes& data);

/// How they stand in an audit line: lower-case hexadecimal, separated by spaces.
std::string TextOf(const std::vector<std::string>& fingerprints);

}  // namespace oauthvault::custody
