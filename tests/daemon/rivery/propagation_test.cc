#include "daemon/rivery/propagation.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "daemon/registry/components.h"
#include "tests/daemon/rivery/rivery_vault.h"

namespace oauthvault::rivery {
namespace {

using fakes::CodeOf;
using fakes::Fault;
using fakes::TestVault;
using std::chrono::milliseconds;

constexpr std::string_view kNewer = R"({"access_token":"newer"})";
/// A generous bound for what happens in tens of milliseconds.
constexpr std::chrono::seconds kLong(60);

/// Two connections of the credentials `one`, in step with their version 1.
class PropagationTest : public RiveryVault {
 protected:
  explicit PropagationTest(TestVault::On on = TestVault::On::kMemory) : RiveryVault(on) {}

  void SetUp() override {
    RiveryVault::SetUp();
    New();
    vault_.Put("one", kData);
    first_ = Make("first");
    second_ = Make("second");
  }
  void TearDown() override { End(); }

  void New() {
    connections_.emplace(client_, rate_, vault_.Store(), vault_.Trail());
    propagation_.emplace(*connections_, vault_.Store(), vault_.Grants(),
                         fakes::ReadPrincipal, settings_,
                         [] { return fakes::kVaultNow; });
  }
  void End() {
    propagation_.reset();
    connections_.reset();
  }
  /// As a daemon that ends and starts again.
  void Restart() {
    End();
    vault_.Reopen();
    New();
    propagation_->Start();
  }

  std::string Make(std::string_view name, std::string_view principal = fakes::kRunner) {
    const std::string id = MakeRemotely(name, kData);
    storage::Connection row{.project = vault_.project,
                            .component = vault_.component,
                            .account = account_,
                            .oauth_id = TestVault::IdOf("one")};
    row.connection_id = id;
    row.name = name;
    row.connection_type = "gspreadsheet";
    row.written_version = 1;
    row.updated_at_s = fakes::kVaultNow;
    row.principal = principal;
    storage::Batch batch(fakes::SetupAct());
    batch.Insert(row);
    EXPECT_TRUE(vault_.Store().Commit(std::move(batch)));
    return id;
  }

  storage::Connection Row(const std::string& id) {
    return vault_.Store()
        .Get<storage::Connection>(
            storage::Connection::Names(vault_.project, vault_.component, account_, id))
        ->row;
  }
  Standing StandingNow(const std::string& id) {
    const auto credentials = vault_.Store().Find<storage::Credentials>(
        storage::Credentials::Names(vault_.project, vault_.component, TestVault::IdOf("one")));
    return StandingOf(Row(id), *credentials);
  }
  bool Await(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + kLong;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(milliseconds(2));
    }
    return true;
  }
  bool AwaitStep(const std::string& id, Step step) {
    return Await([&] { return StandingNow(id).step == step; });
  }
  /// Nothing waits, and nothing is on its way.
  bool AwaitIdle() {
    return Await([&] { return propagation_->WaitingCount() == 0; });
  }
  std::size_t LinesOf(std::string_view act) {
    return static_cast<std::size_t>(std::ranges::count_if(
        vault_.Lines(), [&](const auto& line) { return line.at("act") == act; }));
  }

  PropagationSettings settings_{.first_pause = milliseconds(10), .longest_pause = milliseconds(40)};
  std::optional<Connections> connections_;
  std::optional<Propagation> propagation_;
  std::string first_;
  std::string second_;
};

TEST_F(PropagationTest, AChangeOfCredentials_ReachesEveryConnectionOfThem) {
  propagation_->Start();
  vault_.Put("one", kNewer);
  EXPECT_TRUE(AwaitStep(first_, Step::kInStep));
  EXPECT_TRUE(AwaitStep(second_, Step::kInStep));
  EXPECT_TRUE(AwaitIdle());
  for (const fakes::Json& remote : Remote()) {
    EXPECT_EQ(remote.at("credentials").at("access_token"), "newer");
    EXPECT_EQ(remote.at("writes"), 2);
  }
  EXPECT_EQ(Row(first_).written_version, 2u);
  EXPECT_EQ(LinesOf("connection.propagate"), 2u);
  EXPECT_EQ(LinesOf("connection.updated"), 2u);
  for (const auto& line : vault_.Lines()) {
    if (line.at("act") != "connection.propagate") continue;
    EXPECT_EQ(line.at("principal"), fakes::kRunner);
    EXPECT_EQ(line.at("version"), 2);
    EXPECT_EQ(line.at("peer"), "rivery");
  }
}

TEST_F(PropagationTest, NothingLeaves_WhereAllIsInStep) {
  const int requests = AllRequests();
  vault_.Put("other", kNewer);
  propagation_->Start();
  vault_.Put("other", kData);
  vault_.Put("one", kNewer);
  ASSERT_TRUE(AwaitStep(second_, Step::kInStep));
  ASSERT_TRUE(AwaitIdle());
  EXPECT_EQ(AllRequests(), requests + 2);
}

TEST_F(PropagationTest, ACallThatFails_IsTriedAgainAndSaysWhyMeanwhile) {
  settings_.first_pause = milliseconds(500);
  End();
  New();
  standin_->AddFault(
      {.operation = fakes::Operation::kUpdate, .fault = Fault::kCommitThen502, .times = 1});
  propagation_->Start();
  vault_.Put("one", kNewer);
  EXPECT_TRUE(Await([&] {
    return !propagation_->TroubleOf(Row(first_)).empty() ||
           !propagation_->TroubleOf(Row(second_)).empty();
  }));
  EXPECT_TRUE(AwaitStep(first_, Step::kInStep));
  EXPECT_TRUE(AwaitStep(second_, Step::kInStep));
}

TEST_F(PropagationTest, ALostGrant_IsRefusedAndTheGrantAskedForAgainAtTheNextStart) {
  vault_.Revoke();
  propagation_->Start();
  const int requests = AllRequests();
  vault_.Put("one", kNewer);
  EXPECT_TRUE(AwaitStep(first_, Step::kRefused));
  EXPECT_TRUE(AwaitStep(second_, Step::kRefused));
  EXPECT_EQ(Row(first_).refusal, kNotPermitted);
  EXPECT_EQ(AllRequests(), requests);
  EXPECT_EQ(LinesOf("connection.propagate"), 0u);
  EXPECT_EQ(LinesOf("connection.refused"), 2u);
  vault_.Grant({access::Right::kConnect});
  Restart();
  EXPECT_TRUE(AwaitStep(first_, Step::kInStep));
  EXPECT_EQ(Row(first_).refusal, "");
}

TEST_F(PropagationTest, WhatWouldFailAgain_IsRefusedUntilTheCredentialsChange) {
  propagation_->Start();
  vault_.Put("one", "no JSON");
  EXPECT_TRUE(AwaitStep(first_, Step::kRefused));
  EXPECT_EQ(Row(first_).refusal, kNotSendable);
  const crypto::ApiToken token(fakes::BytesOf(kApiToken));
  ASSERT_TRUE(AwaitIdle());
  ASSERT_TRUE(client_.Delete({standin_->BaseUrl(), token}, first_));
  vault_.Put("one", kNewer);
  EXPECT_TRUE(AwaitStep(second_, Step::kInStep));
  EXPECT_TRUE(AwaitStep(first_, Step::kRefused));
  EXPECT_EQ(Row(first_).refusal, kDeletedInRivery);
  EXPECT_TRUE(AwaitIdle());
}

TEST_F(PropagationTest, OlderCredentialsThatRotate_AreRefused) {
  registry::ComponentFields fields;
  fields.rotating = true;
  ASSERT_TRUE(registry::SetComponent(vault_.Store(), vault_.component, std::move(fields),
                                     registry::IfRegistered::kChange, fakes::SetupAct(), 1));
  vault_.Put("one", kNewer);
  propagation_->Start();
  ASSERT_TRUE(AwaitStep(first_, Step::kInStep));
  ASSERT_TRUE(AwaitIdle());
  ASSERT_TRUE(custody::Delete(vault_.PermitFor(access::Right::kStore), TestVault::IdOf("one"),
                              fakes::SetupAct(), vault_.Store()));
  EXPECT_EQ(StandingNow(first_).why, kCredentialsGone);
  vault_.Put("one", kData);
  EXPECT_TRUE(Await([&] { return Row(first_).refusal == kCredentialsOlder; }));
}

TEST_F(PropagationTest, ARefusedToken_HoldsItsConnectionsUpUntilTheAccountIsSetAnew) {
  standin_->AddFault(
      {.operation = fakes::Operation::kUpdate, .fault = Fault::kUnauthorized, .times = 1});
  propagation_->Start();
  vault_.Put("one", kNewer);
  EXPECT_TRUE(Await([&] {
    return OpenAccountFor(vault_.Store(), account_, std::nullopt)->refused_at_s != 0;
  }));
  EXPECT_EQ(StandingNow(first_).step, Step::kBehind);
  EXPECT_EQ(StandingNow(second_).step, Step::kBehind);
  EXPECT_EQ(Requests("update"), 1) << "one call for the account, not one for each connection";
  Allow({"*"});
  EXPECT_TRUE(AwaitStep(first_, Step::kInStep));
  EXPECT_TRUE(AwaitStep(second_, Step::kInStep));
}

TEST_F(PropagationTest, AConnectionWithoutAnAnswerablePrincipal_IsRefusedUntilItIsUpdated) {
  const std::string old = Make("of an earlier release", "");
  propagation_->Start();
  vault_.Put("one", kNewer);
  EXPECT_TRUE(AwaitStep(old, Step::kRefused));
  ASSERT_TRUE(AwaitIdle());
  ASSERT_TRUE(connections_->Update(vault_.PermitFor(access::Right::kConnect),
                                   {.name = {account_, old}, .new_name = {}}, TestVault::Caller(),
                                   fakes::kVaultNow));
  vault_.Put("one", kData);
  EXPECT_TRUE(Await([&] { return Row(old).written_version == 3; }));
}

class PropagationOnDiskTest : public PropagationTest {
 protected:
  PropagationOnDiskTest() : PropagationTest(TestVault::On::kDisk) {}
};

TEST_F(PropagationOnDiskTest, ADaemonThatStartsAgain_FindsWhatIsBehindInTheRows) {
  standin_->AddFault(
      {.operation = fakes::Operation::kUpdate, .fault = Fault::kResetBeforeCommit, .times = 1000});
  propagation_->Start();
  vault_.Put("one", kNewer);
  ASSERT_TRUE(Await([&] { return Requests("update") > 1; }));
  EXPECT_EQ(StandingNow(first_).step, Step::kBehind);
  standin_->ClearFaults();
  Restart();
  EXPECT_TRUE(AwaitStep(first_, Step::kInStep));
  EXPECT_TRUE(AwaitStep(second_, Step::kInStep));
}

}  // namespace
}  // namespace oauthvault::rivery
