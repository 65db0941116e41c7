// What changes an open vault: slots, roots, keys of owners. Each change is shown to be in the file,
// to leave the rest alone, and to leave all as it was when the file cannot be written.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "crypto/keyring.h"
#include "crypto/unlocker.h"
#include "tests/crypto/folder_sync.h"
#include "tests/crypto/hex.h"
#include "tests/crypto/temporary_folder.h"

namespace oauthvault::crypto {
namespace {

std::string StringOf(const SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}

NewSlot SlotOf(SlotKind kind, std::string label) {
  NewSlot slot;
  slot.kind = kind;
  slot.label = std::move(label);
  slot.passphrase = SecretBytes::CopyOf(std::string_view("correct horse"));
  slot.cost = kLeastPassphraseCost;
  slot.threshold = 2;
  slot.total = 3;
  return slot;
}

const Owner kAcme = Owner::Project("acme");
const Owner kOther = Owner::Project("other");

class ChangesTest : public testing::Test {
 protected:
  ChangesTest() : keyring_(*Keyring::Create(Path(), secret_, "main")) {
    EXPECT_TRUE(keyring_->EnsureKek(kAcme).has_value());
    EXPECT_TRUE(keyring_->EnsureKek(kOther).has_value());
    key_ = keyring_->KeyOf(1, {"acme", "ex", {"main"}});
  }

  std::filesystem::path Path() const { return folder_ / "keys"; }

  std::unique_ptr<Keyring> Reopened() const {
    auto keyring = Keyring::Unlock(Path(), secret_);
    EXPECT_TRUE(keyring.has_value());
    return keyring ? std::move(*keyring) : nullptr;
  }

  SealedRow Sealed(const Owner& owner) const {
    PlainParts parts;
    parts.meta = SecretBytes::CopyOf(std::string_view("meta"));
    parts.data = SecretBytes::CopyOf(std::string_view("token"));
    return *keyring_->Seal(owner, key_, 7, parts);
  }
  void ExpectOpens(const Keyring& keyring, const Owner& owner, const SealedRow& row) const {
    const auto plain = keyring.Open(owner, key_, row, Part::kData);
    ASSERT_TRUE(plain.has_value());
    EXPECT_EQ(StringOf(*plain), "token");
  }

  // Whether the vault opens with these texts.
  bool OpensWith(const std::vector<std::string>& texts) const {
    auto unlocker = Unlocker::Read(Path());
    if (!unlocker) return false;
    for (const std::string& text : texts) {
      const auto progress = unlocker->Give(SecretBytes::CopyOf(std::string_view(text)));
      if (progress && progress->open) return unlocker->Take().has_value();
    }
    return false;
  }
  static std::vector<std::string> Texts(const AddedSlot& added) {
    std::vector<std::string> texts;
    std::ranges::transform(added.texts, std::back_inserter(texts), StringOf);
    return texts;
  }

  // While it runs, the folder of the file is away.
  void WithoutFolder(const std::function<void()>& change) {
    const std::string aside = folder_.Path().string() + "-aside";
    std::filesystem::rename(folder_.Path(), aside);
    change();
    std::filesystem::rename(aside, folder_.Path());
  }

  // One change of each kind, and whether it succeeded. In this order each one can, once.
  struct NamedChange {
    std::string name;
    std::function<Result<void>()> make;
  };
  std::vector<NamedChange> EachKind() {
    const auto plain = [](auto result) -> Result<void> {
      if (!result) return Fail(std::move(result));
      return {};
    };
    return {
        {"AddSlot",
         [=, this] { return plain(keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "more"))); }},
        {"ReissueSlot",
         [=, this] { return plain(keyring_->ReissueSlot(keyring_->Slots().back().id, {})); }},
        {"RemoveSlot", [this] { return keyring_->RemoveSlot(keyring_->Slots().back().id); }},
        {"RotateRoot", [=, this] { return plain(keyring_->RotateRoot()); }},
        {"EnsureKek", [this] { return keyring_->EnsureKek(Owner::Project("new")); }},
        {"RotateKek", [=, this] { return plain(keyring_->RotateKek(kAcme)); }},
        {"RemoveOwner", [=, this] { return plain(keyring_->RemoveOwner(kAcme)); }}};
  }

  const TemporaryFolder folder_;
  const SlotSecret secret_ = NewSlotSecret();
  std::unique_ptr<Keyring> keyring_;
  RowKey key_;
};

// ---- slots --------------------------------------------------------------------------------------

TEST_F(ChangesTest, Create_TakesAFirstSlotOfEachKind) {
  for (const SlotKind kind : {SlotKind::kKeyFile, SlotKind::kPassphrase, SlotKind::kShares}) {
    std::filesystem::remove(Path());
    const auto made = Keyring::Create(Path(), SlotOf(kind, "first"));
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ(made->slot.slot.id, 1u);
    EXPECT_EQ(made->keyring->Slots().size(), 1u);
    EXPECT_EQ(made->keyring->Slots()[0].kind, kind);
    std::vector<std::string> texts = Texts(made->slot);
    if (kind == SlotKind::kPassphrase) texts = {"correct horse"};
    EXPECT_TRUE(OpensWith(texts));
    const auto again = Keyring::Create(Path(), SlotOf(kind, "first"));
    ASSERT_FALSE(again.has_value());
    EXPECT_EQ(again.error().GetCode(), Code::kConflict);
  }
  EXPECT_EQ(Keyring::Create(folder_ / "k", SlotOf(SlotKind::kShares, "")).error().GetCode(),
            Code::kInvalid);
}

TEST_F(ChangesTest, AddSlot_GivesOneMoreWayToOpen) {
  const auto line = keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "second"));
  const auto passphrase = keyring_->AddSlot(SlotOf(SlotKind::kPassphrase, "third"));
  const auto shares = keyring_->AddSlot(SlotOf(SlotKind::kShares, "fourth"));
  ASSERT_TRUE(line && passphrase && shares);
  EXPECT_EQ(line->slot.id, 2u);
  EXPECT_EQ(shares->slot.id, 4u);
  EXPECT_TRUE(OpensWith(Texts(*line)));
  EXPECT_TRUE(OpensWith({"correct horse"}));
  EXPECT_TRUE(OpensWith(Texts(*shares)));
  const auto reopened = Reopened();
  const std::vector<Slot> slots = reopened->Slots();
  ASSERT_EQ(slots.size(), 4u);
  EXPECT_EQ(slots[2].label, "third");
  EXPECT_EQ(slots[2].passphrase, passphrase->slot.passphrase);
  EXPECT_EQ(slots[3].shares, shares->slot.shares);
  EXPECT_EQ(reopened->Counts().slots, 4u);
}

TEST_F(ChangesTest, AddSlot_BeyondSixtyFour_IsExhausted) {
  for (int i = 1; i < 64; ++i) {
    ASSERT_TRUE(keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "more")).has_value());
  }
  EXPECT_EQ(keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "more")).error().GetCode(),
            Code::kExhausted);
  EXPECT_EQ(Reopened()->Slots().size(), 64u);
  // A full table can still re-issue.
  EXPECT_TRUE(keyring_->ReissueSlot(2, {}).has_value());
}

TEST_F(ChangesTest, RemoveSlot_EndsItsWayAndItsIdNeverComesBack) {
  const auto added = keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "second"));
  ASSERT_TRUE(added.has_value());
  ASSERT_TRUE(keyring_->RemoveSlot(added->slot.id).has_value());
  EXPECT_FALSE(OpensWith(Texts(*added)));
  EXPECT_EQ(Reopened()->Slots().size(), 1u);
  EXPECT_EQ(keyring_->RemoveSlot(added->slot.id).error().GetCode(), Code::kNotFound);
  EXPECT_EQ(keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "third"))->slot.id, 3u);
}

TEST_F(ChangesTest, TheLastSlot_IsNotRemoved) {
  const std::string content = ContentOf(Path());
  const auto removed = keyring_->RemoveSlot(1);
  ASSERT_FALSE(removed.has_value());
  EXPECT_EQ(removed.error().GetCode(), Code::kConflict);
  EXPECT_EQ(ContentOf(Path()), content);
}

TEST_F(ChangesTest, ReissueSlot_KeepsKindLabelAndParametersAndEndsTheOldSecret) {
  NewSlot wanted = SlotOf(SlotKind::kShares, "board");
  wanted.threshold = 3;
  wanted.total = 5;
  const auto old = keyring_->AddSlot(wanted);
  ASSERT_TRUE(old.has_value());
  const auto fresh = keyring_->ReissueSlot(old->slot.id, {});
  ASSERT_TRUE(fresh.has_value());
  EXPECT_GT(fresh->slot.id, old->slot.id);
  EXPECT_EQ(fresh->slot.kind, SlotKind::kShares);
  EXPECT_EQ(fresh->slot.label, "board");
  EXPECT_EQ(fresh->slot.shares.threshold, 3);
  EXPECT_EQ(fresh->slot.shares.total, 5);
  EXPECT_NE(fresh->slot.shares.set, old->slot.shares.set);
  EXPECT_TRUE(OpensWith(Texts(*fresh)));
  EXPECT_FALSE(OpensWith(Texts(*old)));
  EXPECT_EQ(Reopened()->Slots().size(), 2u);
  EXPECT_EQ(keyring_->ReissueSlot(old->slot.id, {}).error().GetCode(), Code::kNotFound);
}

TEST_F(ChangesTest, ReissueSlot_OfAPassphraseTakesANewOneAndKeepsTheCost) {
  NewSlot wanted = SlotOf(SlotKind::kPassphrase, "admin");
  wanted.cost = {2, 9 * 1024};
  const auto old = keyring_->AddSlot(wanted);
  ASSERT_TRUE(old.has_value());
  EXPECT_EQ(keyring_->ReissueSlot(old->slot.id, {}).error().GetCode(), Code::kInvalid);
  const SecretBytes passphrase = SecretBytes::CopyOf(std::string_view("battery staple"));
  const auto fresh = keyring_->ReissueSlot(old->slot.id, passphrase);
  ASSERT_TRUE(fresh.has_value());
  EXPECT_EQ(fresh->slot.passphrase.cost, wanted.cost);
  EXPECT_NE(fresh->slot.passphrase.salt, old->slot.passphrase.salt);
  EXPECT_TRUE(OpensWith({"battery staple"}));
  EXPECT_FALSE(OpensWith({"correct horse"}));
}

TEST_F(ChangesTest, TheOnlySlot_IsReissuedWhenItsNewSecretIsKnownBefore) {
  // With a key file or shares a crash before the texts are kept would lock the vault for ever.
  const auto refused = keyring_->ReissueSlot(1, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().GetCode(), Code::kConflict);
  EXPECT_TRUE(Keyring::Unlock(Path(), secret_).has_value());
  std::filesystem::remove(Path());
  const auto made = Keyring::Create(Path(), SlotOf(SlotKind::kPassphrase, "only"));
  const SecretBytes passphrase = SecretBytes::CopyOf(std::string_view("battery staple"));
  ASSERT_TRUE(made->keyring->ReissueSlot(1, passphrase).has_value());
  EXPECT_TRUE(OpensWith({"battery staple"}));
}

// ---- roots --------------------------------------------------------------------------------------

TEST_F(ChangesTest, RotateRoot_OpensByEverySlotAndKeepsAllKeys) {
  const auto passphrase = keyring_->AddSlot(SlotOf(SlotKind::kPassphrase, "admin"));
  const auto shares = keyring_->AddSlot(SlotOf(SlotKind::kShares, "board"));
  ASSERT_TRUE(passphrase && shares);
  const std::string audit = ToHex(keyring_->AuditKey());
  const SealedRow row = Sealed(kAcme);
  const auto element = keyring_->ElementOf(key_, row);
  const auto old_root = keyring_->RootForChild();
  const std::vector<Slot> old_slots = keyring_->Slots();
  const auto rotated = keyring_->RotateRoot();
  ASSERT_TRUE(rotated.has_value());
  EXPECT_EQ(*rotated, 2u);
  EXPECT_EQ(keyring_->RootEpoch(), 2u);
  EXPECT_FALSE(keyring_->RootForChild()->Bytes().Equals(old_root->Bytes()));
  const auto reopened = Reopened();
  for (const Keyring* keyring : {keyring_.get(), reopened.get()}) {
    EXPECT_EQ(keyring->RootEpoch(), 2u);
    EXPECT_EQ(ToHex(keyring->AuditKey()), audit);
    EXPECT_EQ(keyring->KeyOf(1, {"acme", "ex", {"main"}}), key_);
    EXPECT_EQ(keyring->ElementOf(key_, row), element);
    ExpectOpens(*keyring, kAcme, row);
    EXPECT_TRUE(keyring->HasKek(kOther));
  }
  EXPECT_TRUE(OpensWith({"correct horse"}));
  EXPECT_TRUE(OpensWith(Texts(*shares)));
  for (std::size_t i = 0; i < old_slots.size(); ++i) {
    EXPECT_EQ(keyring_->Slots()[i].public_key, old_slots[i].public_key);
    EXPECT_NE(keyring_->Slots()[i].ephemeral_key, old_slots[i].ephemeral_key);
  }
  // The old root opens nothing any more.
  EXPECT_EQ(Keyring::Unlock(Path(), RootKey(old_root->Bytes().Clone())).error().GetCode(),
            Code::kCorrupt);
  EXPECT_EQ(*keyring_->RotateRoot(), 3u);
  EXPECT_TRUE(OpensWith({"correct horse"}));
}

TEST_F(ChangesTest, AChild_OpensWithTheRoot) {
  const SealedRow row = Sealed(kAcme);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const auto root = keyring_->RootForChild();
  ASSERT_TRUE(root.has_value());
  const pid_t child = ::fork();
  if (child == 0) {
    // The keys that it has by its birth are zeros; what it needs comes through the pipe.
    SecretBytes bytes(32);
    const bool got = bytes.Fill([&](std::span<std::uint8_t> place) {
      return ::read(ends[0], place.data(), place.size()) == 32;
    });
    const auto opened = Keyring::Unlock(Path(), RootKey(std::move(bytes)));
    const bool reads =
        got && opened && (*opened)->Open(kAcme, key_, row, Part::kData).has_value();
    const bool inherits = keyring_->Open(kAcme, key_, row, Part::kData).has_value();
    ::_exit(reads && !inherits ? 0 : 1);
  }
  root->Bytes().Expose([&](auto bytes) {
    ASSERT_EQ(::write(ends[1], bytes.data(), bytes.size()), 32);
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(ChangesTest, AWrongRoot_OpensNothing) {
  EXPECT_EQ(Keyring::Unlock(Path(), RootKey(RandomKey())).error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(Keyring::Unlock(Path(), RootKey()).error().GetCode(), Code::kInvalid);
}

// ---- keys of owners -----------------------------------------------------------------------------

TEST_F(ChangesTest, RotateKek_SealsUnderTheNewKeyAndOpensUnderBoth) {
  const SealedRow old = Sealed(kAcme);
  EXPECT_EQ(*keyring_->NewestVersion(kAcme), 1u);
  const auto rotated = keyring_->RotateKek(kAcme);
  ASSERT_TRUE(rotated.has_value());
  EXPECT_EQ(*rotated, 2u);
  EXPECT_EQ(*keyring_->NewestVersion(kAcme), 2u);
  EXPECT_EQ(*keyring_->NewestVersion(kOther), 1u);
  const SealedRow fresh = Sealed(kAcme);
  EXPECT_EQ(old.KekVersion(), 1u);
  EXPECT_EQ(fresh.KekVersion(), 2u);
  const auto reopened = Reopened();
  for (const Keyring* keyring : {keyring_.get(), reopened.get()}) {
    EXPECT_EQ(*keyring->NewestVersion(kAcme), 2u);
    ExpectOpens(*keyring, kAcme, old);
    ExpectOpens(*keyring, kAcme, fresh);
  }
  EXPECT_EQ(*keyring_->RotateKek(Owner::Vault()), 2u);
}

TEST_F(ChangesTest, RotateKek_OfAnOwnerWithoutOne_IsNotFound) {
  EXPECT_EQ(keyring_->RotateKek(Owner::Project("none")).error().GetCode(), Code::kNotFound);
  EXPECT_EQ(keyring_->NewestVersion(Owner::Project("none")).error().GetCode(), Code::kNotFound);
  EXPECT_FALSE(keyring_->HasKek(Owner::Project("none")));
}

TEST_F(ChangesTest, Rewrap_ChangesVersionAndWrapAndNothingElse) {
  const SealedRow old = Sealed(kAcme);
  ASSERT_TRUE(keyring_->RotateKek(kAcme).has_value());
  const auto fresh = keyring_->Rewrap(kAcme, key_, old);
  ASSERT_TRUE(fresh.has_value());
  EXPECT_EQ(fresh->KekVersion(), 2u);
  EXPECT_EQ(fresh->RecordVersion(), 7u);
  ExpectOpens(*keyring_, kAcme, *fresh);
  ASSERT_EQ(fresh->Bytes().size(), old.Bytes().size());
  // Two parts: the nonce begins at 27.
  for (std::size_t i = 0; i < old.Bytes().size(); ++i) {
    if (i == 4 || (i >= 27 && i < 27 + 72)) continue;
    EXPECT_EQ(fresh->Bytes()[i], old.Bytes()[i]) << i;
  }
  EXPECT_FALSE(std::ranges::equal(fresh->Bytes().subspan(27, 24), old.Bytes().subspan(27, 24)));
  EXPECT_TRUE(std::ranges::equal(fresh->Commitment(), old.Commitment()));
  EXPECT_TRUE(std::ranges::equal(old.Commitment(), old.Bytes().subspan(99, 32)));
  // A row that is new already gets another wrap.
  const auto again = keyring_->Rewrap(kAcme, key_, *fresh);
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(std::ranges::equal(again->Bytes(), fresh->Bytes()));
  ExpectOpens(*keyring_, kAcme, *again);
}

TEST_F(ChangesTest, Rewrap_OfWhatDoesNotVerify_IsCorrupt) {
  const SealedRow row = Sealed(kAcme);
  ASSERT_TRUE(keyring_->RotateKek(kAcme).has_value());
  const auto code = [&](const Owner& owner, const RowKey& key, const SealedRow& sealed) {
    const auto rewrapped = keyring_->Rewrap(owner, key, sealed);
    return rewrapped ? Code::kConflict : rewrapped.error().GetCode();
  };
  EXPECT_EQ(code(kOther, key_, row), Code::kCorrupt);
  EXPECT_EQ(code(Owner::Project("none"), key_, row), Code::kNotFound);
  EXPECT_EQ(code(kAcme, keyring_->KeyOf(2, {}), row), Code::kCorrupt);
  // Each bit before the parts: versions, part table, nonce, wrap, commitment.
  for (std::size_t bit = 0; bit < std::size_t{131} * 8; ++bit) {
    std::vector<std::uint8_t> changed(row.Bytes().begin(), row.Bytes().end());
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << (bit % 8)));
    const auto parsed = SealedRow::Parse(changed);
    EXPECT_TRUE(!parsed || code(kAcme, key_, *parsed) == Code::kCorrupt) << bit;
  }
}

TEST_F(ChangesTest, AnElement_IsNewInEveryWriteAndForEveryRow) {
  const SealedRow one = Sealed(kAcme);
  const SealedRow two = Sealed(kAcme);
  EXPECT_NE(keyring_->ElementOf(key_, one), keyring_->ElementOf(key_, two));
  EXPECT_NE(keyring_->ElementOf(key_, one), keyring_->ElementOf(keyring_->KeyOf(2, {}), one));
  const auto other = Keyring::Create(folder_ / "other", secret_, "main");
  EXPECT_NE(keyring_->ElementOf(key_, one), (*other)->ElementOf(key_, one));
}

TEST_F(ChangesTest, RemoveOwner_LeavesNoRowReadableAndNoWrapInAnyFile) {
  ASSERT_TRUE(keyring_->RotateKek(kAcme).has_value());
  const SealedRow row = Sealed(kAcme);
  const SealedRow kept = Sealed(kOther);
  const std::string before = ContentOf(Path());
  const int old = ::open(Path().c_str(), O_RDONLY);
  const auto removed = keyring_->RemoveOwner(kAcme);
  ASSERT_TRUE(removed.has_value());
  EXPECT_EQ(removed->keks, 2u);
  EXPECT_TRUE(removed->overwritten);
  // The old file's blocks, by the descriptor that still leads to them.
  std::string blocks(before.size(), '?');
  ASSERT_EQ(::pread(old, blocks.data(), blocks.size(), 0), static_cast<ssize_t>(blocks.size()));
  ::close(old);
  EXPECT_EQ(blocks, std::string(before.size(), '\0'));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.Path()), {}), 1);
  EXPECT_EQ(ContentOf(Path()).size(), before.size() - 2 * 125);
  const auto reopened = Reopened();
  for (const Keyring* keyring : {keyring_.get(), reopened.get()}) {
    EXPECT_FALSE(keyring->HasKek(kAcme));
    EXPECT_EQ(keyring->Open(kAcme, key_, row, Part::kData).error().GetCode(), Code::kCorrupt);
    ExpectOpens(*keyring, kOther, kept);
  }
  // A new key of the same version does not bring the rows back.
  ASSERT_TRUE(keyring_->EnsureKek(kAcme).has_value());
  ASSERT_TRUE(keyring_->RotateKek(kAcme).has_value());
  EXPECT_EQ(keyring_->Open(kAcme, key_, row, Part::kData).error().GetCode(), Code::kCorrupt);
}

TEST_F(ChangesTest, APartKeyThatIsHeld_EndsWithItsKek) {
  const SealedRow row = Sealed(kAcme);
  const SealedRow kept = Sealed(kOther);
  auto of_acme = keyring_->PartKeyOf(kAcme, key_, row);
  const auto of_other = keyring_->PartKeyOf(kOther, key_, kept);
  ASSERT_TRUE(of_acme.has_value());
  ASSERT_TRUE(of_other.has_value());
  ASSERT_TRUE(of_acme->Lock().has_value());
  // New keys of the owner, and a new root, end nothing.
  ASSERT_TRUE(keyring_->RotateKek(kAcme).has_value());
  ASSERT_TRUE(keyring_->RotateRoot().has_value());
  EXPECT_EQ(StringOf(*keyring_->Open(*of_acme, key_, row, Part::kData)), "token");

  ASSERT_TRUE(keyring_->RemoveOwner(kAcme).has_value());
  std::vector<std::uint8_t> place(row.PlainSize(Part::kData), 0xAA);
  const auto opened = keyring_->OpenInto(*of_acme, key_, row, Part::kData, place);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(place, std::vector<std::uint8_t>(place.size()));
  ASSERT_TRUE(keyring_->EnsureKek(kAcme).has_value());
  EXPECT_FALSE(keyring_->Open(*of_acme, key_, row, Part::kData));
  EXPECT_EQ(StringOf(*keyring_->Open(*of_other, key_, kept, Part::kData)), "token");
}

TEST_F(ChangesTest, RemoveOwner_AgainChangesNothing) {
  ASSERT_TRUE(keyring_->RemoveOwner(kAcme).has_value());
  const std::string content = ContentOf(Path());
  const auto again = keyring_->RemoveOwner(kAcme);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->keks, 0u);
  EXPECT_EQ(ContentOf(Path()), content);
}

TEST_F(ChangesTest, TheVaultsOwnKey_IsNotRemoved) {
  EXPECT_EQ(keyring_->RemoveOwner(Owner::Vault()).error().GetCode(), Code::kInvalid);
  EXPECT_TRUE(keyring_->HasKek(Owner::Vault()));
}

TEST_F(ChangesTest, RemovedSlotsAndRoots_AreOverwrittenToo) {
  ASSERT_TRUE(keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "second")).has_value());
  const std::vector<std::function<bool()>> changes{
      [&] { return keyring_->ReissueSlot(2, {}).has_value(); },
      [&] { return keyring_->RemoveSlot(3).has_value(); },
      [&] { return keyring_->RotateRoot().has_value(); }};
  for (const auto& change : changes) {
    const std::string before = ContentOf(Path());
    const int old = ::open(Path().c_str(), O_RDONLY);
    ASSERT_TRUE(change());
    std::string blocks(before.size(), '?');
    ASSERT_EQ(::pread(old, blocks.data(), blocks.size(), 0), static_cast<ssize_t>(blocks.size()));
    ::close(old);
    EXPECT_EQ(blocks, std::string(before.size(), '\0'));
  }
}

TEST_F(ChangesTest, Counts_SayWhatTheFileHolds) {
  ASSERT_TRUE(keyring_->EnsureKek(Owner::Component("ex")).has_value());
  ASSERT_TRUE(keyring_->RotateKek(kAcme).has_value());
  ASSERT_TRUE(keyring_->RotateKek(kAcme).has_value());
  ASSERT_TRUE(keyring_->RotateRoot().has_value());
  const auto reopened = Reopened();
  for (const Keyring* keyring : {keyring_.get(), reopened.get()}) {
    const KeyCounts counts = keyring->Counts();
    EXPECT_EQ(counts.projects, 2u);
    EXPECT_EQ(counts.components, 1u);
    EXPECT_EQ(counts.keks, 6u);
    EXPECT_EQ(counts.highest_version, 3u);
    EXPECT_EQ(counts.epoch, 2u);
    EXPECT_EQ(counts.slots, 1u);
  }
}

TEST_F(ChangesTest, CopyTo_MakesTheSameFileOnceAndTakesNoPlace) {
  ASSERT_TRUE(keyring_->CopyTo(folder_ / "copy").has_value());
  EXPECT_EQ(ContentOf(folder_ / "copy"), ContentOf(Path()));
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "copy").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(keyring_->CopyTo(folder_ / "copy").error().GetCode(), Code::kConflict);
  EXPECT_EQ(keyring_->CopyTo(folder_ / "none/copy").error().GetCode(), Code::kUnavailable);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.Path()), {}), 2);
}

// ---- the change number --------------------------------------------------------------------------

TEST_F(ChangesTest, EachKindOfChange_RaisesTheNumberByOneInMemoryAndFile) {
  // Made, and two keys of owners.
  EXPECT_EQ(keyring_->Changes(), 3u);
  std::uint64_t number = 3;
  for (const NamedChange& change : EachKind()) {
    ASSERT_TRUE(change.make().has_value()) << change.name;
    ++number;
    EXPECT_EQ(keyring_->Changes(), number) << change.name;
    EXPECT_EQ(Reopened()->Changes(), number) << change.name;
  }
  // An opened file goes on from its number.
  keyring_ = Reopened();
  ASSERT_TRUE(keyring_->RotateRoot().has_value());
  EXPECT_EQ(keyring_->Changes(), number + 1);
  EXPECT_EQ(Reopened()->Changes(), number + 1);
}

TEST_F(ChangesTest, WhatWritesNothing_UsesNoNumber) {
  EXPECT_TRUE(keyring_->EnsureKek(kAcme).has_value());
  EXPECT_TRUE(keyring_->RemoveOwner(Owner::Project("none")).has_value());
  EXPECT_TRUE(keyring_->CopyTo(folder_ / "copy").has_value());
  EXPECT_FALSE(keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "")).has_value());
  EXPECT_FALSE(keyring_->ReissueSlot(99, {}).has_value());
  EXPECT_FALSE(keyring_->ReissueSlot(1, {}).has_value());
  EXPECT_FALSE(keyring_->RemoveSlot(99).has_value());
  EXPECT_FALSE(keyring_->RemoveSlot(1).has_value());
  EXPECT_FALSE(keyring_->RotateKek(Owner::Project("none")).has_value());
  EXPECT_FALSE(keyring_->RemoveOwner(Owner::Vault()).has_value());
  EXPECT_EQ(keyring_->Changes(), 3u);
  EXPECT_EQ(Reopened()->Changes(), 3u);
  ASSERT_TRUE(keyring_->RotateRoot().has_value());
  EXPECT_EQ(keyring_->Changes(), 4u);
}

TEST_F(ChangesTest, AChangeWhoseFolderIsNotSynced_SharesItsNumberWithNoOtherContent) {
  std::map<std::uint64_t, std::string> contents{{keyring_->Changes(), ContentOf(Path())}};
  const auto expect_new_number = [&](const std::string& name) {
    const auto [at, fresh] = contents.emplace(Reopened()->Changes(), ContentOf(Path()));
    EXPECT_TRUE(fresh) << name;
    EXPECT_EQ(at, std::prev(contents.end())) << name;
  };
  // Each kind fails, fails again, and then succeeds.
  for (const NamedChange& change : EachKind()) {
    const std::uint64_t before = keyring_->Changes();
    for (int attempt = 0; attempt < 2; ++attempt) {
      refuse_folder_sync = true;
      const auto failed = change.make();
      refuse_folder_sync = false;
      ASSERT_FALSE(failed.has_value()) << change.name;
      EXPECT_EQ(failed.error().GetCode(), Code::kUnavailable) << change.name;
      // The file stands all the same; the memory is as it was.
      expect_new_number(change.name);
      EXPECT_EQ(keyring_->Changes(), before) << change.name;
    }
    ASSERT_TRUE(change.make().has_value()) << change.name;
    expect_new_number(change.name);
    EXPECT_EQ(keyring_->Changes(), Reopened()->Changes()) << change.name;
  }
}

// ---- failures and threads -----------------------------------------------------------------------

TEST_F(ChangesTest, AChangeThatCannotBeWritten_LeavesFileAndMemoryAsTheyWere) {
  ASSERT_TRUE(keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "second")).has_value());
  const SealedRow row = Sealed(kAcme);
  const std::string content = ContentOf(Path());
  const auto code = [](const auto& result) {
    return result ? Code::kConflict : result.error().GetCode();
  };
  WithoutFolder([&] {
    EXPECT_EQ(code(keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "x"))), Code::kUnavailable);
    EXPECT_EQ(code(keyring_->ReissueSlot(2, {})), Code::kUnavailable);
    EXPECT_EQ(code(keyring_->RemoveSlot(2)), Code::kUnavailable);
    EXPECT_EQ(code(keyring_->RotateRoot()), Code::kUnavailable);
    EXPECT_EQ(code(keyring_->EnsureKek(Owner::Project("new"))), Code::kUnavailable);
    EXPECT_EQ(code(keyring_->RotateKek(kAcme)), Code::kUnavailable);
    EXPECT_EQ(code(keyring_->RemoveOwner(kAcme)), Code::kUnavailable);
  });
  EXPECT_EQ(ContentOf(Path()), content);
  EXPECT_EQ(keyring_->Changes(), 4u);
  EXPECT_EQ(keyring_->RootEpoch(), 1u);
  EXPECT_EQ(keyring_->Slots().size(), 2u);
  EXPECT_EQ(*keyring_->NewestVersion(kAcme), 1u);
  EXPECT_FALSE(keyring_->HasKek(Owner::Project("new")));
  ExpectOpens(*keyring_, kAcme, row);
  // The memory is what the file holds: a change writes it from there.
  ASSERT_TRUE(keyring_->CopyTo(folder_ / "copy").has_value());
  EXPECT_EQ(ContentOf(folder_ / "copy"), content);
}

TEST_F(ChangesTest, EveryChange_RunsBesideSealingAndOpening) {
  const SealedRow row = Sealed(kAcme);
  std::atomic<bool> done = false;
  std::atomic<int> failures = 0;
  std::atomic<int> reads = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        std::uint64_t last_seen = 0;
        while (!done) {
          const std::uint64_t number = keyring_->Changes();
          if (number < std::exchange(last_seen, number)) ++failures;
          const auto plain = keyring_->Open(kAcme, key_, row, Part::kData);
          if (!plain || StringOf(*plain) != "token") ++failures;
          const auto rewrapped = keyring_->Rewrap(kAcme, key_, row);
          if (!rewrapped || !keyring_->Open(kAcme, key_, *rewrapped, Part::kMeta)) ++failures;
          if (!keyring_->Open(kAcme, key_, Sealed(kAcme), Part::kData)) ++failures;
          if (keyring_->Slots().empty() || keyring_->Counts().keks < 3) ++failures;
          if (!keyring_->RootForChild()) ++failures;
          ++reads;
        }
      });
    }
    std::vector<std::jthread> changers;
    for (int i = 0; i < 3; ++i) {
      changers.emplace_back([&, i] {
        for (int round = 0; round < 8; ++round) {
          const Owner owner = Owner::Project("p" + std::to_string(i));
          if (!keyring_->EnsureKek(owner) || !keyring_->RotateKek(kAcme)) ++failures;
          if (!keyring_->RotateRoot()) ++failures;
          const auto added = keyring_->AddSlot(SlotOf(SlotKind::kKeyFile, "more"));
          if (!added) ++failures;
          const auto fresh = keyring_->ReissueSlot(added->slot.id, {});
          if (!fresh || !keyring_->RemoveSlot(fresh->slot.id)) ++failures;
          if (!keyring_->RemoveOwner(owner)) ++failures;
        }
      });
    }
    changers.clear();
    while (reads < 100) std::this_thread::yield();
    done = true;
  }
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(keyring_->RootEpoch(), 25u);
  EXPECT_EQ(*keyring_->NewestVersion(kAcme), 25u);
  // Three before, and seven changes in each of 24 rounds.
  EXPECT_EQ(keyring_->Changes(), 171u);
  const auto reopened = Reopened();
  ASSERT_NE(reopened, nullptr);
  EXPECT_EQ(reopened->RootEpoch(), 25u);
  EXPECT_EQ(reopened->Changes(), 171u);
  EXPECT_EQ(reopened->Slots().size(), 1u);
  EXPECT_EQ(reopened->Counts().projects, 2u);
  ExpectOpens(*reopened, kAcme, row);
}

}  // namespace
}  // namespace oauthvault::crypto
