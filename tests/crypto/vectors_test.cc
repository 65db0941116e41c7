// Outside vectors for the primitives, through the calls that the room makes; each file under
// tests/vectors names its source.

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>

#include "crypto/sealed.h"
#include "crypto/slots.h"
#include "tests/crypto/hex.h"

namespace oauthvault::crypto {
namespace {

TEST(Vectors, XChaCha20Poly1305_SealsAndOpensAsTheDraftSays) {
  for (const Vector& vector : ReadVectors("vectors/xchacha20_poly1305.txt")) {
    const auto plain = FromHex(vector.at("plaintext"));
    const auto data = FromHex(vector.at("aad"));
    const auto key = FromHex(vector.at("key"));
    const auto nonce = FromHex(vector.at("iv"));
    ASSERT_EQ(key.size(), kKeySize);
    ASSERT_EQ(nonce.size(), kNonceSize);

    std::vector<std::uint8_t> sealed(plain.size());
    std::array<std::uint8_t, kTagSize> tag{};
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(sealed.data(), tag.data(), nullptr,
                                                        plain.data(), plain.size(), data.data(),
                                                        data.size(), nullptr, nonce.data(),
                                                        key.data());
    EXPECT_EQ(ToHex(sealed), vector.at("ciphertext"));
    EXPECT_EQ(ToHex(tag), vector.at("tag"));

    std::vector<std::uint8_t> opened(plain.size());
    EXPECT_EQ(crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
                  opened.data(), nullptr, sealed.data(), sealed.size(), tag.data(), data.data(),
                  data.size(), nonce.data(), key.data()),
              0);
    EXPECT_EQ(opened, plain);
  }
}

TEST(Vectors, X25519_MultipliesAsTheRfcSays) {
  for (const Vector& vector : ReadVectors("vectors/x25519.txt")) {
    std::array<std::uint8_t, kKeySize> output{};
    ASSERT_EQ(crypto_scalarmult(output.data(), FromHex(vector.at("scalar")).data(),
                                FromHex(vector.at("point")).data()),
              0);
    EXPECT_EQ(ToHex(output), vector.at("output"));
  }
}

TEST(Vectors, X25519_IteratesAThousandTimesAsTheRfcSays) {
  // RFC 7748 section 5.2: "For each iteration, set k to be the result of calling the function and
  // u to be the old value of k."
  std::array<std::uint8_t, kKeySize> scalar{9};
  std::array<std::uint8_t, kKeySize> point = scalar;
  for (int i = 0; i < 1000; ++i) {
    std::array<std::uint8_t, kKeySize> output{};
    ASSERT_EQ(crypto_scalarmult(output.data(), scalar.data(), point.data()), 0);
    point = scalar;
    scalar = output;
  }
  EXPECT_EQ(ToHex(scalar), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

TEST(Vectors, PublicKeyOf_GivesTheKeysOfTheRfc) {
  for (const Vector& vector : ReadVectors("vectors/x25519_public.txt")) {
    const SlotSecret secret(SecretFromHex(vector.at("secret")));
    EXPECT_EQ(ToHex(PublicKeyOf(secret)), vector.at("public"));
  }
}

TEST(Vectors, Blake2b_HashesWithAKeyAsTheReferenceSays) {
  for (const Vector& vector : ReadVectors("vectors/blake2b_keyed.txt")) {
    const auto key = FromHex(vector.at("key"));
    const auto in = FromHex(vector.at("in"));
    const auto expected = FromHex(vector.at("hash"));
    std::vector<std::uint8_t> hash(expected.size());
    crypto_generichash_state state;
    ASSERT_EQ(crypto_generichash_init(&state, key.data(), key.size(), hash.size()), 0);
    crypto_generichash_update(&state, in.data(), in.size());
    crypto_generichash_final(&state, hash.data(), hash.size());
    EXPECT_EQ(ToHex(hash), vector.at("hash"));
  }
}

// A field is preceded by its size, so an input of the reference that begins with four bytes which
// happen to be the size of the rest would do; there is none. The same bytes through the library:
TEST(Vectors, KeyedHash_IsBlake2bOverFieldsWithTheirSizes) {
  const auto key = FromHex(ReadVectors("vectors/blake2b_keyed.txt").front().at("key"));
  // Short lists of fields and long ones are gathered in different memory.
  for (const std::size_t last : {1u, 305u, 306u, 307u, 1000u, 100'000u}) {
    const std::string text(last, 'c');
    std::vector<std::uint8_t> in{2, 0, 0, 0, 'a', 'b', 0, 0, 0, 0};
    for (std::size_t i = 0; i < 4; ++i) in.push_back(static_cast<std::uint8_t>(last >> (8 * i)));
    in.insert(in.end(), text.begin(), text.end());
    for (const std::size_t size : {16u, 32u, 64u}) {
      std::vector<std::uint8_t> hash(size);
      ASSERT_EQ(crypto_generichash(hash.data(), hash.size(), in.data(), in.size(), key.data(),
                                   key.size()),
                0);
      const std::array<std::string_view, 3> fields{"ab", "", text};
      EXPECT_EQ(ToHex(KeyedHash(SecretBytes::CopyOf(key), fields, size)), ToHex(hash)) << last;
    }
  }
}

}  // namespace
}  // namespace oauthvault::crypto
