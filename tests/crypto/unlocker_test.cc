#include "crypto/unlocker.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>

#include "tests/crypto/hex.h"
#include "tests/crypto/stretching.h"
#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

constexpr std::string_view kPassphrase = "correct horse battery staple";

std::string StringOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}

NewSlot KeyFileSlot() {
  NewSlot slot;
  slot.label = "key file";
  return slot;
}

NewSlot PassphraseSlot(std::string_view passphrase) {
  NewSlot slot;
  slot.kind = SlotKind::kPassphrase;
  slot.label = "passphrase";
  slot.passphrase = SecretBytes::CopyOf(passphrase);
  slot.cost = kLeastPassphraseCost;
  return slot;
}

NewSlot SharesSlot(std::uint8_t threshold, std::uint8_t total) {
  NewSlot slot;
  slot.kind = SlotKind::kShares;
  slot.label = "shares";
  slot.threshold = threshold;
  slot.total = total;
  return slot;
}

class UnlockerTest : public testing::Test {
 protected:
  UnlockerTest() {
    auto made = Keyring::Create(folder_ / "keys", KeyFileSlot());
    keyring_ = std::move(made->keyring);
    key_line_ = StringOf(made->slot.texts.at(0));
  }

  // The texts of a slot that is added.
  std::vector<std::string> Add(const NewSlot& wanted) {
    const auto added = keyring_->AddSlot(wanted);
    EXPECT_TRUE(added.has_value());
    std::vector<std::string> texts;
    if (added) std::ranges::transform(added->texts, std::back_inserter(texts), StringOf);
    return texts;
  }

  Unlocker Begun() const { return std::move(*Unlocker::Read(folder_ / "keys")); }

  static Result<Unlocker::Progress> Give(Unlocker& unlocker, std::string_view text) {
    return unlocker.Give(SecretBytes::CopyOf(text));
  }

  void ExpectOpen(Unlocker& unlocker) const {
    const auto opened = unlocker.Take();
    ASSERT_TRUE(opened.has_value());
    EXPECT_EQ((*opened)->Id(), keyring_->Id());
    EXPECT_TRUE((*opened)->AuditKey().Equals(keyring_->AuditKey()));
  }

  // A share of the set of `text` with another payload and a right check.
  static std::string Forged(const std::string& text) {
    Share share = std::move(*ParseShare(text, 1));
    share.payload = RandomKey();
    return StringOf(TextOf(share));
  }

  const TemporaryFolder folder_;
  std::unique_ptr<Keyring> keyring_;
  std::string key_line_;
};

TEST_F(UnlockerTest, AKeyFilesLine_OpensAlone) {
  for (const std::string& end : {std::string(), std::string("\n"), std::string("\r\n")}) {
    Unlocker unlocker = Begun();
    const auto progress = Give(unlocker, key_line_ + end);
    ASSERT_TRUE(progress.has_value());
    EXPECT_TRUE(progress->open);
    ExpectOpen(unlocker);
  }
}

TEST_F(UnlockerTest, APassphrase_OpensAlone) {
  Add(PassphraseSlot("another passphrase"));
  Add(PassphraseSlot(kPassphrase));
  Unlocker unlocker = Begun();
  const auto progress = Give(unlocker, std::string(kPassphrase) + "\n");
  ASSERT_TRUE(progress.has_value());
  EXPECT_TRUE(progress->open);
  EXPECT_EQ(progress->shares_needed, 0u);
  ExpectOpen(unlocker);
}

TEST_F(UnlockerTest, AWrongPassphraseOrKey_IsDeniedAndSpoilsNothing) {
  Add(PassphraseSlot(kPassphrase));
  Unlocker unlocker = Begun();
  const auto wrong = Give(unlocker, "correct horse battery stapler");
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().GetCode(), Code::kDenied);
  const std::string other = StringOf(KeyLineOf(NewSlotSecret()));
  EXPECT_EQ(Give(unlocker, other).error().GetCode(), Code::kDenied);
  std::string damaged = key_line_;
  damaged[20] = '*';
  EXPECT_EQ(Give(unlocker, damaged).error().GetCode(), Code::kInvalid);
  EXPECT_EQ(unlocker.Take().error().GetCode(), Code::kSealed);
  ASSERT_TRUE(Give(unlocker, kPassphrase).has_value());
  ExpectOpen(unlocker);
}

TEST_F(UnlockerTest, ATextThatIsTooShortOrTooLong_IsRefusedBeforeAnythingIsStretched) {
  Add(PassphraseSlot(kPassphrase));
  Unlocker unlocker = Begun();
  const int before = stretchings;
  for (const std::size_t size : {0U, 1U, 7U, 1025U, 1027U, 100000U}) {
    EXPECT_EQ(Give(unlocker, std::string(size, 'a')).error().GetCode(), Code::kInvalid) << size;
  }
  EXPECT_EQ(stretchings, before);
}

TEST_F(UnlockerTest, EveryChoiceOfEnoughShares_OpensInEveryOrder) {
  std::vector<std::string> shares = Add(SharesSlot(3, 5));
  ASSERT_EQ(shares.size(), 5u);
  std::vector<std::size_t> order{0, 1, 2, 3, 4};
  do {
    Unlocker unlocker = Begun();
    for (unsigned given = 1; given <= 3; ++given) {
      const auto progress = Give(unlocker, shares[order[given - 1]]);
      ASSERT_TRUE(progress.has_value());
      EXPECT_EQ(progress->shares_given, given);
      EXPECT_EQ(progress->shares_needed, 3u);
      EXPECT_EQ(progress->open, given == 3);
      EXPECT_TRUE(progress->wrong_shares.empty());
    }
    ExpectOpen(unlocker);
    // The first three places tell; the others would come again.
    std::reverse(order.begin() + 3, order.end());
  } while (std::ranges::next_permutation(order).found);
}

TEST_F(UnlockerTest, ADamagedShare_IsNamedAndSpoilsNothing) {
  const std::vector<std::string> shares = Add(SharesSlot(2, 3));
  Unlocker unlocker = Begun();
  ASSERT_TRUE(Give(unlocker, shares[0]).has_value());
  std::string damaged = shares[1];
  damaged[40] = damaged[40] == 'a' ? 'b' : 'a';
  const auto refused = Give(unlocker, damaged);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().GetCode(), Code::kInvalid);
  EXPECT_EQ(refused.error().GetSubject(), "2");
  // Also where the begin is damaged, it is no passphrase.
  damaged = shares[1];
  damaged[0] = 'x';
  EXPECT_EQ(Give(unlocker, damaged).error().GetSubject(), "2");
  // Its number cannot be read: it is the second text.
  damaged = shares[1];
  damaged[18] = 'x';
  EXPECT_EQ(Give(unlocker, damaged).error().Message(),
            "a share is damaged, its number too; of the texts given it is number: 2");
  const auto progress = Give(unlocker, shares[1]);
  ASSERT_TRUE(progress.has_value());
  EXPECT_TRUE(progress->open);
  ExpectOpen(unlocker);
}

TEST_F(UnlockerTest, AShareOfAnotherVault_IsNamedAndSpoilsNothing) {
  const std::vector<std::string> shares = Add(SharesSlot(2, 3));
  const auto other = Keyring::Create(folder_ / "other", SharesSlot(2, 3));
  ASSERT_TRUE(other.has_value());
  Unlocker unlocker = Begun();
  ASSERT_TRUE(Give(unlocker, shares[0]).has_value());
  const std::string stranger = StringOf(other->slot.texts[1]);
  const auto refused = Give(unlocker, stranger);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().GetCode(), Code::kDenied);
  EXPECT_EQ(refused.error().Message(), "the share belongs to no slot of the vault: 2 of set " +
                                           stranger.substr(4, 8));
  const auto progress = Give(unlocker, shares[2]);
  ASSERT_TRUE(progress.has_value());
  EXPECT_TRUE(progress->open);
  EXPECT_EQ(progress->shares_given, 2u);
}

TEST_F(UnlockerTest, AShareOfAnotherCountThanItsSlots_IsRefused) {
  const std::vector<std::string> shares = Add(SharesSlot(2, 3));
  Share share = std::move(*ParseShare(shares[0], 1));
  share.parameters.total = 4;
  Unlocker unlocker = Begun();
  EXPECT_EQ(Give(unlocker, StringOf(TextOf(share))).error().GetCode(), Code::kDenied);
}

TEST_F(UnlockerTest, TheSameShareTwice_IsTold) {
  const std::vector<std::string> shares = Add(SharesSlot(2, 3));
  Unlocker unlocker = Begun();
  ASSERT_TRUE(Give(unlocker, shares[0]).has_value());
  const auto again = Give(unlocker, shares[0]);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().GetCode(), Code::kConflict);
  EXPECT_EQ(again.error().GetSubject(), "1 of set " + shares[0].substr(4, 8));
  EXPECT_TRUE(Give(unlocker, shares[1])->open);
}

TEST_F(UnlockerTest, OneForgedShareAmongOneMoreThanEnough_OpensAndIsNamed) {
  const std::vector<std::string> shares = Add(SharesSlot(3, 5));
  for (std::size_t forged = 0; forged < 4; ++forged) {
    Unlocker unlocker = Begun();
    for (std::size_t i = 0; i < 4; ++i) {
      const auto progress = Give(unlocker, i == forged ? Forged(shares[i]) : shares[i]);
      if (i < 2) {
        ASSERT_TRUE(progress.has_value());
      } else if (i == 2 && forged <= 2) {
        // Nobody can tell yet which of the three it is.
        ASSERT_FALSE(progress.has_value());
        EXPECT_EQ(progress.error().GetCode(), Code::kDenied);
        EXPECT_EQ(progress.error().GetText(),
                  "the shares do not fit together, one is wrong: give another");
      } else {
        ASSERT_TRUE(progress.has_value());
        ASSERT_TRUE(progress->open);
        if (forged > 2) break;
        ASSERT_EQ(progress->wrong_shares.size(), 1u);
        EXPECT_EQ(progress->wrong_shares[0].Index(), forged + 1);
      }
    }
    ExpectOpen(unlocker);
  }
}

TEST_F(UnlockerTest, AForgedShareAndTheRightOneOfItsNumber_AreToldApart) {
  const std::vector<std::string> shares = Add(SharesSlot(2, 3));
  Unlocker unlocker = Begun();
  ASSERT_TRUE(Give(unlocker, Forged(shares[0])).has_value());
  EXPECT_EQ(Give(unlocker, shares[0]).error().GetCode(), Code::kDenied);
  const auto progress = Give(unlocker, shares[1]);
  ASSERT_TRUE(progress.has_value());
  EXPECT_TRUE(progress->open);
  ASSERT_EQ(progress->wrong_shares.size(), 1u);
  EXPECT_EQ(progress->wrong_shares[0].Index(), 1);
}

TEST_F(UnlockerTest, SharesOfTwoSlots_AreCountedApart) {
  const std::vector<std::string> two = Add(SharesSlot(2, 3));
  const std::vector<std::string> three = Add(SharesSlot(3, 3));
  Unlocker unlocker = Begun();
  EXPECT_EQ(Give(unlocker, three[0])->shares_needed, 3u);
  EXPECT_EQ(Give(unlocker, two[0])->shares_given, 1u);
  EXPECT_EQ(Give(unlocker, three[1])->shares_given, 2u);
  const auto progress = Give(unlocker, two[2]);
  ASSERT_TRUE(progress.has_value());
  EXPECT_TRUE(progress->open);
  ExpectOpen(unlocker);
}

TEST_F(UnlockerTest, NoMoreThanSixteenShares_AreKept) {
  const std::vector<std::string> shares = Add(SharesSlot(16, 16));
  Unlocker unlocker = Begun();
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(Give(unlocker, Forged(shares[0])).has_value());
  EXPECT_EQ(Give(unlocker, Forged(shares[0])).error().GetCode(), Code::kDenied);
  const auto beyond = Give(unlocker, shares[1]);
  ASSERT_FALSE(beyond.has_value());
  EXPECT_EQ(beyond.error().GetCode(), Code::kExhausted);
  // Another way is still open.
  EXPECT_TRUE(Give(unlocker, key_line_)->open);
  ExpectOpen(unlocker);
}

TEST_F(UnlockerTest, ReissuedShares_OpenAndTheOldOnesNoMore) {
  const std::vector<std::string> old = Add(SharesSlot(2, 3));
  const std::uint32_t id = keyring_->Slots().back().id;
  Unlocker unlocker = Begun();
  ASSERT_TRUE(Give(unlocker, old[0]).has_value());
  const auto reissued = keyring_->ReissueSlot(id, {});
  ASSERT_TRUE(reissued.has_value());
  // The file is read anew for each piece.
  EXPECT_EQ(Give(unlocker, old[1]).error().GetCode(), Code::kDenied);
  ASSERT_TRUE(Give(unlocker, StringOf(reissued->texts[0])).has_value());
  EXPECT_TRUE(Give(unlocker, StringOf(reissued->texts[1]))->open);
  ExpectOpen(unlocker);
}

TEST_F(UnlockerTest, WhenItIsOpen_NothingMoreIsLookedAt) {
  Unlocker unlocker = Begun();
  ASSERT_TRUE(Give(unlocker, key_line_)->open);
  EXPECT_TRUE(Give(unlocker, "ov1-damaged")->open);
  ExpectOpen(unlocker);
}

TEST_F(UnlockerTest, ARootRotation_BetweenOpeningAndTaking_IsSeen) {
  Unlocker unlocker = Begun();
  ASSERT_TRUE(Give(unlocker, key_line_)->open);
  ASSERT_TRUE(keyring_->RotateRoot().has_value());
  EXPECT_EQ(unlocker.Take().error().GetCode(), Code::kCorrupt);
}

TEST_F(UnlockerTest, ADowngradeOfTheStretching_OpensNothing) {
  NewSlot slot = PassphraseSlot(kPassphrase);
  slot.cost = {2, 9 * 1024};
  Add(slot);
  const std::string content = ContentOf(folder_ / "keys");
  const PassphraseParameters parameters = keyring_->Slots().back().passphrase;
  const std::string salt(parameters.salt.begin(), parameters.salt.end());
  const std::size_t passes_at = content.find(salt) + salt.size();
  // One pass, 8 MiB: within the bounds, so they are tried, and give another key.
  for (const auto& [at, byte] : {std::pair(passes_at, '\x01'), std::pair(passes_at + 5, '\x20')}) {
    std::string weaker = content;
    weaker[at] = byte;
    ASSERT_NE(weaker, content);
    WriteContent(folder_ / "keys", weaker);
    Unlocker unlocker = Begun();
    EXPECT_EQ(Give(unlocker, kPassphrase).error().GetCode(), Code::kDenied);
    // Who opens by another slot is told by the MAC.
    ASSERT_TRUE(Give(unlocker, key_line_)->open);
    EXPECT_EQ(unlocker.Take().error().GetText(), "the MAC of the keys file does not verify");
  }
}

TEST_F(UnlockerTest, StretchingOutOfBounds_IsRefusedBeforeAnythingIsStretched) {
  Add(PassphraseSlot(kPassphrase));
  const std::string content = ContentOf(folder_ / "keys");
  const PassphraseParameters parameters = keyring_->Slots().back().passphrase;
  const std::string salt(parameters.salt.begin(), parameters.salt.end());
  const std::size_t passes_at = content.find(salt) + salt.size();
  const auto number = [](std::uint32_t value) {
    std::string bytes(4, '\0');
    for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
    return bytes;
  };
  const int before = stretchings;
  for (const std::uint32_t passes : {0U, 11U, 0xffffffffU}) {
    std::string changed = content;
    WriteContent(folder_ / "keys", changed.replace(passes_at, 4, number(passes)));
    EXPECT_EQ(Unlocker::Read(folder_ / "keys").error().GetText(),
              "the keys file holds a slot of an unknown kind or out of bounds");
  }
  for (const std::uint32_t memory_kib : {0U, 8U * 1024 - 1, 2U * 1024 * 1024 + 1, 0xffffffffU}) {
    std::string changed = content;
    WriteContent(folder_ / "keys", changed.replace(passes_at + 4, 4, number(memory_kib)));
    EXPECT_EQ(Unlocker::Read(folder_ / "keys").error().GetCode(), Code::kCorrupt);
  }
  EXPECT_EQ(stretchings, before);
}

TEST_F(UnlockerTest, AnUnknownFormat_IsRefused) {
  std::string content = ContentOf(folder_ / "keys");
  content[6] = 2;
  WriteContent(folder_ / "keys", content);
  EXPECT_EQ(Unlocker::Read(folder_ / "keys").error().GetCode(), Code::kInvalid);
  EXPECT_EQ(Unlocker::Read(folder_ / "none").error().GetCode(), Code::kInvalid);
}

}  // namespace
}  // namespace oauthvault::crypto
