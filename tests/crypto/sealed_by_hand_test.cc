// Reads and rewraps rows with libsodium alone, as ENVELOPE.md describes them: an independent reader
// of the format, and the proof that a new KEK touches the wrap only.

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "crypto/sealed.h"

namespace oauthvault::crypto {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kTableAt = 16;
constexpr std::size_t kHeaderSize = 17 + 2 * 5;  // meta and data
constexpr std::size_t kNonceAt = kHeaderSize;
constexpr std::size_t kDekAt = kNonceAt + 24;
constexpr std::size_t kCommitmentAt = kDekAt + 48;
constexpr std::size_t kPartsAt = kCommitmentAt + 32;

constexpr std::string_view kMeta = "who and when";
constexpr std::string_view kData = "what is secret";
constexpr std::uint64_t kRecordVersion = 0x0102;

Bytes Number(std::uint64_t number, std::size_t size) {
  Bytes bytes(size);
  for (auto& byte : bytes) {
    byte = static_cast<std::uint8_t>(number);
    number >>= 8;
  }
  return bytes;
}

Bytes Text(std::string_view text) { return {text.begin(), text.end()}; }

Bytes Fields(const std::vector<Bytes>& fields) {
  Bytes out;
  for (const Bytes& field : fields) {
    const Bytes size = Number(field.size(), 4);
    out.insert(out.end(), size.begin(), size.end());
    out.insert(out.end(), field.begin(), field.end());
  }
  return out;
}

Bytes Hash(const Bytes& key, const Bytes& message) {
  Bytes hash(32);
  crypto_generichash(hash.data(), hash.size(), message.data(), message.size(), key.data(),
                     key.size());
  return hash;
}

// Empty when the tag does not verify.
Bytes Decrypt(const Bytes& key, const Bytes& nonce, const Bytes& data, const Bytes& sealed) {
  Bytes plain(sealed.size() - 16);
  const int opened = crypto_aead_xchacha20poly1305_ietf_decrypt(
      plain.data(), nullptr, nullptr, sealed.data(), sealed.size(), data.data(), data.size(),
      nonce.data(), key.data());
  return opened == 0 ? plain : Bytes();
}

class ByHand : public testing::Test {
 protected:
  ByHand() {
    vault_.fill(0x11);
    key_.bytes.fill(0x22);
    PlainParts parts;
    parts.meta = SecretBytes::CopyOf(kMeta);
    parts.data = SecretBytes::CopyOf(kData);
    row_ = [&] {
      const Result<SealedRow> row = SealRow(KekOf(kek_), 1, vault_, key_, kRecordVersion, parts);
      return Bytes(row->Bytes().begin(), row->Bytes().end());
    }();
  }

  static Kek KekOf(const Bytes& bytes) { return Kek(SecretBytes::CopyOf(bytes)); }

  Bytes Slice(std::size_t at, std::size_t size) const {
    const auto begin = row_.begin() + static_cast<std::ptrdiff_t>(at);
    return {begin, begin + static_cast<std::ptrdiff_t>(size)};
  }

  Bytes Bound(std::string_view label, const Bytes& last) const {
    return Fields({Text(label), {1}, {1}, Bytes(vault_.begin(), vault_.end()),
                   Bytes(key_.bytes.begin(), key_.bytes.end()), Number(kRecordVersion, 8), last});
  }

  Bytes Dek() const {
    return Decrypt(kek_, Slice(kNonceAt, 24), Bound("oauthvault/row/wrap", Number(1, 4)),
                   Slice(kDekAt, 48));
  }

  const Bytes kek_ = Bytes(32, 0x33);
  VaultId vault_{};
  RowKey key_;
  Bytes row_;
};

TEST_F(ByHand, TheRow_ReadsAsTheEnvelopePageSays) {
  EXPECT_EQ(Slice(0, 4), (Bytes{'O', 'V', 1, 1}));
  EXPECT_EQ(Slice(4, 4), Number(1, 4));
  EXPECT_EQ(Slice(8, 8), Number(kRecordVersion, 8));
  Bytes table{2, 1, 12, 0, 0, 0, 2, 14, 0, 0, 0};
  EXPECT_EQ(Slice(kTableAt, table.size()), table);

  const Bytes dek = Dek();
  ASSERT_EQ(dek.size(), 32u);
  const Bytes commit_key = Hash(dek, Fields({Text("oauthvault/row/commit-key")}));
  EXPECT_EQ(Slice(kCommitmentAt, 32), Hash(commit_key, Bound("oauthvault/row/commit", table)));

  const Bytes part_key = Hash(dek, Fields({Text("oauthvault/row/part-key")}));
  Bytes nonce(24);
  nonce[0] = 1;
  EXPECT_EQ(Decrypt(part_key, nonce, Bound("oauthvault/row/part", {1}),
                    Slice(kPartsAt, kMeta.size() + 16)),
            Text(kMeta));
  nonce[0] = 2;
  EXPECT_EQ(Decrypt(part_key, nonce, Bound("oauthvault/row/part", {2}),
                    Slice(kPartsAt + kMeta.size() + 16, kData.size() + 16)),
            Text(kData));
  EXPECT_EQ(row_.size(), kPartsAt + kMeta.size() + kData.size() + 32);
}

TEST_F(ByHand, ANewKek_RewrapsTheDataKeyAndNothingElse) {
  const Bytes dek = Dek();
  const Bytes new_kek(32, 0x44);
  Bytes rewrapped = row_;
  const Bytes version = Number(2, 4);
  std::ranges::copy(version, rewrapped.begin() + 4);
  randombytes_buf(rewrapped.data() + kNonceAt, 24);
  const Bytes data = Bound("oauthvault/row/wrap", version);
  crypto_aead_xchacha20poly1305_ietf_encrypt(rewrapped.data() + kDekAt, nullptr, dek.data(),
                                             dek.size(), data.data(), data.size(), nullptr,
                                             rewrapped.data() + kNonceAt, new_kek.data());

  EXPECT_TRUE(std::equal(row_.begin() + kCommitmentAt, row_.end(),
                         rewrapped.begin() + kCommitmentAt));
  const auto row = SealedRow::Parse(rewrapped);
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->KekVersion(), 2u);
  const auto plain = OpenPart(KekOf(new_kek), vault_, key_, *row, Part::kData);
  ASSERT_TRUE(plain.has_value());
  EXPECT_TRUE(plain->Equals(SecretBytes::CopyOf(kData)));
  EXPECT_FALSE(OpenPart(KekOf(kek_), vault_, key_, *row, Part::kData).has_value());
}

TEST_F(ByHand, AWrapUnderTheRightKekForAnotherDataKey_FailsAtTheCommitment) {
  const Bytes other_dek(32, 0x55);
  const Bytes data = Bound("oauthvault/row/wrap", Number(1, 4));
  crypto_aead_xchacha20poly1305_ietf_encrypt(row_.data() + kDekAt, nullptr, other_dek.data(),
                                             other_dek.size(), data.data(), data.size(), nullptr,
                                             row_.data() + kNonceAt, kek_.data());
  const auto plain =
      OpenPart(KekOf(kek_), vault_, key_, *SealedRow::Parse(row_), Part::kData);
  ASSERT_FALSE(plain.has_value());
  EXPECT_EQ(plain.error().GetText(), "the commitment of a row does not verify");
}

}  // namespace
}  // namespace oauthvault::crypto
