#include "crypto/keyring.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include "tests/crypto/hex.h"
#include "tests/crypto/stretching.h"
#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

// Of the layout in ENVELOPE.md, for a file with one slot whose label has four characters.
constexpr std::size_t kFormatAt = 6;
constexpr std::size_t kChangesAt = 24;
constexpr std::size_t kEpochAt = 32;
constexpr std::size_t kSlotAt = 41;
constexpr std::size_t kSlotSize = 4 + 1 + 1 + 4 + 1 + 32 + 32 + kWrappedKeySize;
constexpr std::size_t kKeksAt = kSlotAt + kSlotSize + 4 * kWrappedKeySize + 4;
constexpr std::size_t kKekNameSize = 21;
constexpr std::size_t kKekSize = kKekNameSize + kWrappedKeySize;
constexpr std::size_t kMacSize = 32;

std::string TextOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}

PlainParts PartsOf(std::string_view data) {
  PlainParts parts;
  parts.meta = SecretBytes::CopyOf(std::string_view("meta"));
  parts.data = SecretBytes::CopyOf(data);
  return parts;
}

class KeyringTest : public testing::Test {
 protected:
  std::unique_ptr<Keyring> Created() {
    auto keyring = Keyring::Create(Path(), secret_, "main");
    EXPECT_TRUE(keyring.has_value());
    return std::move(*keyring);
  }
  std::unique_ptr<Keyring> Unlocked() {
    auto keyring = Keyring::Unlock(Path(), secret_);
    EXPECT_TRUE(keyring.has_value());
    return std::move(*keyring);
  }
  Code CodeOfUnlock() {
    const auto keyring = Keyring::Unlock(Path(), secret_);
    EXPECT_FALSE(keyring.has_value());
    return keyring ? Code::kConflict : keyring.error().GetCode();
  }

  // Writes the file anew with a right MAC, as only a holder of the root could.
  void WriteWithMac(std::string body) {
    const auto keyring = Unlocked();
    const auto root = OpenRootWith(keyring->Slots().front(), keyring->Id(), secret_);
    const SecretBytes key =
        DeriveKey(root->Bytes(), std::array<std::string_view, 1>{"oauthvault/keys/mac-key"});
    const auto mac =
        KeyedHash(key, std::array<std::string_view, 2>{"oauthvault/keys/mac", body}, kMacSize);
    body.append(mac.begin(), mac.end());
    WriteContent(Path(), body);
  }
  std::string Body() const {
    const std::string content = ContentOf(Path());
    return content.substr(0, content.size() - kMacSize);
  }

  std::filesystem::path Path() const { return folder_ / "keys"; }

  const TemporaryFolder folder_;
  const SlotSecret secret_ = NewSlotSecret();
};

TEST_F(KeyringTest, Create_ThenUnlock_GivesTheSameVault) {
  const auto created = Created();
  const auto unlocked = Unlocked();
  EXPECT_EQ(unlocked->Id(), created->Id());
  EXPECT_EQ(unlocked->RootEpoch(), 1u);
  EXPECT_EQ(created->Changes(), 1u);
  EXPECT_EQ(unlocked->Changes(), 1u);
  EXPECT_TRUE(unlocked->AuditKey().Equals(created->AuditKey()));
  EXPECT_TRUE(unlocked->FingerprintKey().Equals(created->FingerprintKey()));
  const RowNames names{"acme", "keboola.ex-google-drive", {"main"}};
  EXPECT_EQ(unlocked->KeyOf(1, names), created->KeyOf(1, names));
  ASSERT_EQ(unlocked->Slots().size(), 1u);
  EXPECT_EQ(unlocked->Slots()[0].id, 1u);
  EXPECT_EQ(unlocked->Slots()[0].label, "main");
  EXPECT_EQ(unlocked->Slots()[0].public_key, PublicKeyOf(secret_));
}

TEST_F(KeyringTest, NamedKeys_AreDifferentAndOfOneVaultOnly) {
  const auto one = Created();
  const auto two = Keyring::Create(folder_ / "keys2", secret_, "main");
  std::set<std::string> keys;
  for (const Keyring* keyring : {one.get(), two->get()}) {
    keys.insert(ToHex(keyring->AuditKey()));
    keys.insert(ToHex(keyring->FingerprintKey()));
  }
  EXPECT_EQ(keys.size(), 4u);
  EXPECT_NE(one->Id(), (*two)->Id());
  EXPECT_NE(one->KeyOf(1, {"a", "b", {}}), (*two)->KeyOf(1, {"a", "b", {}}));
}

TEST_F(KeyringTest, Create_NeverTakesThePlaceOfAFile) {
  WriteContent(Path(), "precious");
  const auto keyring = Keyring::Create(Path(), secret_, "main");
  ASSERT_FALSE(keyring.has_value());
  EXPECT_EQ(keyring.error().GetCode(), Code::kConflict);
  EXPECT_EQ(ContentOf(Path()), "precious");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "keys.tmp"));
}

TEST_F(KeyringTest, Create_IntoNoFolder_IsUnavailable) {
  const auto keyring = Keyring::Create(folder_ / "none/keys", secret_, "main");
  ASSERT_FALSE(keyring.has_value());
  EXPECT_EQ(keyring.error().GetCode(), Code::kUnavailable);
}

TEST_F(KeyringTest, Create_RefusesLabelsThatAreNotPrintableAscii) {
  for (const std::string& label :
       {std::string(), std::string(65, 'a'), std::string("a\n"), std::string("h\xc3\xa9")}) {
    const auto keyring = Keyring::Create(Path(), secret_, label);
    ASSERT_FALSE(keyring.has_value());
    EXPECT_EQ(keyring.error().GetCode(), Code::kInvalid);
  }
  EXPECT_TRUE(Keyring::Create(Path(), secret_, std::string(64, '~')).has_value());
}

TEST_F(KeyringTest, TheFile_IsTheOwnersAloneAndLeavesNoTemporaryFile) {
  const auto keyring = Created();
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("acme")).has_value());
  struct stat status {};
  ASSERT_EQ(::stat(Path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.Path()), {}), 1);
}

TEST_F(KeyringTest, TheFile_HoldsNoName) {
  const auto keyring = Created();
  const std::size_t before = ContentOf(Path()).size();
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("acme-payroll")).has_value());
  ASSERT_TRUE(keyring->EnsureKek(Owner::Component("keboola.ex-google-drive")).has_value());
  const std::string content = ContentOf(Path());
  EXPECT_EQ(content.find("acme"), std::string::npos);
  EXPECT_EQ(content.find("payroll"), std::string::npos);
  EXPECT_EQ(content.find("keboola"), std::string::npos);
  // An entry has one size, whatever the name.
  EXPECT_EQ(content.size(), before + 2 * kKekSize);
  EXPECT_EQ(before, kKeksAt + kKekSize + kMacSize);
}

TEST_F(KeyringTest, EnsureKek_IsDurableAndOpensItsRowsAfterwards) {
  RowKey key;
  std::vector<std::uint8_t> stored;
  {
    const auto keyring = Created();
    EXPECT_FALSE(keyring->HasKek(Owner::Project("acme")));
    ASSERT_TRUE(keyring->EnsureKek(Owner::Project("acme")).has_value());
    EXPECT_TRUE(keyring->HasKek(Owner::Project("acme")));
    key = keyring->KeyOf(3, {"acme", "ex", {"main"}});
    const auto row = keyring->Seal(Owner::Project("acme"), key, 1, PartsOf("token"));
    ASSERT_TRUE(row.has_value());
    stored.assign(row->Bytes().begin(), row->Bytes().end());
  }
  const auto keyring = Unlocked();
  EXPECT_TRUE(keyring->HasKek(Owner::Project("acme")));
  EXPECT_TRUE(keyring->HasKek(Owner::Vault()));
  const auto row = SealedRow::Parse(stored);
  const auto plain = keyring->Open(Owner::Project("acme"), key, *row, Part::kData);
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(TextOf(*plain), "token");
  std::vector<std::uint8_t> place(5);
  const auto part_key = keyring->PartKeyOf(Owner::Project("acme"), key, *row);
  ASSERT_TRUE(part_key.has_value());
  ASSERT_TRUE(keyring->OpenInto(*part_key, key, *row, Part::kData, place));
  EXPECT_EQ(std::string(place.begin(), place.end()), "token");
}

TEST_F(KeyringTest, EnsureKek_ASecondTime_ChangesNothing) {
  const auto keyring = Created();
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("acme")).has_value());
  const std::string content = ContentOf(Path());
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("acme")).has_value());
  ASSERT_TRUE(keyring->EnsureKek(Owner::Vault()).has_value());
  EXPECT_EQ(ContentOf(Path()), content);
}

TEST_F(KeyringTest, EnsureKek_ThatCannotBeWritten_LeavesTheOwnerWithoutAKey) {
  const auto keyring = Created();
  const auto aside = folder_.Path().string() + "-aside";
  std::filesystem::rename(folder_.Path(), aside);
  const auto made = keyring->EnsureKek(Owner::Project("acme"));
  std::filesystem::rename(aside, folder_.Path());
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().GetCode(), Code::kUnavailable);
  EXPECT_FALSE(keyring->HasKek(Owner::Project("acme")));
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("acme")).has_value());
  // The key in the file is the one in memory, not the one of the failed attempt.
  const RowKey key = keyring->KeyOf(1, {});
  const auto row = keyring->Seal(Owner::Project("acme"), key, 1, PartsOf("token"));
  ASSERT_TRUE(row.has_value());
  EXPECT_TRUE(Unlocked()->Open(Owner::Project("acme"), key, *row, Part::kData).has_value());
}

TEST_F(KeyringTest, EnsureKek_ReplacesWhatACrashLeft) {
  const auto keyring = Created();
  WriteContent(folder_ / "keys.tmp", std::string(100000, 'x'));
  ASSERT_EQ(::chmod((folder_ / "keys.tmp").c_str(), 0644), 0);
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("acme")).has_value());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "keys.tmp"));
  struct stat status {};
  ASSERT_EQ(::stat(Path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_TRUE(Unlocked()->HasKek(Owner::Project("acme")));
}

TEST_F(KeyringTest, EnsureKek_RunsBesideOpening) {
  const auto keyring = Created();
  const RowKey key = keyring->KeyOf(1, {});
  const auto row = keyring->Seal(Owner::Vault(), key, 1, PartsOf("token"));
  ASSERT_TRUE(row.has_value());
  constexpr int kOwners = 20;
  std::atomic<bool> done = false;
  std::atomic<int> failures = 0;
  constexpr int kWriters = 3;
  std::array<std::vector<SealedRow>, kWriters> sealed;
  {
    std::vector<std::jthread> threads;
    for (int reader = 0; reader < 2; ++reader) {
      threads.emplace_back([&] {
        while (!done) {
          const auto plain = keyring->Open(Owner::Vault(), key, *row, Part::kData);
          if (!plain || TextOf(*plain) != "token") ++failures;
        }
      });
    }
    {
      std::vector<std::jthread> writers;
      for (std::vector<SealedRow>& rows : sealed) {
        writers.emplace_back([&] {
          // Every writer wants every owner, so they meet.
          for (int i = 0; i < kOwners; ++i) {
            const Owner owner = Owner::Project(std::to_string(i));
            if (!keyring->EnsureKek(owner)) ++failures;
            auto made = keyring->Seal(owner, key, 1, PartsOf("x"));
            if (made) rows.push_back(std::move(*made));
          }
        });
      }
    }
    done = true;
  }
  EXPECT_EQ(failures, 0);
  // No writer sealed under a key that another one's took the place of.
  const auto unlocked = Unlocked();
  for (const std::vector<SealedRow>& rows : sealed) {
    ASSERT_EQ(rows.size(), std::size_t{kOwners});
    for (int i = 0; i < kOwners; ++i) {
      const SealedRow& made = rows[static_cast<std::size_t>(i)];
      EXPECT_TRUE(unlocked->Open(Owner::Project(std::to_string(i)), key, made, Part::kData));
    }
  }
  EXPECT_EQ(ContentOf(Path()).size(), kKeksAt + (1 + kOwners) * kKekSize + kMacSize);
}

TEST_F(KeyringTest, Owners_DoNotOpenEachOthersRows) {
  const auto keyring = Created();
  // Kinds with one name are two owners.
  const std::vector<Owner> owners{Owner::Vault(), Owner::Project("a"), Owner::Component("a"),
                                  Owner::Project("b")};
  for (const Owner& owner : owners) ASSERT_TRUE(keyring->EnsureKek(owner).has_value());
  const RowKey key = keyring->KeyOf(1, {"a", "", {}});
  for (std::size_t sealer = 0; sealer < owners.size(); ++sealer) {
    const auto row = keyring->Seal(owners[sealer], key, 1, PartsOf("token"));
    ASSERT_TRUE(row.has_value());
    for (std::size_t opener = 0; opener < owners.size(); ++opener) {
      const auto plain = keyring->Open(owners[opener], key, *row, Part::kData);
      EXPECT_EQ(plain.has_value(), opener == sealer);
      if (opener == sealer) continue;
      EXPECT_EQ(plain.error().GetCode(), Code::kCorrupt);
    }
  }
}

TEST_F(KeyringTest, KeyOf_GivesWhatAnotherKeyringGivesHoweverManyNamesWereAskedFor) {
  const auto keyring = Created();
  constexpr int kMoreThanRemembered = 1'030;
  std::vector<RowKey> keys;
  const auto key_of = [](const Keyring& of, int i) {
    return of.KeyOf(static_cast<std::uint8_t>(1 + i % 2), {"p" + std::to_string(i / 4),
                                                           i % 4 < 2 ? "" : "c", {"n"}});
  };
  for (int i = 0; i < kMoreThanRemembered; ++i) keys.push_back(key_of(*keyring, i));
  EXPECT_EQ(std::set(keys.begin(), keys.end()).size(), keys.size());
  const auto other = Unlocked();
  for (int i = kMoreThanRemembered - 1; i >= 0; --i) {
    EXPECT_EQ(key_of(*keyring, i), keys[static_cast<std::size_t>(i)]);
    EXPECT_EQ(key_of(*other, i), keys[static_cast<std::size_t>(i)]);
  }
}

TEST_F(KeyringTest, AnOwnerWithoutAKek_SealsNothingAndOpensNothing) {
  const auto keyring = Created();
  const RowKey key = keyring->KeyOf(1, {"a", "", {}});
  const auto sealed = keyring->Seal(Owner::Project("a"), key, 1, PartsOf("x"));
  ASSERT_FALSE(sealed.has_value());
  EXPECT_EQ(sealed.error().GetCode(), Code::kNotFound);
  const auto row = keyring->Seal(Owner::Vault(), key, 1, PartsOf("x"));
  const auto part_key = keyring->PartKeyOf(Owner::Project("a"), key, *row);
  ASSERT_FALSE(part_key.has_value());
  EXPECT_EQ(part_key.error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(keyring->Open(Owner::Vault(), key, *row, Part::kAppSecret).error().GetCode(),
            Code::kNotFound);
}

TEST_F(KeyringTest, AnotherSecret_IsDenied) {
  Created();
  const auto keyring = Keyring::Unlock(Path(), NewSlotSecret());
  ASSERT_FALSE(keyring.has_value());
  EXPECT_EQ(keyring.error().GetCode(), Code::kDenied);
  EXPECT_EQ(Keyring::Unlock(Path(), SlotSecret()).error().GetCode(), Code::kDenied);
}

TEST_F(KeyringTest, NoFile_IsInvalid) {
  EXPECT_EQ(CodeOfUnlock(), Code::kInvalid);
  WriteContent(Path(), "");
  EXPECT_EQ(CodeOfUnlock(), Code::kInvalid);
  WriteContent(Path(), std::string(500, 'x'));
  EXPECT_EQ(CodeOfUnlock(), Code::kInvalid);
}

TEST_F(KeyringTest, AnUnknownFormat_IsInvalidAndSaysWhich) {
  Created();
  std::string content = ContentOf(Path());
  content[kFormatAt] = 2;
  WriteContent(Path(), content);
  const auto keyring = Keyring::Unlock(Path(), secret_);
  ASSERT_FALSE(keyring.has_value());
  EXPECT_EQ(keyring.error().GetCode(), Code::kInvalid);
  EXPECT_EQ(keyring.error().Message(),
            "the keys file has a format that this version does not know: 2");
}

// One test for each bit of a byte, so that they run side by side.
class KeyringBits : public KeyringTest, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(OfEachByte, KeyringBits, testing::Range(0, 8));

TEST_P(KeyringBits, EveryFlippedOne_IsRefused) {
  {
    const auto keyring = Created();
    ASSERT_TRUE(keyring->EnsureKek(Owner::Project("acme")).has_value());
    // A slot of each kind.
    NewSlot slot;
    slot.kind = SlotKind::kPassphrase;
    slot.label = "passphrase";
    slot.passphrase = SecretBytes::CopyOf(std::string_view("correct horse"));
    slot.cost = kLeastPassphraseCost;
    ASSERT_TRUE(keyring->AddSlot(slot).has_value());
    slot.kind = SlotKind::kShares;
    slot.threshold = 2;
    slot.total = 3;
    ASSERT_TRUE(keyring->AddSlot(slot).has_value());
  }
  const std::string content = ContentOf(Path());
  const int before = stretchings;
  // In place: to truncate and write anew takes ten times as long.
  std::fstream file(Path(), std::ios::in | std::ios::out | std::ios::binary);
  const auto put = [&](std::size_t at, char byte) {
    file.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
  };
  for (std::size_t i = 0; i < content.size(); ++i) {
    put(i, static_cast<char>(content[i] ^ (1 << GetParam())));
    EXPECT_FALSE(Keyring::Unlock(Path(), secret_).has_value()) << "byte " << i;
    put(i, content[i]);
  }
  EXPECT_EQ(stretchings, before);
  EXPECT_TRUE(Keyring::Unlock(Path(), secret_).has_value());
}

TEST_F(KeyringTest, EveryOtherLength_IsRefused) {
  Created();
  const std::string content = ContentOf(Path());
  for (std::size_t size = 0; size < content.size(); ++size) {
    WriteContent(Path(), content.substr(0, size));
    EXPECT_FALSE(Keyring::Unlock(Path(), secret_).has_value()) << "size " << size;
  }
  WriteContent(Path(), content + '\0');
  EXPECT_EQ(CodeOfUnlock(), Code::kCorrupt);
  WriteContent(Path(), content + content);
  EXPECT_EQ(CodeOfUnlock(), Code::kCorrupt);
}

TEST_F(KeyringTest, ARightMacOverAnUnchangedBody_Opens) {
  Created();
  WriteWithMac(Body());
  EXPECT_TRUE(Keyring::Unlock(Path(), secret_).has_value());
}

TEST_F(KeyringTest, KeysThatChangedOwners_AreRefusedEvenUnderARightMac) {
  const auto keyring = Created();
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("a")).has_value());
  std::string body = Body();
  const auto first = body.begin() + static_cast<std::ptrdiff_t>(kKeksAt + kKekNameSize);
  std::swap_ranges(first, first + kWrappedKeySize, first + kKekSize);
  WriteWithMac(body);
  EXPECT_EQ(CodeOfUnlock(), Code::kCorrupt);
}

TEST_F(KeyringTest, KeysOutOfOrder_AreRefusedEvenUnderARightMac) {
  const auto keyring = Created();
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("a")).has_value());
  std::string body = Body();
  const auto first = body.begin() + static_cast<std::ptrdiff_t>(kKeksAt);
  std::swap_ranges(first, first + kKekSize, first + kKekSize);
  WriteWithMac(body);
  EXPECT_EQ(CodeOfUnlock(), Code::kCorrupt);
}

TEST_F(KeyringTest, APointOfLowOrder_IsRefusedEvenUnderARightMac) {
  Created();
  const std::string body = Body();
  const std::string content = ContentOf(Path());
  for (const std::size_t at : {kSlotAt + 11, kSlotAt + 11 + 32}) {
    WriteContent(Path(), content);
    std::string changed = body;
    WriteWithMac(changed.replace(at, 32, std::string(32, '\0')));
    const auto keyring = Keyring::Unlock(Path(), secret_);
    ASSERT_FALSE(keyring.has_value());
    EXPECT_EQ(keyring.error().GetText(), "the keys file holds a slot with a point of low order");
  }
}

TEST_F(KeyringTest, ClaimsBeyondTheLimits_AreRefusedEvenUnderARightMac) {
  Created();
  const std::string body = Body();
  const std::string content = ContentOf(Path());
  struct Claim {
    std::size_t at;
    std::string bytes;
    std::string_view text;
  };
  const std::vector<Claim> claims{
      // No slot, and more than there may be.
      {kSlotAt - 1, std::string(1, '\0'), "the keys file holds an impossible number of slots"},
      {kSlotAt - 1, "\xff", "the keys file holds an impossible number of slots"},
      // Kinds that there are not, no label, one beyond the limit, an unprintable one.
      {kSlotAt + 4, std::string(1, '\0'),
       "the keys file holds a slot of an unknown kind or out of bounds"},
      {kSlotAt + 4, "\x04", "the keys file holds a slot of an unknown kind or out of bounds"},
      {kSlotAt + 5, std::string(1, '\0'), "the keys file holds an impossible slot"},
      {kSlotAt + 5, "\xff", "the keys file holds an impossible slot"},
      {kSlotAt + 6, "\n", "the keys file holds an impossible slot"},
      // Parameters that a key file has not, and an id that is still to come.
      {kSlotAt + 10, "\x01", "the keys file holds a slot of an unknown kind or out of bounds"},
      {kSlotAt, "\x02", "the slots of the keys file are not in order"},
      // A root that was never made.
      {kEpochAt, std::string(4, '\0'),
       "the keys file has a root epoch or a change number of zero"},
      // A file that was never written.
      {kChangesAt, std::string(8, '\0'),
       "the keys file has a root epoch or a change number of zero"},
      // More keys than there may be, an unknown kind of owner, a version of zero.
      {kKeksAt - 4, "\xff\xff\xff\xff", "the keys file holds an impossible number of keys"},
      {kKeksAt, "\x04", "the keys file holds an impossible key"},
      {kKeksAt + 17, std::string(4, '\0'), "the keys file holds an impossible key"},
      // Bytes behind the last key.
      {body.size(), "x", "the keys file holds more than it says"}};
  for (const Claim& claim : claims) {
    WriteContent(Path(), content);
    std::string changed = body;
    changed.resize(std::max(body.size(), claim.at + claim.bytes.size()));
    WriteWithMac(changed.replace(claim.at, claim.bytes.size(), claim.bytes));
    const auto keyring = Keyring::Unlock(Path(), secret_);
    ASSERT_FALSE(keyring.has_value()) << claim.at;
    EXPECT_EQ(keyring.error().GetCode(), Code::kCorrupt) << claim.at;
    EXPECT_EQ(keyring.error().GetText(), claim.text) << claim.at;
  }
}

TEST_F(KeyringTest, AfterTheLastChangeNumber_NothingIsWrittenAndTheFileStillOpens) {
  Created();
  std::string body = Body();
  WriteWithMac(body.replace(kChangesAt, 8, "\xfe" + std::string(7, '\xff')));
  const auto keyring = Unlocked();
  EXPECT_EQ(keyring->Changes(), 0xfffffffffffffffeu);
  ASSERT_TRUE(keyring->EnsureKek(Owner::Project("last")).has_value());
  EXPECT_EQ(keyring->Changes(), 0xffffffffffffffffu);
  const std::string content = ContentOf(Path());
  const auto made = keyring->EnsureKek(Owner::Project("more"));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().GetCode(), Code::kExhausted);
  EXPECT_EQ(keyring->RotateRoot().error().GetCode(), Code::kExhausted);
  EXPECT_EQ(ContentOf(Path()), content);
  EXPECT_EQ(Unlocked()->Changes(), 0xffffffffffffffffu);
}

TEST_F(KeyringTest, PrefixOf_IsWhatTheKeysOfItsRowsBeginWith) {
  const auto keyring = Created();
  const auto begins = [](const RowKey& key, const std::vector<std::uint8_t>& prefix) {
    return std::equal(prefix.begin(), prefix.end(), key.bytes.begin());
  };
  const RowKey key = keyring->KeyOf(1, {"p", "c", {"main"}});
  EXPECT_EQ(keyring->PrefixOf(1, "", "").size(), 1u);
  EXPECT_EQ(keyring->PrefixOf(1, "", "c").size(), 1u);
  EXPECT_EQ(keyring->PrefixOf(1, "p", "").size(), 17u);
  EXPECT_EQ(keyring->PrefixOf(1, "p", "c").size(), 25u);
  EXPECT_TRUE(begins(key, keyring->PrefixOf(1, "", "")));
  EXPECT_TRUE(begins(key, keyring->PrefixOf(1, "p", "")));
  EXPECT_TRUE(begins(key, keyring->PrefixOf(1, "p", "c")));
  EXPECT_FALSE(begins(key, keyring->PrefixOf(2, "p", "")));
  EXPECT_FALSE(begins(key, keyring->PrefixOf(1, "q", "")));
  EXPECT_FALSE(begins(key, keyring->PrefixOf(1, "p", "d")));
  // Another table shares no tag, so that rows of one project cannot be matched across tables.
  const RowKey other = keyring->KeyOf(2, {"p", "c", {"main"}});
  EXPECT_FALSE(std::equal(key.bytes.begin() + 1, key.bytes.begin() + 17, other.bytes.begin() + 1));
}

TEST_F(KeyringTest, KeyOf_TellsNamesApartWhereverTheyAreCut) {
  const auto keyring = Created();
  std::set<RowKey> keys;
  const std::vector<RowNames> all{{"ab", "c", {}},    {"a", "bc", {}},  {"abc", "", {}},
                                  {"", "abc", {}},    {"ab", "", {"c"}}, {"ab", "c", {""}},
                                  {"ab", "c", {"d"}}, {"ab", "c", {"d", "e"}},
                                  {"ab", "c", {"de"}}};
  for (const RowNames& names : all) keys.insert(keyring->KeyOf(1, names));
  EXPECT_EQ(keys.size(), all.size());
}

}  // namespace
}  // namespace oauthvault::crypto
