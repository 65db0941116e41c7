#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"

namespace oauthvault::crypto {

// Sizes in bytes; ENVELOPE.md draws them.
inline constexpr std::size_t kKeySize = 32;
inline constexpr std::size_t kNonceSize = 24;
inline constexpr std::size_t kTagSize = 16;
inline constexpr std::size_t kCommitmentSize = 32;
inline constexpr std::size_t kVaultIdSize = 16;
inline constexpr std::size_t kRowKeySize = 41;
/// One sealed part holds at most this much plaintext.
inline constexpr std::size_t kMaxPartSize = 128 * 1024;

/// A random number that a vault gets when it is made; part of everything it seals.
using VaultId = std::array<std::uint8_t, kVaultIdSize>;

/// The name of a row in the store: table (1) | tag(project) (16) | tag(project, component) (8) |
/// tag(all names) (16). The tags are keyed hashes: it shows no name, and still sorts by project
/// and component. ENVELOPE.md, "Row key".
struct RowKey {
  std::array<std::uint8_t, kRowKeySize> bytes{};
  auto operator<=>(const RowKey&) const = default;
};

/// What a 32-byte key is for does not mix.
using Kek = Secret<struct KekTag>;
using RootKey = Secret<struct RootKeyTag>;
using PartKey = Secret<struct PartKeyTag>;

/// The sealed parts that a row may have, all under one data key.
enum class Part : std::uint8_t {
  kMeta = 1,       ///< names and whatever describe and list may show
  kData = 2,       ///< `#data`, or the row's one secret
  kAppSecret = 3,  ///< `#appSecret`, only where the row has its own
};

/// The plaintexts of one row on their way in.
struct PlainParts {
  SecretBytes meta;                       ///< always there, at most kMaxPartSize
  std::optional<SecretBytes> data;        ///< absent: the row has no such part
  std::optional<SecretBytes> app_secret;  ///< absent: the row has no such part
};

/// A row as it is stored: sealed, with a header in clear that says format, key version, record
/// version and sizes. Only `SealRow` and `Parse` make one, so whoever holds one holds no plaintext.
class SealedRow {
 public:
  /// Takes stored bytes. Checks structure and sizes, not authenticity: that happens on opening.
  /// Errors: Corrupt.
  static Result<SealedRow> Parse(std::span<const std::uint8_t> stored);

  std::span<const std::uint8_t> Bytes() const { return bytes_; }
  /// Counts the writes of this row, from 1.
  std::uint64_t RecordVersion() const;
  /// The version of the owner's KEK that wraps the row's data key.
  std::uint32_t KekVersion() const;
  bool Has(Part part) const;
  /// The plaintext's size of a part that the row has, else 0.
  std::size_t PlainSize(Part part) const;
  /// The 32 bytes that commit to the data key and to the names of the row: they are new in every
  /// write and stay when a row is rewrapped. Not secret; verified on opening only.
  std::span<const std::uint8_t> Commitment() const;

 private:
  friend Result<SealedRow> SealRow(const Kek&, std::uint32_t, const VaultId&, const RowKey&,
                                   std::uint64_t, const PlainParts&);
  friend Result<SealedRow> RewrapRow(const Kek&, const Kek&, std::uint32_t, const VaultId&,
                                     const RowKey&, const SealedRow&);
  explicit SealedRow(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
  std::vector<std::uint8_t> bytes_;
};

/// Seals a row: a fresh data key, wrapped under `kek`; a commitment to it; the parts, each bound
/// to format, vault, row key, record version and its own part number. ENVELOPE.md, "Row".
/// Both versions count from 1. Errors: Invalid when a version is 0 or a part is larger than
/// kMaxPartSize.
Result<SealedRow> SealRow(const Kek& kek, std::uint32_t kek_version, const VaultId& vault,
                          const RowKey& key, std::uint64_t record_version,
                          const PlainParts& parts);

/// Unwraps a row's data key, checks the commitment, and makes the key under which the row's parts
/// are sealed: one reading does this once, however many parts it opens. On the heap.
/// Errors: Corrupt when anything does not verify.
Result<PartKey> OpenPartKey(const Kek& kek, const VaultId& vault, const RowKey& key,
                            const SealedRow& row);

/// Opens one part of a row under the row's part key into `plain`, whose size must be
/// `row.PlainSize(part)`. On an error `plain` is wiped.
/// Errors: NotFound when the row has no such part, Invalid when `plain` has another size, Corrupt
/// when the part does not verify, also because the key is another row's.
Result<void> OpenPartInto(const PartKey& part_key, const VaultId& vault, const RowKey& key,
                          const SealedRow& row, Part part, std::span<std::uint8_t> plain);

/// Both in one, into memory of its own.
Result<SecretBytes> OpenPart(const Kek& kek, const VaultId& vault, const RowKey& key,
                             const SealedRow& row, Part part);

/// The row with its data key wrapped under `to` instead of `from`: bytes 4 to 7 and the nonce and
/// wrap change, all else stays. The commitment is checked, the parts are not opened. `to_version`
/// counts from 1. Errors: Invalid when it is 0; Corrupt when the wrap or the commitment does not
/// verify.
Result<SealedRow> RewrapRow(const Kek& from, const Kek& to, std::uint32_t to_version,
                            const VaultId& vault, const RowKey& key, const SealedRow& row);

/// The first byte of a part of a row that stands outside of the store; 1 is a sealed value's.
inline constexpr std::uint8_t kSealedPartFormat = 2;

/// One part of a row, with what opens it: a sealed copy that may stand outside of the store. It
/// opens as long as the KEK that wrapped it exists, also when the row is changed or gone.
/// ENVELOPE.md, "Sealed part".
class SealedPart {
 public:
  /// The part of a row that stands under `key`. Errors: NotFound when the row has no such part.
  static Result<SealedPart> Of(const RowKey& key, const SealedRow& row, Part part);
  /// Takes bytes from outside. Checks structure and sizes, not authenticity. Errors: Corrupt.
  static Result<SealedPart> Parse(std::span<const std::uint8_t> bytes);

  std::span<const std::uint8_t> Bytes() const { return bytes_; }
  /// The key of the row that it was taken from.
  RowKey Key() const;
  Part GetPart() const;
  /// As the row's.
  std::uint64_t RecordVersion() const;
  std::uint32_t KekVersion() const;
  std::size_t PlainSize() const;

 private:
  explicit SealedPart(std::vector<std::uint8_t> bytes) : bytes_(std::move(bytes)) {}
  std::vector<std::uint8_t> bytes_;
};

/// Opens it. Errors: Corrupt when anything does not verify.
Result<SecretBytes> OpenSealedPart(const Kek& kek, const VaultId& vault, const SealedPart& part);

/// Seals 32-byte keys under another key: root over KEKs and named keys, slots over the root.
/// nonce (24) | commitment (32) | ciphertext (32) | tag (16). ENVELOPE.md, "Wrapped key".
inline constexpr std::size_t kWrappedKeySize = kNonceSize + kCommitmentSize + kKeySize + kTagSize;
using WrappedKey = std::array<std::uint8_t, kWrappedKeySize>;

/// `bound_to`: fields that must be the same on unwrapping; each is length-prefixed, so no two
/// different lists give the same bytes. `wrapping` and `key` are 32 bytes.
WrappedKey WrapKey(const SecretBytes& wrapping, const SecretBytes& key,
                   std::span<const std::string_view> bound_to);
/// The key comes in locked memory (`SecretBytes::Key`).
/// Errors: Corrupt when the key, the bytes or `bound_to` are not those of the wrapping; Exhausted.
Result<SecretBytes> UnwrapKey(const SecretBytes& wrapping, const WrappedKey& wrapped,
                              std::span<const std::string_view> bound_to);

/// Keyed BLAKE2b over length-prefixed fields, `size_bytes` 8 to 64. The one way the house hashes
/// lists of names: no separator can be forged.
std::vector<std::uint8_t> KeyedHash(const SecretBytes& key,
                                    std::span<const std::string_view> fields,
                                    std::size_t size_bytes);

/// A 32-byte key for one use, made of another: KeyedHash into memory that is wiped. The first field
/// names the use.
SecretBytes DeriveKey(const SecretBytes& key, std::span<const std::string_view> fields);

/// A random 32-byte key from the system's generator, on the heap: for one call.
SecretBytes RandomKey();
/// The same in locked memory (`SecretBytes::Key`), for a key that lives long. Errors: Exhausted.
Result<SecretBytes> RandomLongLivedKey();

}  // namespace oauthvault::crypto
