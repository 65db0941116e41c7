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
static_assert(std::tuple_size_v<decltype(PassphraseParameters::salt)> == crypto_pwhash_SALTBYTES);
static_assert(kLeastPassphraseCost.passes >= crypto_pwhash_argon2id_OPSLIMIT_MIN);

// ENVELOPE.md, "Slot" and "Key file".
constexpr std::string_view kSlotKeyLabel = "oauthvault/slot/key";
constexpr std::string_view kSlotRootLabel = "oauthvault/slot/root";
constexpr std::string_view kKeyFilePrefix = "oauthvault-key-1:";
// A line of another version is a key file's line all the same.
constexpr std::string_view kKeyFileBegin = "oauthvault-key-";
constexpr std::size_t kMaxSlotLabel = 64;
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
        parameters(ParametersOf(slot)),
        vault_field(AsField(vault)) {}

  std::array<std::string_view, 5> Fields() const {
    return {kSlotRootLabel, vault_field, AsField(id), AsField(kind), AsField(parameters)};
  }

  std::array<std::uint8_t, 4> id;
  std::array<std::uint8_t, 1> kind;
  std::vector<std::uint8_t> parameters;
  std::string_view vault_field;
};

// One line, not too short, and nothing that is read as something else when it is typed in again.
bool IsPassphrase(std::string_view text) {
  const auto is_control = [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; };
  return text.size() >= kLeastPassphrase && text.size() <= kMostPassphrase &&
         std::ranges::none_of(text, is_control) && !LooksLikeKeyLine(text) && !LooksLikeShare(text);
}

bool IsCost(const PassphraseCost& cost) {
  return cost.passes >= kLeastPassphraseCost.passes && cost.passes <= kMostPassphraseCost.passes &&
         cost.memory_kib >= kLeastPassphraseCost.memory_kib &&
         cost.memory_kib <= kMostPassphraseCost.memory_kib;
}

}  // namespace

bool IsSlotLabel(std::string_view label) {
  return !label.empty() && label.size() <= kMaxSlotLabel &&
         std::ranges::all_of(label, [](char c) { return c >= ' ' && c <= '~'; });
}

std::vector<std::uint8_t> ParametersOf(const Slot& slot) {
  std::vector<std::uint8_t> bytes;
  switch (slot.kind) {
    case SlotKind::kKeyFile: break;
    case SlotKind::kPassphrase:
      Append(bytes, slot.passphrase.salt);
      Append(bytes, LittleEndian(slot.passphrase.cost.passes));
      Append(bytes, LittleEndian(slot.passphrase.cost.memory_kib));
      break;
    case SlotKind::kShares:
      Append(bytes, slot.shares.set);
      bytes.push_back(slot.shares.threshold);
      bytes.push_back(slot.shares.total);
      break;
  }
  return bytes;
}

bool ReadParameters(Slot& slot, std::span<const std::uint8_t> bytes) {
  switch (slot.kind) {
    case SlotKind::kKeyFile: return bytes.empty();
    case SlotKind::kPassphrase: {
      PassphraseParameters& parameters = slot.passphrase;
      constexpr std::size_t kSaltSize = std::tuple_size_v<decltype(parameters.salt)>;
      if (bytes.size() != kSaltSize + 2 * sizeof(std::uint32_t)) return false;
      std::ranges::copy(bytes.first(kSaltSize), parameters.salt.begin());
      parameters.cost.passes = FromLittleEndian<std::uint32_t>(bytes.subspan(kSaltSize));
      parameters.cost.memory_kib = FromLittleEndian<std::uint32_t>(bytes.subspan(kSaltSize + 4));
      return IsCost(parameters.cost);
    }
    case SlotKind::kShares: {
      constexpr std::size_t kSetSize = std::tuple_size_v<ShareSetId>;
      if (bytes.size() != kSetSize + 2) return false;
      std::ranges::copy(bytes.first(kSetSize), slot.shares.set.begin());
      slot.shares.threshold = bytes[kSetSize];
      slot.shares.total = bytes[kSetSize + 1];
      return AreShareParameters(slot.shares);
    }
  }
  return false;
}

Result<SlotSecret> StretchPassphrase(const SecretBytes& passphrase,
                                     const PassphraseParameters& parameters) {
  if (!IsCost(parameters.cost)) {
    return Fail(Code::kInvalid, "a passphrase takes 1 to 10 passes over 8 MiB to 2 GiB");
  }
  if (passphrase.Size() < kLeastPassphrase || passphrase.Size() > kMostPassphrase) {
    return Fail(Code::kInvalid, "a passphrase has 8 to 1024 bytes");
  }
  Result<SecretBytes> secret = SecretBytes::Key();
  if (!secret) return Fail(std::move(secret));
  const int stretched = passphrase.Expose([&](Bytes text) {
    return secret->Fill([&](std::span<std::uint8_t> out) {
      return crypto_pwhash(out.data(), out.size(), AsField(text).data(), text.size(),
                           parameters.salt.data(), parameters.cost.passes,
                           std::size_t{parameters.cost.memory_kib} * 1024,
                           crypto_pwhash_ALG_ARGON2ID13);
    });
  });
  if (stretched != 0) {
    return Fail(Code::kUnavailable, "there is no memory to stretch the passphrase, in KiB",
                Subject::Number(parameters.cost.memory_kib));
  }
  return SlotSecret(std::move(*secret));
}

Result<AddedSlot> MakeSlot(const NewSlot& wanted) {
  if (!IsSlotLabel(wanted.label)) {
    return Fail(Code::kInvalid, "a slot's label is 1 to 64 characters of printable ASCII");
  }
  AddedSlot made;
  made.slot.kind = wanted.kind;
  made.slot.label = wanted.label;
  SlotSecret secret;
  switch (wanted.kind) {
    case SlotKind::kKeyFile:
      secret = NewSlotSecret();
      made.texts.push_back(KeyLineOf(secret));
      break;
    case SlotKind::kPassphrase: {
      if (!wanted.passphrase.Expose([](Bytes text) { return IsPassphrase(AsField(text)); })) {
        return Fail(Code::kInvalid, "a passphrase is one line of 8 to 1024 bytes, unlike a share");
      }
      PassphraseParameters& parameters = made.slot.passphrase;
      randombytes_buf(parameters.salt.data(), parameters.salt.size());
      parameters.cost = wanted.cost;
      Result<SlotSecret> stretched = StretchPassphrase(wanted.passphrase, parameters);
      if (!stretched) return Fail(std::move(stretched));
      secret = std::move(*stretched);
      break;
    }
    case SlotKind::kShares: {
      ShareParameters& parameters = made.slot.shares;
      parameters.threshold = wanted.threshold;
      parameters.total = wanted.total;
      if (!AreShareParameters(parameters)) {
        return Fail(Code::kInvalid, "shares are k of n with 2 <= k <= n <= 16");
      }
      randombytes_buf(parameters.set.data(), parameters.set.size());
      secret = NewSlotSecret();
      for (const Share& share : SplitSecret(secret.Bytes(), parameters)) {
        made.texts.push_back(TextOf(share));
      }
      break;
    }
    default: return Fail(Code::kInvalid, "a slot of this kind cannot be made");
  }
  made.slot.public_key = PublicKeyOf(secret);
  return made;
}

bool IsOfLowOrder(const SlotPublicKey& point) {
  // Clamping makes every scalar a multiple of the cofactor, so any one tells.
  constexpr std::array<std::uint8_t, kKeySize> kScalar{1};
  SecretBytes shared(kKeySize);
  return shared.Fill([&](std::span<std::uint8_t> out) {
    return crypto_scalarmult(out.data(), kScalar.data(), point.data()) != 0;
  });
}

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
  // PublicKeyOf makes none of low order, and the reader of the keys file takes none.
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
  if (!root && root.error().GetCode() == Code::kCorrupt) {
    return Fail(Code::kCorrupt, "the slot does not verify", Subject::Number(slot.id));
  }
  if (!root) return Fail(std::move(root));
  return RootKey(std::move(*root));
}

bool LooksLikeKeyLine(std::string_view text) { return text.starts_with(kKeyFileBegin); }

SecretBytes KeyLineOf(const SlotSecret& secret) {
  if (secret.Bytes().Size() != kKeySize) std::abort();
  // The encoder ends its text with a zero byte.
  SecretBytes line(kKeyFilePrefix.size() + kBase64Size + 1);
  line.Fill([&](std::span<std::uint8_t> out) {
    std::ranges::copy(kKeyFilePrefix, out.begin());
    secret.Bytes().Expose([&](Bytes bytes) {
      sodium_bin2base64(reinterpret_cast<char*>(out.data()) + kKeyFilePrefix.size(),
                        kBase64Size + 1, bytes.data(), bytes.size(), kBase64);
    });
  });
  line.Truncate(line.Size() - 1);
  return line;
}

Result<SlotSecret> ParseKeyLine(std::string_view line) {
  Result<SecretBytes> key = SecretBytes::Key();
  if (!key) return Fail(std::move(key));
  const bool decoded = line.starts_with(kKeyFilePrefix) &&
                       key->Fill([&](std::span<std::uint8_t> out) {
                         const std::string_view text = line.substr(kKeyFilePrefix.size());
                         std::size_t size = 0;
                         const char* end = nullptr;
                         return sodium_base642bin(out.data(), out.size(), text.data(), text.size(),
                                                  nullptr, &size, &end, kBase64) == 0 &&
                                size == kKeySize && end == text.data() + text.size();
                       });
  if (!decoded) return Fail(Code::kInvalid, "the line of a key file is damaged");
  return SlotSecret(std::move(*key));
}

Result<SlotSecret> ReadKeyFile(const std::filesystem::path& path) {
  // systemd may let this user in by an access list, which shows as a right of the group. Its folder
  // is open to this user alone.
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");
  const bool is_credential = credentials != nullptr && path.parent_path() == credentials;
  Result<SecretBytes> content = ReadFileBytes(
      path, kKeyFileLimit, is_credential ? FileAccess::kAny : FileAccess::kOwnerOnly);
  if (!content) return Fail(std::move(content));
  Result<SlotSecret> secret = content->Expose([](Bytes bytes) {
    std::string_view line = AsField(bytes);
    if (line.ends_with('\n')) line.remove_suffix(1);
    return ParseKeyLine(line);
  });
  if (!secret && secret.error().GetCode() == Code::kInvalid) {
    return Fail(Code::kInvalid, "not a key file: it must be one line of its form",
                Subject::Path(path.string()));
  }
  return secret;
}

Result<void> WriteKeyFile(const std::filesystem::path& path, const SlotSecret& secret) {
  const SecretBytes line = KeyLineOf(secret);
  SecretBytes content(line.Size() + 1);
  content.Fill([&](std::span<std::uint8_t> out) {
    line.Expose([&](Bytes bytes) { std::ranges::copy(bytes, out.begin()); });
    out.back() = '\n';
  });
  return content.Expose([&](Bytes bytes) { return WriteNewFile(path, bytes); });
}

}  // namespace oauthvault::crypto
