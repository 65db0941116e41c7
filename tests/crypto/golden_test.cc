// What was sealed once opens for ever: bytes that an earlier build wrote, with their keys.

#include <gtest/gtest.h>

#include <algorithm>

#include "crypto/keyring.h"
#include "tests/crypto/hex.h"
#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

TEST(Golden, ARowThatWasSealedEarlier_StillOpens) {
  for (const Vector& golden : ReadVectors("golden/crypto/row.txt")) {
    const Kek kek(SecretFromHex(golden.at("kek")));
    VaultId vault{};
    std::ranges::copy(FromHex(golden.at("vault")), vault.begin());
    RowKey key;
    std::ranges::copy(FromHex(golden.at("row key")), key.bytes.begin());
    const auto row = SealedRow::Parse(FromHex(golden.at("row")));
    ASSERT_TRUE(row.has_value());
    EXPECT_EQ(std::to_string(row->KekVersion()), golden.at("kek version"));
    EXPECT_EQ(std::to_string(row->RecordVersion()), golden.at("record version"));
    for (const auto& [name, part] : {std::pair("meta", Part::kMeta), std::pair("data", Part::kData),
                                     std::pair("app secret", Part::kAppSecret)}) {
      ASSERT_EQ(row->Has(part), golden.contains(name)) << name;
      if (!row->Has(part)) continue;
      const auto plain = OpenPart(kek, vault, key, *row, part);
      ASSERT_TRUE(plain.has_value()) << name;
      EXPECT_EQ(ToHex(*plain), golden.at(name));
    }
  }
}

TEST(Golden, AKeysFileThatWasWrittenEarlier_StillOpensItsRows) {
  for (const Vector& golden : ReadVectors("golden/crypto/keys.txt")) {
    const TemporaryFolder folder;
    const auto file = FromHex(golden.at("keys file"));
    WriteContent(folder / "keys", std::string(file.begin(), file.end()));
    WriteContent(folder / "key", golden.at("key file") + "\n");
    const auto secret = ReadKeyFile(folder / "key");
    ASSERT_TRUE(secret.has_value());
    const auto keyring = Keyring::Unlock(folder / "keys", *secret);
    ASSERT_TRUE(keyring.has_value());
    EXPECT_EQ(ToHex((*keyring)->Id()), golden.at("vault"));
    EXPECT_EQ(ToHex((*keyring)->AuditKey()), golden.at("audit key"));
    EXPECT_EQ(ToHex((*keyring)->FingerprintKey()), golden.at("fingerprint key"));
    EXPECT_EQ(ToHex((*keyring)->ManifestKey()), golden.at("manifest key"));
    const RowKey key =
        (*keyring)->KeyOf(1, {golden.at("project"), golden.at("component"), {golden.at("id")}});
    EXPECT_EQ(ToHex(key.bytes), golden.at("row key"));
    const auto row = SealedRow::Parse(FromHex(golden.at("row")));
    ASSERT_TRUE(row.has_value());
    const auto plain =
        (*keyring)->Open(Owner::Project(golden.at("project")), key, *row, Part::kData);
    ASSERT_TRUE(plain.has_value());
    EXPECT_EQ(ToHex(*plain), golden.at("data"));
  }
}

}  // namespace
}  // namespace oauthvault::crypto
