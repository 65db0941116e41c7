#include "daemon/upkeep/shredding.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crypto/keys_file.h"
#include "daemon/registry/tokens.h"
#include "tests/daemon/upkeep/kept_vault.h"
#include "tests/storage/kept_store.h"

namespace oauthvault::upkeep {
namespace {

using storage::TableId;

constexpr TableId kProjectTables[] = {TableId::kCredentials, TableId::kAttempts,
                                      TableId::kConnections, TableId::kCredentialsVersions};

class ShreddingTest : public KeptVault {
 protected:
  ShreddingTest() {
    PutMany(kCount, vault_.project);
    PutMany(2, vault_.other_project);
    storage::Batch batch(ActOf("test"));
    batch.Insert(storage::Connection{.project = vault_.project,
                                     .component = vault_.component,
                                     .account = *AccountId::Parse("main"),
                                     .connection_id = std::string(24, 'a'),
                                     .name = "Sheets",
                                     .oauth_id = fakes::TestVault::IdOf(IdOf(0))});
    batch.Insert(storage::CredentialsVersion{
        .version = 1,
        .credentials = {.project = vault_.project,
                        .component = vault_.component,
                        .id = fakes::TestVault::IdOf(IdOf(0))}});
    batch.Insert(storage::Backup{.folder = "/backups/monday", .at_s = 7, .rows = 3});
    EXPECT_TRUE(vault_.Store().Commit(std::move(batch)));
  }

  Result<Shredded> Shred() {
    return ShredProject(vault_.Keys(), vault_.Store(), vault_.Grants(), vault_.project,
                        ActOf("Operations.ShredProject"), fakes::kVaultNow);
  }
  Result<void> Finish() {
    return FinishShredding(vault_.Keys(), vault_.Store(), vault_.Grants());
  }

  // The mark alone, as a daemon that was killed behind it left it.
  void Mark() { Mark(vault_.project); }
  void Mark(const ProjectId& id) {
    auto project = vault_.Store().Get<storage::Project>(storage::Project::Names(id));
    ASSERT_TRUE(project);
    project->row.shredding_at_s = fakes::kVaultNow;
    storage::Batch batch(ActOf("Operations.ShredProject"));
    batch.Replace(project->row, project->version);
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  }

  // Nothing of `acme` is there, and all of `other` is.
  void ExpectGone() {
    EXPECT_FALSE(vault_.Keys().HasKek(acme_));
    for (const TableId table : kProjectTables) {
      EXPECT_TRUE(Rows(table, "acme").empty()) << static_cast<int>(table);
    }
    EXPECT_TRUE(Rows(TableId::kGrants, "acme").empty());
    EXPECT_EQ(fakes::CodeOf(vault_.Store().Get<storage::Project>(
                  storage::Project::Names(vault_.project))),
              "NOT_FOUND");
    EXPECT_EQ(DataIn(vault_.other_project, 1), DataOf(1));
  }

  static constexpr std::size_t kCount = 700;  // two commits
  const crypto::Owner acme_ = crypto::Owner::Project("acme");
};

TEST_F(ShreddingTest, DestroysKeysAndRowsAndTellsWhatItCannotReach) {
  const auto shredded = Shred();
  ASSERT_TRUE(shredded) << shredded.error().Message();
  EXPECT_EQ(shredded->keys, 1U);
  EXPECT_EQ(shredded->credentials, kCount);
  EXPECT_EQ(shredded->connections, 1U);
  EXPECT_EQ(shredded->grants, 1U);
  ASSERT_EQ(shredded->open_backups.size(), 1U);
  EXPECT_EQ(shredded->open_backups[0].folder, "/backups/monday");
  ASSERT_EQ(shredded->live_connections.size(), 1U);
  EXPECT_EQ(shredded->live_connections[0].name, "Sheets");
  ExpectGone();
  EXPECT_FALSE(access::Decide(fakes::TestVault::Runner(), access::Right::kReveal,
                              access::Scope::Pair(vault_.project, vault_.component),
                              *vault_.Grants().InForce()));
  const auto acts = vault_.Acts();
  EXPECT_EQ(acts.back(), "project.shredded allowed");
  vault_.Reopen();
  ExpectGone();
}

TEST_F(ShreddingTest, WhatSomebodyCopiedBeforeOpensNoMoreAndTheWrappedKeyIsInNoFile) {
  const auto copied = Rows(TableId::kCredentials, "acme");
  ASSERT_EQ(copied.size(), kCount);
  const auto stored = crypto::StoredKeys::Read(At("keys"));
  ASSERT_TRUE(stored);
  const auto before = stored->File().keks;
  ASSERT_TRUE(Shred());
  for (const auto& keyed : copied) {
    EXPECT_EQ(fakes::CodeOf(vault_.Keys().Open(acme_, keyed.key, keyed.row, crypto::Part::kData)),
              "CORRUPT");
  }
  const auto after = crypto::StoredKeys::Read(At("keys"));
  ASSERT_TRUE(after);
  std::size_t gone = 0;
  const std::string content = ContentOf(At("keys"));
  for (const auto& [name, wrapped] : before) {
    if (after->File().keks.contains(name)) continue;
    ++gone;
    const std::string bytes(reinterpret_cast<const char*>(&wrapped), sizeof wrapped);
    EXPECT_EQ(content.find(bytes), std::string::npos);
  }
  EXPECT_EQ(gone, 1U);
}

TEST_F(ShreddingTest, ADaemonThatWasKilledBehindTheMarkFinishesAtItsNextStart) {
  Mark();
  vault_.Reopen();
  ASSERT_TRUE(Finish());
  ExpectGone();
  EXPECT_TRUE(Finish());
}

TEST_F(ShreddingTest, ADaemonThatWasKilledBehindTheKeysFinishesAtItsNextStart) {
  Mark();
  ASSERT_TRUE(vault_.Keys().RemoveOwner(acme_));
  vault_.Reopen();
  ASSERT_TRUE(Finish());
  ExpectGone();
}

TEST_F(ShreddingTest, ADaemonThatWasKilledAmongTheRowsFinishesAtItsNextStart) {
  Mark();
  ASSERT_TRUE(vault_.Keys().RemoveOwner(acme_));
  ASSERT_TRUE(vault_.Store().RemoveUnopened(TableId::kCredentials, vault_.project, 100,
                                            ActOf("test")));
  vault_.Reopen();
  ASSERT_TRUE(Finish());
  ExpectGone();
}

TEST_F(ShreddingTest, OneThatCannotBeFinishedKeepsNoOtherFromIt) {
  Mark();
  Mark(vault_.other_project);
  // Whichever comes first fails at its first commit.
  bool failed = false;
  WatchedEngine engine(vault_.Engine(), [&](const std::string&) -> Result<void> {
    if (std::exchange(failed, true)) return {};
    return Fail(Code::kUnavailable, "the test's disk is full");
  }, nullptr);
  storage::Store store(engine, vault_.Keys());
  EXPECT_EQ(fakes::CodeOf(FinishShredding(vault_.Keys(), store, vault_.Grants())), "UNAVAILABLE");
  EXPECT_EQ(Rows(TableId::kProjects).size(), 1U);
  ASSERT_TRUE(Finish());
  EXPECT_TRUE(Rows(TableId::kProjects).empty());
}

TEST_F(ShreddingTest, IsDoneAgainWhereTheFirstTimeFailedHalfWay) {
  // The mark is committed, and the next line cannot be written.
  vault_.FailOneSyncAfter(1);
  EXPECT_EQ(fakes::CodeOf(Shred()), "UNAVAILABLE");
  EXPECT_FALSE(vault_.Keys().HasKek(acme_));
  const auto again = Shred();
  ASSERT_TRUE(again) << again.error().Message();
  ExpectGone();
}

TEST_F(ShreddingTest, NothingIsStoredFromTheMarkOn) {
  Mark();
  custody::NewCredentials credentials{.id = fakes::TestVault::IdOf("late")};
  credentials.data = crypto::CredentialsData(fakes::BytesOf("late"));
  EXPECT_EQ(fakes::CodeOf(custody::Put(vault_.PermitFor(access::Right::kStore),
                                       std::move(credentials), custody::IfThere::kReplace,
                                       custody::KeptVersions{}, ActOf("test"), vault_.Store(),
                                       fakes::kVaultNow)),
            "NOT_FOUND");
}

TEST_F(ShreddingTest, AWriteThatWasOnItsWayIsNotLeftBehind) {
  const auto commit = WriteOnItsWay("late");
  int commits = 0;
  // The mark, the grant, two pages of credentials, the connection; then it comes in.
  WatchedEngine engine(vault_.Engine(), nullptr, [&](const std::string&) {
    if (++commits == 5) commit();
  });
  storage::Store store(engine, vault_.Keys());
  auto grants = registry::Grants::Load(store);
  ASSERT_TRUE(grants);
  const auto shredded =
      ShredProject(vault_.Keys(), store, **grants, vault_.project,
                   ActOf("Operations.ShredProject"), fakes::kVaultNow);
  ASSERT_TRUE(shredded) << shredded.error().Message();
  EXPECT_EQ(shredded->credentials, kCount + 1);
  ExpectGone();
}

TEST_F(ShreddingTest, ADamagedConnectionDoesNotKeepATenantFromBeingDestroyed) {
  const auto connection = Rows(TableId::kConnections, "acme");
  ASSERT_EQ(connection.size(), 1U);
  Damage(connection[0], Rows(TableId::kCredentials, "acme")[0]);
  const auto shredded = Shred();
  ASSERT_TRUE(shredded) << shredded.error().Message();
  EXPECT_EQ(shredded->connections, 1U);
  EXPECT_TRUE(shredded->live_connections.empty());
  ExpectGone();
}

TEST_F(ShreddingTest, RowsThatAreNoSealedRowsAnyMoreGoWithTheOthers) {
  std::vector<crypto::RowKey> keys;
  for (const TableId table : kProjectTables) {
    for (const auto& keyed : Rows(table, "acme")) keys.push_back(keyed.key);
  }
  vault_.CloseStore();
  const storage::RawFile file(At("store"));
  file.Put(keys.front(), "no sealed row");
  file.Put(keys.back(), "no sealed row");
  vault_.Reopen();
  Mark();
  ASSERT_TRUE(vault_.Keys().RemoveOwner(acme_));
  vault_.Reopen();
  const auto finished = Finish();
  ASSERT_TRUE(finished) << finished.error().Message();
  ExpectGone();
}

TEST_F(ShreddingTest, ANoteAboutRewrappingGoesWithTheProject) {
  storage::Batch batch(ActOf("test"));
  batch.Insert(storage::Rewrapping{acme_, fakes::kVaultNow, "local/admin"});
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  ASSERT_TRUE(Shred());
  EXPECT_TRUE(Rows(TableId::kRewrappings).empty());
}

TEST_F(ShreddingTest, AProjectOfTheSameNameBeginsEmpty) {
  ASSERT_TRUE(Shred());
  ASSERT_TRUE(registry::AddProject(vault_.Keys(), vault_.Store(), vault_.project, "", ActOf("test"),
                                   fakes::kVaultNow));
  EXPECT_EQ(DataIn(vault_.project, 0), "NOT_FOUND");
  EXPECT_TRUE(Rows(TableId::kGrants, "acme").empty());
  PutMany(1, vault_.project);
  EXPECT_EQ(DataIn(vault_.project, 0), DataOf(0));
}

TEST_F(ShreddingTest, ItsTokensGoAndThoseOfOthersStay) {
  registry::Tokens tokens(vault_.Store(), vault_.Keys());
  const auto issue = [&](const char* project) {
    auto issued = tokens.Issue({"", project, "*", {access::Right::kStore}, 0},
                               ActOf("Tokens.Issue"), fakes::kVaultNow);
    EXPECT_TRUE(issued) << issued.error().Message();
    return fakes::TextOf(issued->text.Bytes());
  };
  const std::string own = issue("acme");
  const std::string other = issue("other");
  ASSERT_TRUE(Shred());
  EXPECT_FALSE(tokens.Recognize(own, fakes::kVaultNow));
  EXPECT_TRUE(tokens.Recognize(other, fakes::kVaultNow));
}

TEST_F(ShreddingTest, AProjectThatIsNotThereIsNotFound) {
  ASSERT_TRUE(Shred());
  EXPECT_EQ(fakes::CodeOf(Shred()), "NOT_FOUND");
}

}  // namespace
}  // namespace oauthvault::upkeep
