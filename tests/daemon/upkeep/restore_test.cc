#include "daemon/upkeep/restore.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/registry/tokens.h"
#include "daemon/upkeep/backup.h"
#include "daemon/upkeep/shredding.h"
#include "tests/daemon/upkeep/kept_vault.h"

namespace oauthvault::upkeep {
namespace {

using access::Right;

class RestoreTest : public KeptVault {
 protected:
  // The state is a folder of its own, as with a daemon: TestVault's own folder serves.
  VaultPlaces Places() const {
    return {.state = vault_.Folder(),
            .audit = At("audit"),
            .store = {.folder = At("store"), .map_size_bytes = 16U << 20},
            .trust_domain = std::string(fakes::kTrustDomain)};
  }

  storage::Backup Backup(const std::string& name) {
    auto backup = MakeBackup(At(name), vault_.Store(), vault_.Keys(), ActOf("Operations.Backup"),
                             fakes::kVaultNow);
    EXPECT_TRUE(backup) << backup.error().Message();
    return backup ? *backup : storage::Backup{};
  }

  std::unique_ptr<crypto::Keyring> Unlock(const std::filesystem::path& keys) {
    auto root = vault_.Keys().RootForChild();
    EXPECT_TRUE(root);
    auto keyring = crypto::Keyring::Unlock(keys, std::move(*root));
    EXPECT_TRUE(keyring) << keyring.error().Message();
    return keyring ? std::move(*keyring) : nullptr;
  }

  // Restores a backup, and opens the vault anew.
  Result<Restored> RestoreFrom(const std::string& name, const std::string& reason = "a drill") {
    auto staged = StageBackup(At(name), Places());
    if (!staged) return Fail(std::move(staged));
    auto keyring = Unlock(*staged / "keys");
    return Restore(*staged, Places(), *keyring, vault_.Trail(), reason, fakes::kVaultNow);
  }
  // Takes the store that stands as it is. It must not be open.
  Result<Restored> TakePresent(const std::string& reason = "it was put back") {
    vault_.CloseStore();
    auto keyring = Unlock(At("keys"));
    return Restore({}, Places(), *keyring, vault_.Trail(), reason, fakes::kVaultNow);
  }

  bool Permits(Right right) {
    return access::Decide(fakes::TestVault::Runner(), right,
                          access::Scope::Pair(vault_.project, vault_.component),
                          *vault_.Grants().InForce())
        .has_value();
  }

  void AddGrant(const std::vector<Right>& rights) {
    ASSERT_TRUE(vault_.Grants().Add(fakes::TestVault::Runner(), "acme", "sheets", rights,
                                    ActOf("Registry.AddGrant"), fakes::kVaultNow));
  }
  void RemoveGrant() {
    ASSERT_TRUE(vault_.Grants().Remove(fakes::TestVault::Runner(), "acme", "sheets",
                                       ActOf("Registry.RemoveGrant")));
  }

  void AddIdentity(const std::string& serial) {
    storage::Batch batch(ActOf("Registry.IssueIdentity"));
    batch.Insert(storage::Identity{.serial = serial, .principal = Principal(serial)});
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  }
  void RevokeIdentity(const std::string& serial) {
    auto identities =
        registry::Identities::Load(vault_.Store(), std::string(fakes::kTrustDomain));
    ASSERT_TRUE(identities);
    ASSERT_TRUE((*identities)->Revoke(serial, ActOf("Registry.RevokeIdentity"), fakes::kVaultNow));
  }
  bool IsRevoked(const std::string& serial) {
    auto identities =
        registry::Identities::Load(vault_.Store(), std::string(fakes::kTrustDomain));
    EXPECT_TRUE(identities);
    return identities && (*identities)->IsRevoked(serial);
  }
  static std::string Principal(const std::string& serial) {
    return "spiffe://vault.test/runner/of-" + serial;
  }

  void ShredOther() {
    ASSERT_TRUE(ShredProject(vault_.Keys(), vault_.Store(), vault_.Grants(), vault_.other_project,
                             ActOf("Operations.ShredProject"), fakes::kVaultNow));
  }

  // Where the store stands, by its anchor.
  storage::Position Position() {
    auto anchor = vault_.Store().GetAnchor();
    EXPECT_TRUE(anchor);
    return anchor ? anchor->position : storage::Position{};
  }
};

TEST_F(RestoreTest, RevokesAllTokensAlsoThoseThatTheBackupHolds) {
  const auto issue = [this] {
    auto issued = registry::Tokens(vault_.Store(), vault_.Keys())
                      .Issue({"", "acme", "sheets", {Right::kStore}, 0}, ActOf("Tokens.Issue"),
                             fakes::kVaultNow);
    EXPECT_TRUE(issued) << issued.error().Message();
    return fakes::TextOf(issued->text.Bytes());
  };
  const auto is_known = [this](const std::string& text) {
    return registry::Tokens(vault_.Store(), vault_.Keys())
        .Recognize(text, fakes::kVaultNow)
        .has_value();
  };
  const std::string before = issue();
  Backup("backup");
  const std::string since = issue();
  ASSERT_TRUE(is_known(before));
  ASSERT_TRUE(is_known(since));
  const auto restored = RestoreFrom("backup");
  ASSERT_TRUE(restored) << restored.error().Message();
  EXPECT_EQ(restored->tokens_revoked, 1U);
  vault_.Reopen();
  EXPECT_FALSE(is_known(before));
  EXPECT_FALSE(is_known(since));
  EXPECT_TRUE(Rows(storage::TableId::kTokens).empty());
}

TEST_F(RestoreTest, BringsOldDataBackInANewEpoch) {
  PutMany(3, vault_.project);
  Backup("backup");
  vault_.Put(IdOf(0), "changed since");
  const auto before = Position();
  const auto restored = RestoreFrom("backup");
  ASSERT_TRUE(restored) << restored.error().Message();
  EXPECT_EQ(restored->position.epoch, before.epoch + 1);
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
  EXPECT_TRUE(std::filesystem::exists(restored->aside / "store" / "data.mdb"));
  EXPECT_TRUE(std::filesystem::exists(restored->aside / "keys"));
  vault_.Reopen();  // compares store and trail, as a start does
  EXPECT_EQ(DataIn(vault_.project, 0), DataOf(0));
  EXPECT_EQ(Position(), restored->position);
  const auto lines = vault_.Lines();
  const auto line = std::ranges::find(lines, "restore", [](const auto& one) {
    return one.at("act").template get<std::string>();
  });
  ASSERT_NE(line, lines.end());
  EXPECT_EQ(line->at("object"), "a drill");
  EXPECT_EQ(line->at("principal"), "local/admin");
}

TEST_F(RestoreTest, WhatWasTakenAwaySinceStaysAway) {
  AddIdentity("aa");
  Backup("backup");
  AddIdentity("bb");  // the backup does not know it
  RevokeIdentity("aa");
  RevokeIdentity("bb");
  RemoveGrant();
  PutMany(1, vault_.other_project);
  ShredOther();
  const auto restored = RestoreFrom("backup");
  ASSERT_TRUE(restored) << restored.error().Message();
  EXPECT_EQ(restored->grants_revoked, 1U);
  EXPECT_EQ(restored->identities_revoked, 2U);
  EXPECT_EQ(restored->projects_shredded, 1U);
  vault_.Reopen();
  EXPECT_FALSE(Permits(Right::kReveal));
  EXPECT_TRUE(IsRevoked("aa"));
  EXPECT_TRUE(IsRevoked("bb"));
  EXPECT_FALSE(vault_.Keys().HasKek(crypto::Owner::Project("other")));
  EXPECT_EQ(DataIn(vault_.other_project, 0), "NOT_FOUND");
  const auto acts = vault_.Acts();
  EXPECT_GE(std::ranges::count(acts, "restore.replay allowed"), 4);
}

TEST_F(RestoreTest, WhatAnIdentityWasRenewedInto_IsRevokedWithIt) {
  AddIdentity("aa");
  Backup("backup");
  // The backup knows neither that it was renewed nor that it was revoked.
  storage::Batch batch(ActOf("Registry.RenewIdentity"));
  batch.Insert(storage::Identity{.serial = "bb",
                                 .principal = Principal("aa"),
                                 .expires_at_s = fakes::kVaultNow + 100,
                                 .renewed_from = "aa"});
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  RevokeIdentity("aa");
  const auto restored = RestoreFrom("backup");
  ASSERT_TRUE(restored) << restored.error().Message();
  EXPECT_EQ(restored->identities_revoked, 2U);
  vault_.Reopen();
  EXPECT_TRUE(IsRevoked("aa"));
  EXPECT_TRUE(IsRevoked("bb"));
}

TEST_F(RestoreTest, ACaThatWasRemoved_IsNotBelievedAgainUnlessItWasAddedAgain) {
  const auto add = [&](const std::string& id) {
    storage::Batch batch(storage::Act{
        .act = "Trust.Add", .principal = "local/admin", .object = id + " partner.test runner"});
    batch.Insert(storage::TrustAnchor{
        .id = id, .trust_domain = "partner.test", .kinds = {"runner"}});
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  };
  const auto remove = [&](const std::string& id) {
    const auto row = vault_.Store().Get<storage::TrustAnchor>(storage::TrustAnchor::Names(id));
    ASSERT_TRUE(row);
    storage::Batch batch(storage::Act{
        .act = "Trust.Remove", .principal = "local/admin", .object = id + " partner.test runner"});
    batch.Remove(row->row, row->version);
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  };
  for (const char* id : {"gone", "back", "stays"}) add(id);
  Backup("backup");
  remove("gone");
  remove("back");
  add("back");
  const auto restored = RestoreFrom("backup");
  ASSERT_TRUE(restored) << restored.error().Message();
  EXPECT_EQ(restored->anchors_removed, 1U);
  vault_.Reopen();
  const auto stands = [&](const std::string& id) {
    return vault_.Store().Get<storage::TrustAnchor>(storage::TrustAnchor::Names(id)).has_value();
  };
  EXPECT_FALSE(stands("gone"));
  EXPECT_TRUE(stands("back"));
  EXPECT_TRUE(stands("stays"));
}

TEST_F(RestoreTest, AKeyThatWasRevokedStaysRevoked) {
  const auto revoke = [&](const std::string& key_hash) {
    storage::Batch batch(storage::Act{
        .act = "Trust.RevokeKey", .principal = "local/admin", .object = key_hash});
    batch.Insert(storage::RevokedKey{.key_hash = key_hash, .revoked_at_s = 1});
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  };
  revoke("known");
  Backup("backup");
  revoke("since");
  const auto restored = RestoreFrom("backup");
  ASSERT_TRUE(restored) << restored.error().Message();
  EXPECT_EQ(restored->keys_revoked, 1U);
  vault_.Reopen();
  for (const std::string key_hash : {"known", "since"}) {
    EXPECT_TRUE(vault_.Store().Get<storage::RevokedKey>(storage::RevokedKey::Names(key_hash)))
        << key_hash;
  }
}

TEST_F(RestoreTest, AGrantThatWasNarrowedIsNarrowedAndOneThatWasWidenedIsNot) {
  AddGrant({Right::kReveal, Right::kStore});
  Backup("backup");
  AddGrant({Right::kReveal, Right::kConnect});
  const auto restored = RestoreFrom("backup");
  ASSERT_TRUE(restored) << restored.error().Message();
  vault_.Reopen();
  EXPECT_TRUE(Permits(Right::kReveal));
  EXPECT_FALSE(Permits(Right::kStore));
  EXPECT_FALSE(Permits(Right::kConnect));
}

TEST_F(RestoreTest, AGrantThatWasRemovedAndGivenAgainStands) {
  AddGrant({Right::kReveal});
  Backup("backup");
  RemoveGrant();
  AddGrant({Right::kReveal});
  ASSERT_TRUE(RestoreFrom("backup"));
  vault_.Reopen();
  EXPECT_TRUE(Permits(Right::kReveal));
}

TEST_F(RestoreTest, AnOlderBackupAfterANewerOneStillHasAllRevocations) {
  AddIdentity("aa");
  Backup("old");
  RevokeIdentity("aa");
  Backup("new");
  RemoveGrant();
  ASSERT_TRUE(RestoreFrom("new"));
  vault_.Reopen();
  EXPECT_FALSE(Permits(Right::kReveal));
  ASSERT_TRUE(RestoreFrom("old"));
  vault_.Reopen();
  EXPECT_TRUE(IsRevoked("aa"));
  EXPECT_FALSE(Permits(Right::kReveal));
  EXPECT_EQ(Position().epoch, 2U);
}

TEST_F(RestoreTest, BackupsThatWereMadeLaterAreKnownAgain) {
  const auto first = Backup("first");
  const auto second = Backup("second");
  ASSERT_TRUE(RestoreFrom("first"));
  vault_.Reopen();
  for (const auto& backup : {first, second}) {
    const auto row =
        vault_.Store().Get<storage::Backup>(storage::Backup::Names(backup.folder));
    ASSERT_TRUE(row) << backup.folder;
    EXPECT_EQ(row->row.position, backup.position);
    EXPECT_EQ(row->row.at_s, fakes::kVaultNow);
  }
}

TEST_F(RestoreTest, WhatIsRefusedLeavesTheVaultAsItWas) {
  PutMany(2, vault_.project);
  Backup("backup");
  const auto lines = vault_.Lines().size();
  EXPECT_EQ(fakes::CodeOf(RestoreFrom("none")), "INVALID");
  EXPECT_EQ(fakes::CodeOf(RestoreFrom("backup", "")), "INVALID");
  EXPECT_EQ(fakes::CodeOf(RestoreFrom("backup", "a\nb")), "INVALID");
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
  EXPECT_EQ(vault_.Lines().size(), lines);
  vault_.Reopen();
  EXPECT_EQ(DataIn(vault_.project, 1), DataOf(1));
}

TEST_F(RestoreTest, AWholeBackupThatWasNeverGivenItsNameIsNone) {
  Backup("backup");
  std::filesystem::rename(At("backup"), At("backup.part"));
  for (const char* path : {"backup.part", "backup.part/"}) {
    EXPECT_EQ(fakes::CodeOf(StageBackup(At(path), Places())), "INVALID") << path;
  }
  std::filesystem::rename(At("backup.part"), At("backup"));
  EXPECT_TRUE(StageBackup(At("backup"), Places()));
}

TEST_F(RestoreTest, ACopyThatDoesNotVerifyIsRefused) {
  PutMany(2, vault_.project);
  Backup("backup");
  // A page with sealed bytes.
  const auto path = At("backup") / "store" / "data.mdb";
  std::string data = ContentOf(path);
  const auto rows = Rows(storage::TableId::kCredentials, "acme");
  const auto bytes = rows[0].row.Bytes();
  const std::size_t at = data.find(std::string(bytes.begin(), bytes.end()));
  ASSERT_NE(at, std::string::npos);
  data[at + bytes.size() - 1] = static_cast<char>(data[at + bytes.size() - 1] ^ 1);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << data;
  EXPECT_EQ(fakes::CodeOf(RestoreFrom("backup")), "CORRUPT");
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
}

TEST_F(RestoreTest, ATrailThatWasEditedIsNotBelieved) {
  Backup("backup");
  RemoveGrant();
  PutMany(1, vault_.project);
  const auto path = At("audit") / "audit.jsonl";
  std::string trail = ContentOf(path);
  const std::size_t at = trail.find("Registry.RemoveGrant");
  ASSERT_NE(at, std::string::npos);
  trail[at] = 'r';
  std::ofstream(path, std::ios::binary | std::ios::in) << trail;
  EXPECT_EQ(fakes::CodeOf(RestoreFrom("backup")), "CORRUPT");
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
}

TEST_F(RestoreTest, AnotherVaultsBackupIsToldAsSuch) {
  fakes::TestVault other(fakes::TestVault::On::kDisk);
  ASSERT_TRUE(MakeBackup(At("theirs"), other.Store(), other.Keys(), ActOf("Operations.Backup"),
                         fakes::kVaultNow));
  const auto staged = StageBackup(At("theirs"), Places());
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().GetText(), std::string_view("the backup is another vault's"));
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
}

TEST_F(RestoreTest, CutOffAnywhereBeforeItsEndIsDoneAgain) {
  AddIdentity("aa");
  Backup("backup");
  RevokeIdentity("aa");
  RemoveGrant();
  ShredOther();
  // The trail fails after so many syncs: each is one of the restore's commits.
  int cut_off = 0;
  for (std::uint64_t syncs = 0; syncs < 40; ++syncs) {
    vault_.FailOneSyncAfter(syncs);
    const auto restored = RestoreFrom("backup");
    if (restored) break;
    ++cut_off;
    EXPECT_TRUE(IsRestoring(vault_.Folder())) << syncs;
  }
  EXPECT_GT(cut_off, 3);
  vault_.FailOneSyncAfter(1'000'000);
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
  vault_.Reopen();
  EXPECT_TRUE(IsRevoked("aa"));
  EXPECT_FALSE(Permits(Right::kReveal));
  EXPECT_FALSE(vault_.Keys().HasKek(crypto::Owner::Project("other")));
  const auto verdict = vault_.Trail().Verify();
  ASSERT_TRUE(verdict);
  EXPECT_TRUE(verdict->problems.empty());
}

// --- the store as it stands ----------------------------------------------------------------------

class PresentTest : public RestoreTest {
 protected:
  // The store of a while ago in the place of the newest, as whoever has the disk may put it.
  void RollBack(const std::function<void()>& meanwhile) {
    AddIdentity("aa");
    vault_.CloseStore();
    const std::string older = ContentOf(At("store") / "data.mdb");
    vault_.Reopen();
    meanwhile();
    vault_.CloseStore();
    std::ofstream(At("store") / "data.mdb", std::ios::binary | std::ios::trunc) << older;
  }
};

TEST_F(PresentTest, IsTakenWithAllThatWasRevokedSince) {
  RollBack([&] {
    RevokeIdentity("aa");
    RemoveGrant();
  });
  const auto restored = TakePresent();
  ASSERT_TRUE(restored) << restored.error().Message();
  EXPECT_EQ(restored->position.epoch, 1U);
  EXPECT_TRUE(restored->aside.empty());
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
  vault_.Reopen();
  EXPECT_TRUE(IsRevoked("aa"));
  EXPECT_FALSE(Permits(Right::kReveal));
}

TEST_F(PresentTest, CutOffIsNotServedAndDoesAllOfItTheNextTime) {
  RollBack([&] {
    RevokeIdentity("aa");
    RemoveGrant();
  });
  // The first commit of the new epoch is told, that of the first revocation is not; the second one
  // does not come about.
  vault_.FailOneSyncAfter(1);
  EXPECT_EQ(fakes::CodeOf(TakePresent()), "UNAVAILABLE");
  EXPECT_TRUE(IsRestoring(vault_.Folder()));
  const auto again = TakePresent();
  ASSERT_TRUE(again) << again.error().Message();
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
  vault_.Reopen();
  EXPECT_TRUE(IsRevoked("aa"));
  EXPECT_FALSE(Permits(Right::kReveal));
}

TEST_F(PresentTest, ARefusedOneLeavesNoTrace) {
  RollBack([&] { RemoveGrant(); });
  EXPECT_EQ(fakes::CodeOf(TakePresent("")), "INVALID");
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
}

TEST_F(PresentTest, EndsARestoreOfABackupThatWasCutOff) {
  Backup("backup");
  ASSERT_TRUE(StageBackup(At("backup"), Places()));
  EXPECT_TRUE(IsRestoring(vault_.Folder()));
  ASSERT_TRUE(TakePresent());
  EXPECT_FALSE(IsRestoring(vault_.Folder()));
}

// --- the last step, cut off between any two renames ----------------------------------------------

// Files by path, each with a word as content.
using Tree = std::map<std::string, std::string>;

class LastStepTest : public testing::Test {
 protected:
  void Make(const Tree& tree) {
    for (const auto& [path, word] : tree) {
      std::filesystem::create_directories((folder_.Path() / path).parent_path());
      std::ofstream(folder_.Path() / path) << word;
    }
  }
  Tree Found() const {
    Tree tree;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.Path())) {
      if (!entry.is_regular_file()) continue;
      tree[entry.path().lexically_relative(folder_.Path())] = ContentOf(entry.path());
    }
    return tree;
  }

  const storage::TemporaryFolder folder_;
};

TEST_F(LastStepTest, EndsTheSameFromWhereverItWasCutOff) {
  const Tree whole = {{"store/data.mdb", "new"},
                      {"keys", "new"},
                      {"before-restore-1/store/data.mdb", "old"},
                      {"before-restore-1/keys", "old"}};
  const std::vector<Tree> cut_off = {
      {{"store/data.mdb", "old"}, {"keys", "old"},
       {"restored/store/data.mdb", "new"}, {"restored/keys", "new"}},
      {{"restored/before/store/data.mdb", "old"}, {"keys", "old"},
       {"restored/store/data.mdb", "new"}, {"restored/keys", "new"}},
      {{"store/data.mdb", "new"}, {"restored/before/store/data.mdb", "old"}, {"keys", "old"},
       {"restored/keys", "new"}},
      {{"store/data.mdb", "new"}, {"restored/before/store/data.mdb", "old"},
       {"restored/before/keys", "old"}, {"restored/keys", "new"}},
      {{"store/data.mdb", "new"}, {"restored/before/store/data.mdb", "old"},
       {"restored/before/keys", "old"}, {"keys", "new"}},
  };
  for (std::size_t i = 0; i < cut_off.size(); ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.Path())) {
      std::filesystem::remove_all(entry.path());
    }
    Make(cut_off[i]);
    Make({{"replaying", "0 1\n"}});
    EXPECT_TRUE(IsRestoring(folder_.Path()));
    const auto aside = FinishRestore(folder_.Path());
    ASSERT_TRUE(aside) << i;
    ASSERT_TRUE(*aside);
    EXPECT_EQ(**aside, folder_.Path() / "before-restore-1");
    EXPECT_EQ(Found(), whole) << i;
    EXPECT_FALSE(IsRestoring(folder_.Path()));
  }
}

TEST_F(LastStepTest, WhereNothingStoodBeforeNothingIsSetAside) {
  Make({{"restored/store/data.mdb", "new"}, {"restored/keys", "new"}});
  const auto aside = FinishRestore(folder_.Path());
  ASSERT_TRUE(aside);
  ASSERT_TRUE(*aside);
  EXPECT_TRUE((*aside)->empty());
  EXPECT_EQ(Found(), (Tree{{"store/data.mdb", "new"}, {"keys", "new"}}));
}

TEST_F(LastStepTest, WithoutAReadyCopyThereIsNothingToFinish) {
  Make({{"store/data.mdb", "old"}, {"restoring/keys", "half"}});
  const auto aside = FinishRestore(folder_.Path());
  ASSERT_TRUE(aside);
  EXPECT_FALSE(*aside);
  EXPECT_EQ(Found().at("store/data.mdb"), "old");
}

TEST_F(LastStepTest, WhatWasSetAsideBeforeIsKept) {
  Make({{"before-restore-1/keys", "older"}, {"keys", "old"}, {"restored/keys", "new"}});
  const auto aside = FinishRestore(folder_.Path());
  ASSERT_TRUE(aside);
  EXPECT_EQ(Found(), (Tree{{"before-restore-1/keys", "older"},
                           {"before-restore-2/keys", "old"},
                           {"keys", "new"}}));
}

}  // namespace
}  // namespace oauthvault::upkeep
