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
};

TEST_F(PrunerTest, WhatEndedLongerAgoThanTheSetting_GoesAtTheStart) {
  auto identities = registry::Identities::Load(vault_.Store(), std::string(fakes::kTrustDomain));
  ASSERT_TRUE(identities) << identities.error().Message();
  Add("gone", fakes::kVaultNow - 101);
  Add("ended", fakes::kVaultNow - 100);
  Add("good", fakes::kVaultNow + 1);
  Pruner pruner(**identities, std::chrono::seconds(100), [] { return true; },
                [] { return fakes::kVaultNow; });
  pruner.Start();
  EXPECT_TRUE(Await([&] { return !Stands("gone"); }));
  pruner.Stop();
  EXPECT_TRUE(Stands("ended"));
  EXPECT_TRUE(Stands("good"));
  const auto lines = vault_.Trail().Show(0, audit::kMaxShownLines);
  ASSERT_TRUE(lines);
  EXPECT_EQ(std::ranges::count_if(*lines, [](const audit::Line& line) {
              return line.json.find(R"("act":"identities.prune")") != std::string::npos &&
                     line.json.find(R"("object":"removed:1")") != std::string::npos;
            }), 1);
}

TEST_F(PrunerTest, AFullDiskIsLeftAlone) {
  auto identities = registry::Identities::Load(vault_.Store(), std::string(fakes::kTrustDomain));
  ASSERT_TRUE(identities) << identities.error().Message();
  Add("gone", fakes::kVaultNow - 101);
  std::atomic<bool> asked = false;
  Pruner pruner(**identities, std::chrono::seconds(100),
                [&asked] {
                  asked = true;
                  return false;
                },
                [] { return fakes::kVaultNow; });
  pruner.Start();
  EXPECT_TRUE(Await([&] { return asked.load(); }));
  pruner.Stop();
  EXPECT_TRUE(Stands("gone"));
}

}  // namespace
}  // namespace oauthvault::upkeep
