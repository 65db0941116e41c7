#include "daemon/custody/changes.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::custody {
namespace {

using Told = std::vector<std::string>;

class CustodyChanges : public testing::Test {
 protected:
  Changes::Token Watch(const ProjectId& project, const ComponentId& component) {
    return changes_.Watch(project, component,
                          {[this](const std::string& id) { told_.push_back(id); },
                           [this](const Error& why) {
                             told_.push_back("ended " + std::string(NameOf(why.GetCode())));
                           }});
  }
  void Delete(std::string_view id) {
    ASSERT_TRUE(custody::Delete(vault_.PermitFor(access::Right::kStore),
                                fakes::TestVault::IdOf(id), fakes::SetupAct(), vault_.Store()));
  }

  fakes::TestVault vault_;
  Told told_;
  Changes changes_{vault_.Store()};
};

TEST_F(CustodyChanges, EachWriteAndDeletion_IsToldUntilTheTokenEnds) {
  auto token = Watch(vault_.project, vault_.component);
  vault_.Put("a", "{}");
  vault_.Put("b", "{}");
  vault_.Put("a", "{}");
  Delete("b");
  EXPECT_EQ(told_, (Told{"a", "b", "a", "b"}));
  token.reset();
  vault_.Put("c", "{}");
  EXPECT_EQ(told_.size(), 4u);
}

TEST_F(CustodyChanges, AnotherPair_IsNotTold) {
  const auto other_project = Watch(vault_.other_project, vault_.component);
  const auto other_component = Watch(vault_.project, vault_.plain_component);
  vault_.Put("a", "{}");
  EXPECT_EQ(told_, Told{});
}

TEST_F(CustodyChanges, AllWatchersOfAPair_AreTold) {
  const auto one = Watch(vault_.project, vault_.component);
  const auto two = Watch(vault_.project, vault_.component);
  vault_.Put("a", "{}");
  EXPECT_EQ(told_, (Told{"a", "a"}));
}

TEST_F(CustodyChanges, AShreddedProject_EndsItsWatchersAndNoOthers) {
  vault_.Put("a", "{}");
  const auto one = Watch(vault_.project, vault_.component);
  const auto two = Watch(vault_.project, vault_.plain_component);
  ASSERT_TRUE(vault_.Store().RemoveUnopened(storage::TableId::kCredentials, vault_.project, 10,
                                            fakes::SetupAct()));
  EXPECT_EQ(told_, (Told{"ended NOT_FOUND", "ended NOT_FOUND"}));
  told_.clear();
  const auto other = Watch(vault_.other_project, vault_.component);
  ASSERT_TRUE(vault_.Store().RemoveUnopened(storage::TableId::kCredentialsVersions,
                                            vault_.project, 10, fakes::SetupAct()));
  EXPECT_EQ(told_, Told{});
}

TEST_F(CustodyChanges, End_EndsThoseThatWatchAndThoseThatBeginLater) {
  const auto one = Watch(vault_.project, vault_.component);
  changes_.End();
  EXPECT_EQ(told_, Told{"ended UNAVAILABLE"});
  const auto late = Watch(vault_.project, vault_.component);
  EXPECT_EQ(told_, (Told{"ended UNAVAILABLE", "ended UNAVAILABLE"}));
}

}  // namespace
}  // namespace oauthvault::custody
