// What every engine promises in storage/engine.h, run against each of them.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <thread>

#include "storage/engine.h"
#include "storage/lmdb/lmdb_engine.h"
#include "tests/storage/memory_engine.h"
#include "tests/storage/sealed_rows.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::storage {
namespace {

struct Kind {
  std::string name;
  std::function<std::unique_ptr<Engine>(const std::filesystem::path& folder)> make;

  // Without it a test's name would show the bytes of this object.
  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

std::unique_ptr<Engine> MakeLmdb(const std::filesystem::path& folder) {
  LmdbSettings settings;
  settings.folder = folder;
  settings.map_size_bytes = 16 << 20;
  if (!CreateLmdbStore(settings, kTestVault)) return nullptr;
  Result<std::unique_ptr<Engine>> engine = OpenLmdbStore(settings, kTestVault);
  return engine ? std::move(*engine) : nullptr;
}

std::unique_ptr<Engine> MakeMemory(const std::filesystem::path&) {
  return std::make_unique<fakes::MemoryEngine>(16 << 20);
}

class EngineContract : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    engine_ = GetParam().make(folder_.Path());
    ASSERT_NE(engine_, nullptr);
  }

  static Change Put(const crypto::RowKey& key, std::uint64_t version, Expect expect = {}) {
    return {key, expect, SealedRowOf(key, version)};
  }
  static Change Remove(const crypto::RowKey& key, Expect expect = {}) {
    return {key, expect, std::nullopt};
  }

  Result<std::uint64_t> Commit(Change change) {
    std::vector<Change> changes;
    changes.push_back(std::move(change));
    return engine_->Commit(std::move(changes));
  }
  Result<std::uint64_t> Commit(Change one, Change two) {
    std::vector<Change> changes;
    changes.push_back(std::move(one));
    changes.push_back(std::move(two));
    return engine_->Commit(std::move(changes));
  }

  // The version of the row, 0 when it is absent.
  std::uint64_t VersionOf(const crypto::RowKey& key) const {
    const auto rows = engine_->Read(std::span(&key, 1));
    if (!rows || !rows->front()) return 0;
    return rows->front()->RecordVersion();
  }

  std::vector<crypto::RowKey> KeysOf(std::span<const std::uint8_t> prefix,
                                     const std::optional<crypto::RowKey>& after = {},
                                     std::size_t limit = kMaxScanRows) const {
    const auto rows = engine_->Scan(prefix, after, limit);
    EXPECT_TRUE(rows.has_value());
    std::vector<crypto::RowKey> keys;
    if (rows) {
      for (const KeyedRow& row : *rows) keys.push_back(row.key);
    }
    return keys;
  }

  static Code CodeOf(const Result<std::uint64_t>& result) {
    EXPECT_FALSE(result.has_value());
    return result ? Code::kNotFound : result.error().GetCode();
  }

  const TemporaryFolder folder_;
  std::unique_ptr<Engine> engine_;
  const crypto::RowKey a_ = KeyOf(1, 1, 1, 1);
  const crypto::RowKey b_ = KeyOf(1, 1, 1, 2);
};

TEST_P(EngineContract, New_IsEmptyAtGenerationZero) {
  EXPECT_EQ(engine_->Generation(), 0u);
  EXPECT_TRUE(KeysOf({}).empty());
  EXPECT_EQ(VersionOf(a_), 0u);
  const Result<Fill> fill = engine_->GetFill();
  ASSERT_TRUE(fill.has_value());
  EXPECT_EQ(fill->rows, 0u);
  EXPECT_EQ(fill->capacity_bytes, 16u << 20);
}

TEST_P(EngineContract, Commit_KeepsTheBytes) {
  const crypto::SealedRow row = SealedRowOf(a_, 3, 5000);
  ASSERT_TRUE(Commit(Change{a_, {}, row}).has_value());
  const auto rows = engine_->Read(std::span(&a_, 1));
  ASSERT_TRUE(rows.has_value());
  ASSERT_TRUE(rows->front().has_value());
  EXPECT_TRUE(std::ranges::equal(rows->front()->Bytes(), row.Bytes()));
}

TEST_P(EngineContract, Read_AnswersInTheOrderOfTheKeysAndMarksTheAbsent) {
  ASSERT_TRUE(Commit(Put(a_, 1), Put(b_, 2)).has_value());
  const std::vector<crypto::RowKey> keys = {b_, KeyOf(1, 1, 1, 3), a_, b_};
  const auto rows = engine_->Read(keys);
  ASSERT_TRUE(rows.has_value());
  ASSERT_EQ(rows->size(), 4u);
  EXPECT_EQ((*rows)[0]->RecordVersion(), 2u);
  EXPECT_FALSE((*rows)[1].has_value());
  EXPECT_EQ((*rows)[2]->RecordVersion(), 1u);
  EXPECT_EQ((*rows)[3]->RecordVersion(), 2u);
}

TEST_P(EngineContract, Generation_RisesByOneWithEachCommitOnly) {
  EXPECT_EQ(*Commit(Put(a_, 1), Put(b_, 1)), 1u);
  EXPECT_EQ(*Commit(Put(a_, 2)), 2u);
  EXPECT_FALSE(Commit(Put(a_, 1, Expect::Absent())).has_value());
  EXPECT_EQ(engine_->Generation(), 2u);
  EXPECT_EQ(*Commit(Remove(a_)), 3u);
  EXPECT_EQ(engine_->Generation(), 3u);
}

TEST_P(EngineContract, Absent_HoldsForAbsentRowsOnly) {
  EXPECT_TRUE(Commit(Put(a_, 1, Expect::Absent())).has_value());
  EXPECT_EQ(CodeOf(Commit(Put(a_, 9, Expect::Absent()))), Code::kConflict);
  EXPECT_EQ(VersionOf(a_), 1u);
}

TEST_P(EngineContract, Version_HoldsForThatVersionOnly) {
  EXPECT_EQ(CodeOf(Commit(Put(a_, 2, Expect::Version(1)))), Code::kConflict);
  ASSERT_TRUE(Commit(Put(a_, 1)).has_value());
  EXPECT_EQ(CodeOf(Commit(Put(a_, 3, Expect::Version(2)))), Code::kConflict);
  EXPECT_TRUE(Commit(Put(a_, 2, Expect::Version(1))).has_value());
  EXPECT_EQ(CodeOf(Commit(Put(a_, 2, Expect::Version(1)))), Code::kConflict);
  EXPECT_EQ(VersionOf(a_), 2u);
}

TEST_P(EngineContract, Remove_TakesTheRowAwayWhenItsExpectationHolds) {
  ASSERT_TRUE(Commit(Put(a_, 1), Put(b_, 1)).has_value());
  EXPECT_EQ(CodeOf(Commit(Remove(a_, Expect::Version(2)))), Code::kConflict);
  EXPECT_EQ(VersionOf(a_), 1u);
  EXPECT_TRUE(Commit(Remove(a_, Expect::Version(1))).has_value());
  EXPECT_EQ(VersionOf(a_), 0u);
  EXPECT_EQ(VersionOf(b_), 1u);
  EXPECT_EQ(CodeOf(Commit(Remove(a_, Expect::Version(1)))), Code::kConflict);
  EXPECT_TRUE(Commit(Remove(a_)).has_value());
  EXPECT_EQ(engine_->GetFill()->rows, 1u);
}

TEST_P(EngineContract, Commit_MakesNothingWhenOneExpectationFails) {
  ASSERT_TRUE(Commit(Put(b_, 1)).has_value());
  EXPECT_EQ(CodeOf(Commit(Put(a_, 1, Expect::Absent()), Put(b_, 2, Expect::Version(7)))),
            Code::kConflict);
  EXPECT_EQ(CodeOf(Commit(Put(b_, 2, Expect::Version(7)), Remove(a_))), Code::kConflict);
  EXPECT_EQ(VersionOf(a_), 0u);
  EXPECT_EQ(VersionOf(b_), 1u);
}

TEST_P(EngineContract, Commit_RefusesWhatIsNoBatch) {
  EXPECT_EQ(CodeOf(engine_->Commit({})), Code::kInvalid);
  EXPECT_EQ(CodeOf(Commit(Put(a_, 1), Put(a_, 2))), Code::kInvalid);
  std::vector<Change> many;
  for (std::size_t i = 0; i <= kMaxBatchChanges; ++i) many.push_back(Remove(KeyOf(1, 1, 1, i)));
  EXPECT_EQ(CodeOf(engine_->Commit(std::move(many))), Code::kInvalid);
  EXPECT_EQ(engine_->Generation(), 0u);
}

TEST_P(EngineContract, Commit_TakesTheLargestBatch) {
  std::vector<Change> many;
  for (std::size_t i = 0; i < kMaxBatchChanges; ++i) many.push_back(Put(KeyOf(1, 1, 1, i), 1));
  EXPECT_EQ(*engine_->Commit(std::move(many)), 1u);
  EXPECT_EQ(KeysOf({}).size(), kMaxBatchChanges);
  EXPECT_EQ(engine_->GetFill()->rows, kMaxBatchChanges);
}

TEST_P(EngineContract, Scan_AnswersThePrefixInOrder) {
  const std::vector<crypto::RowKey> keys = {KeyOf(1, 1, 1, 1), KeyOf(1, 1, 2, 1),
                                            KeyOf(1, 2, 1, 1), KeyOf(2, 1, 1, 1)};
  // Put from behind, so that the order is not that of the writing.
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    ASSERT_TRUE(Commit(Put(*key, 1)).has_value());
  }
  const auto prefix = [&](std::size_t of, std::size_t size) {
    return KeysOf(std::span(keys[of].bytes).first(size));
  };
  EXPECT_EQ(KeysOf({}), keys);
  EXPECT_EQ(prefix(0, 1), (std::vector{keys[0], keys[1], keys[2]}));
  EXPECT_EQ(prefix(0, 17), (std::vector{keys[0], keys[1]}));
  EXPECT_EQ(prefix(1, 25), (std::vector{keys[1]}));
  EXPECT_EQ(prefix(2, 41), (std::vector{keys[2]}));
  EXPECT_EQ(prefix(3, 1), (std::vector{keys[3]}));
  EXPECT_TRUE(KeysOf(KeyOf(3, 0, 0, 0).bytes).empty());
}

TEST_P(EngineContract, Scan_FindsTheFirstAndTheLastPossibleKeys) {
  crypto::RowKey last;
  last.bytes.fill(0xff);
  const crypto::RowKey first{};
  ASSERT_TRUE(Commit(Put(first, 1), Put(last, 1)).has_value());
  EXPECT_EQ(KeysOf({}), (std::vector{first, last}));
  EXPECT_EQ(KeysOf(std::span(first.bytes).first(1)), std::vector{first});
  EXPECT_EQ(KeysOf(std::span(last.bytes).first(1)), std::vector{last});
}

TEST_P(EngineContract, Scan_GoesOnBehindAKeyThatNeedNotExist) {
  for (const std::uint64_t name : {1, 3, 5, 7}) {
    ASSERT_TRUE(Commit(Put(KeyOf(1, 1, 1, name), 1)).has_value());
  }
  const std::vector<std::uint8_t> table = {1};
  EXPECT_EQ(KeysOf(table, KeyOf(1, 1, 1, 3)),
            (std::vector{KeyOf(1, 1, 1, 5), KeyOf(1, 1, 1, 7)}));
  EXPECT_EQ(KeysOf(table, KeyOf(1, 1, 1, 4)),
            (std::vector{KeyOf(1, 1, 1, 5), KeyOf(1, 1, 1, 7)}));
  EXPECT_TRUE(KeysOf(table, KeyOf(1, 1, 1, 7)).empty());
  // Before the prefix, and behind it.
  EXPECT_EQ(KeysOf(table, KeyOf(0, 9, 9, 9)).size(), 4u);
  EXPECT_TRUE(KeysOf(table, KeyOf(2, 0, 0, 0)).empty());
}

TEST_P(EngineContract, Scan_StopsAtTheLimit) {
  for (const std::uint64_t name : {1, 2, 3}) {
    ASSERT_TRUE(Commit(Put(KeyOf(1, 1, 1, name), 1)).has_value());
  }
  EXPECT_EQ(KeysOf({}, {}, 2), (std::vector{KeyOf(1, 1, 1, 1), KeyOf(1, 1, 1, 2)}));
  EXPECT_EQ(KeysOf({}, {}, 3).size(), 3u);
}

TEST_P(EngineContract, Scan_RefusesLimitsAndPrefixesOutOfRange) {
  const std::vector<std::uint8_t> long_prefix(crypto::kRowKeySize + 1, 1);
  for (const std::size_t limit : {std::size_t{0}, kMaxScanRows + 1}) {
    const auto rows = engine_->Scan({}, {}, limit);
    ASSERT_FALSE(rows.has_value());
    EXPECT_EQ(rows.error().GetCode(), Code::kInvalid);
  }
  const auto rows = engine_->Scan(long_prefix, {}, 1);
  ASSERT_FALSE(rows.has_value());
  EXPECT_EQ(rows.error().GetCode(), Code::kInvalid);
}

TEST_P(EngineContract, ReadCount_CountsReadsAndScansOnly) {
  ASSERT_EQ(engine_->ReadCount(), 0u);
  ASSERT_TRUE(Commit(Put(a_, 1)).has_value());
  ASSERT_FALSE(Commit(Put(a_, 1, Expect::Absent())).has_value());
  (void)engine_->GetFill();
  (void)engine_->Generation();
  EXPECT_EQ(engine_->ReadCount(), 0u);
  (void)VersionOf(a_);
  (void)KeysOf({});
  EXPECT_EQ(engine_->ReadCount(), 2u);
}

TEST_P(EngineContract, Fill_RisesAndFallsWithTheRows) {
  const std::uint64_t before = engine_->GetFill()->used_bytes;
  ASSERT_TRUE(Commit(Change{a_, {}, SealedRowOf(a_, 1, 100000)}).has_value());
  const std::uint64_t full = engine_->GetFill()->used_bytes;
  EXPECT_GE(full, before + 100000);
  ASSERT_TRUE(Commit(Remove(a_)).has_value());
  // Pages of the last commits are free only once no read can see them.
  for (std::uint64_t i = 1; i < 4; ++i) ASSERT_TRUE(Commit(Put(b_, i)).has_value());
  EXPECT_LT(engine_->GetFill()->used_bytes, full - 50000);
}

TEST_P(EngineContract, Full_IsExhaustedAndLeavesWhatWasThere) {
  std::uint64_t put = 0;
  Result<std::uint64_t> last = 0;
  for (; put < 400; ++put) {
    const crypto::RowKey key = KeyOf(1, 1, 1, put);
    last = Commit(Change{key, {}, SealedRowOf(key, 1, 100000)});
    if (!last) break;
  }
  ASSERT_EQ(CodeOf(last), Code::kExhausted);
  EXPECT_GT(put, 20u);
  EXPECT_EQ(engine_->Generation(), put);
  EXPECT_EQ(engine_->GetFill()->rows, put);
  for (std::uint64_t i = 0; i < put; ++i) EXPECT_EQ(VersionOf(KeyOf(1, 1, 1, i)), 1u);
  EXPECT_EQ(VersionOf(KeyOf(1, 1, 1, put)), 0u);
}

TEST_P(EngineContract, Writers_OfManyThreadsAllLandWithNumbersOfTheirOwn) {
  constexpr std::uint64_t kWriters = 8;
  constexpr std::uint64_t kBatches = 25;
  std::vector<std::vector<std::uint64_t>> numbers(kWriters);
  {
    std::vector<std::jthread> writers;
    for (std::uint64_t w = 0; w < kWriters; ++w) {
      writers.emplace_back([&, w] {
        for (std::uint64_t i = 0; i < kBatches; ++i) {
          const auto generation = Commit(Put(KeyOf(1, 1, 1, w * 1000 + i), 1, Expect::Absent()),
                                         Put(KeyOf(2, 1, 1, w * 1000 + i), 1, Expect::Absent()));
          if (generation) numbers[w].push_back(*generation);
        }
      });
    }
  }
  std::set<std::uint64_t> all;
  for (const auto& of_one : numbers) {
    EXPECT_EQ(of_one.size(), kBatches);
    EXPECT_TRUE(std::ranges::is_sorted(of_one));
    all.insert(of_one.begin(), of_one.end());
  }
  EXPECT_EQ(all.size(), kWriters * kBatches);
  EXPECT_EQ(*all.rbegin(), kWriters * kBatches);
  EXPECT_EQ(engine_->Generation(), kWriters * kBatches);
  EXPECT_EQ(engine_->GetFill()->rows, 2 * kWriters * kBatches);
}

TEST_P(EngineContract, Writers_OfOneRowWinOnceAVersion) {
  ASSERT_TRUE(Commit(Put(a_, 1)).has_value());
  constexpr std::uint64_t kRounds = 20;
  std::atomic<std::uint64_t> won = 0;
  {
    std::vector<std::jthread> writers;
    for (int w = 0; w < 6; ++w) {
      writers.emplace_back([&] {
        for (std::uint64_t version = 1; version <= kRounds; ++version) {
          if (Commit(Put(a_, version + 1, Expect::Version(version)))) ++won;
        }
      });
    }
  }
  // Each step from one version to the next was made by one writer at most, and one ran through.
  EXPECT_EQ(won, kRounds);
  EXPECT_EQ(VersionOf(a_), kRounds + 1);
  EXPECT_EQ(engine_->Generation(), kRounds + 1);
}

TEST_P(EngineContract, Readers_BesideTheWriterSeeWholeBatches) {
  ASSERT_TRUE(Commit(Put(a_, 1), Put(b_, 1)).has_value());
  std::atomic<bool> done = false;
  std::atomic<std::uint64_t> torn = 0;
  std::atomic<std::uint64_t> seen = 0;
  {
    std::vector<std::jthread> readers;
    for (int r = 0; r < 4; ++r) {
      readers.emplace_back([&] {
        const std::vector<crypto::RowKey> keys = {a_, b_};
        do {
          const auto rows = engine_->Read(keys);
          const auto scanned = engine_->Scan({}, {}, 10);
          ++seen;
          if (!rows || (*rows)[0]->RecordVersion() != (*rows)[1]->RecordVersion()) ++torn;
          if (!scanned || scanned->size() != 2 ||
              (*scanned)[0].row.RecordVersion() != (*scanned)[1].row.RecordVersion()) {
            ++torn;
          }
        } while (!done);
      });
    }
    for (std::uint64_t version = 2; version <= 100; ++version) {
      EXPECT_TRUE(Commit(Put(a_, version), Put(b_, version)).has_value());
    }
    done = true;
  }
  EXPECT_EQ(torn, 0u);
  EXPECT_GE(seen, 4u);
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineContract,
                         testing::Values(Kind{"Lmdb", MakeLmdb}, Kind{"Memory", MakeMemory}),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace oauthvault::storage
