// Attempts.Watch: what a stream says, in which order, and all the ways in which it ends.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <thread>

#include "tests/daemon/acts.h"
#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

using access::Right;

// A watcher of an attempt on kProject and kComponent.
struct Watcher {
  Watcher(const std::shared_ptr<grpc::Channel>& channel, const std::string& id)
      : stub(v1::Attempts::NewStub(channel)), context(NewContext()) {
    v1::WatchAttemptRequest request;
    request.set_project(kProject);
    request.set_component(kComponent);
    request.set_id(id);
    reader = stub->Watch(context.get(), request);
  }
  // The next state, or nullopt at the end.
  std::optional<v1::AttemptState> Next() {
    v1::Attempt attempt;
    if (!reader->Read(&attempt)) return std::nullopt;
    return attempt.state();
  }
  grpc::Status End() { return reader->Finish(); }

  std::unique_ptr<v1::Attempts::Stub> stub;
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientReader<v1::Attempt>> reader;
};

class WatchTest : public testing::Test {
 protected:
  explicit WatchTest(std::chrono::milliseconds tick = std::chrono::seconds(10))
      : vault_({.tick = tick}) {
    vault_.Grant("runner/r", kProject, kComponent, {Right::kDescribe});
    vault_.Grant("local/admin", kProject, kComponent, {Right::kStore});
    identity_ = vault_.Issue("runner/r");
    channel_ = vault_.Tcp(identity_);
    id_ = vault_.StartAttempt(kProject, kComponent);
  }

  // Once, between the stream's first read and its use of what was read.
  void OnFirstRead(std::function<void()> act) {
    vault_.Engine().after_read = [act = std::move(act),
                                  once = std::make_shared<std::atomic_flag>()] {
      if (!once->test_and_set()) act();
    };
  }

  Vault vault_;
  ClientIdentity identity_;
  std::shared_ptr<grpc::Channel> channel_;
  std::string id_;
};

TEST_F(WatchTest, BeginsWithThePresentStateAndEndsWithAFinalOne) {
  Watcher watcher(channel_, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_NEW);
  vault_.CancelAttempt(kProject, kComponent, id_);
  v1::Attempt last;
  ASSERT_TRUE(watcher.reader->Read(&last));
  EXPECT_EQ(last.state(), v1::ATTEMPT_STATE_FAILED);
  EXPECT_EQ(last.failure(), "cancelled");
  EXPECT_TRUE(last.final());
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_TRUE(watcher.End().ok());
}

TEST_F(WatchTest, AnEndedAttempt_IsSaidOnce) {
  vault_.CancelAttempt(kProject, kComponent, id_);
  Watcher watcher(channel_, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_FAILED);
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_TRUE(watcher.End().ok());
}

TEST_F(WatchTest, AnUnknownAttempt_IsNotFound) {
  Watcher watcher(channel_, "absent");
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(WatchTest, TellsEveryChangeInItsOrder) {
  Watcher watcher(channel_, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_NEW);
  ASSERT_TRUE(vault_.Attempts().Start());
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_STARTED);
  vault_.Consent(kProject, kComponent, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_STORED);
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_TRUE(watcher.End().ok());
}

TEST_F(WatchTest, AChangeDuringTheFirstRead_IsNotFollowedByWhatWasReadBefore) {
  OnFirstRead([this] {
    std::atomic<bool> started = false;
    // Called after the stream, which subscribed before.
    const auto watch =
        vault_.Attempts().Subscribe(*AttemptId::Parse(id_), [&](const storage::Attempt& row) {
          if (row.state != storage::AttemptState::kStarted) return;
          started = true;
          started.notify_all();
        });
    EXPECT_TRUE(vault_.Attempts().Start());
    started.wait(false);
  });
  Watcher watcher(channel_, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_STARTED);
  vault_.Consent(kProject, kComponent, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_STORED);
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_TRUE(watcher.End().ok());
}

TEST_F(WatchTest, AnotherPairsAttempt_IsNotSeenEvenWhenItChangesJustThen) {
  vault_.AddProject("p2");
  const std::string foreign = vault_.StartAttempt("p2", kComponent);
  OnFirstRead([&] { vault_.CancelAttempt("p2", kComponent, foreign); });
  Watcher watcher(channel_, foreign);
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(WatchTest, SeveralWatchers_AllSeeTheEnd) {
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (int i = 0; i < 20; ++i) watchers.push_back(std::make_unique<Watcher>(channel_, id_));
  for (const auto& watcher : watchers) EXPECT_EQ(watcher->Next(), v1::ATTEMPT_STATE_NEW);
  vault_.CancelAttempt(kProject, kComponent, id_);
  for (const auto& watcher : watchers) {
    EXPECT_EQ(watcher->Next(), v1::ATTEMPT_STATE_FAILED);
    EXPECT_EQ(watcher->Next(), std::nullopt);
    EXPECT_TRUE(watcher->End().ok());
  }
}

TEST_F(WatchTest, ACancelledStream_EndsAndTheAttemptGoesOn) {
  for (int i = 0; i < 20; ++i) {
    Watcher watcher(channel_, id_);
    if (i % 2 == 0) {
      EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_NEW);
    }
    watcher.context->TryCancel();
    while (watcher.Next()) {
    }
    EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::CANCELLED);
  }
  vault_.CancelAttempt(kProject, kComponent, id_);
  EXPECT_TRUE(Ask(channel_).ok());
}

TEST_F(WatchTest, ChangesWhileClientsGo_LeaveTheDaemonWhole) {
  for (int i = 0; i < 20; ++i) {
    const std::string id = vault_.StartAttempt(kProject, kComponent);
    Watcher watcher(channel_, id);
    std::thread changing([&] { vault_.CancelAttempt(kProject, kComponent, id); });
    watcher.context->TryCancel();
    while (watcher.Next()) {
    }
    watcher.End();
    changing.join();
  }
  EXPECT_TRUE(Ask(channel_).ok());
}

TEST_F(WatchTest, ADeniedStream_EndsWithOneLineEach) {
  const auto stranger = vault_.Tcp(vault_.Issue("runner/stranger"));
  const std::uint64_t before = vault_.Trail().LastSequence();
  for (int i = 0; i < 50; ++i) {
    Watcher watcher(stranger, id_);
    EXPECT_EQ(watcher.Next(), std::nullopt);
    EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  }
  EXPECT_EQ(vault_.Trail().LastSequence(), before + 50);
}

// The trail's thread comes back to a stream with its denial: it must still be there.
TEST_F(WatchTest, ADeniedStreamWhoseClientHasGone_LeavesTheDaemonWhole) {
  const auto stranger = vault_.Tcp(vault_.Issue("runner/none"));
  ASSERT_TRUE(Ask(stranger).ok());
  std::latch go_on(1);
  vault_.before_write = [&go_on] { go_on.wait(); };
  {
    std::vector<std::unique_ptr<Watcher>> gone;
    for (int i = 0; i < 50; ++i) gone.push_back(std::make_unique<Watcher>(stranger, id_));
    ASSERT_TRUE(Ask(stranger).ok()) << "they have come in";
    for (const auto& watcher : gone) watcher->context->TryCancel();
    for (const auto& watcher : gone) {
      EXPECT_EQ(watcher->Next(), std::nullopt);
      EXPECT_EQ(watcher->End().error_code(), grpc::StatusCode::CANCELLED);
    }
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(Ask(stranger).ok()) << "the daemon knows";
  }
  go_on.count_down();
  vault_.TheServer().Stop(kPatience);
  EXPECT_EQ(vault_.GetCounters().calls.under_way, 0u);
}

TEST_F(WatchTest, WithoutTheGrant_TheNextMessageIsNotSent) {
  Watcher watcher(channel_, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_NEW);
  vault_.RemoveGrant("runner/r", kProject, kComponent);
  vault_.CancelAttempt(kProject, kComponent, id_);
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(WatchTest, Stop_EndsOpenStreamsWithinItsPatience) {
  Watcher watcher(channel_, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_NEW);
  const auto begin = std::chrono::steady_clock::now();
  vault_.TheServer().Stop(std::chrono::milliseconds(500));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kPatience);
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_FALSE(watcher.End().ok());
}

class QuickTick : public WatchTest {
 protected:
  QuickTick() : WatchTest(std::chrono::milliseconds(20)) {}
};

TEST_F(QuickTick, WithoutTheGrant_AStreamEndsThoughNothingHappensOnIt) {
  Watcher watcher(channel_, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_NEW);
  vault_.RemoveGrant("runner/r", kProject, kComponent);
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(QuickTick, ARevokedCertificate_EndsTheStream) {
  Watcher watcher(channel_, id_);
  EXPECT_EQ(watcher.Next(), v1::ATTEMPT_STATE_NEW);
  ASSERT_TRUE(vault_.Identities().Revoke(identity_.serial, fakes::SetupAct(), 1));
  EXPECT_EQ(watcher.Next(), std::nullopt);
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(QuickTick, AClientThatIsGone_LeavesTheDaemonWhole) {
  for (int i = 0; i < 10; ++i) {
    auto channel = vault_.Tcp(identity_);
    auto watcher = std::make_unique<Watcher>(channel, id_);
    EXPECT_EQ(watcher->Next(), v1::ATTEMPT_STATE_NEW);
    watcher->context->TryCancel();
    watcher.reset();
    channel.reset();
  }
  vault_.CancelAttempt(kProject, kComponent, id_);
  EXPECT_TRUE(Ask(channel_).ok());
}

}  // namespace
}  // namespace oauthvault::rpc
