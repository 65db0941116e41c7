#include "storage/tables/ledger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "tests/storage/full_rows.h"
#include "tests/storage/kept_store.h"

namespace oauthvault::storage {
namespace {

// Where the writer waits until it is let through.
class Gate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    is_reached_ = true;
    moved_.notify_all();
    moved_.wait(lock, [&] { return is_open_; });
  }
  void AwaitOne() {
    std::unique_lock lock(mutex_);
    moved_.wait(lock, [&] { return is_reached_; });
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    moved_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  bool is_reached_ = false;
  bool is_open_ = false;
};

class LedgerTest : public testing::Test {
 protected:
  void SetUp() override {
    Project project = FullProject();
    project.shredding_at_s = 0;
    ASSERT_TRUE(kept_.Keys().EnsureKek(crypto::Owner::Project(project.id.Str())).has_value());
    ASSERT_TRUE(kept_.Put(project).has_value());
  }

  static Grant GrantNamed(const std::string& project, const std::string& principal) {
    Grant row = FullGrant();
    row.project = project;
    row.principal = principal;
    return row;
  }

  Anchor AnchorNow() {
    Result<Anchor> anchor = kept_.Rows().GetAnchor();
    EXPECT_TRUE(anchor.has_value());
    return anchor ? *anchor : Anchor{};
  }

  // How many rows the summary of the row's table and project counts; nullopt: there is none.
  template <Row R>
  std::optional<std::uint64_t> Counted(const R& row) {
    const crypto::RowKey key = kept_.KeyOf(row);
    const std::string prefix(key.bytes.begin(), key.bytes.begin() + kSummaryPrefixSize);
    const auto summary = kept_.Rows().Find<Summary>(Summary::Names(prefix));
    EXPECT_TRUE(summary.has_value());
    if (!summary || !*summary) return std::nullopt;
    return (*summary)->row.rows.rows;
  }

  void ExpectWhole() {
    kept_.Close();
    const CheckReport report = kept_.Check();
    EXPECT_EQ(report.verdict, Verdict::kWhole)
        << (report.problems.empty() ? "" : report.problems[0].what);
    kept_.Open();
  }

  KeptStore kept_;
};

TEST_F(LedgerTest, Commit_CarriesWhereItStandsAndWhy) {
  const Act act{.act = "Registry.AddGrant",
                .principal = "local/admin",
                .right = "register",
                .project = "p",
                .component = "c",
                .oauth_id = "o",
                .object = "x",
                .version = 7,
                .peer = "unix:",
                .request_id = "r",
                .code = "why"};
  Batch batch(act);
  batch.Insert(FullGrant());
  ASSERT_EQ(*kept_.Rows().Commit(std::move(batch)), 2u);
  const Anchor anchor = AnchorNow();
  EXPECT_EQ(anchor.position, (Position{0, 2}));
  EXPECT_EQ(anchor.previous, (Position{0, 1}));
  EXPECT_EQ(anchor.all.rows, 2u);
  const auto commits = CommitsOf(anchor);
  ASSERT_TRUE(commits.has_value());
  ASSERT_EQ(commits->size(), 1u);
  EXPECT_EQ(commits->front().generation, 2u);
  EXPECT_EQ(commits->front().act, act);
  ASSERT_EQ(kept_.Recorded().size(), 2u);
  EXPECT_EQ(kept_.Recorded().back().first, 0u);
  EXPECT_EQ(kept_.Recorded().back().second.generation, 2u);
  EXPECT_EQ(kept_.Recorded().back().second.act, act);
  ExpectWhole();
}

TEST_F(LedgerTest, Group_CarriesTheActsOfAllItsBatches) {
  kept_.Close();
  kept_.Settings().write_queue = 5;
  kept_.Open();
  Gate gate;
  kept_.BeforeRecord([&] { gate.Pass(); });
  std::vector<std::jthread> writers;
  writers.emplace_back([&] { EXPECT_TRUE(kept_.Put(GrantNamed("p", "first")).has_value()); });
  gate.AwaitOne();
  // The writer is busy: what follows waits, and becomes one group.
  std::atomic<int> refused = 0;
  for (int i = 0; i < 6; ++i) {
    writers.emplace_back([&, i] {
      for (;;) {
        Batch batch(Act{.act = "act." + std::to_string(i)});
        batch.Insert(GrantNamed("p", "runner-" + std::to_string(i)));
        const auto answer = kept_.Rows().Commit(std::move(batch));
        if (answer) return;
        EXPECT_EQ(answer.error().GetCode(), Code::kExhausted);
        ++refused;
        std::this_thread::yield();
      }
    });
  }
  while (refused == 0) std::this_thread::yield();
  gate.Open();
  writers.clear();
  // The group of five, and the one that found no room.
  EXPECT_EQ(kept_.GetEngine().Generation(), 8u);
  ASSERT_EQ(kept_.Recorded().size(), 8u);
  for (std::uint64_t i = 0; i < 8; ++i) {
    EXPECT_EQ(kept_.Recorded()[i].second.generation, i + 1);
  }
  EXPECT_EQ(kept_.RecordCalls(), 4u);
  EXPECT_EQ(AnchorNow().position, (Position{0, 8}));
  EXPECT_EQ(AnchorNow().previous, (Position{0, 7}));
  EXPECT_EQ(Counted(GrantNamed("p", "x")), 7u);
  ExpectWhole();
}

TEST_F(LedgerTest, Record_ThatFailsIsMadeUpForBeforeTheNextCommit) {
  kept_.FailRecords(Error(Code::kUnavailable, "the test's trail is away"));
  const auto failed = kept_.Put(GrantNamed("p", "one"));
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().GetText(), "the test's trail is away");
  // It stands, and was not acknowledged.
  EXPECT_TRUE(kept_.Rows().Get<Grant>(GrantNamed("p", "one").Names()).has_value());
  EXPECT_EQ(AnchorNow().position, (Position{0, 2}));
  EXPECT_EQ(kept_.GetEngine().Generation(), 1u);
  // Never two ahead.
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(kept_.Put(GrantNamed("p", "two")).has_value());
  EXPECT_EQ(AnchorNow().position, (Position{0, 2}));
  EXPECT_EQ(kept_.Recorded().size(), 1u);

  kept_.FailRecords(std::nullopt);
  EXPECT_EQ(*kept_.Put(GrantNamed("p", "two")), 3u);
  ASSERT_EQ(kept_.Recorded().size(), 3u);
  EXPECT_EQ(kept_.Recorded()[1].second.generation, 2u);
  EXPECT_EQ(kept_.Recorded()[2].second.generation, 3u);
  EXPECT_EQ(kept_.GetEngine().Generation(), 3u);
  ExpectWhole();
}

TEST_F(LedgerTest, Record_ThatFailsIsAskedOnceForAllWhoWait) {
  kept_.Close();
  kept_.Settings().write_queue = 19;
  kept_.Open();
  kept_.FailRecords(Error(Code::kUnavailable, "the test's trail stays away"));
  ASSERT_FALSE(kept_.Put(GrantNamed("p", "one")).has_value());
  std::atomic<int> unavailable = 0;
  std::atomic<int> refused = 0;
  const auto commit = [&](int name) {
    Batch batch(Act{.act = "act"});
    batch.Insert(GrantNamed("p", "waiting-" + std::to_string(name)));
    const auto answer = kept_.Rows().Commit(std::move(batch));
    ASSERT_FALSE(answer.has_value());
    ++(answer.error().GetCode() == Code::kExhausted ? refused : unavailable);
  };
  const std::uint64_t before = kept_.RecordCalls();
  Gate gate;
  kept_.BeforeRecord([&] { gate.Pass(); });
  std::vector<std::jthread> writers;
  writers.emplace_back([&] { commit(0); });
  gate.AwaitOne();
  for (int i = 1; i <= 20; ++i) writers.emplace_back([&, i] { commit(i); });
  while (refused == 0) std::this_thread::yield();
  gate.Open();
  writers.clear();
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(unavailable, 20);
  EXPECT_EQ(kept_.RecordCalls() - before, 2u);
  EXPECT_EQ(AnchorNow().position, (Position{0, 2}));
}

TEST_F(LedgerTest, Restart_BeginsANewEpochBehindWhatTheRecordEndsWith) {
  kept_.Close();
  kept_.Open(Ledger::Restart{.epoch = 5, .previous = {2, 77}});
  // What comes to nothing does not use it up.
  Batch stale(Act{.act = "test"});
  stale.Replace(GrantNamed("p", "nobody"), 9);
  ASSERT_FALSE(kept_.Rows().Commit(std::move(stale)).has_value());
  ASSERT_EQ(*kept_.Put(GrantNamed("p", "one")), 2u);
  EXPECT_EQ(AnchorNow().position, (Position{5, 2}));
  EXPECT_EQ(AnchorNow().previous, (Position{2, 77}));
  ASSERT_EQ(*kept_.Put(GrantNamed("p", "two")), 3u);
  EXPECT_EQ(AnchorNow().position, (Position{5, 3}));
  EXPECT_EQ(AnchorNow().previous, (Position{5, 2}));
  EXPECT_EQ(kept_.Recorded()[1].first, 5u);
  EXPECT_EQ(kept_.Recorded()[2].first, 5u);
  // The next start goes on in it.
  kept_.Close();
  kept_.Open();
  ASSERT_EQ(*kept_.Put(GrantNamed("p", "three")), 4u);
  EXPECT_EQ(AnchorNow().position, (Position{5, 4}));
  EXPECT_EQ(kept_.Recorded()[3].first, 5u);
  ExpectWhole();
}

TEST_F(LedgerTest, Restart_WhoseRecordFailsKeepsItsEpoch) {
  kept_.Close();
  kept_.Open(Ledger::Restart{.epoch = 5, .previous = {2, 77}});
  kept_.FailRecords(Error(Code::kUnavailable, "the test's trail is not there yet"));
  ASSERT_FALSE(kept_.Put(GrantNamed("p", "one")).has_value());
  kept_.FailRecords(std::nullopt);
  ASSERT_EQ(*kept_.Put(GrantNamed("p", "two")), 3u);
  EXPECT_EQ(AnchorNow().previous, (Position{5, 2}));
  ASSERT_EQ(kept_.Recorded().size(), 3u);
  EXPECT_EQ(kept_.Recorded()[1].first, 5u);
  EXPECT_EQ(kept_.Recorded()[1].second.generation, 2u);
}

TEST_F(LedgerTest, Summaries_AppearFollowAndVanish) {
  const Grant one = GrantNamed("p", "one");
  const Grant two = GrantNamed("p", "two");
  const Grant elsewhere = GrantNamed("q", "one");
  EXPECT_EQ(Counted(one), std::nullopt);
  ASSERT_TRUE(kept_.Put(one).has_value());
  EXPECT_EQ(Counted(one), 1u);
  ASSERT_TRUE(kept_.Put(two).has_value());
  ASSERT_TRUE(kept_.Put(elsewhere).has_value());
  EXPECT_EQ(Counted(one), 2u);
  EXPECT_EQ(Counted(elsewhere), 1u);
  ASSERT_TRUE(kept_.Put(two).has_value());
  EXPECT_EQ(Counted(one), 2u);
  ExpectWhole();
  ASSERT_TRUE(kept_.Remove(two).has_value());
  EXPECT_EQ(Counted(one), 1u);
  ASSERT_TRUE(kept_.Remove(one).has_value());
  EXPECT_EQ(Counted(one), std::nullopt);
  EXPECT_EQ(Counted(elsewhere), 1u);
  ExpectWhole();
  ASSERT_TRUE(kept_.Put(one).has_value());
  EXPECT_EQ(Counted(one), 1u);
  ExpectWhole();
}

TEST_F(LedgerTest, Anything_ThatManyWritersDoLeavesTheStoreWhole) {
  constexpr int kWriters = 4;
  {
    std::vector<std::jthread> writers;
    for (int w = 0; w < kWriters; ++w) {
      writers.emplace_back([&, w] {
        std::minstd_rand random(static_cast<unsigned>(w + 1));
        for (int i = 0; i < 60; ++i) {
          // The writers share rows: an insert, a replacement or a removal may come too late.
          Batch batch(Act{.act = "test.random"});
          for (int change = 0; change < 3; ++change) {
            const Grant row =
                GrantNamed("p" + std::to_string(random() % 2),
                           "runner-" + std::to_string(3 * (random() % 5) + change));
            const auto found = kept_.Rows().Find<Grant>(row.Names());
            ASSERT_TRUE(found.has_value());
            if (!*found) {
              batch.Insert(row);
            } else if (random() % 2 == 0) {
              batch.Replace(row, (*found)->version);
            } else {
              batch.Remove(row, (*found)->version);
            }
          }
          const auto answer = kept_.Rows().Commit(std::move(batch));
          EXPECT_TRUE(answer || answer.error().GetCode() == Code::kConflict);
        }
      });
    }
  }
  EXPECT_GT(kept_.GetEngine().Generation(), 30u);
  ExpectWhole();
}

TEST_F(LedgerTest, Act_ThatNobodyCanReadRefusesItsBatchOnly) {
  const crypto::RowKey key = kept_.KeyOf(GrantNamed("p", "one"));
  const auto sealed = kept_.Keys().Seal(crypto::Owner::Vault(), key, 1,
                                        {crypto::SecretBytes(20), std::nullopt, std::nullopt});
  const auto answer = kept_.GetEngine().Commit({Change{key, {}, *sealed}}, "no list of fields");
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(AnchorNow().position, (Position{0, 1}));
  EXPECT_EQ(*kept_.Put(GrantNamed("p", "one")), 2u);
  EXPECT_EQ(kept_.Recorded().size(), 2u);
}

TEST_F(LedgerTest, Anchor_OfAnotherCommitRefusesWriting) {
  kept_.Close();
  const RawFile raw(kept_.Folder());
  const std::string old_anchor = raw.Get(kept_.AnchorKey());
  kept_.Open();
  ASSERT_TRUE(kept_.Put(GrantNamed("p", "one")).has_value());
  kept_.Close();
  raw.Put(kept_.AnchorKey(), old_anchor);
  kept_.Open();
  EXPECT_EQ(kept_.Put(GrantNamed("p", "two")).error().GetCode(), Code::kCorrupt);
  kept_.Close();
  raw.Put(kept_.AnchorKey(), std::nullopt);
  kept_.Open();
  EXPECT_EQ(kept_.Put(GrantNamed("p", "two")).error().GetCode(), Code::kCorrupt);
}

TEST(Commits, Of_AnAnchorWithAnImpossibleNumberOfActsAreCorrupt) {
  const std::vector<std::uint8_t> bytes = EncodeAct(Act{.act = "test"});
  const std::string act(bytes.begin(), bytes.end());
  EXPECT_FALSE(CommitsOf(Anchor{.position = {0, 3}, .acts = {}}).has_value());
  EXPECT_FALSE(CommitsOf(Anchor{.position = {0, 1}, .acts = {act, act}}).has_value());
  EXPECT_FALSE(CommitsOf(Anchor{.position = {0, 3}, .acts = {act, "x"}}).has_value());
  const auto commits = CommitsOf(Anchor{.position = {0, 3}, .acts = {act, act}});
  ASSERT_TRUE(commits.has_value());
  EXPECT_EQ(commits->at(0).generation, 2u);
  EXPECT_EQ(commits->at(1).generation, 3u);
}

}  // namespace
}  // namespace oauthvault::storage
