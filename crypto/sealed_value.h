#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/sealed.h"
#include "crypto/secret.h"

namespace oauthvault::crypto {

/// A sealed value holds at most this much plaintext.
inline constexpr std::size_t kMaxValueSize = 240 * 1024;
/// What a sealed value has beside its plaintext.
inline constexpr std::size_t kValueOverhead =
    1 + 1 + 4 + kNonceSize + kKeySize + kTagSize + kCommitmentSize + kTagSize;

/// The first byte of what stands outside of the store as text: a sealed value, or a part of a row.
inline constexpr std::uint8_t kSealedValueFormat = 1;

/// A value that is sealed to stand outside of the store, in a file of somebody else: bound to the
/// vault, to a scope and to names that its opener must give. What scopes and names mean is known to
/// the room that seals. ENVELOPE.md, "Sealed value".
class SealedValue {
 public:
  /// Takes bytes from outside. Checks structure and sizes, not authenticity. Errors: Corrupt.
  static Result<SealedValue> Parse(std::span<const std::uint8_t> bytes);

  std::span<const std::uint8_t> Bytes() const { return bytes_; }
  /// A number of the caller's, authenticated.
  std::uint8_t Scope() const;
  /// The version of the owner's KEK that wraps the value's data key.
  std::uint32_t KekVersion() const;
  std::size_t PlainSize() const { return bytes_.size() - kValueOverhead; }

 private:
  friend Result<SealedValue> SealValue(const Kek&, std::uint32_t, const VaultId&, std::uint8_t,
                                       std::span<const std::string_view>, const SecretBytes&);
  explicit SealedValue(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
  std::vector<std::uint8_t> bytes_;
};

/// Seals a value: a fresh data key, wrapped under `kek`; a commitment to it; the bytes. All are
/// bound to format, scope, vault, the KEK's version and `names`, each of which is length-prefixed.
/// Errors: Invalid when `kek_version` is 0 or `plain` is larger than kMaxValueSize.
Result<SealedValue> SealValue(const Kek& kek, std::uint32_t kek_version, const VaultId& vault,
                              std::uint8_t scope, std::span<const std::string_view> names,
                              const SecretBytes& plain);

/// Opens it with the names that it was sealed for. Errors: Corrupt when anything does not verify.
Result<SecretBytes> OpenValue(const Kek& kek, const VaultId& vault,
                              std::span<const std::string_view> names, const SealedValue& value);

}  // namespace oauthvault::crypto
