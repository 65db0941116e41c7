#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "crypto/sealed.h"
#include "crypto/secret.h"

namespace oauthvault::crypto {

// What the room's formats are made of (ENVELOPE.md, the top of the page). Room only.

using ByteView = std::span<const std::uint8_t>;
using MutableView = std::span<std::uint8_t>;
/// The fields of a hash or of associated data; each is length-prefixed.
using Fields = std::span<const std::string_view>;
using Nonce = std::array<std::uint8_t, kNonceSize>;

/// A data key that is sealed under another key.
inline constexpr std::size_t kWrappedDekSize = kKeySize + kTagSize;

/// Seal(key, nonce, bound_to, plain): XChaCha20-Poly1305-IETF, ciphertext | tag into `sealed` of
/// `plain.Size()` + kTagSize bytes. Wrong sizes end the process.
void Encrypt(const SecretBytes& key, ByteView nonce, Fields bound_to, const SecretBytes& plain,
             MutableView sealed);

/// The other way round, into `plain` of `sealed.size()` - kTagSize bytes. False, and `plain`
/// wiped, when the tag does not verify.
bool Decrypt(const SecretBytes& key, ByteView nonce, Fields bound_to, ByteView sealed,
             MutableView plain);

/// H(key, fields, hash.size()), 16 to 64 bytes, into memory of the caller's.
void HashInto(const SecretBytes& key, Fields fields, MutableView hash);

/// H(key, fields, 32).
std::array<std::uint8_t, kCommitmentSize> CommitmentOf(const SecretBytes& key, Fields fields);

}  // namespace oauthvault::crypto
