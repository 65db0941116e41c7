#include "crypto/sealed_value.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/keyring.h"
#include "tests/crypto/hex.h"
#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

using Names = std::vector<std::string_view>;

const Names kNames{"project", "component"};
constexpr std::uint8_t kScope = 2;

class SealedValues : public testing::Test {
 protected:
  SealedValues() {
    EXPECT_TRUE(keyring_->EnsureKek(kOwner));
    EXPECT_TRUE(keyring_->EnsureKek(kOther));
  }

  SealedValue Sealed(std::string_view plain) const {
    auto value = keyring_->SealValue(kOwner, kScope, kNames, SecretBytes::CopyOf(plain));
    EXPECT_TRUE(value);
    return std::move(*value);
  }
  static std::string TextOf(const SecretBytes& secret) {
    return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
  }
  Result<SecretBytes> Open(std::span<const std::uint8_t> bytes, const Names& names = kNames,
                           const Owner& owner = kOwner) const {
    auto value = SealedValue::Parse(bytes);
    if (!value) return std::unexpected(value.error());
    return keyring_->OpenValue(owner, names, *value);
  }
  SealedRow Row(const RowKey& key, std::uint64_t version = 1) const {
    PlainParts parts{SecretBytes::CopyOf("meta"), SecretBytes::CopyOf("the data"),
                     SecretBytes::CopyOf("the app secret")};
    return *keyring_->Seal(kOwner, key, version, parts);
  }

  inline static const Owner kOwner = Owner::Project("acme");
  inline static const Owner kOther = Owner::Project("other");
  const TemporaryFolder folder_;
  std::unique_ptr<Keyring> keyring_ =
      *Keyring::Create(folder_ / "keys", NewSlotSecret(), "the test's slot");
};

TEST_F(SealedValues, OpenValue_GivesWhatWasSealed) {
  for (const std::string& plain : {std::string(), std::string("x"), std::string("\0\xff", 2),
                                   std::string(kMaxValueSize, 'y')}) {
    const SealedValue value = Sealed(plain);
    EXPECT_EQ(value.PlainSize(), plain.size());
    EXPECT_EQ(value.Bytes().size(), plain.size() + kValueOverhead);
    EXPECT_EQ(value.Scope(), kScope);
    EXPECT_EQ(value.KekVersion(), 1u);
    const auto opened = Open(value.Bytes());
    ASSERT_TRUE(opened);
    EXPECT_EQ(TextOf(*opened), plain);
  }
}

TEST_F(SealedValues, SealValue_RefusesWhatIsTooLargeOrHasNoKey) {
  const SecretBytes large(kMaxValueSize + 1);
  EXPECT_EQ(keyring_->SealValue(kOwner, kScope, kNames, large).error().GetCode(), Code::kInvalid);
  EXPECT_EQ(keyring_->SealValue(Owner::Component("acme"), kScope, kNames, SecretBytes())
                .error()
                .GetCode(),
            Code::kNotFound);
}

TEST_F(SealedValues, SealValue_NeverGivesTheSameBytesTwice) {
  const SealedValue one = Sealed("x");
  const SealedValue two = Sealed("x");
  EXPECT_FALSE(std::ranges::equal(one.Bytes(), two.Bytes()));
}

TEST_F(SealedValues, OpenValue_RefusesAnyChangedByteAndAnyOtherSize) {
  const SealedValue value = Sealed("a secret");
  const std::vector<std::uint8_t> bytes(value.Bytes().begin(), value.Bytes().end());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int bit : {0x01, 0x80}) {
      std::vector<std::uint8_t> changed = bytes;
      changed[i] = static_cast<std::uint8_t>(changed[i] ^ bit);
      const auto opened = Open(changed);
      ASSERT_FALSE(opened) << "byte " << i;
      EXPECT_EQ(opened.error().GetCode(), Code::kCorrupt);
    }
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(Open(std::span(bytes).first(size))) << size;
  }
  std::vector<std::uint8_t> longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(Open(longer));
}

TEST_F(SealedValues, OpenValue_RefusesOtherNamesOwnersAndVaults) {
  const SealedValue value = Sealed("a secret");
  const std::vector<Names> others{{},
                                  {"project"},
                                  {"component", "project"},
                                  {"projectcomponent"},
                                  {"projectc", "omponent"},
                                  {"project", "component", ""},
                                  {"Project", "component"}};
  for (const Names& names : others) EXPECT_FALSE(Open(value.Bytes(), names));
  EXPECT_FALSE(Open(value.Bytes(), kNames, kOther));
  EXPECT_FALSE(Open(value.Bytes(), kNames, Owner::Vault()));
  EXPECT_FALSE(Open(value.Bytes(), kNames, Owner::Component("acme")));
  const auto stranger = *Keyring::Create(folder_ / "stranger", NewSlotSecret(), "another's slot");
  ASSERT_TRUE(stranger->EnsureKek(kOwner));
  EXPECT_FALSE(stranger->OpenValue(kOwner, kNames, value));
}

TEST_F(SealedValues, AKeyThatSealedValues_StaysThroughRotationsAndARestart_UntilItsOwnerIsRemoved) {
  const SealedValue old = Sealed("before");
  ASSERT_TRUE(keyring_->RotateKek(kOwner));
  ASSERT_TRUE(keyring_->RotateRoot());
  const SealedValue young = Sealed("after");
  EXPECT_EQ(young.KekVersion(), 2u);
  auto root = keyring_->RootForChild();
  ASSERT_TRUE(root);
  keyring_ = *Keyring::Unlock(folder_ / "keys", std::move(*root));
  EXPECT_EQ(TextOf(*Open(old.Bytes())), "before");
  EXPECT_EQ(TextOf(*Open(young.Bytes())), "after");
  ASSERT_TRUE(keyring_->RemoveOwner(kOwner));
  EXPECT_FALSE(Open(old.Bytes()));
  ASSERT_TRUE(keyring_->EnsureKek(kOwner));
  EXPECT_FALSE(Open(old.Bytes())) << "a new owner of the same name is another";
}

TEST_F(SealedValues, ASealedPart_OpensWithoutItsRowAndAfterARewrap) {
  const RowKey key = keyring_->KeyOf(1, {"acme", "sheets", {"main"}});
  const SealedRow row = Row(key, 7);
  for (const auto& [part, plain] :
       {std::pair(Part::kData, "the data"), std::pair(Part::kAppSecret, "the app secret")}) {
    const auto copy = SealedPart::Of(key, row, part);
    ASSERT_TRUE(copy);
    ASSERT_TRUE(keyring_->RotateKek(kOwner));
    const auto read = SealedPart::Parse(copy->Bytes());
    ASSERT_TRUE(read);
    EXPECT_EQ(read->Key(), key);
    EXPECT_EQ(read->GetPart(), part);
    EXPECT_EQ(read->RecordVersion(), 7u);
    EXPECT_EQ(TextOf(*keyring_->OpenPartOf(kOwner, *read)), plain);
    EXPECT_FALSE(keyring_->OpenPartOf(kOther, *read));
    const auto rewrapped = keyring_->Rewrap(kOwner, key, row);
    ASSERT_TRUE(rewrapped);
    EXPECT_EQ(TextOf(*keyring_->OpenPartOf(kOwner, *SealedPart::Of(key, *rewrapped, part))), plain);
  }
}

TEST_F(SealedValues, ASealedPart_RefusesAnyChangedByteAndAnyOtherSize) {
  const RowKey key = keyring_->KeyOf(1, {"acme", "sheets", {"main"}});
  const SealedRow row = Row(key);
  const auto copy = SealedPart::Of(key, row, Part::kAppSecret);
  ASSERT_TRUE(copy);
  const std::vector<std::uint8_t> bytes(copy->Bytes().begin(), copy->Bytes().end());
  const auto open = [&](std::span<const std::uint8_t> changed) {
    const auto read = SealedPart::Parse(changed);
    return read && keyring_->OpenPartOf(kOwner, *read);
  };
  EXPECT_TRUE(open(bytes));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::uint8_t> changed = bytes;
    changed[i] = static_cast<std::uint8_t>(changed[i] ^ 0x01);
    EXPECT_FALSE(open(changed)) << "byte " << i;
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(open(std::span(bytes).first(size))) << size;
  }
}

TEST_F(SealedValues, ASealedPart_OfAPartThatTheRowLacks_IsNotFound) {
  const RowKey key = keyring_->KeyOf(1, {"acme", "sheets", {"main"}});
  const PlainParts only_meta{SecretBytes::CopyOf("meta"), std::nullopt, std::nullopt};
  const SealedRow row = *keyring_->Seal(kOwner, key, 1, only_meta);
  EXPECT_EQ(SealedPart::Of(key, row, Part::kData).error().GetCode(), Code::kNotFound);
}

// ENVELOPE.md, "Sealed value", followed by hand with libsodium alone.
TEST(SealedValueByHand, AValue_IsAsThePageSays) {
  const auto fields = [](const std::vector<std::string>& all) {
    std::string bytes;
    for (const std::string& field : all) {
      for (int i = 0; i < 4; ++i) bytes += static_cast<char>(field.size() >> (8 * i));
      bytes += field;
    }
    return bytes;
  };
  const auto hash = [&](const std::string& key, const std::vector<std::string>& all) {
    const std::string bytes = fields(all);
    std::string out(32, '\0');
    crypto_generichash(reinterpret_cast<unsigned char*>(out.data()), out.size(),
                       reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                       reinterpret_cast<const unsigned char*>(key.data()), key.size());
    return out;
  };
  const auto open = [&](const std::string& key, const std::string& nonce,
                        const std::vector<std::string>& bound_to, const std::string& sealed) {
    const std::string data = fields(bound_to);
    std::string plain(sealed.size() - 16, '\0');
    const int opened = crypto_aead_xchacha20poly1305_ietf_decrypt(
        reinterpret_cast<unsigned char*>(plain.data()), nullptr, nullptr,
        reinterpret_cast<const unsigned char*>(sealed.data()), sealed.size(),
        reinterpret_cast<const unsigned char*>(data.data()), data.size(),
        reinterpret_cast<const unsigned char*>(nonce.data()),
        reinterpret_cast<const unsigned char*>(key.data()));
    EXPECT_EQ(opened, 0);
    return plain;
  };
  const std::string kek(32, 'k');
  VaultId vault{};
  vault.fill('v');
  const auto value = SealValue(Kek(SecretBytes::CopyOf(kek)), 3, vault, kScope, kNames,
                               SecretBytes::CopyOf("\"plain\""));
  ASSERT_TRUE(value);
  const std::string bytes(value->Bytes().begin(), value->Bytes().end());
  const auto bound_to = [&](const std::string& use) {
    return std::vector<std::string>{"oauthvault/value/" + use, std::string(1, '\x01'),
                                    std::string(1, '\x02'), std::string(16, 'v'),
                                    std::string("\x03\0\0\0", 4), "project", "component"};
  };
  EXPECT_EQ(bytes.substr(0, 6), std::string("\x01\x02\x03\0\0\0", 6));
  const std::string dek =
      open(kek, bytes.substr(6, 24), bound_to("wrap"), bytes.substr(30, 48));
  EXPECT_EQ(bytes.substr(78, 32),
            hash(hash(dek, {"oauthvault/value/commit-key"}), bound_to("commit")));
  EXPECT_EQ(open(hash(dek, {"oauthvault/value/seal-key"}), std::string(24, '\0'),
                 bound_to("seal"), bytes.substr(110)),
            "\"plain\"");
}

}  // namespace
}  // namespace oauthvault::crypto
