// Credentials.Watch: the present state and then the changes, whatever the reader's speed, and all
// the ways in which a stream ends.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "daemon/custody/store.h"
#include "tests/daemon/acts.h"
#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

using access::Right;

// One watcher of kProject and kComponent.
struct CredentialsWatcher {
  explicit CredentialsWatcher(const std::shared_ptr<grpc::Channel>& channel,
                              const std::vector<std::string>& ids = {},
                              const std::string& project = kProject)
      : stub(v1::Credentials::NewStub(channel)),
        context(std::make_unique<grpc::ClientContext>()) {
    EXPECT_TRUE(channel->WaitForConnected(std::chrono::system_clock::now() + kPatience));
    context->set_deadline(std::chrono::system_clock::now() + 6 * kPatience);
    v1::WatchCredentialsRequest request;
    request.set_project(project);
    request.set_component(kComponent);
    for (const std::string& id : ids) request.add_ids(id);
    reader = stub->Watch(context.get(), request);
  }
  // The next event in short: `a 3`, `-a`, `=` for caught up; empty at the end.
  std::string Next() {
    v1::CredentialsEvent event;
    if (!reader->Read(&event)) return {};
    switch (event.event_case()) {
      case v1::CredentialsEvent::kStanding:
        return event.standing().id() + " " + std::to_string(event.standing().version()) +
               (event.standing().damaged() ? " damaged" : "");
      case v1::CredentialsEvent::kAbsentId: return "-" + event.absent_id();
      case v1::CredentialsEvent::kCaughtUp: return "=";
      default: return "?";
    }
  }
  // All up to the present state's end; they come in no order that means anything.
  std::multiset<std::string> Present() {
    std::multiset<std::string> present;
    for (std::string next = Next(); next != "=" && !next.empty(); next = Next()) {
      present.insert(next);
    }
    return present;
  }
  grpc::Status End() { return reader->Finish(); }

  std::unique_ptr<v1::Credentials::Stub> stub;
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientReader<v1::CredentialsEvent>> reader;
};

using Present = std::multiset<std::string>;

class WatchCredentialsTest : public testing::Test {
 protected:
  explicit WatchCredentialsTest(std::chrono::milliseconds tick = std::chrono::seconds(10))
      : vault_({.tick = tick}) {
    vault_.Grant("runner/r", kProject, kComponent, {Right::kReveal});
    vault_.Grant("runner/w", "*", "*", {Right::kStore});
    identity_ = vault_.Issue("runner/r");
    channel_ = vault_.Tcp(identity_);
    writer_ = vault_.Tcp(vault_.Issue("runner/w"));
    EXPECT_TRUE(writer_->WaitForConnected(std::chrono::system_clock::now() + kPatience));
  }

  void Put(const std::string& id, const std::string& project = kProject) {
    vault_.PutCredentials(project, kComponent, id, "{\"secret\":\"never told\"}");
  }
  void Delete(const std::string& id) {
    v1::DeleteRequest request;
    request.set_project(kProject);
    request.set_component(kComponent);
    request.set_id(id);
    v1::DeleteResponse response;
    EXPECT_TRUE(v1::Credentials::NewStub(writer_)
                    ->Delete(NewContext().get(), request, &response)
                    .ok());
  }
  // Rows with a description that makes their events large, in one commit.
  void PutLarge(int first, int end) {
    storage::Batch batch(fakes::SetupAct());
    for (int i = first; i < end; ++i) {
      storage::Credentials row{*ProjectId::Parse(kProject), *ComponentId::Parse(kComponent),
                               *OauthId::Parse("id-" + std::to_string(i))};
      row.creator_description = std::string(1000, 'x');
      auto stored = vault_.Store().Find<storage::Credentials>(row.Names());
      ASSERT_TRUE(stored);
      if (*stored) {
        batch.Replace(row, (*stored)->version);
      } else {
        batch.Insert(row);
      }
    }
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  }

  Vault vault_;
  ClientIdentity identity_;
  std::shared_ptr<grpc::Channel> channel_;
  std::shared_ptr<grpc::Channel> writer_;
};

TEST_F(WatchCredentialsTest, BeginsWithThePresentStateAndTellsEachChange) {
  Put("a");
  Put("b");
  Put("b");
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Present(), (Present{"a 1", "b 2"}));
  Put("a");
  EXPECT_EQ(watcher.Next(), "a 2");
  Put("new");
  EXPECT_EQ(watcher.Next(), "new 1");
  Delete("b");
  EXPECT_EQ(watcher.Next(), "-b");
  Put("b");
  EXPECT_EQ(watcher.Next(), "b 1") << "stored anew";
}

TEST_F(WatchCredentialsTest, OfAnEmptyPair_IsCaughtUpAtOnce) {
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Next(), "=");
  Put("a");
  EXPECT_EQ(watcher.Next(), "a 1");
}

TEST_F(WatchCredentialsTest, OfIds_TellsOfThoseAloneAlsoWhereTheyAreNotThere) {
  Put("a");
  Put("b");
  CredentialsWatcher watcher(channel_, {"later", "a"});
  EXPECT_EQ(watcher.Next(), "-later");
  EXPECT_EQ(watcher.Next(), "a 1");
  EXPECT_EQ(watcher.Next(), "=");
  Put("b");
  Put("later");
  EXPECT_EQ(watcher.Next(), "later 1");
}

TEST_F(WatchCredentialsTest, TellsWhatDescribeTells) {
  Put("a");
  CredentialsWatcher watcher(channel_);
  v1::CredentialsEvent event;
  ASSERT_TRUE(watcher.reader->Read(&event));
  v1::DescribeRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_id("a");
  v1::CredentialsInfo described;
  ASSERT_TRUE(v1::Credentials::NewStub(channel_)
                  ->Describe(NewContext().get(), request, &described)
                  .ok());
  EXPECT_EQ(event.standing().SerializeAsString(), described.SerializeAsString());
}

TEST_F(WatchCredentialsTest, MoreThanOneReadsWorth_IsTheWholePresentState) {
  Present all;
  for (int i = 0; i < 200; ++i) {
    Put("id-" + std::to_string(i));
    all.insert("id-" + std::to_string(i) + " 1");
  }
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Present(), all);
}

TEST_F(WatchCredentialsTest, ChangesWhileThePresentStateIsRead_AreNotFollowedByWhatWasBefore) {
  for (int i = 0; i < 150; ++i) Put("id-" + std::to_string(i));
  const std::jthread writing([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      for (int i = 0; i < 150 && !stop.stop_requested(); i += 7) Put("id-" + std::to_string(i));
    }
  });
  std::map<std::string, int> told;
  for (int round = 0; round < 5; ++round) {
    told.clear();
    CredentialsWatcher watcher(channel_);
    for (std::string next = watcher.Next(); next != "="; next = watcher.Next()) {
      ASSERT_FALSE(next.empty());
      const std::size_t space = next.find(' ');
      const int version = std::stoi(next.substr(space + 1));
      int& before = told[next.substr(0, space)];
      EXPECT_GE(version, before) << next;
      before = version;
    }
    EXPECT_EQ(told.size(), 150u);
  }
}

TEST_F(WatchCredentialsTest, ASlowReader_IsToldTheNewestOnceItReads) {
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Next(), "=");
  // Far more than gRPC takes up on the way while nobody reads.
  constexpr int kPuts = 500;
  for (int i = 0; i < kPuts; ++i) PutLarge(0, 1);
  int events = 0;
  int last = 0;
  while (last != kPuts) {
    const std::string next = watcher.Next();
    ASSERT_TRUE(next.starts_with("id-0 ")) << next;
    const int version = std::stoi(next.substr(5));
    EXPECT_GE(version, last);
    last = version;
    ++events;
  }
  EXPECT_LT(events, kPuts) << "versions between were passed over";
}

TEST_F(WatchCredentialsTest, AReaderForWhomTooManyIdsWait_IsSentAwayAndComesBackToAllOfThem) {
  constexpr int kIds = 4096 + 1904;  // the others are on their way already
  {
    CredentialsWatcher watcher(channel_);
    EXPECT_EQ(watcher.Next(), "=");
    for (int i = 0; i < kIds; i += 500) PutLarge(i, i + 500);
    while (!watcher.Next().empty()) {
    }
    EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  CredentialsWatcher again(channel_);
  EXPECT_EQ(again.Present().size(), static_cast<std::size_t>(kIds));
}

TEST_F(WatchCredentialsTest, WhoComesBack_LearnsWhatWasDeletedMeanwhile) {
  Put("a");
  Put("b");
  {
    CredentialsWatcher watcher(channel_);
    EXPECT_EQ(watcher.Present(), (Present{"a 1", "b 1"}));
    watcher.context->TryCancel();
    while (!watcher.Next().empty()) {
    }
    EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::CANCELLED);
  }
  Delete("a");
  CredentialsWatcher again(channel_);
  EXPECT_EQ(again.Present(), Present{"b 1"});
}

TEST_F(WatchCredentialsTest, ADamagedRow_IsNamedToThoseWhoWatchItsId) {
  Put("a");
  Put("b");
  const auto names = storage::Credentials::Names(
      *ProjectId::Parse(kProject), *ComponentId::Parse(kComponent), *OauthId::Parse("a"));
  auto stored = vault_.Store().Get<storage::Credentials>(names);
  ASSERT_TRUE(stored);
  std::vector<std::uint8_t> bytes(stored->sealed.Bytes().begin(), stored->sealed.Bytes().end());
  for (std::size_t at = bytes.size() / 2; at < bytes.size(); ++at) bytes[at] ^= 1;
  std::vector<storage::Change> changes;
  changes.push_back({stored->key, {}, std::move(*crypto::SealedRow::Parse(bytes))});
  ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), fakes::SetupActBytes()));
  CredentialsWatcher watcher(channel_, {"a", "b"});
  EXPECT_EQ(watcher.Next(), "a 0 damaged");
  EXPECT_EQ(watcher.Next(), "b 1");
  CredentialsWatcher of_all(channel_);
  EXPECT_EQ(of_all.Present().count("a 1"), 0u);
  EXPECT_EQ(of_all.End().error_code(), grpc::StatusCode::DATA_LOSS) << "a mirror must not miss one";
}

TEST_F(WatchCredentialsTest, AnotherPairsChanges_AreNotTold) {
  vault_.AddProject("p2");
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Next(), "=");
  Put("a", "p2");
  Put("b");
  EXPECT_EQ(watcher.Next(), "b 1");
}

TEST_F(WatchCredentialsTest, IdsOutOfForm_AreInvalid) {
  std::vector<std::string> many;
  for (int i = 0; i < 65; ++i) many.push_back("id-" + std::to_string(i));
  for (const auto& ids : {many, {"a", "a"}, {"no id"}, {""}}) {
    CredentialsWatcher watcher(channel_, ids);
    EXPECT_EQ(watcher.Next(), "");
    EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(WatchCredentialsTest, ADeniedStream_EndsWithOneLineEach) {
  const auto stranger = vault_.Tcp(vault_.Issue("runner/stranger"));
  const std::uint64_t before = vault_.Trail().LastSequence();
  for (int i = 0; i < 20; ++i) {
    CredentialsWatcher watcher(stranger);
    EXPECT_EQ(watcher.Next(), "");
    EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  }
  EXPECT_EQ(vault_.Trail().LastSequence(), before + 20);
}

TEST_F(WatchCredentialsTest, WithoutTheGrant_TheNextEventIsNotSent) {
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Next(), "=");
  vault_.RemoveGrant("runner/r", kProject, kComponent);
  Put("a");
  EXPECT_EQ(watcher.Next(), "");
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(WatchCredentialsTest, AShreddedProject_EndsItsStreams) {
  vault_.Grant("runner/all", "*", "*", {Right::kDescribe});
  vault_.AddProject("p2");
  Put("a", "p2");
  CredentialsWatcher watcher(vault_.Tcp(vault_.Issue("runner/all")), {}, "p2");
  EXPECT_EQ(watcher.Present(), Present{"a 1"});
  v1::ShredProjectRequest request;
  request.set_id("p2");
  request.set_confirm("p2");
  v1::ShredProjectResponse response;
  ASSERT_TRUE(v1::Operations::NewStub(vault_.Unix())
                  ->ShredProject(NewContext().get(), request, &response)
                  .ok());
  while (!watcher.Next().empty()) {
  }
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(WatchCredentialsTest, TheEndOfTheVault_EndsEveryStreamWithItsReason) {
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Next(), "=");
  vault_.Changes().End();
  EXPECT_EQ(watcher.Next(), "");
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::UNAVAILABLE);
  CredentialsWatcher late(channel_);
  EXPECT_EQ(late.Next(), "");
  EXPECT_EQ(late.End().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Ask(channel_).ok());
}

TEST_F(WatchCredentialsTest, Stop_EndsOpenStreamsWithinItsPatience) {
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Next(), "=");
  vault_.TheServer().Stop(std::chrono::milliseconds(200));
  EXPECT_EQ(watcher.Next(), "");
  EXPECT_FALSE(watcher.End().ok());
  EXPECT_EQ(vault_.GetCounters().calls.under_way, 0u);
}

TEST_F(WatchCredentialsTest, ChangesWhileClientsGo_LeaveTheDaemonWhole) {
  for (int i = 0; i < 30; ++i) {
    CredentialsWatcher watcher(channel_);
    std::thread changing([&] {
      for (int put = 0; put < 5; ++put) Put("a");
    });
    if (i % 3 == 0) watcher.Next();
    watcher.context->TryCancel();
    while (!watcher.Next().empty()) {
    }
    watcher.End();
    changing.join();
  }
  EXPECT_TRUE(Ask(channel_).ok());
  vault_.TheServer().Stop(kPatience);
  EXPECT_EQ(vault_.GetCounters().calls.under_way, 0u);
}

TEST_F(WatchCredentialsTest, ManyWatchers_AreAllTold) {
  std::vector<std::unique_ptr<CredentialsWatcher>> watchers;
  for (int i = 0; i < 20; ++i) watchers.push_back(std::make_unique<CredentialsWatcher>(channel_));
  for (const auto& watcher : watchers) EXPECT_EQ(watcher->Next(), "=");
  Put("a");
  for (const auto& watcher : watchers) EXPECT_EQ(watcher->Next(), "a 1");
}

TEST(WatchCredentialsCaps, AStreamHasOneOfItsPrincipalsPlaces) {
  Vault vault({.max_calls_per_principal = 2});
  vault.Grant("runner/r", kProject, kComponent, {Right::kReveal});
  const auto channel = vault.Tcp(vault.Issue("runner/r"));
  CredentialsWatcher one(channel);
  CredentialsWatcher two(channel);
  EXPECT_EQ(one.Next(), "=");
  EXPECT_EQ(two.Next(), "=");
  CredentialsWatcher three(channel);
  EXPECT_EQ(three.Next(), "");
  EXPECT_EQ(three.End().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

class QuickBeat : public WatchCredentialsTest {
 protected:
  QuickBeat() : WatchCredentialsTest(std::chrono::milliseconds(20)) {}
};

TEST_F(QuickBeat, WithoutTheGrant_AStreamEndsThoughNothingHappensOnIt) {
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Next(), "=");
  vault_.RemoveGrant("runner/r", kProject, kComponent);
  EXPECT_EQ(watcher.Next(), "");
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(QuickBeat, ARevokedCertificate_EndsTheStream) {
  CredentialsWatcher watcher(channel_);
  EXPECT_EQ(watcher.Next(), "=");
  ASSERT_TRUE(vault_.Identities().Revoke(identity_.serial, fakes::SetupAct(), 1));
  EXPECT_EQ(watcher.Next(), "");
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

// The first beat that finds a place in the workers' queue goes on.
TEST(WatchCredentialsQueue, AChangeThatFoundTheWorkersBusy_IsToldWithALaterBeat) {
  Vault vault({.tick = std::chrono::milliseconds(20), .call_threads = 1, .call_queue = 1});
  vault.Grant("runner/r", kProject, kComponent, {Right::kReveal});
  CredentialsWatcher watcher(vault.Tcp(vault.Issue("runner/r")));
  EXPECT_EQ(watcher.Next(), "=");
  std::atomic<bool> go_on = false;
  std::atomic<bool> begun = false;
  Workers::Work busy = [&] {
    begun = true;
    begun.notify_all();
    go_on.wait(false);
  };
  ASSERT_TRUE(vault.CallWorkers().Post(busy));
  begun.wait(false);
  Workers::Work waiting = [] {};
  ASSERT_TRUE(vault.CallWorkers().Post(waiting));
  vault.PutCredentials(kProject, kComponent, "a", "{}");
  go_on = true;
  go_on.notify_all();
  EXPECT_EQ(watcher.Next(), "a 1");
}

}  // namespace
}  // namespace oauthvault::rpc
