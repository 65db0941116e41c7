#include "crypto/sealed.h"

#include <sodium.h>

#include <algorithm>
#include <cstdlib>

#include "crypto/aead.h"
#include "crypto/fields.h"
#include "crypto/locked_memory.h"
#include "crypto/sabotage.h"

namespace oauthvault::crypto {
namespace {

static_assert(kKeySize == LockedMemory::kSlotSize);

// ENVELOPE.md, "Row".
constexpr std::array<std::uint8_t, 2> kMagic{'O', 'V'};
constexpr std::uint8_t kFormat = 1;
constexpr std::uint8_t kAlgorithm = 1;
constexpr std::size_t kFormatAt = 2;
constexpr std::size_t kAlgorithmAt = 3;
constexpr std::size_t kKekVersionAt = 4;
constexpr std::size_t kRecordVersionAt = 8;
constexpr std::size_t kPartTableAt = 16;
constexpr std::size_t kPartEntriesAt = 17;
constexpr std::size_t kPartEntrySize = 5;
constexpr std::size_t kMaxParts = 3;

constexpr std::string_view kWrapLabel = "oauthvault/row/wrap";
constexpr std::string_view kPartLabel = "oauthvault/row/part";
constexpr std::string_view kCommitLabel = "oauthvault/row/commit";
constexpr std::string_view kPartKeyLabel = "oauthvault/row/part-key";
constexpr std::string_view kCommitKeyLabel = "oauthvault/row/commit-key";
constexpr std::string_view kKeyCommitLabel = "oauthvault/key/commit";
constexpr std::string_view kKeyWrapKeyLabel = "oauthvault/key/wrap-key";
constexpr std::string_view kKeyCommitKeyLabel = "oauthvault/key/commit-key";

SecretBytes DeriveKey(const SecretBytes& key, std::string_view label) {
  return DeriveKey(key, std::array{label});
}

// A data key seals each part once and is never used again, so the part's number is nonce enough.
Nonce NonceOf(Part part) {
  Nonce nonce{};
  nonce[0] = static_cast<std::uint8_t>(part);
  return nonce;
}

// What a row is bound to, as the fields that hashes and associated data take. The version of the
// KEK stands in the wrap alone, so that a new KEK rewraps the data key and touches nothing else.
class Binding {
 public:
  Binding(const VaultId& vault, const RowKey& key, std::uint64_t record_version)
      : vault_(AsField(vault)), key_(AsField(key.bytes)), version_(LittleEndian(record_version)) {}

  std::array<std::string_view, 7> Wrap(ByteView kek_version) const {
    return {kWrapLabel, AsField(format_), AsField(algorithm_),
            vault_,     key_,             AsField(version_),
            AsField(kek_version)};
  }
  std::array<std::string_view, 7> Commit(ByteView part_table) const {
    return {kCommitLabel, AsField(format_), AsField(algorithm_),
            vault_,       key_,             AsField(version_),
            AsField(part_table)};
  }
  std::array<std::string_view, 7> OfPart(const Nonce& nonce) const {
    return {kPartLabel, AsField(format_), AsField(algorithm_),
            vault_,     key_,             AsField(version_),
            AsField(ByteView(nonce).first(1))};
  }

 private:
  std::array<std::uint8_t, 1> format_{kFormat};
  std::array<std::uint8_t, 1> algorithm_{kAlgorithm};
  std::string_view vault_;
  std::string_view key_;
  std::array<std::uint8_t, 8> version_;
};

struct PartPlace {
  Part part;
  std::size_t plain_size;
  std::size_t at;  // of the ciphertext, from the row's begin
};

// Where things stand in a row whose structure was checked.
class Layout {
 public:
  explicit Layout(ByteView row) : row_(row), count_(row[kPartTableAt]) {}

  ByteView KekVersion() const { return row_.subspan(kKekVersionAt, sizeof(std::uint32_t)); }
  ByteView PartTable() const { return row_.subspan(kPartTableAt, 1 + count_ * kPartEntrySize); }
  std::size_t WrapAt() const { return kPartEntriesAt + count_ * kPartEntrySize; }
  ByteView WrapNonce() const { return row_.subspan(WrapAt(), kNonceSize); }
  ByteView WrappedDek() const { return row_.subspan(WrapAt() + kNonceSize, kWrappedDekSize); }
  ByteView Committed() const { return row_.subspan(CommitmentAt(), kCommitmentSize); }
  std::size_t HeaderSize() const { return CommitmentAt() + kCommitmentSize; }

  std::optional<PartPlace> Find(Part part) const {
    std::size_t at = HeaderSize();
    for (std::size_t i = 0; i < count_; ++i) {
      const ByteView entry = row_.subspan(kPartEntriesAt + i * kPartEntrySize, kPartEntrySize);
      const std::size_t size = FromLittleEndian<std::uint32_t>(entry.subspan(1));
      if (entry[0] == static_cast<std::uint8_t>(part)) return PartPlace{part, size, at};
      at += size + kTagSize;
    }
    return std::nullopt;
  }

 private:
  std::size_t CommitmentAt() const { return WrapAt() + kNonceSize + kWrappedDekSize; }

  ByteView row_;
  std::size_t count_;
};

// The row's data key, checked against its commitment.
Result<SecretBytes> OpenDek(const Kek& kek, const Binding& binding, const Layout& layout) {
  SecretBytes dek(kKeySize);
  const bool unwrapped = dek.Fill([&](MutableView bytes) {
    return Decrypt(kek.Bytes(), layout.WrapNonce(), binding.Wrap(layout.KekVersion()),
                   layout.WrappedDek(), bytes);
  });
  if (!unwrapped) return Fail(Code::kCorrupt, "the data key of a row does not verify");
  const auto commitment =
      CommitmentOf(DeriveKey(dek, kCommitKeyLabel), binding.Commit(layout.PartTable()));
  if (sodium_memcmp(commitment.data(), layout.Committed().data(), kCommitmentSize) != 0 &&
      !IsSabotaged(Sabotage::kNoAad)) {
    return Fail(Code::kCorrupt, "the commitment of a row does not verify");
  }
  return dek;
}

// How much a row's header says that it and the parts behind it take.
struct Sizes {
  std::size_t header;
  std::size_t parts;
};

// Checks the structure of a header, up to its part table; what follows may be missing.
Result<Sizes> CheckHeader(ByteView stored) {
  if (stored.size() < kPartEntriesAt) return Fail(Code::kCorrupt, "row is too short");
  if (!std::ranges::equal(stored.first(kMagic.size()), kMagic)) {
    return Fail(Code::kCorrupt, "row does not begin as a row");
  }
  if (stored[kFormatAt] != kFormat) {
    return Fail(Code::kCorrupt, "row has an unknown format", Subject::Number(stored[kFormatAt]));
  }
  if (stored[kAlgorithmAt] != kAlgorithm) {
    return Fail(Code::kCorrupt, "row has an unknown algorithm",
                Subject::Number(stored[kAlgorithmAt]));
  }
  if (FromLittleEndian<std::uint32_t>(stored.subspan(kKekVersionAt)) == 0 ||
      FromLittleEndian<std::uint64_t>(stored.subspan(kRecordVersionAt)) == 0) {
    return Fail(Code::kCorrupt, "row has a version of zero");
  }
  const std::size_t count = stored[kPartTableAt];
  if (count == 0 || count > kMaxParts) {
    return Fail(Code::kCorrupt, "row has an impossible number of parts");
  }
  const std::size_t table_end = kPartEntriesAt + count * kPartEntrySize;
  if (stored.size() < table_end) return Fail(Code::kCorrupt, "row ends in its part table");
  Sizes sizes{table_end + kNonceSize + kWrappedDekSize + kCommitmentSize, 0};
  // Ascending from meta, so that each set of parts has one spelling.
  std::uint8_t previous = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const ByteView entry = stored.subspan(kPartEntriesAt + i * kPartEntrySize, kPartEntrySize);
    const bool first_is_meta = i > 0 || entry[0] == static_cast<std::uint8_t>(Part::kMeta);
    if (!first_is_meta || entry[0] <= previous || entry[0] > kMaxParts) {
      return Fail(Code::kCorrupt, "row has an impossible part table");
    }
    previous = entry[0];
    const std::size_t part_size = FromLittleEndian<std::uint32_t>(entry.subspan(1));
    if (part_size > kMaxPartSize) return Fail(Code::kCorrupt, "row claims a part beyond the limit");
    sizes.parts += part_size + kTagSize;
  }
  return sizes;
}

// ENVELOPE.md, "Sealed part".
constexpr std::size_t kPartNumberAt = 1;
constexpr std::size_t kRowKeyAt = 2;
constexpr std::size_t kHeaderAt = kRowKeyAt + kRowKeySize;

}  // namespace

Result<SealedRow> SealedRow::Parse(std::span<const std::uint8_t> stored) {
  const Result<Sizes> sizes = CheckHeader(stored);
  if (!sizes) return std::unexpected(sizes.error());
  if (stored.size() != sizes->header + sizes->parts) {
    return Fail(Code::kCorrupt, "row has another size than it says");
  }
  return SealedRow(std::vector<std::uint8_t>(stored.begin(), stored.end()));
}

std::uint64_t SealedRow::RecordVersion() const {
  return FromLittleEndian<std::uint64_t>(Bytes().subspan(kRecordVersionAt));
}

std::uint32_t SealedRow::KekVersion() const {
  return FromLittleEndian<std::uint32_t>(Bytes().subspan(kKekVersionAt));
}

bool SealedRow::Has(Part part) const { return Layout(bytes_).Find(part).has_value(); }

std::size_t SealedRow::PlainSize(Part part) const {
  const std::optional<PartPlace> place = Layout(bytes_).Find(part);
  return place ? place->plain_size : 0;
}

std::span<const std::uint8_t> SealedRow::Commitment() const { return Layout(bytes_).Committed(); }

Result<SealedRow> SealRow(const Kek& kek, std::uint32_t kek_version, const VaultId& vault,
                          const RowKey& key, std::uint64_t record_version,
                          const PlainParts& parts) {
  if (kek_version == 0 || record_version == 0) {
    return Fail(Code::kInvalid, "versions count from one");
  }
  struct PlainPart {
    Part part;
    const SecretBytes* plain;
  };
  std::vector<PlainPart> present{{Part::kMeta, &parts.meta}};
  if (parts.data) present.push_back({Part::kData, &*parts.data});
  if (parts.app_secret) present.push_back({Part::kAppSecret, &*parts.app_secret});

  std::vector<std::uint8_t> row(kMagic.begin(), kMagic.end());
  row.push_back(kFormat);
  row.push_back(kAlgorithm);
  Append(row, LittleEndian(kek_version));
  Append(row, LittleEndian(record_version));
  row.push_back(static_cast<std::uint8_t>(present.size()));
  std::size_t sealed_size = 0;
  for (const auto& [part, plain] : present) {
    if (plain->Size() > kMaxPartSize) {
      return Fail(Code::kInvalid, "a part is larger than a row may hold",
                  Subject::Number(static_cast<std::int64_t>(kMaxPartSize)));
    }
    row.push_back(static_cast<std::uint8_t>(part));
    Append(row, LittleEndian(static_cast<std::uint32_t>(plain->Size())));
    sealed_size += plain->Size() + kTagSize;
  }
  const std::size_t table_size = row.size() - kPartTableAt;
  const std::size_t wrap_at = row.size();
  row.resize(wrap_at + kNonceSize + kWrappedDekSize + kCommitmentSize + sealed_size);

  const MutableView all(row);
  const Binding binding(vault, key, record_version);
  const SecretBytes dek = RandomKey();

  const MutableView nonce = all.subspan(wrap_at, kNonceSize);
  randombytes_buf(nonce.data(), nonce.size());
  Encrypt(kek.Bytes(), nonce,
          binding.Wrap(all.subspan(kKekVersionAt, sizeof kek_version)), dek,
          all.subspan(wrap_at + kNonceSize, kWrappedDekSize));

  std::size_t at = wrap_at + kNonceSize + kWrappedDekSize;
  HashInto(DeriveKey(dek, kCommitKeyLabel),
           binding.Commit(all.subspan(kPartTableAt, table_size)),
           all.subspan(at, kCommitmentSize));
  at += kCommitmentSize;

  const SecretBytes part_key = DeriveKey(dek, kPartKeyLabel);
  for (const auto& [part, plain] : present) {
    const Nonce part_nonce = NonceOf(part);
    Encrypt(part_key, part_nonce, binding.OfPart(part_nonce), *plain,
            all.subspan(at, plain->Size() + kTagSize));
    at += plain->Size() + kTagSize;
  }
  return SealedRow(std::move(row));
}

Result<PartKey> OpenPartKey(const Kek& kek, const VaultId& vault, const RowKey& key,
                            const SealedRow& row) {
  const Result<SecretBytes> dek =
      OpenDek(kek, Binding(vault, key, row.RecordVersion()), Layout(row.Bytes()));
  if (!dek) return std::unexpected(dek.error());
  return PartKey(DeriveKey(*dek, kPartKeyLabel));
}

Result<void> OpenPartInto(const PartKey& part_key, const VaultId& vault, const RowKey& key,
                          const SealedRow& row, Part part, std::span<std::uint8_t> plain) {
  const std::optional<PartPlace> place = Layout(row.Bytes()).Find(part);
  if (!place) {
    Wipe(plain);
    return Fail(Code::kNotFound, "the row has no such part",
                Subject::Number(static_cast<std::uint8_t>(part)));
  }
  if (plain.size() != place->plain_size) {
    Wipe(plain);
    return Fail(Code::kInvalid, "the place for a part has another size than the part");
  }
  const Nonce nonce = NonceOf(part);
  if (!Decrypt(part_key.Bytes(), nonce,
               Binding(vault, key, row.RecordVersion()).OfPart(nonce),
               row.Bytes().subspan(place->at, place->plain_size + kTagSize), plain)) {
    return Fail(Code::kCorrupt, "a part of a row does not verify",
                Subject::Number(static_cast<std::uint8_t>(part)));
  }
  return {};
}

Result<SecretBytes> OpenPart(const Kek& kek, const VaultId& vault, const RowKey& key,
                             const SealedRow& row, Part part) {
  const Result<PartKey> part_key = OpenPartKey(kek, vault, key, row);
  if (!part_key) return std::unexpected(part_key.error());
  SecretBytes plain(row.PlainSize(part));
  Result<void> opened = plain.Fill([&](MutableView bytes) {
    return OpenPartInto(*part_key, vault, key, row, part, bytes);
  });
  if (!opened) return Fail(std::move(opened));
  return plain;
}

Result<SealedRow> RewrapRow(const Kek& from, const Kek& to, std::uint32_t to_version,
                            const VaultId& vault, const RowKey& key, const SealedRow& row) {
  if (to_version == 0) return Fail(Code::kInvalid, "a rewrapped row's key version counts from one");
  const Layout layout(row.Bytes());
  const Binding binding(vault, key, row.RecordVersion());
  Result<SecretBytes> dek = OpenDek(from, binding, layout);
  if (!dek) return Fail(std::move(dek));
  std::vector<std::uint8_t> rewrapped(row.Bytes().begin(), row.Bytes().end());
  const MutableView all(rewrapped);
  const auto version = LittleEndian(to_version);
  std::ranges::copy(version, all.subspan(kKekVersionAt).begin());
  const MutableView nonce = all.subspan(layout.WrapAt(), kNonceSize);
  randombytes_buf(nonce.data(), nonce.size());
  Encrypt(to.Bytes(), nonce, binding.Wrap(version), *dek,
          all.subspan(layout.WrapAt() + kNonceSize, kWrappedDekSize));
  return SealedRow(std::move(rewrapped));
}

Result<SealedPart> SealedPart::Of(const RowKey& key, const SealedRow& row, Part part) {
  const Layout layout(row.Bytes());
  const std::optional<PartPlace> place = layout.Find(part);
  if (!place) {
    return Fail(Code::kNotFound, "the row has no part of this kind to copy",
                Subject::Number(static_cast<std::uint8_t>(part)));
  }
  std::vector<std::uint8_t> bytes{kSealedPartFormat, static_cast<std::uint8_t>(part)};
  Append(bytes, key.bytes);
  Append(bytes, row.Bytes().first(layout.HeaderSize()));
  Append(bytes, row.Bytes().subspan(place->at, place->plain_size + kTagSize));
  return SealedPart(std::move(bytes));
}

Result<SealedPart> SealedPart::Parse(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kHeaderAt || bytes[0] != kSealedPartFormat) {
    return Fail(Code::kCorrupt, "a sealed part does not begin as one");
  }
  const ByteView rest = bytes.subspan(kHeaderAt);
  const Result<Sizes> sizes = CheckHeader(rest);
  if (!sizes) return std::unexpected(sizes.error());
  const std::optional<PartPlace> place =
      Layout(rest).Find(static_cast<Part>(bytes[kPartNumberAt]));
  if (!place || rest.size() != sizes->header + place->plain_size + kTagSize) {
    return Fail(Code::kCorrupt, "a sealed part has another size than its row says");
  }
  return SealedPart(std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
}

RowKey SealedPart::Key() const {
  RowKey key;
  std::ranges::copy(Bytes().subspan(kRowKeyAt, kRowKeySize), key.bytes.begin());
  return key;
}

Part SealedPart::GetPart() const { return static_cast<Part>(bytes_[kPartNumberAt]); }

std::uint64_t SealedPart::RecordVersion() const {
  return FromLittleEndian<std::uint64_t>(Bytes().subspan(kHeaderAt + kRecordVersionAt));
}

std::uint32_t SealedPart::KekVersion() const {
  return FromLittleEndian<std::uint32_t>(Bytes().subspan(kHeaderAt + kKekVersionAt));
}

std::size_t SealedPart::PlainSize() const {
  return Layout(Bytes().subspan(kHeaderAt)).Find(GetPart())->plain_size;
}

Result<SecretBytes> OpenSealedPart(const Kek& kek, const VaultId& vault, const SealedPart& part) {
  const ByteView rest = part.Bytes().subspan(kHeaderAt);
  const Layout layout(rest);
  const RowKey key = part.Key();
  const Binding binding(vault, key, part.RecordVersion());
  const Result<SecretBytes> dek = OpenDek(kek, binding, layout);
  if (!dek) return std::unexpected(dek.error());
  const Nonce nonce = NonceOf(part.GetPart());
  SecretBytes plain(part.PlainSize());
  const bool opened = plain.Fill([&](MutableView bytes) {
    return Decrypt(DeriveKey(*dek, kPartKeyLabel), nonce, binding.OfPart(nonce),
                   rest.subspan(layout.HeaderSize()), bytes);
  });
  if (!opened) return Fail(Code::kCorrupt, "a sealed part does not verify");
  return plain;
}

WrappedKey WrapKey(const SecretBytes& wrapping, const SecretBytes& key,
                   std::span<const std::string_view> bound_to) {
  WrappedKey wrapped{};
  const MutableView all(wrapped);
  const MutableView nonce = all.first(kNonceSize);
  randombytes_buf(nonce.data(), nonce.size());
  std::vector<std::string_view> committed{kKeyCommitLabel, AsField(nonce)};
  committed.insert(committed.end(), bound_to.begin(), bound_to.end());
  HashInto(DeriveKey(wrapping, kKeyCommitKeyLabel), committed,
           all.subspan(kNonceSize, kCommitmentSize));
  Encrypt(DeriveKey(wrapping, kKeyWrapKeyLabel), nonce, bound_to, key,
          all.subspan(kNonceSize + kCommitmentSize));
  return wrapped;
}

Result<SecretBytes> UnwrapKey(const SecretBytes& wrapping, const WrappedKey& wrapped,
                              std::span<const std::string_view> bound_to) {
  const ByteView all(wrapped);
  const ByteView nonce = all.first(kNonceSize);
  std::vector<std::string_view> committed{kKeyCommitLabel, AsField(nonce)};
  committed.insert(committed.end(), bound_to.begin(), bound_to.end());
  const auto commitment = CommitmentOf(DeriveKey(wrapping, kKeyCommitKeyLabel), committed);
  if (sodium_memcmp(commitment.data(), all.subspan(kNonceSize).data(), kCommitmentSize) != 0) {
    return Fail(Code::kCorrupt, "the commitment of a wrapped key does not verify");
  }
  Result<SecretBytes> key = SecretBytes::Key();
  if (!key) return key;
  const bool opened = key->Fill([&](MutableView bytes) {
    return Decrypt(DeriveKey(wrapping, kKeyWrapKeyLabel), nonce, bound_to,
                   all.subspan(kNonceSize + kCommitmentSize), bytes);
  });
  if (!opened) return Fail(Code::kCorrupt, "a wrapped key does not verify");
  return key;
}

std::vector<std::uint8_t> KeyedHash(const SecretBytes& key,
                                    std::span<const std::string_view> fields,
                                    std::size_t size_bytes) {
  // BLAKE2b as libsodium documents it gives 16 bytes at least; a shorter hash is the begin of that.
  std::vector<std::uint8_t> hash(std::max<std::size_t>(size_bytes, crypto_generichash_BYTES_MIN));
  HashInto(key, fields, hash);
  hash.resize(size_bytes);
  return hash;
}

SecretBytes DeriveKey(const SecretBytes& key, std::span<const std::string_view> fields) {
  SecretBytes derived(kKeySize);
  derived.Fill([&](MutableView bytes) { HashInto(key, fields, bytes); });
  return derived;
}

SecretBytes RandomKey() {
  SecretBytes key(kKeySize);
  key.Fill([](MutableView bytes) { randombytes_buf(bytes.data(), bytes.size()); });
  return key;
}

Result<SecretBytes> RandomLongLivedKey() {
  Result<SecretBytes> key = SecretBytes::Key();
  if (key) key->Fill([](MutableView bytes) { randombytes_buf(bytes.data(), bytes.size()); });
  return key;
}

}  // namespace oauthvault::crypto
