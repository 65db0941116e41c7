#include "daemon/upkeep/rewrapper.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/daemon/upkeep/kept_vault.h"

namespace oauthvault::upkeep {
namespace {

using storage::TableId;

bool IsPage(const std::string& act) {
  return act.find("keys.rewrap") != std::string::npos &&
         act.find("keys.rewrapped") == std::string::npos;
}

class RewrapperTest : public KeptVault {
 protected:
  std::unique_ptr<Rewrapper> Make() {
    return std::make_unique<Rewrapper>(vault_.Store(), vault_.Keys(),
                                       [] { return fakes::kVaultNow; });
  }
  std::unique_ptr<Rewrapper> Started() {
    auto rewrapper = Make();
    EXPECT_TRUE(rewrapper->Start());
    return rewrapper;
  }
  static bool AwaitEnd(const Rewrapper& rewrapper) {
    return Await([&] { return rewrapper.Running().empty(); });
  }

  // The key versions under which the rows of a table are.
  std::set<std::uint32_t> Versions(TableId table, std::string_view project = "") {
    std::set<std::uint32_t> versions;
    for (const auto& keyed : Rows(table, project)) versions.insert(keyed.row.KekVersion());
    return versions;
  }

  const crypto::Owner acme_ = crypto::Owner::Project("acme");
  const crypto::Owner other_ = crypto::Owner::Project("other");
};

using Set = std::set<std::uint32_t>;

TEST_F(RewrapperTest, RotatingAProjectBringsAllOfItsRowsUnderTheNewKeyAndNoOthers) {
  constexpr std::size_t kCount = 1203;  // three pages
  PutMany(kCount, vault_.project);
  PutMany(3, vault_.other_project);
  auto rewrapper = Started();
  const auto version = rewrapper->Rotate(acme_, ActOf("Operations.RotateKeys"));
  ASSERT_TRUE(version);
  EXPECT_EQ(*version, 2U);
  ASSERT_TRUE(AwaitEnd(*rewrapper));
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{2});
  EXPECT_EQ(Versions(TableId::kCredentials, "other"), Set{1});
  EXPECT_EQ(Versions(TableId::kGrants), Set{1});
  for (std::size_t i = 0; i < kCount; i += 100) EXPECT_EQ(DataIn(vault_.project, i), DataOf(i));
  EXPECT_TRUE(Rows(TableId::kRewrappings).empty());
  const auto acts = vault_.Acts();
  EXPECT_EQ(std::ranges::count(acts, "Operations.RotateKeys allowed"), 1);
  EXPECT_EQ(std::ranges::count(acts, "keys.rewrapped allowed"), 1);
}

TEST_F(RewrapperTest, RotatingTheVaultBringsEveryTableOfItsOwnUnderTheNewKey) {
  PutMany(2, vault_.project);
  auto rewrapper = Started();
  ASSERT_TRUE(rewrapper->Rotate(crypto::Owner::Vault(), ActOf("test")));
  ASSERT_TRUE(AwaitEnd(*rewrapper));
  storage::ForEachRowType([&]<storage::Row R>() {
    const Set versions = Versions(R::kTable);
    if (R::kOwner == crypto::OwnerKind::kProject) {
      EXPECT_TRUE(versions.empty() || versions == Set{1});
    } else {
      EXPECT_TRUE(versions.empty() || versions == Set{2}) << static_cast<int>(R::kTable);
    }
  });
}

TEST_F(RewrapperTest, RowsThatAreReplacedMeanwhileKeepTheNewValueAndEndUnderTheNewKey) {
  constexpr std::size_t kCount = 600;
  PutMany(kCount, vault_.project);
  auto rewrapper = Started();
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int round = 0; !stop; ++round) {
      for (std::size_t i = 0; i < 5; ++i) vault_.Put(IdOf(i), "round " + std::to_string(round));
    }
  });
  std::thread reader([&] {
    for (std::size_t i = 0; !stop; i = (i + 1) % kCount) {
      const std::string data = DataIn(vault_.project, i);
      EXPECT_TRUE(data == DataOf(i) || data.starts_with("round ")) << data;
    }
  });
  for (std::uint32_t version = 2; version < 6; ++version) {
    ASSERT_TRUE(rewrapper->Rotate(acme_, ActOf("test")));
    EXPECT_TRUE(AwaitEnd(*rewrapper));
  }
  stop = true;
  writer.join();
  reader.join();
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{5});
  EXPECT_TRUE(DataIn(vault_.project, 0).starts_with("round "));
  EXPECT_EQ(DataIn(vault_.project, kCount - 1), DataOf(kCount - 1));
}

TEST_F(RewrapperTest, AKeyThatComesDuringAPassIsTheOneThatAllRowsEndUnder) {
  PutMany(900, vault_.project);
  auto rewrapper = Make();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(rewrapper->Rotate(acme_, ActOf("test")));
  ASSERT_TRUE(rewrapper->Start());
  ASSERT_TRUE(rewrapper->Rotate(acme_, ActOf("test")));
  ASSERT_TRUE(AwaitEnd(*rewrapper));
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{5});
  EXPECT_TRUE(Rows(TableId::kRewrappings).empty());
}

TEST_F(RewrapperTest, WhatADaemonThatEndedLeftIsDoneByTheNext) {
  PutMany(700, vault_.project);
  // It ended before the first page.
  ASSERT_TRUE(Make()->Rotate(acme_, ActOf("test")));
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{1});
  vault_.Reopen();
  auto rewrapper = Make();
  ASSERT_TRUE(rewrapper->Start());
  ASSERT_TRUE(AwaitEnd(*rewrapper));
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{2});
  EXPECT_TRUE(Rows(TableId::kRewrappings).empty());
}

TEST_F(RewrapperTest, ADaemonThatEndedBeforeTheKeyWasMadeLeavesNothingToDo) {
  PutMany(3, vault_.project);
  storage::Batch batch(ActOf("test"));
  batch.Insert(storage::Rewrapping{acme_, fakes::kVaultNow, "local/admin"});
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  auto rewrapper = Started();
  ASSERT_TRUE(AwaitEnd(*rewrapper));
  EXPECT_TRUE(Rows(TableId::kRewrappings).empty());
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{1});
}

TEST_F(RewrapperTest, AConflictOnTheFirstPageIsNotTheEnd) {
  PutMany(3, vault_.project);
  // The page, and its first row alone, as a store tries it then.
  int refusals = 2;
  WatchedEngine engine(vault_.Engine(), [&](const std::string& act) -> Result<void> {
    if (!IsPage(act) || refusals-- <= 0) return {};
    return Fail(Code::kConflict, "the test changed a row meanwhile");
  }, nullptr);
  storage::Store store(engine, vault_.Keys());
  Rewrapper rewrapper(store, vault_.Keys(), [] { return fakes::kVaultNow; });
  ASSERT_TRUE(rewrapper.Start());
  ASSERT_TRUE(rewrapper.Rotate(acme_, ActOf("test")));
  ASSERT_TRUE(AwaitEnd(rewrapper));
  EXPECT_LE(refusals, 0);
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{2});
}

TEST_F(RewrapperTest, AWriteThatWasOnItsWayAndComesInBehindThePassIsNotLeftBehind) {
  PutMany(3, vault_.project);
  const auto commit = WriteOnItsWay("late");
  bool came = false;
  WatchedEngine engine(vault_.Engine(), nullptr, [&](const std::string& act) {
    if (IsPage(act) && !std::exchange(came, true)) commit();
  });
  storage::Store store(engine, vault_.Keys());
  Rewrapper rewrapper(store, vault_.Keys(), [] { return fakes::kVaultNow; });
  ASSERT_TRUE(rewrapper.Start());
  ASSERT_TRUE(rewrapper.Rotate(acme_, ActOf("test")));
  ASSERT_TRUE(AwaitEnd(rewrapper));
  EXPECT_TRUE(came);
  EXPECT_EQ(Rows(TableId::kCredentials, "acme").size(), 4U);
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{2});
}

TEST_F(RewrapperTest, ADamagedRowOfOneOwnerKeepsNoOther) {
  PutMany(3, vault_.project);
  PutMany(3, vault_.other_project);
  const auto rows = Rows(TableId::kCredentials, "acme");
  Damage(rows[0], rows[1]);
  auto rewrapper = Started();
  ASSERT_TRUE(rewrapper->Rotate(acme_, ActOf("test")));
  ASSERT_TRUE(rewrapper->Rotate(other_, ActOf("test")));
  ASSERT_TRUE(Await([&] { return rewrapper->Running().size() == 1; }));
  EXPECT_EQ(Versions(TableId::kCredentials, "other"), Set{2});
  EXPECT_EQ(rewrapper->Running()[0].owner.name, "acme");
  // Its row stays, so that it is tried again at the next start.
  EXPECT_EQ(Rows(TableId::kRewrappings).size(), 1U);
}

TEST_F(RewrapperTest, AnAuditThatCannotWriteHoldsItUpAndLosesNothing) {
  PutMany(3, vault_.project);
  auto rewrapper = Make();
  ASSERT_TRUE(rewrapper->Rotate(acme_, ActOf("test")));
  vault_.FailTrail(true);
  ASSERT_TRUE(rewrapper->Start());
  vault_.AwaitSyncs(1);
  EXPECT_EQ(rewrapper->Running().size(), 1U);
  vault_.FailTrail(false);
  ASSERT_TRUE(AwaitEnd(*rewrapper));
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{2});
}

TEST_F(RewrapperTest, RewrapAllTakesThoseThatHaveHadMoreThanOneKey) {
  PutMany(3, vault_.project);
  auto rewrapper = Started();
  const auto none = rewrapper->RewrapAll(ActOf("Operations.Rewrap"));
  ASSERT_TRUE(none);
  EXPECT_EQ(*none, 0U);
  // A key that was made without its rows being brought along.
  ASSERT_TRUE(vault_.Keys().RotateKek(acme_));
  const auto one = rewrapper->RewrapAll(ActOf("Operations.Rewrap"));
  ASSERT_TRUE(one);
  EXPECT_EQ(*one, 1U);
  ASSERT_TRUE(AwaitEnd(*rewrapper));
  EXPECT_EQ(Versions(TableId::kCredentials, "acme"), Set{2});
}

TEST_F(RewrapperTest, AnOwnerWithoutAKeyIsNotFound) {
  auto rewrapper = Started();
  EXPECT_EQ(fakes::CodeOf(rewrapper->Rotate(crypto::Owner::Project("nobody"), ActOf("test"))),
            "NOT_FOUND");
  EXPECT_TRUE(Rows(TableId::kRewrappings).empty());
}

}  // namespace
}  // namespace oauthvault::upkeep
