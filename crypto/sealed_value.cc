#include "crypto/sealed_value.h"

#include <sodium.h>

#include <array>

#include "crypto/aead.h"
#include "crypto/fields.h"
#include "crypto/sabotage.h"

namespace oauthvault::crypto {
namespace {

// ENVELOPE.md, "Sealed value".
constexpr std::size_t kScopeAt = 1;
constexpr std::size_t kKekVersionAt = 2;
constexpr std::size_t kWrapNonceAt = 6;
constexpr std::size_t kWrappedDekAt = kWrapNonceAt + kNonceSize;
constexpr std::size_t kCommitmentAt = kWrappedDekAt + kWrappedDekSize;
constexpr std::size_t kSealedAt = kCommitmentAt + kCommitmentSize;
static_assert(kSealedAt + kTagSize == kValueOverhead);

constexpr std::string_view kWrapLabel = "oauthvault/value/wrap";
constexpr std::string_view kCommitLabel = "oauthvault/value/commit";
constexpr std::string_view kSealLabel = "oauthvault/value/seal";
constexpr std::string_view kCommitKeyLabel = "oauthvault/value/commit-key";
constexpr std::string_view kSealKeyLabel = "oauthvault/value/seal-key";

// A data key seals one value and is never used again.
constexpr Nonce kSealNonce{};

SecretBytes Derived(const SecretBytes& dek, std::string_view label) {
  return DeriveKey(dek, std::array{label});
}

// What a value is bound to, under a label of its use; refers to its arguments.
class Binding {
 public:
  Binding(ByteView value, const VaultId& vault, Fields names)
      : fields_{std::string_view(), AsField(value.first(1)), AsField(value.subspan(kScopeAt, 1)),
                AsField(vault), AsField(value.subspan(kKekVersionAt, 4))} {
    fields_.insert(fields_.end(), names.begin(), names.end());
  }

  Fields For(std::string_view label) {
    fields_.front() = label;
    return fields_;
  }

 private:
  std::vector<std::string_view> fields_;
};

}  // namespace

Result<SealedValue> SealedValue::Parse(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kValueOverhead || bytes.size() > kValueOverhead + kMaxValueSize) {
    return Fail(Code::kCorrupt, "a sealed value has an impossible size");
  }
  if (bytes[0] != kSealedValueFormat) {
    return Fail(Code::kCorrupt, "a sealed value has an unknown format", Subject::Number(bytes[0]));
  }
  if (FromLittleEndian<std::uint32_t>(bytes.subspan(kKekVersionAt)) == 0) {
    return Fail(Code::kCorrupt, "a sealed value has a key version of zero");
  }
  return SealedValue(std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
}

std::uint8_t SealedValue::Scope() const { return bytes_[kScopeAt]; }

std::uint32_t SealedValue::KekVersion() const {
  return FromLittleEndian<std::uint32_t>(Bytes().subspan(kKekVersionAt));
}

Result<SealedValue> SealValue(const Kek& kek, std::uint32_t kek_version, const VaultId& vault,
                              std::uint8_t scope, std::span<const std::string_view> names,
                              const SecretBytes& plain) {
  if (kek_version == 0) return Fail(Code::kInvalid, "a value's key version counts from one");
  if (plain.Size() > kMaxValueSize) {
    return Fail(Code::kInvalid, "a value to seal has at most this many bytes",
                Subject::Number(static_cast<std::int64_t>(kMaxValueSize)));
  }
  std::vector<std::uint8_t> value{kSealedValueFormat, scope};
  Append(value, LittleEndian(kek_version));
  value.resize(kValueOverhead + plain.Size());
  const MutableView all(value);
  const MutableView nonce = all.subspan(kWrapNonceAt, kNonceSize);
  randombytes_buf(nonce.data(), nonce.size());

  Binding binding(value, vault, names);
  const SecretBytes dek = RandomKey();
  Encrypt(kek.Bytes(), nonce, binding.For(kWrapLabel), dek,
          all.subspan(kWrappedDekAt, kWrappedDekSize));
  HashInto(Derived(dek, kCommitKeyLabel), binding.For(kCommitLabel),
           all.subspan(kCommitmentAt, kCommitmentSize));
  Encrypt(Derived(dek, kSealKeyLabel), kSealNonce, binding.For(kSealLabel), plain,
          all.subspan(kSealedAt));
  return SealedValue(std::move(value));
}

Result<SecretBytes> OpenValue(const Kek& kek, const VaultId& vault,
                              std::span<const std::string_view> names, const SealedValue& value) {
  const ByteView all = value.Bytes();
  Binding binding(all, vault, names);
  SecretBytes dek(kKeySize);
  const bool unwrapped = dek.Fill([&](MutableView bytes) {
    return Decrypt(kek.Bytes(), all.subspan(kWrapNonceAt, kNonceSize), binding.For(kWrapLabel),
                   all.subspan(kWrappedDekAt, kWrappedDekSize), bytes);
  });
  if (!unwrapped) return Fail(Code::kCorrupt, "the data key of a sealed value does not verify");
  const auto commitment = CommitmentOf(Derived(dek, kCommitKeyLabel), binding.For(kCommitLabel));
  if (sodium_memcmp(commitment.data(), all.subspan(kCommitmentAt).data(), kCommitmentSize) != 0 &&
      !IsSabotaged(Sabotage::kNoAad)) {
    return Fail(Code::kCorrupt, "the commitment of a sealed value does not verify");
  }
  SecretBytes plain(value.PlainSize());
  const bool opened = plain.Fill([&](MutableView bytes) {
    return Decrypt(Derived(dek, kSealKeyLabel), kSealNonce, binding.For(kSealLabel),
                   all.subspan(kSealedAt), bytes);
  });
  if (!opened) return Fail(Code::kCorrupt, "a sealed value does not verify");
  return plain;
}

}  // namespace oauthvault::crypto
