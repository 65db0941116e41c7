#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/daemon/audit/hanging_sync.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

using Generations = std::vector<std::uint64_t>;
using storage::Position;

// Lines about commits, and where the trail says that the store stands.
class CommitsTest : public TrailFolder {
 protected:
  /// A disk that counts its syncs and fails those from the `fail_from`-th on, `failing` of them.
  FileCalls CountedCalls() {
    FileCalls calls = FileCalls::System();
    calls.fdatasync = [this, system = calls.fdatasync](int file) {
      const int sync = ++syncs_;
      if (sync < fail_from_ || sync >= fail_from_ + failing_) return system(file);
      errno = EIO;
      return -1;
    };
    return calls;
  }
  void FailNextSyncs(int count) {
    fail_from_ = syncs_ + 1;
    failing_ = count;
  }
  static std::string CodeOf(const Result<void>& result) {
    return result ? "OK" : std::string(NameOf(result.error().GetCode()));
  }
  Position PositionOfLine(std::size_t index) const {
    const nlohmann::json line = nlohmann::json::parse(Lines().at(index), nullptr, false);
    return {line.at("epoch"), line.at("generation")};
  }

  std::atomic<int> syncs_ = 0;
  std::atomic<int> fail_from_ = 0;
  std::atomic<int> failing_ = 0;
};

TEST_F(CommitsTest, SeveralCommitsShareOneSyncAndHaveALineEach) {
  const std::unique_ptr<Trail> trail = OpenTrail(CountedCalls());
  const int before = syncs_;
  ASSERT_TRUE(RecorderOf(*trail)(1, Commits(5, 300)));
  EXPECT_EQ(syncs_, before + 1);
  Generations all;
  for (std::uint64_t generation = 5; generation <= 300; ++generation) all.push_back(generation);
  EXPECT_EQ(CommitsTold(), all);
  EXPECT_EQ(trail->Head(), (Position{1, 300}));
  EXPECT_EQ(Problems(), std::vector<std::string>{});
}

TEST_F(CommitsTest, NoCommitNeedsNoLine) {
  const std::unique_ptr<Trail> trail = OpenTrail(CountedCalls());
  const int before = syncs_;
  EXPECT_TRUE(RecorderOf(*trail)(1, {}));
  EXPECT_EQ(syncs_, before);
  EXPECT_EQ(trail->Head(), Position{});
}

TEST_F(CommitsTest, ACommitWithACodeHasAFailedLine) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  std::vector<storage::Committed> commits = Commits(1, 2);
  commits[1].act.code = "expired";
  ASSERT_TRUE(RecorderOf(*trail)(0, commits));
  EXPECT_EQ(nlohmann::json::parse(Lines().at(1)).at("outcome"), "allowed");
  const auto ended = nlohmann::json::parse(Lines().at(2));
  EXPECT_EQ(ended.at("outcome"), "failed");
  EXPECT_EQ(ended.at("code"), "expired");
}

TEST_F(CommitsTest, EachLineStandsWhereTheLastCommitBeforeItDoes) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("before")));
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(1, 2)));
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("between")));
  ASSERT_TRUE(RecorderOf(*trail)(1, Commits(3, 3)));
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("behind")));
  const std::vector<Position> expected = {{0, 0}, {0, 0}, {0, 1}, {0, 2},
                                          {0, 2}, {1, 3}, {1, 3}};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(PositionOfLine(i), expected[i]) << i;
  EXPECT_EQ(trail->Head(), (Position{1, 3}));
}

TEST_F(CommitsTest, TheHeadOutlivesReopeningAlsoBehindATornLine) {
  {
    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_TRUE(RecorderOf(*trail)(4, Commits(7, 9)));
    ASSERT_TRUE(trail->RecordAndWait(RevealOf("behind")));
  }
  EXPECT_EQ(OpenTrail()->Head(), (Position{4, 9}));
  const std::string whole = Read(File());
  Write(File(), whole + whole.substr(0, 100));
  const std::unique_ptr<Trail> trail = OpenTrail();
  EXPECT_EQ(trail->Head(), (Position{4, 9}));
  const auto cut = nlohmann::json::parse(Lines().back());
  EXPECT_EQ(cut.at("act"), "cut");
  EXPECT_EQ(cut.at("epoch"), 4);
  EXPECT_EQ(cut.at("generation"), 9);
}

TEST_F(CommitsTest, ATrailWithoutLinesStandsAtTheBegin) {
  EXPECT_EQ(OpenTrail()->Head(), Position{});
  Write(File(), Read(File()).substr(0, 33));
  EXPECT_EQ(OpenTrail()->Head(), Position{});
  EXPECT_EQ(PositionOfLine(0), Position{});
  EXPECT_EQ(PositionOfLine(1), Position{});
}

TEST_F(CommitsTest, ANewFileBeginsWhereTheLostOneEnded) {
  {
    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_TRUE(RecorderOf(*trail)(4, Commits(7, 9)));
    std::filesystem::remove(File());
    EXPECT_FALSE(trail->RecordAndWait(RevealOf("refused")));
    ASSERT_TRUE(trail->RecordAndWait(RevealOf("after")));
    EXPECT_EQ(trail->Head(), (Position{4, 9}));
    EXPECT_EQ(nlohmann::json::parse(Lines().at(0)).at("object"), "file-lost");
    EXPECT_EQ(PositionOfLine(0), (Position{4, 9}));
    EXPECT_EQ(PositionOfLine(1), (Position{4, 9}));
  }
  EXPECT_EQ(OpenTrail()->Head(), (Position{4, 9}));
}

TEST_F(CommitsTest, AFailedSyncLeavesNoneOfTheLinesAndTheHeadWhereItWas) {
  const std::unique_ptr<Trail> trail = OpenTrail(CountedCalls());
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(1, 1)));
  FailNextSyncs(1);
  EXPECT_EQ(CodeOf(RecorderOf(*trail)(0, Commits(2, 9))), "UNAVAILABLE");
  EXPECT_EQ(CommitsTold(), Generations{1});
  EXPECT_EQ(trail->Head(), (Position{0, 1}));
  // A line between the two does not get ahead of what it must not get ahead of.
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("between")));
  EXPECT_EQ(trail->Head(), (Position{0, 1}));
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(2, 9)));
  EXPECT_EQ(CommitsTold(), (Generations{1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_TRUE(trail->Verify()->problems.empty());
}

TEST_F(CommitsTest, AskedAgainACommitThatHasItsLineGetsNoSecondOne) {
  const std::unique_ptr<Trail> trail = OpenTrail(CountedCalls());
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(1, 3)));
  const int before = syncs_;
  EXPECT_TRUE(RecorderOf(*trail)(0, Commits(1, 3)));
  EXPECT_EQ(syncs_, before);
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(2, 5)));
  EXPECT_EQ(CommitsTold(), (Generations{1, 2, 3, 4, 5}));
  // The same numbers in another epoch are other commits.
  ASSERT_TRUE(RecorderOf(*trail)(1, Commits(2, 3)));
  EXPECT_EQ(CommitsTold(), (Generations{1, 2, 3, 4, 5, 2, 3}));
}

TEST_F(CommitsTest, LinesThatTheDiskStillHoldsAreNotWrittenTwice) {
  HangingSync disk;
  const std::unique_ptr<Trail> trail = OpenTrail(disk.Calls());
  disk.Hang();
  auto first = std::async(std::launch::async, [&] { return RecorderOf(*trail)(0, Commits(1, 4)); });
  disk.AwaitSync();
  EXPECT_EQ(CodeOf(first.get()), "UNAVAILABLE");  // its time ran out
  EXPECT_EQ(CodeOf(RecorderOf(*trail)(0, Commits(1, 4))), "UNAVAILABLE");  // at once
  disk.Release();
  EXPECT_TRUE(OnceItAnswers([&] { return RecorderOf(*trail)(0, Commits(1, 4)); }));
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("behind")));
  EXPECT_EQ(CommitsTold(), (Generations{1, 2, 3, 4}));
  EXPECT_TRUE(trail->Verify()->problems.empty());
}

TEST_F(CommitsTest, LinesThatWaitedTooLongBehindAnotherAreWrittenWhenAskedAgain) {
  HangingSync disk;
  const std::unique_ptr<Trail> trail = OpenTrail(disk.Calls());
  disk.Hang();
  auto other = std::async(std::launch::async, [&] { return trail->RecordAndWait(RevealOf("id")); });
  disk.AwaitSync();
  EXPECT_EQ(CodeOf(RecorderOf(*trail)(0, Commits(1, 4))), "UNAVAILABLE");
  EXPECT_FALSE(other.get());
  disk.Release();
  ASSERT_TRUE(RecordOnceItAnswers(*trail, RevealOf("behind")));
  EXPECT_EQ(CommitsTold(), Generations{});
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(1, 4)));
  EXPECT_EQ(CommitsTold(), (Generations{1, 2, 3, 4}));
}

TEST_F(CommitsTest, LinesThatOneRequestShareASyncWithHaveTheirOwnSequences) {
  HangingSync disk;
  const std::unique_ptr<Trail> trail = OpenTrail(disk.Calls());
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(1, 2)));
  disk.Hang();
  std::promise<void> held;
  trail->Record(RevealOf("holds"), [&](Result<Recorded> recorded) {
    EXPECT_EQ(recorded ? recorded->Sequence() : 0, 4U);
    held.set_value();
  });
  disk.AwaitSync();
  // These wait together: a reveal, commits of which two have their lines, a reveal.
  std::promise<std::uint64_t> first;
  std::promise<std::uint64_t> last;
  const auto into = [](std::promise<std::uint64_t>& promise) {
    return [&promise](Result<Recorded> recorded) {
      promise.set_value(recorded ? recorded->Sequence() : 0);
    };
  };
  trail->Record(RevealOf("first"), into(first));
  auto commits =
      std::async(std::launch::async, [&] { return RecorderOf(*trail)(0, Commits(1, 4)); });
  trail->Record(RevealOf("last"), into(last));
  disk.Release();
  held.get_future().wait();
  EXPECT_EQ(CodeOf(commits.get()), "OK");
  for (const auto& [promise, name] : {std::pair(&first, "first"), std::pair(&last, "last")}) {
    const std::uint64_t sequence = promise->get_future().get();
    ASSERT_GE(sequence, 5U);
    EXPECT_NE(Lines().at(sequence - 1).find(name), std::string::npos) << name;
  }
  EXPECT_EQ(CommitsTold(), (Generations{1, 2, 3, 4}));
}

TEST_F(CommitsTest, AFullQueueMakesThemUnavailableAndIsNotFilledFurther) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::promise<void> holding;
  const std::unique_ptr<Trail> trail = OpenTrail();
  trail->Record(RevealOf("first"), [&](Result<Recorded>) {
    holding.set_value();
    released.wait();
  });
  holding.get_future().wait();
  for (std::size_t i = 0; i < kMaxWaitingLines - 3; ++i) {
    trail->Record(RevealOf("id"), [](Result<Recorded>) {});
  }
  // Two places are left. The code says that the commit may stand.
  EXPECT_EQ(CodeOf(RecorderOf(*trail)(0, Commits(1, 3))), "UNAVAILABLE");
  std::atomic<int> exhausted = 0;
  for (int i = 0; i < 3; ++i) {
    trail->Record(RevealOf("id"), [&](Result<Recorded> recorded) {
      if (!recorded && recorded.error().GetCode() == Code::kExhausted) ++exhausted;
    });
  }
  EXPECT_EQ(exhausted, 1);
  release.set_value();
}

TEST_F(CommitsTest, ThePlacesOfLinesWithoutACallbackOfTheirOwnAreFreedToo) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  constexpr std::uint64_t kGroup = 1000;
  for (std::uint64_t group = 0; group < 3 * kMaxWaitingLines / kGroup; ++group) {
    ASSERT_TRUE(RecorderOf(*trail)(0, Commits(group * kGroup + 1, (group + 1) * kGroup)));
  }
}

}  // namespace
}  // namespace oauthvault::audit
