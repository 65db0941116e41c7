#include "crypto/aead.h"

#include <sodium.h>

#include <cstdlib>
#include <vector>

#include "crypto/fields.h"
#include "crypto/sabotage.h"

namespace oauthvault::crypto {
namespace {

static_assert(kKeySize == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
static_assert(kNonceSize == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
static_assert(kTagSize == crypto_aead_xchacha20poly1305_ietf_ABYTES);

std::vector<std::uint8_t> AssociatedData(Fields fields) {
  std::vector<std::uint8_t> data;
  if (IsSabotaged(Sabotage::kNoAad)) return data;
  for (const std::string_view field : fields) {
    Append(data, LittleEndian(static_cast<std::uint32_t>(field.size())));
    Append(data, AsBytes(field));
  }
  return data;
}

}  // namespace

void Encrypt(const SecretBytes& key, ByteView nonce, Fields bound_to, const SecretBytes& plain,
             MutableView sealed) {
  if (key.Size() != kKeySize || sealed.size() != plain.Size() + kTagSize) std::abort();
  const std::vector<std::uint8_t> data = AssociatedData(bound_to);
  key.Expose([&](ByteView key_bytes) {
    plain.Expose([&](ByteView plain_bytes) {
      crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
          sealed.data(), sealed.last(kTagSize).data(), nullptr, plain_bytes.data(),
          plain_bytes.size(), data.data(), data.size(), nullptr, nonce.data(), key_bytes.data());
    });
  });
}

bool Decrypt(const SecretBytes& key, ByteView nonce, Fields bound_to, ByteView sealed,
             MutableView plain) {
  if (key.Size() != kKeySize || sealed.size() != plain.size() + kTagSize) std::abort();
  const std::vector<std::uint8_t> data = AssociatedData(bound_to);
  const int opened = key.Expose([&](ByteView key_bytes) {
    return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
        plain.data(), nullptr, sealed.data(), plain.size(), sealed.last(kTagSize).data(),
        data.data(), data.size(), nonce.data(), key_bytes.data());
  });
  // The library wipes too, but does not promise it.
  if (opened != 0) Wipe(plain);
  return opened == 0;
}

void HashInto(const SecretBytes& key, Fields fields, MutableView hash) {
  crypto_generichash_state state;
  const int started = key.Expose([&](ByteView bytes) {
    return crypto_generichash_init(&state, bytes.data(), bytes.size(), hash.size());
  });
  // A key without bytes would hash without a key.
  if (started != 0 || key.Size() < crypto_generichash_KEYBYTES_MIN) std::abort();
  for (const std::string_view field : fields) {
    const auto size = LittleEndian(static_cast<std::uint32_t>(field.size()));
    crypto_generichash_update(&state, size.data(), size.size());
    crypto_generichash_update(&state, AsBytes(field).data(), field.size());
  }
  crypto_generichash_final(&state, hash.data(), hash.size());
  sodium_memzero(&state, sizeof state);
}

std::array<std::uint8_t, kCommitmentSize> CommitmentOf(const SecretBytes& key, Fields fields) {
  std::array<std::uint8_t, kCommitmentSize> commitment{};
  HashInto(key, fields, commitment);
  return commitment;
}

}  // namespace oauthvault::crypto
