#include "crypto/slots.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/crypto/hex.h"
#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

constexpr std::string_view kLine =
    "oauthvault-key-1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
constexpr std::string_view kLineHex =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

class SlotTest : public testing::Test {
 protected:
  SlotTest() {
    vault_.fill(7);
    slot_.id = 5;
    slot_.label = "main";
    slot_.public_key = PublicKeyOf(secret_);
    SealRootTo(slot_, vault_, root_);
  }

  Code CodeOf(const Slot& slot) const {
    const auto root = OpenRootWith(slot, vault_, secret_);
    EXPECT_FALSE(root.has_value());
    return root ? Code::kConflict : root.error().GetCode();
  }

  const SlotSecret secret_ = NewSlotSecret();
  const RootKey root_{RandomKey()};
  VaultId vault_{};
  Slot slot_;
};

TEST_F(SlotTest, TheSecretOfASlot_OpensTheRoot) {
  const auto root = OpenRootWith(slot_, vault_, secret_);
  ASSERT_TRUE(root.has_value());
  EXPECT_TRUE(root->Bytes().Equals(root_.Bytes()));
}

TEST_F(SlotTest, Sealing_UsesANewEphemeralKeyEachTime) {
  Slot again = slot_;
  SealRootTo(again, vault_, root_);
  EXPECT_NE(again.ephemeral_key, slot_.ephemeral_key);
  EXPECT_NE(again.root, slot_.root);
  EXPECT_TRUE(OpenRootWith(again, vault_, secret_).has_value());
}

TEST_F(SlotTest, ANewRoot_IsSealedWithoutTheSecret) {
  const RootKey other(RandomKey());
  SealRootTo(slot_, vault_, other);
  const auto root = OpenRootWith(slot_, vault_, secret_);
  ASSERT_TRUE(root.has_value());
  EXPECT_TRUE(root->Bytes().Equals(other.Bytes()));
}

TEST_F(SlotTest, AnotherSecret_IsDenied) {
  const auto root = OpenRootWith(slot_, vault_, NewSlotSecret());
  ASSERT_FALSE(root.has_value());
  EXPECT_EQ(root.error().GetCode(), Code::kDenied);
  EXPECT_EQ(OpenRootWith(slot_, vault_, SlotSecret()).error().GetCode(), Code::kDenied);
}

TEST_F(SlotTest, AnythingChangedInTheSlot_IsRefused) {
  for (std::size_t bit = 0; bit < slot_.root.size() * 8; ++bit) {
    Slot changed = slot_;
    changed.root[bit / 8] = static_cast<std::uint8_t>(changed.root[bit / 8] ^ (1u << (bit % 8)));
    EXPECT_EQ(CodeOf(changed), Code::kCorrupt) << bit;
  }
  for (std::size_t byte = 0; byte < slot_.ephemeral_key.size(); ++byte) {
    Slot changed = slot_;
    changed.ephemeral_key[byte] ^= 1;
    EXPECT_EQ(CodeOf(changed), Code::kCorrupt) << byte;
    changed = slot_;
    changed.public_key[byte] ^= 1;
    EXPECT_EQ(CodeOf(changed), Code::kDenied) << byte;
  }
  Slot changed = slot_;
  changed.id = 6;
  EXPECT_EQ(CodeOf(changed), Code::kCorrupt);
  changed = slot_;
  changed.kind = SlotKind::kShares;
  EXPECT_EQ(CodeOf(changed), Code::kCorrupt);
}

TEST_F(SlotTest, AnEphemeralKeyWithItsUnusedBitSet_IsRefused) {
  // X25519 ignores the highest bit of a point; the key is made of the bytes, so it counts.
  slot_.ephemeral_key.back() ^= 0x80;
  EXPECT_EQ(CodeOf(slot_), Code::kCorrupt);
}

TEST_F(SlotTest, ASlotOfAnotherVault_IsRefused) {
  vault_[0] ^= 1;
  EXPECT_EQ(CodeOf(slot_), Code::kCorrupt);
}

TEST_F(SlotTest, PointsOfLowOrder_AreRefused) {
  // Each makes the shared secret zero, whatever the secret: 0, 1 and p - 1.
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    const auto bytes = FromHex(point);
    std::ranges::copy(bytes, slot_.ephemeral_key.begin());
    const auto root = OpenRootWith(slot_, vault_, secret_);
    ASSERT_FALSE(root.has_value());
    EXPECT_EQ(root.error().GetText(), "the slot holds a public key of low order");
  }
}

TEST(KeyFile, Write_ThenRead_GivesTheSameSecret) {
  const TemporaryFolder folder;
  const SlotSecret secret = NewSlotSecret();
  ASSERT_TRUE(WriteKeyFile(folder / "key", secret).has_value());
  const auto read = ReadKeyFile(folder / "key");
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(read->Bytes().Equals(secret.Bytes()));
}

TEST(KeyFile, Write_MakesOneLineThatOnlyTheOwnerReads) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(0777);
  const auto written = WriteKeyFile(folder / "key", SlotSecret(SecretFromHex(kLineHex)));
  ::umask(before);
  ASSERT_TRUE(written.has_value());
  EXPECT_EQ(ContentOf(folder / "key"), kLine);
  struct stat status {};
  ASSERT_EQ(::stat((folder / "key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST(KeyFile, Write_NeverTakesThePlaceOfAFile) {
  const TemporaryFolder folder;
  WriteContent(folder / "key", "precious");
  const auto written = WriteKeyFile(folder / "key", NewSlotSecret());
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().GetCode(), Code::kConflict);
  EXPECT_EQ(written.error().GetSubject(), (folder / "key").string());
  EXPECT_EQ(ContentOf(folder / "key"), "precious");
}

TEST(KeyFile, Write_IntoNoFolder_IsUnavailable) {
  const TemporaryFolder folder;
  const auto written = WriteKeyFile(folder / "none/key", NewSlotSecret());
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().GetCode(), Code::kUnavailable);
}

TEST(KeyFile, Read_TakesTheLineWithAndWithoutItsEnd) {
  const TemporaryFolder folder;
  for (const std::string_view content : {kLine, kLine.substr(0, kLine.size() - 1)}) {
    WriteContent(folder / "key", content);
    const auto read = ReadKeyFile(folder / "key");
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(ToHex(read->Bytes()), kLineHex);
  }
}

TEST(KeyFile, Read_RefusesEveryOtherForm) {
  const TemporaryFolder folder;
  const std::string line(kLine);
  std::string other_prefix = line;
  other_prefix[15] = '2';
  std::string not_base64 = line;
  not_base64[20] = '*';
  std::string url_base64 = line;
  url_base64[20] = '_';
  std::string loose_bits = line;  // the last character carries bits beyond the 32 bytes
  loose_bits[loose_bits.size() - 3] = '9';
  for (const std::string& content :
       {std::string(), std::string("\n"), line + line, line + "\n", " " + line, "\n" + line,
        line.substr(0, line.size() - 1) + "\r\n", line.substr(0, line.size() - 2),
        line.substr(0, line.size() - 1) + " ", line.substr(17), other_prefix, not_base64,
        url_base64, loose_bits, std::string("oauthvault-key-1:\n"),
        line + std::string(300, '\n')}) {
    WriteContent(folder / "key", content);
    const auto read = ReadKeyFile(folder / "key");
    ASSERT_FALSE(read.has_value()) << content;
    EXPECT_EQ(read.error().GetCode(), Code::kInvalid);
    EXPECT_EQ(read.error().GetSubject(), (folder / "key").string());
  }
}

TEST(KeyFile, Read_RefusesAFileThatOthersMayReach) {
  const TemporaryFolder folder;
  WriteContent(folder / "key", kLine);
  for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0644u, 0660u}) {
    ASSERT_EQ(::chmod((folder / "key").c_str(), mode), 0);
    const auto read = ReadKeyFile(folder / "key");
    ASSERT_FALSE(read.has_value()) << mode;
    EXPECT_EQ(read.error().GetText(), "the file is open to group or others");
  }
  for (const mode_t mode : {0600u, 0400u}) {
    ASSERT_EQ(::chmod((folder / "key").c_str(), mode), 0);
    EXPECT_TRUE(ReadKeyFile(folder / "key").has_value()) << mode;
  }
}

TEST(KeyFile, Read_RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(ReadKeyFile(folder / "none").error().GetText(), "there is no such file");
  EXPECT_EQ(ReadKeyFile(folder.Path()).error().GetText(), "not a regular file");
  // Nobody writes to the pipe: the read must not wait.
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(ReadKeyFile(folder / "pipe").error().GetText(), "not a regular file");
}

}  // namespace
}  // namespace oauthvault::crypto
