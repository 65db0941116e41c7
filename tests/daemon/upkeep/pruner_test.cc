#include "daemon/upkeep/pruner.h"

#include <algorithm>
#include <atomic>
#include <string>

#include "tests/daemon/upkeep/kept_vault.h"

namespace oauthvault::upkeep {
namespace {

class PrunerTest : public KeptVault {
 protected:
  void Add(const std::string& serial, std::int64_t expires_at_s) {
    storage::Batch batch(storage::Act{.act = "Registry.IssueIdentity", .principal = "-"});
    batch.Insert(storage::Identity{
        .serial = serial, .principal = "-", .expires_at_s = expires_at_s});
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  }
  bool Stands(const std::string& serial) {
    return vault_.Store().Find<storage::Identity>(storage::Identity::Names(serial))->has_value();
  }
  storage::Attempt AttemptNamed(const std::string& id) const {
    return {vault_.project, vault_.component, *AttemptId::Parse(id),
            *AccountId::Parse("account"), *OauthId::Parse("one")};
  }
  void AddAttempt(const std::string& id, storage::AttemptState state, std::int64_t updated_at_s) {
    storage::Attempt attempt = AttemptNamed(id);
    attempt.state = state;
    attempt.updated_at_s = updated_at_s;
    storage::Batch batch(storage::Act{.act = "Attempts.Authorize", .principal = "-"});
    batch.Insert(attempt);
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  }
  bool AttemptStands(const std::string& id) {
    return vault_.Store().Find<storage::Attempt>(AttemptNamed(id).Names())->has_value();
  }
  // Begins after `passed` by the steady clock, with the wall clock `ahead` of it; looks once.
  void LookOnce(std::chrono::seconds passed = {}, std::chrono::seconds ahead = {},
                bool has_room = true) {
    auto identities = registry::Identities::Load(vault_.Store(), std::string(fakes::kTrustDomain));
    ASSERT_TRUE(identities) << identities.error().Message();
    std::atomic<bool> asked = false;
    std::chrono::steady_clock::time_point now;
    Pruner pruner(**identities, vault_.Store(),
                  {std::chrono::seconds(100), std::chrono::seconds(1000)},
                  [&] {
                    asked = true;
                    return has_room;
                  },
                  fakes::kVaultNow,
                  {[&] { return fakes::kVaultNow + (passed + ahead).count(); },
                   [&now] { return now; }});
    now += passed;
    pruner.Start();
    EXPECT_TRUE(Await([&] { return asked.load(); }));
    pruner.Stop();
  }
  std::ptrdiff_t LinesOf(const std::string& act, const std::string& object) {
    const auto lines = vault_.Trail().Show(0, audit::kMaxShownLines);
    return std::ranges::count_if(*lines, [&](const audit::Line& line) {
      return line.json.find("\"act\":\"" + act + "\"") != std::string::npos &&
             line.json.find("\"object\":\"" + object + "\"") != std::string::npos;
    });
  }
};

TEST_F(PrunerTest, WhatEndedLongerAgoThanTheSetting_GoesAtTheStart) {
  Add("gone", fakes::kVaultNow - 101);
  Add("ended", fakes::kVaultNow - 100);
  Add("good", fakes::kVaultNow + 1);
  AddAttempt("gone", storage::AttemptState::kFailed, fakes::kVaultNow - 1001);
  AddAttempt("ended", storage::AttemptState::kCreated, fakes::kVaultNow - 1000);
  AddAttempt("waits", storage::AttemptState::kUnclear, fakes::kVaultNow - 100'000);
  LookOnce();
  EXPECT_FALSE(Stands("gone"));
  EXPECT_TRUE(Stands("ended"));
  EXPECT_TRUE(Stands("good"));
  EXPECT_EQ(LinesOf("identities.prune", "removed:1"), 1);
  EXPECT_FALSE(AttemptStands("gone"));
  EXPECT_TRUE(AttemptStands("ended"));
  EXPECT_TRUE(AttemptStands("waits"));
  EXPECT_EQ(LinesOf("attempts.prune", "removed:1"), 1);
}

// It is right again soon after; a revoked certificate that left the deny list would be good again.
TEST_F(PrunerTest, AClockThatJumpsAhead_TakesNothingBeforeItsTime) {
  Add("gone", fakes::kVaultNow - 51);
  Add("later", fakes::kVaultNow - 50);
  AddAttempt("later", storage::AttemptState::kFailed, fakes::kVaultNow - 950);
  LookOnce(std::chrono::seconds(50), std::chrono::years(10));
  EXPECT_FALSE(Stands("gone")) << "as much time has passed";
  EXPECT_TRUE(Stands("later"));
  EXPECT_TRUE(AttemptStands("later"));
  LookOnce(std::chrono::seconds(51), std::chrono::seconds(-1));
  EXPECT_TRUE(Stands("later")) << "a clock that is behind";
  LookOnce(std::chrono::seconds(51));
  EXPECT_FALSE(Stands("later"));
  EXPECT_FALSE(AttemptStands("later"));
}

TEST_F(PrunerTest, AFullDiskIsLeftAlone) {
  Add("gone", fakes::kVaultNow - 101);
  LookOnce({}, {}, false);
  EXPECT_TRUE(Stands("gone"));
}

TEST_F(PrunerTest, TheTimeOfTheLineBeforeTheLastOne_IsWhenTheTrailWasToldLast) {
  EXPECT_EQ(LastToldAtS(vault_.Trail()), fakes::kVaultNow);
  std::int64_t now_s = 100;
  const auto trail = audit::Trail::Open(vault_.Folder(), crypto::RandomKey(),
                                        [&now_s] { return now_s * 1'000'000; });
  ASSERT_TRUE(trail) << trail.error().Message();
  for (; now_s < 400; now_s += 100) {
    ASSERT_TRUE((*trail)->RecordAndWait({storage::Act{.act = "test", .principal = "-"}}));
  }
  EXPECT_EQ(LastToldAtS(**trail), 200);
}

}  // namespace
}  // namespace oauthvault::upkeep
