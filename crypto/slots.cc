#include "crypto/slots.h"

#include <sodium.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "crypto/durable_file.h"
#include "crypto/fields.h"

namespace oauthvault::crypto {
namespace {

using Bytes = std::span<const std::uint8_t>;

static_assert(kKeySize == crypto_scalarmult_SCALARBYTES);
static_assert(kKeySize == crypto_scalarmult_BYTES);

// ENVELOPE.md, "Slot" and "Key file".
constexpr std::string_view kSlotKeyLabel = "oauthvault/slot/key";
constexpr std::string_view kSlotRootLabel = "oauthvault/slot/root";
constexpr std::string_view kKeyFilePrefix = "oauthvault-key-1:";
constexpr std::size_t kKeyFileLimit = 256;
constexpr int kBase64 = sodium_base64_VARIANT_ORIGINAL;
constexpr std::size_t kBase64Size = 44;

// The key that both holders compute: one has `secret`, the other the secret half of `other_half`.
// None when the shared secret is all zero: RFC 7748 section 6.1, "Both MAY check, without leaking
// extra information about the value of K, whether K is the all-zero value and abort if so". A
// public key of low order would make the wrapping key known to everybody.
std::optional<SecretBytes> WrappingKey(const Slot& slot, const VaultId& vault,
                                       const SecretBytes& secret, const SlotPublicKey& other_half) {
  SecretBytes shared(kKeySize);
  const int status = secret.Expose([&](Bytes scalar) {
    return shared.Fill([&](std::span<std::uint8_t> out) {
      return crypto_scalarmult(out.data(), scalar.data(), other_half.data());
    });
  });
  if (status != 0) return std::nullopt;
  const auto id = LittleEndian(slot.id);
  const auto kind = LittleEndian(static_cast<std::uint8_t>(slot.kind));
  return DeriveKey(shared, std::array{kSlotKeyLabel, AsField(vault), AsField(id), AsField(kind),
                                      AsField(slot.ephemeral_key), AsField(slot.public_key)});
}

struct RootBinding {
  RootBinding(const Slot& slot, const VaultId& vault)
      : id(LittleEndian(slot.id)),
        kind(LittleEndian(static_cast<std::uint8_t>(slot.kind))),
        vault_field(AsField(vault)) {}

  std::array<std::string_view, 4> Fields() const {
    return {kSlotRootLabel, vault_field, AsField(id), AsField(kind)};
  }

  std::array<std::uint8_t, 4> id;
  std::array<std::uint8_t, 1> kind;
  std::string_view vault_field;
};

}  // namespace

SlotSecret NewSlotSecret() { return SlotSecret(RandomKey()); }

SlotPublicKey PublicKeyOf(const SlotSecret& secret) {
  if (secret.Bytes().Size() != kKeySize) std::abort();
  SlotPublicKey public_key{};
  secret.Bytes().Expose(
      [&](Bytes scalar) { crypto_scalarmult_base(public_key.data(), scalar.data()); });
  return public_key;
}

void SealRootTo(Slot& slot, const VaultId& vault, const RootKey& root) {
  const SlotSecret ephemeral = NewSlotSecret();
  slot.ephemeral_key = PublicKeyOf(ephemeral);
  const std::optional<SecretBytes> wrapping =
      WrappingKey(slot, vault, ephemeral.Bytes(), slot.public_key);
  // The point is one that PublicKeyOf made, which is never of low order.
  if (!wrapping) std::abort();
  slot.root = WrapKey(*wrapping, root.Bytes(), RootBinding(slot, vault).Fields());
}

Result<RootKey> OpenRootWith(const Slot& slot, const VaultId& vault, const SlotSecret& secret) {
  if (secret.Bytes().Size() != kKeySize || PublicKeyOf(secret) != slot.public_key) {
    return Fail(Code::kDenied, "the secret does not belong to this slot", Subject::Number(slot.id));
  }
  const std::optional<SecretBytes> wrapping =
      WrappingKey(slot, vault, secret.Bytes(), slot.ephemeral_key);
  if (!wrapping) {
    return Fail(Code::kCorrupt, "the slot holds a public key of low order",
                Subject::Number(slot.id));
  }
  Result<SecretBytes> root = UnwrapKey(*wrapping, slot.root, RootBinding(slot, vault).Fields());
  if (!root) return Fail(Code::kCorrupt, "the slot does not verify", Subject::Number(slot.id));
  return RootKey(std::move(*root));
}

Result<SlotSecret> ReadKeyFile(const std::filesystem::path& path) {
  Result<SecretBytes> content = ReadFileBytes(path, kKeyFileLimit, FileAccess::kOwnerOnly);
  if (!content) return Fail(std::move(content));
  SecretBytes key(kKeySize);
  const bool decoded = content->Expose([&](Bytes bytes) {
    std::string_view text = AsField(bytes);
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (!text.starts_with(kKeyFilePrefix)) return false;
    text.remove_prefix(kKeyFilePrefix.size());
    return key.Fill([&](std::span<std::uint8_t> out) {
      std::size_t size = 0;
      const char* end = nullptr;
      return sodium_base642bin(out.data(), out.size(), text.data(), text.size(), nullptr, &size,
                               &end, kBase64) == 0 &&
             size == kKeySize && end == text.data() + text.size();
    });
  });
  if (!decoded) {
    return Fail(Code::kInvalid, "not a key file: it must be one line of its form",
                Subject::Path(path.string()));
  }
  return SlotSecret(std::move(key));
}

Result<void> WriteKeyFile(const std::filesystem::path& path, const SlotSecret& secret) {
  if (secret.Bytes().Size() != kKeySize) std::abort();
  constexpr std::size_t kLineSize = kKeyFilePrefix.size() + kBase64Size + 1;
  SecretBytes line(kLineSize);
  line.Fill([&](std::span<std::uint8_t> out) {
    std::ranges::copy(kKeyFilePrefix, out.begin());
    secret.Bytes().Expose([&](Bytes bytes) {
      // Ends with a zero byte, which becomes the end of the line.
      sodium_bin2base64(reinterpret_cast<char*>(out.data()) + kKeyFilePrefix.size(),
                        kBase64Size + 1, bytes.data(), bytes.size(), kBase64);
    });
    out.back() = '\n';
  });
  return line.Expose([&](Bytes bytes) { return WriteNewFile(path, bytes); });
}

}  // namespace oauthvault::crypto
