#include "daemon/audit/checkpoint.h"

#include <sodium.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <utility>
#include <vector>

#include "crypto/hex.h"
#include "crypto/sealed.h"
#include "daemon/audit/sha256.h"

namespace oauthvault::audit {
namespace {

constexpr std::string_view kOriginStart = "oauthvault/audit/";
constexpr std::size_t kOriginIdSize = 16;
constexpr std::size_t kMaxOriginSize = 256;
// C2SP signed-note: the byte for Ed25519, and what begins the line of a signature (an em dash).
constexpr std::uint8_t kEd25519 = 0x01;
constexpr std::string_view kSignatureStart = "\xe2\x80\x94 ";

using Bytes = std::vector<std::uint8_t>;

std::string Base64(std::span<const std::uint8_t> bytes) {
  std::string text(sodium_base64_encoded_len(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();
  return text;
}

// Nothing for what is not base64 of exactly so many bytes.
std::optional<Bytes> Unbase64(std::string_view text, std::size_t size_bytes) {
  Bytes bytes(size_bytes);
  std::size_t size = 0;
  if (sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size,
                        nullptr, sodium_base64_VARIANT_ORIGINAL) != 0 ||
      size != size_bytes) {
    return std::nullopt;
  }
  return bytes;
}

std::string OriginOf(const crypto::SecretBytes& audit_key) {
  constexpr std::array<std::string_view, 1> kLabel = {"oauthvault/audit/origin"};
  const Bytes id = crypto::KeyedHash(audit_key, kLabel, kOriginIdSize);
  return std::string(kOriginStart) + crypto::HexOf(id);
}

// Calls `use` with the pair that is made from the audit key, and wipes its secret half.
template <class Use>
auto WithPair(const crypto::SecretBytes& audit_key, Use use) {
  constexpr std::array<std::string_view, 1> kLabel = {"oauthvault/audit/checkpoint"};
  const crypto::SecretBytes seed = crypto::DeriveKey(audit_key, kLabel);
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> public_key{};
  crypto::SecretBytes secret_key(crypto_sign_SECRETKEYBYTES);
  return secret_key.Fill([&](std::span<std::uint8_t> secret) {
    seed.Expose([&](std::span<const std::uint8_t> bytes) {
      crypto_sign_seed_keypair(public_key.data(), secret.data(), bytes.data());
    });
    return use(public_key, secret.data());
  });
}

// The first line of `text`, which is shortened by it and its end; nothing where none ends.
std::optional<std::string_view> TakeLineOf(std::string_view& text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

// Decimal, without leading zeros (C2SP tlog-checkpoint).
std::optional<std::uint64_t> SizeIn(std::string_view line) {
  std::uint64_t size = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), size);
  if (error != std::errc() || end != line.data() + line.size() || std::to_string(size) != line) {
    return std::nullopt;
  }
  return size;
}

std::optional<Checkpoint> BodyOf(std::string_view body) {
  const auto origin = TakeLineOf(body);
  const auto size = TakeLineOf(body);
  const auto root = TakeLineOf(body);
  if (!origin || !size || !root || !body.empty()) return std::nullopt;
  const auto number = SizeIn(*size);
  const auto hash = Unbase64(*root, std::tuple_size_v<TreeHash>);
  if (!number || !hash) return std::nullopt;
  Checkpoint checkpoint{std::string(*origin), *number, {}};
  std::ranges::copy(*hash, checkpoint.root.begin());
  return checkpoint;
}

}  // namespace

CheckpointKey::CheckpointKey(std::string origin, const PublicKey& key)
    : origin_(std::move(origin)), key_(key), digits_{} {
  // C2SP signed-note: the first four bytes of SHA-256(name, a line feed, the kind, the key).
  Bytes named(origin_.begin(), origin_.end());
  named.push_back('\n');
  named.push_back(kEd25519);
  named.insert(named.end(), key_.begin(), key_.end());
  const Sha256Hash hash = Sha256(std::nullopt, {named});
  std::copy_n(hash.begin(), digits_.size(), digits_.begin());
}

Result<CheckpointKey> CheckpointKey::Parse(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const std::size_t digits_at = text.find('+');
  const std::size_t key_at =
      digits_at == std::string_view::npos ? digits_at : text.find('+', digits_at + 1);
  if (key_at == std::string_view::npos || digits_at == 0 || digits_at > kMaxOriginSize) {
    return Fail(Code::kInvalid, "this is no public key of an audit trail");
  }
  const auto bytes = Unbase64(text.substr(key_at + 1), 1 + std::tuple_size_v<PublicKey>);
  if (!bytes || bytes->front() != kEd25519) {
    return Fail(Code::kInvalid, "the public key of the audit trail is no Ed25519 key");
  }
  PublicKey key{};
  std::copy(bytes->begin() + 1, bytes->end(), key.begin());
  CheckpointKey parsed(std::string(text.substr(0, digits_at)), key);
  if (parsed.Text() != text) {
    return Fail(Code::kInvalid, "the public key of the audit trail was mistyped");
  }
  return parsed;
}

std::string CheckpointKey::Text() const {
  Bytes typed{kEd25519};
  typed.insert(typed.end(), key_.begin(), key_.end());
  return origin_ + "+" + crypto::HexOf(digits_) + "+" + Base64(typed);
}

Result<Checkpoint> CheckpointKey::Open(std::string_view note) const {
  // The text ends in a line feed; an empty line parts it from the signatures.
  const std::size_t gap = note.size() > kMaxCheckpointSize ? std::string_view::npos
                                                           : note.rfind("\n\n");
  if (gap == std::string_view::npos) return Fail(Code::kCorrupt, "this is no signed checkpoint");
  const std::string_view body = note.substr(0, gap + 1);
  std::string_view signatures = note.substr(gap + 2);
  bool is_signed = false;
  while (const auto line = TakeLineOf(signatures)) {
    if (!line->starts_with(kSignatureStart)) {
      return Fail(Code::kCorrupt, "a checkpoint has a line that is no signature");
    }
    const std::string_view rest = line->substr(kSignatureStart.size());
    if (!rest.starts_with(origin_ + " ")) continue;
    const auto bytes =
        Unbase64(rest.substr(origin_.size() + 1), digits_.size() + crypto_sign_BYTES);
    if (!bytes || !std::equal(digits_.begin(), digits_.end(), bytes->begin())) continue;
    is_signed |= crypto_sign_verify_detached(
                     bytes->data() + digits_.size(),
                     reinterpret_cast<const std::uint8_t*>(body.data()), body.size(),
                     key_.data()) == 0;
  }
  if (!is_signed || !signatures.empty()) {
    return Fail(Code::kCorrupt, "the checkpoint is not signed with this key");
  }
  auto checkpoint = BodyOf(body);
  if (!checkpoint || checkpoint->origin != origin_) {
    return Fail(Code::kCorrupt, "the checkpoint is not one of this trail");
  }
  return *std::move(checkpoint);
}

CheckpointSigner::CheckpointSigner(const crypto::SecretBytes& audit_key)
    : audit_key_(audit_key),
      public_(OriginOf(audit_key),
              WithPair(audit_key, [](const auto& public_key, const std::uint8_t*) {
                return public_key;
              })) {}

std::string CheckpointSigner::Sign(const MerkleTree& tree) const {
  const std::string body = public_.Origin() + "\n" + std::to_string(tree.Size()) + "\n" +
                           Base64(tree.Root()) + "\n";
  Bytes signature(public_.digits_.size() + crypto_sign_BYTES);
  std::ranges::copy(public_.digits_, signature.begin());
  WithPair(audit_key_, [&](const auto&, const std::uint8_t* secret_key) {
    crypto_sign_detached(signature.data() + public_.digits_.size(), nullptr,
                         reinterpret_cast<const std::uint8_t*>(body.data()), body.size(),
                         secret_key);
    return 0;
  });
  return body + "\n" + std::string(kSignatureStart) + public_.Origin() + " " + Base64(signature) +
         "\n";
}

}  // namespace oauthvault::audit
