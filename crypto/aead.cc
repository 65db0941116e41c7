#include "crypto/aead.h"

#include <sodium.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "crypto/fields.h"
#include "crypto/sabotage.h"

namespace oauthvault::crypto {
namespace {

static_assert(kKeySize == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
static_assert(kNonceSize == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
static_assert(kTagSize == crypto_aead_xchacha20poly1305_ietf_ABYTES);

// Fields one behind the other, each behind its length: what is hashed, and what a ciphertext is
// bound to. Those of rows fit on the stack. Most are public names, but fingerprints, the hashes of
// tokens and the checks of shares are made of secrets, so all of it is wiped at the end.
class Joined {
 public:
  explicit Joined(Fields fields) {
    std::size_t size = 0;
    for (const std::string_view field : fields) size += sizeof(std::uint32_t) + field.size();
    if (size > few_.size()) many_.resize(size);
    bytes_ = many_.empty() ? MutableView(few_).first(size) : MutableView(many_);
    auto at = bytes_.begin();
    for (const std::string_view field : fields) {
      at = std::ranges::copy(LittleEndian(static_cast<std::uint32_t>(field.size())), at).out;
      at = std::ranges::copy(AsBytes(field), at).out;
    }
  }
  ~Joined() { Wipe(bytes_); }
  Joined(const Joined&) = delete;
  Joined& operator=(const Joined&) = delete;

  ByteView Bytes() const { return bytes_; }

 private:
  // A row's binding takes 130 bytes, its key with two long ids 300.
  std::array<std::uint8_t, 320> few_;
  std::vector<std::uint8_t> many_;  // where they are more
  MutableView bytes_;
};

// What a ciphertext is bound to.
Fields Bound(Fields fields) { return IsSabotaged(Sabotage::kNoAad) ? Fields() : fields; }

}  // namespace

void Encrypt(const SecretBytes& key, ByteView nonce, Fields bound_to, const SecretBytes& plain,
             MutableView sealed) {
  if (key.Size() != kKeySize || sealed.size() != plain.Size() + kTagSize) std::abort();
  const Joined data(Bound(bound_to));
  key.Expose([&](ByteView key_bytes) {
    plain.Expose([&](ByteView plain_bytes) {
      crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
          sealed.data(), sealed.last(kTagSize).data(), nullptr, plain_bytes.data(),
          plain_bytes.size(), data.Bytes().data(), data.Bytes().size(), nullptr, nonce.data(),
          key_bytes.data());
    });
  });
}

bool Decrypt(const SecretBytes& key, ByteView nonce, Fields bound_to, ByteView sealed,
             MutableView plain) {
  if (key.Size() != kKeySize || sealed.size() != plain.size() + kTagSize) std::abort();
  const Joined data(Bound(bound_to));
  const int opened = key.Expose([&](ByteView key_bytes) {
    return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
        plain.data(), nullptr, sealed.data(), plain.size(), sealed.last(kTagSize).data(),
        data.Bytes().data(), data.Bytes().size(), nonce.data(), key_bytes.data());
  });
  // The library wipes too, but does not promise it.
  if (opened != 0) Wipe(plain);
  return opened == 0;
}

void HashInto(const SecretBytes& key, Fields fields, MutableView hash) {
  // A key without bytes would hash without a key.
  if (key.Size() < crypto_generichash_KEYBYTES_MIN) std::abort();
  const Joined data(fields);
  const int hashed = key.Expose([&](ByteView key_bytes) {
    return crypto_generichash(hash.data(), hash.size(), data.Bytes().data(), data.Bytes().size(),
                              key_bytes.data(), key_bytes.size());
  });
  if (hashed != 0) std::abort();
}

std::array<std::uint8_t, kCommitmentSize> CommitmentOf(const SecretBytes& key, Fields fields) {
  std::array<std::uint8_t, kCommitmentSize> commitment{};
  HashInto(key, fields, commitment);
  return commitment;
}

}  // namespace oauthvault::crypto
