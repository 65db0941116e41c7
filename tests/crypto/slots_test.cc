#include "crypto/slots.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/crypto/hex.h"
#include "tests/crypto/stretching.h"
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

TEST_F(SlotTest, TheParameters_AreBoundIntoTheRootsWrap) {
  // Under the MAC too; this is for who holds the slot alone.
  const auto seal_as = [&](Slot slot) {
    SealRootTo(slot, vault_, root_);
    EXPECT_TRUE(OpenRootWith(slot, vault_, secret_).has_value());
    return slot;
  };
  Slot slot = slot_;
  slot.kind = SlotKind::kPassphrase;
  slot.passphrase.cost = {3, 65536};
  const Slot passphrase = seal_as(slot);
  slot = passphrase;
  slot.passphrase.cost.passes = 2;
  EXPECT_EQ(CodeOf(slot), Code::kCorrupt);
  slot = passphrase;
  slot.passphrase.cost.memory_kib = 8192;
  EXPECT_EQ(CodeOf(slot), Code::kCorrupt);
  slot = passphrase;
  slot.passphrase.salt[15] ^= 1;
  EXPECT_EQ(CodeOf(slot), Code::kCorrupt);
  slot = slot_;
  slot.kind = SlotKind::kShares;
  slot.shares = {{1, 2, 3, 4, 5}, 3, 5};
  const Slot shares = seal_as(slot);
  slot = shares;
  slot.shares.threshold = 2;
  EXPECT_EQ(CodeOf(slot), Code::kCorrupt);
  slot = shares;
  slot.shares.total = 6;
  EXPECT_EQ(CodeOf(slot), Code::kCorrupt);
  slot = shares;
  slot.shares.set[4] ^= 1;
  EXPECT_EQ(CodeOf(slot), Code::kCorrupt);
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

TEST(LowOrder, Points_AreKnown) {
  // RFC 7748 section 6.1 speaks of them; the list of all: 0, 1, the two of order 8, and p - 1, p,
  // p + 1, as they stand in the curve's own page (cr.yp.to/ecdh.html, "How do I validate").
  for (const char* text : {"0000000000000000000000000000000000000000000000000000000000000000",
                           "0100000000000000000000000000000000000000000000000000000000000000",
                           "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                           "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                           "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                           "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                           "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    SlotPublicKey point{};
    std::ranges::copy(FromHex(text), point.begin());
    EXPECT_TRUE(IsOfLowOrder(point)) << text;
    // X25519 ignores the highest bit.
    point.back() ^= 0x80;
    EXPECT_TRUE(IsOfLowOrder(point)) << text;
  }
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(IsOfLowOrder(PublicKeyOf(NewSlotSecret())));
}

TEST(Passphrase, IsStretchedAsTheReferenceDoes) {
  for (const Vector& vector : ReadVectors("vectors/argon2id.txt")) {
    PassphraseParameters parameters;
    ASSERT_EQ(vector.at("salt").size(), parameters.salt.size());
    std::ranges::copy(vector.at("salt"), parameters.salt.begin());
    parameters.cost = {static_cast<std::uint32_t>(std::stoul(vector.at("passes"))),
                       static_cast<std::uint32_t>(std::stoul(vector.at("memory")))};
    const auto secret =
        StretchPassphrase(SecretBytes::CopyOf(vector.at("passphrase")), parameters);
    ASSERT_TRUE(secret.has_value());
    EXPECT_EQ(ToHex(secret->Bytes()), vector.at("secret"));
  }
}

TEST(Passphrase, CostsOutOfBounds_AreRefusedBeforeAnythingIsStretched) {
  const SecretBytes passphrase = SecretBytes::CopyOf(std::string_view("correct horse"));
  const int before = stretchings;
  for (const PassphraseCost cost : {PassphraseCost{0, 8192},
                                    {11, 8192},
                                    {1, 8191},
                                    {1, 2 * 1024 * 1024 + 1},
                                    {0xffffffff, 0xffffffff}}) {
    const auto secret = StretchPassphrase(passphrase, {{}, cost});
    ASSERT_FALSE(secret.has_value());
    EXPECT_EQ(secret.error().GetCode(), Code::kInvalid);
  }
  EXPECT_EQ(stretchings, before);
  EXPECT_TRUE(StretchPassphrase(passphrase, {{}, kLeastPassphraseCost}).has_value());
  EXPECT_EQ(stretchings, before + 1);
}

TEST(Passphrase, TheDefaultCost_LiesWhereItShould) {
  EXPECT_EQ(PassphraseCost{}, (PassphraseCost{3, 256 * 1024}));
}

class MadeSlot : public testing::Test {
 protected:
  static NewSlot Wanted(SlotKind kind) {
    NewSlot slot;
    slot.kind = kind;
    slot.label = "label";
    slot.passphrase = SecretBytes::CopyOf(std::string_view("correct horse"));
    slot.cost = kLeastPassphraseCost;
    slot.threshold = 2;
    slot.total = 3;
    return slot;
  }
  static void ExpectInvalid(const NewSlot& wanted) {
    const auto made = MakeSlot(wanted);
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().GetCode(), Code::kInvalid);
  }
};

TEST_F(MadeSlot, OfAKeyFile_HasTheLineAsItsOnlyText) {
  const auto made = MakeSlot(Wanted(SlotKind::kKeyFile));
  ASSERT_TRUE(made.has_value());
  ASSERT_EQ(made->texts.size(), 1u);
  const auto secret = made->texts[0].Expose(
      [](auto bytes) { return ParseKeyLine({reinterpret_cast<const char*>(bytes.data()),
                                            bytes.size()}); });
  ASSERT_TRUE(secret.has_value());
  EXPECT_EQ(PublicKeyOf(*secret), made->slot.public_key);
}

TEST_F(MadeSlot, OfAPassphrase_HasNoTextAndASaltOfItsOwn) {
  const auto one = MakeSlot(Wanted(SlotKind::kPassphrase));
  const auto two = MakeSlot(Wanted(SlotKind::kPassphrase));
  ASSERT_TRUE(one.has_value() && two.has_value());
  EXPECT_TRUE(one->texts.empty());
  EXPECT_NE(one->slot.passphrase.salt, two->slot.passphrase.salt);
  EXPECT_NE(one->slot.public_key, two->slot.public_key);
}

TEST_F(MadeSlot, OfShares_HasOneTextForEach) {
  const auto made = MakeSlot(Wanted(SlotKind::kShares));
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(made->texts.size(), 3u);
  EXPECT_EQ(made->slot.shares.threshold, 2);
  EXPECT_EQ(made->slot.shares.total, 3);
  EXPECT_NE(made->slot.shares.set, MakeSlot(Wanted(SlotKind::kShares))->slot.shares.set);
}

TEST_F(MadeSlot, OutOfBounds_IsInvalid) {
  for (const std::string& passphrase :
       {std::string("seven c"), std::string(1025, 'a'), std::string("two\nlines"),
        std::string("tab\ttab.."), std::string("delete\x7f."), std::string("ov1-is a share"),
        std::string("oauthvault-key-2:x"), std::string(77, 'x') + "-a-b-c-"}) {
    NewSlot wanted = Wanted(SlotKind::kPassphrase);
    wanted.passphrase = SecretBytes::CopyOf(std::string_view(passphrase));
    const int before = stretchings;
    ExpectInvalid(wanted);
    EXPECT_EQ(stretchings, before) << passphrase;
  }
  for (const std::string& passphrase :
       {std::string("8 chars!"), std::string(1024, 'a'), std::string("gr\xc3\xbc\xc3\x9f dich")}) {
    NewSlot wanted = Wanted(SlotKind::kPassphrase);
    wanted.passphrase = SecretBytes::CopyOf(std::string_view(passphrase));
    EXPECT_TRUE(MakeSlot(wanted).has_value()) << passphrase;
  }
  NewSlot wanted = Wanted(SlotKind::kPassphrase);
  wanted.cost.passes = 0;
  ExpectInvalid(wanted);
  wanted = Wanted(SlotKind::kShares);
  wanted.threshold = 4;
  ExpectInvalid(wanted);
  for (const SlotKind kind : {SlotKind::kKeyFile, SlotKind::kPassphrase, SlotKind::kShares}) {
    wanted = Wanted(kind);
    wanted.label = "";
    ExpectInvalid(wanted);
  }
  ExpectInvalid(Wanted(static_cast<SlotKind>(4)));
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

TEST(KeyFile, Read_TakesACredentialWhoseAccessListShowsAsTheGroups) {
  const TemporaryFolder folder;
  WriteContent(folder / "key", kLine);
  ASSERT_EQ(::chmod((folder / "key").c_str(), 0440), 0);
  EXPECT_FALSE(ReadKeyFile(folder / "key"));
  ::setenv("CREDENTIALS_DIRECTORY", (folder / "key").parent_path().c_str(), 1);
  const auto read = ReadKeyFile(folder / "key");
  ::unsetenv("CREDENTIALS_DIRECTORY");
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(ToHex(read->Bytes()), kLineHex);
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
