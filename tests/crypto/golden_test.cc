// What was sealed once opens for ever: bytes that an earlier build wrote, with their keys.

#include <gtest/gtest.h>

#include <algorithm>

#include "crypto/keyring.h"
#include "crypto/unlocker.h"
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

// The vault of the golden file, opened with `texts` one after the other.
std::unique_ptr<Keyring> OpenedWith(const std::filesystem::path& keys,
                                    const std::vector<std::string>& texts) {
  auto unlocker = Unlocker::Read(keys);
  if (!unlocker) return nullptr;
  for (const std::string& text : texts) {
    if (!unlocker->Give(SecretBytes::CopyOf(text))) return nullptr;
  }
  auto keyring = unlocker->Take();
  return keyring ? std::move(*keyring) : nullptr;
}

TEST(Golden, AKeysFileThatWasWrittenEarlier_StillOpensItsRows) {
  for (const Vector& golden : ReadVectors("golden/crypto/keys.txt")) {
    const TemporaryFolder folder;
    const auto file = FromHex(golden.at("keys file"));
    WriteContent(folder / "keys", std::string(file.begin(), file.end()));
    const std::vector<std::vector<std::string>> ways{
        {golden.at("key file")},
        {golden.at("passphrase")},
        {golden.at("share 1"), golden.at("share 2")},
        {golden.at("share 2"), golden.at("share 3")},
        {golden.at("share 3"), golden.at("share 1")}};
    for (const std::vector<std::string>& way : ways) {
      const auto keyring = OpenedWith(folder / "keys", way);
      ASSERT_NE(keyring, nullptr);
      EXPECT_EQ(ToHex(keyring->Id()), golden.at("vault"));
      EXPECT_EQ(std::to_string(keyring->Changes()), golden.at("change number"));
      EXPECT_EQ(keyring->RootEpoch(), 2u);
      EXPECT_EQ(ToHex(keyring->AuditKey()), golden.at("audit key"));
      EXPECT_EQ(ToHex(keyring->FingerprintKey()), golden.at("fingerprint key"));
      const RowKey key =
          keyring->KeyOf(1, {golden.at("project"), golden.at("component"), {golden.at("id")}});
      EXPECT_EQ(ToHex(key.bytes), golden.at("row key"));
      for (const char* name : {"row", "rewrapped row"}) {
        const auto row = SealedRow::Parse(FromHex(golden.at(name)));
        ASSERT_TRUE(row.has_value());
        const auto plain =
            keyring->Open(Owner::Project(golden.at("project")), key, *row, Part::kData);
        ASSERT_TRUE(plain.has_value());
        EXPECT_EQ(ToHex(*plain), golden.at("data"));
        EXPECT_EQ(ToHex(keyring->ElementOf(key, *row)), golden.at("element"));
      }
    }
  }
}

TEST(Golden, AKeysFileThatIsOpened_IsWrittenAgainByteForByte) {
  for (const Vector& golden : ReadVectors("golden/crypto/keys.txt")) {
    const TemporaryFolder folder;
    const auto file = FromHex(golden.at("keys file"));
    WriteContent(folder / "keys", std::string(file.begin(), file.end()));
    const auto keyring = OpenedWith(folder / "keys", {golden.at("key file")});
    ASSERT_NE(keyring, nullptr);
    ASSERT_TRUE(keyring->CopyTo(folder / "copy").has_value());
    EXPECT_EQ(ContentOf(folder / "copy"), ContentOf(folder / "keys"));
  }
}

}  // namespace
}  // namespace oauthvault::crypto
