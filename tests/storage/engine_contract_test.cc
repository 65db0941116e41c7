// What every engine promises in storage/engine.h, run against each of them.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <thread>

#include "storage/engine.h"
#include "storage/lmdb/lmdb_engine.h"
#include "tests/storage/memory_engine.h"
#include "tests/storage/sealed_rows.h"
#include "tests/storage/silent_witness.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::storage {
namespace {

struct Kind {
  std::string name;
  std::function<std::unique_ptr<Engine>(const std::filesystem::path& folder, Witness&)> make;

  // Without it a test's name would show the bytes of this object.
  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

std::unique_ptr<Engine> MakeLmdb(const std::filesystem::path& folder, Witness& witness) {
  LmdbSettings settings;
  settings.folder = folder;
  settings.map_size_bytes = 16 << 20;
  if (!CreateLmdbStore(settings, kTestVault)) return nullptr;
  Result<std::unique_ptr<Engine>> engine = OpenLmdbStore(settings, kTestVault, witness);
  return engine ? std::move(*engine) : nullptr;
}

std::unique_ptr<Engine> MakeMemory(const std::filesystem::path&, Witness& witness) {
  return std::make_unique<fakes::MemoryEngine>(16 << 20, &witness);
}

// Compares what it is told with a model, counts in a row of its own, and fails when told to.
class WatchfulWitness final : public Witness {
 public:
  Result<void> Settle() override {
    calls += "S";
    if (settle_fails) return std::unexpected(*settle_fails);
    return {};
  }

  Result<std::vector<Change>> Attest(const Transaction& transaction, const Look& look) override {
    calls += "A";
    if (attest_fails) return std::unexpected(*attest_fails);
    EXPECT_EQ(transaction.first_generation, generation_ + 1);
    EXPECT_EQ(transaction.last_generation, generation_ + transaction.acts.size());
    attested_ = model_;
    std::set<crypto::RowKey> seen;
    for (const Touched& touched : transaction.touched) {
      EXPECT_TRUE(seen.insert(touched.key).second);
      const auto row = attested_.find(touched.key);
      EXPECT_EQ(touched.before.has_value(), row != attested_.end());
      if (touched.before && row != attested_.end()) {
        EXPECT_EQ(touched.before->RecordVersion(), row->second);
      }
      attested_.erase(touched.key);
      if (touched.after) attested_[touched.key] = touched.after->RecordVersion();
      const auto looked = look(touched.key);
      EXPECT_EQ(looked->has_value(), touched.after.has_value());
    }
    const auto counter = look(kCounter);
    EXPECT_EQ(counter->has_value() ? (*counter)->RecordVersion() : 0, generation_);
    std::vector<Change> changes;
    const std::uint64_t version = transaction.last_generation;
    changes.push_back({kCounter, {}, SealedRowOf(kCounter, version)});
    return changes;
  }

  Result<void> Announce(const Transaction& transaction) override {
    calls += "N";
    model_ = attested_;
    generation_ = transaction.last_generation;
    acts.insert(acts.end(), transaction.acts.begin(), transaction.acts.end());
    if (announce_fails) return std::unexpected(*announce_fails);
    return {};
  }

  static constexpr crypto::RowKey kCounter{{99}};
  std::string calls;  // a letter for each
  std::vector<std::string> acts;
  std::optional<Error> settle_fails;
  std::optional<Error> attest_fails;
  std::optional<Error> announce_fails;

 private:
  std::map<crypto::RowKey, std::uint64_t> model_;     // versions
  std::map<crypto::RowKey, std::uint64_t> attested_;  // as the transaction would leave it
  std::uint64_t generation_ = 0;
};

class EngineContract : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    engine_ = GetParam().make(folder_.Path(), silent_);
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
    return engine_->Commit(std::move(changes), {});
  }
  Result<std::uint64_t> Commit(Change one, Change two) {
    std::vector<Change> changes;
    changes.push_back(std::move(one));
    changes.push_back(std::move(two));
    return engine_->Commit(std::move(changes), {});
  }

  // Puts a row of so many bytes, whatever stands there.
  Result<std::uint64_t> Put(std::uint64_t name, std::uint64_t version, std::size_t size_bytes) {
    const crypto::RowKey key = KeyOf(1, 1, 1, name);
    return Commit(Change{key, {}, SealedRowOf(key, version, size_bytes)});
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
    EXPECT_EQ(engine_->ScanKeys(prefix, after, limit), keys);
    return keys;
  }

  static Code CodeOf(const Result<std::uint64_t>& result) {
    EXPECT_FALSE(result.has_value());
    return result ? Code::kNotFound : result.error().GetCode();
  }

  // Begins anew with a witness that looks.
  void BeginWatched() {
    engine_ = GetParam().make(watched_folder_.Path(), witness_);
    ASSERT_NE(engine_, nullptr);
  }

  const TemporaryFolder folder_;
  const TemporaryFolder watched_folder_;
  SilentWitness silent_;
  WatchfulWitness witness_;
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

TEST_P(EngineContract, Write_HoldsForTheVeryWriteOnly) {
  const crypto::SealedRow first = SealedRowOf(a_, 1);
  const crypto::SealedRow second = SealedRowOf(a_, 1);
  EXPECT_EQ(CodeOf(Commit(Change{a_, Expect::Write(first), second})), Code::kConflict);
  ASSERT_TRUE(Commit(Change{a_, {}, first}).has_value());
  EXPECT_EQ(CodeOf(Commit(Change{a_, Expect::Write(second), second})), Code::kConflict);
  EXPECT_TRUE(Commit(Change{a_, Expect::Write(first), second}).has_value());
  // Of the same version, and another write.
  EXPECT_EQ(CodeOf(Commit(Remove(a_, Expect::Write(first)))), Code::kConflict);
  EXPECT_TRUE(Commit(Remove(a_, Expect::Write(second))).has_value());
}

TEST_P(EngineContract, Damaged_HoldsForNoRowThatIsWholeAndForNone) {
  EXPECT_EQ(CodeOf(Commit(Put(a_, 1, Expect::Damaged()))), Code::kConflict);
  ASSERT_TRUE(Commit(Put(a_, 1)).has_value());
  EXPECT_EQ(CodeOf(Commit(Put(a_, 2, Expect::Damaged()))), Code::kConflict);
  EXPECT_EQ(VersionOf(a_), 1u);
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
  EXPECT_EQ(CodeOf(engine_->Commit({}, {})), Code::kInvalid);
  EXPECT_EQ(CodeOf(Commit(Put(a_, 1), Put(a_, 2))), Code::kInvalid);
  std::vector<Change> many;
  for (std::size_t i = 0; i <= kMaxBatchChanges; ++i) many.push_back(Remove(KeyOf(1, 1, 1, i)));
  EXPECT_EQ(CodeOf(engine_->Commit(std::move(many), {})), Code::kInvalid);
  EXPECT_EQ(engine_->Generation(), 0u);
}

TEST_P(EngineContract, Commit_TakesTheLargestBatch) {
  std::vector<Change> many;
  for (std::size_t i = 0; i < kMaxBatchChanges; ++i) many.push_back(Put(KeyOf(1, 1, 1, i), 1));
  EXPECT_EQ(*engine_->Commit(std::move(many), {}), 1u);
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
  EXPECT_EQ(engine_->ReadCount(), 3u);  // a scan of rows, one of keys, a read
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

TEST_P(EngineContract, Full_KeepsRoomForReplacementsAndMoreForRemovals) {
  constexpr std::uint64_t kSmall = 5000;
  constexpr std::uint64_t kSmallRows = 300;
  for (std::uint64_t i = 0; i < kSmallRows; ++i) {
    ASSERT_TRUE(Put(kSmall + i, 1, 300).has_value());
  }
  std::uint64_t rows = 0;
  while (Put(rows, 1, 30000)) ++rows;
  const Result<Fill> full = engine_->GetFill();
  EXPECT_LE(full->used_bytes, full->create_limit_bytes + 100000);
  EXPECT_GE(full->used_bytes, full->create_limit_bytes - 100000);

  std::uint64_t larger = 0;
  Result<std::uint64_t> last = 0;
  for (; larger < rows; ++larger) {
    last = Put(larger, 2, 60000);
    if (!last) break;
  }
  ASSERT_EQ(CodeOf(last), Code::kExhausted);
  EXPECT_GT(larger, 10u);
  EXPECT_LT(larger, rows / 2);
  EXPECT_LE(engine_->GetFill()->used_bytes, full->capacity_bytes / 100 * 96);
  std::uint64_t grown = 0;
  while (grown < kSmallRows && Put(kSmall + grown, 2, 1500)) ++grown;
  ASSERT_GT(grown, 0u);
  ASSERT_LT(grown, kSmallRows);
  EXPECT_EQ(CodeOf(Put(rows, 1, 20)), Code::kExhausted);
  EXPECT_EQ(CodeOf(Put(kSmall, 3, 120000)), Code::kExhausted);
  // As revoking does: a little longer than before.
  EXPECT_TRUE(Put(kSmall, 3, 1560).has_value());
  EXPECT_EQ(VersionOf(KeyOf(1, 1, 1, kSmall)), 3u);

  for (std::uint64_t i = 0; i < rows; ++i) {
    ASSERT_TRUE(Commit(Remove(KeyOf(1, 1, 1, i))).has_value()) << i;
  }
  EXPECT_EQ(engine_->GetFill()->rows, kSmallRows);
  EXPECT_TRUE(Put(0, 1, 60000).has_value());
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

TEST_P(EngineContract, Witness_SeesEachRowOnceBeforeAndAfter) {
  BeginWatched();
  ASSERT_TRUE(Commit(Put(a_, 1), Put(b_, 1)).has_value());
  ASSERT_TRUE(Commit(Put(a_, 2), Remove(b_)).has_value());
  ASSERT_TRUE(Commit(Remove(a_)).has_value());
  ASSERT_FALSE(Commit(Put(a_, 1, Expect::Version(9))).has_value());
  ASSERT_TRUE(Commit(Remove(a_)).has_value());
  EXPECT_EQ(VersionOf(WatchfulWitness::kCounter), 4u);
}

TEST_P(EngineContract, Witness_OfManyWritersSeesWhatEachRowWas) {
  BeginWatched();
  constexpr std::uint64_t kWriters = 6;
  constexpr std::uint64_t kBatches = 40;
  {
    std::vector<std::jthread> writers;
    for (std::uint64_t w = 0; w < kWriters; ++w) {
      writers.emplace_back([&, w] {
        // All on the same few rows, so that one group changes a row more than once.
        for (std::uint64_t i = 0; i < kBatches; ++i) {
          std::vector<Change> changes;
          changes.push_back(Put(KeyOf(1, 1, 1, (w + i) % 3), w * 1000 + i + 1));
          changes.push_back(Remove(KeyOf(1, 1, 1, (w + i + 1) % 3)));
          EXPECT_TRUE(engine_->Commit(std::move(changes), std::to_string(w)).has_value());
        }
      });
    }
  }
  EXPECT_EQ(VersionOf(WatchfulWitness::kCounter), kWriters * kBatches);
  EXPECT_EQ(engine_->Generation(), kWriters * kBatches);
  EXPECT_EQ(witness_.acts.size(), kWriters * kBatches);
  for (std::uint64_t w = 0; w < kWriters; ++w) {
    EXPECT_EQ(std::ranges::count(witness_.acts, std::to_string(w)),
              static_cast<std::ptrdiff_t>(kBatches));
  }
}

TEST_P(EngineContract, Witness_AddsItsRowsInTheSameTransaction) {
  BeginWatched();
  std::atomic<bool> done = false;
  std::atomic<std::uint64_t> torn = 0;
  {
    std::jthread reader([&] {
      const std::vector<crypto::RowKey> keys = {a_, WatchfulWitness::kCounter};
      while (!done) {
        const auto rows = engine_->Read(keys);
        const auto version = [&](std::size_t of) {
          return (*rows)[of] ? (*rows)[of]->RecordVersion() : 0;
        };
        if (!rows || version(0) != version(1)) ++torn;
      }
    });
    for (std::uint64_t version = 1; version <= 50; ++version) {
      EXPECT_TRUE(Commit(Put(a_, version)).has_value());
    }
    done = true;
  }
  EXPECT_EQ(torn, 0u);
}

TEST_P(EngineContract, Witness_ThatDoesNotAttestRefusesTheTransaction) {
  BeginWatched();
  ASSERT_TRUE(Commit(Put(a_, 1)).has_value());
  witness_.attest_fails = Error(Code::kCorrupt, "the test's witness does not attest");
  EXPECT_EQ(CodeOf(Commit(Put(a_, 2), Put(b_, 1))), Code::kCorrupt);
  EXPECT_EQ(VersionOf(a_), 1u);
  EXPECT_EQ(VersionOf(b_), 0u);
  EXPECT_EQ(VersionOf(WatchfulWitness::kCounter), 1u);
  EXPECT_EQ(engine_->Generation(), 1u);
  witness_.attest_fails.reset();
  EXPECT_EQ(*Commit(Put(a_, 2)), 2u);
  EXPECT_EQ(witness_.calls, "SANSASAN");
}

TEST_P(EngineContract, Witness_ThatDoesNotAnnounceIsSettledBeforeTheNextTransaction) {
  BeginWatched();
  ASSERT_TRUE(Commit(Put(a_, 1)).has_value());
  witness_.announce_fails = Error(Code::kUnavailable, "the test's witness does not announce");
  EXPECT_EQ(CodeOf(Commit(Put(a_, 2))), Code::kUnavailable);
  // It stands, and nobody was told.
  EXPECT_EQ(VersionOf(a_), 2u);
  EXPECT_EQ(engine_->Generation(), 1u);
  EXPECT_EQ(witness_.calls, "SANSAN");

  witness_.announce_fails.reset();
  witness_.settle_fails = Error(Code::kExhausted, "the test's witness does not settle");
  EXPECT_EQ(CodeOf(Commit(Put(a_, 3))), Code::kExhausted);
  EXPECT_EQ(CodeOf(Commit(Put(a_, 3))), Code::kExhausted);
  EXPECT_EQ(VersionOf(a_), 2u);
  EXPECT_EQ(engine_->Generation(), 1u);
  EXPECT_EQ(witness_.calls, "SANSANSS");

  witness_.settle_fails.reset();
  // Settled by the next one, even if that one comes to nothing.
  EXPECT_EQ(CodeOf(Commit(Put(a_, 9, Expect::Absent()))), Code::kConflict);
  EXPECT_EQ(engine_->Generation(), 2u);
  EXPECT_EQ(*Commit(Put(a_, 3)), 3u);
}

TEST_P(EngineContract, Witness_ThatFailsIsHeardByEachWriterOnce) {
  BeginWatched();
  witness_.announce_fails = Error(Code::kUnavailable, "the test's witness never announces");
  std::atomic<int> failed = 0;
  std::atomic<int> other = 0;
  {
    std::vector<std::jthread> writers;
    for (std::uint64_t w = 0; w < 8; ++w) {
      writers.emplace_back([&, w] {
        const auto answer = Commit(Put(KeyOf(1, 1, 1, w), 1, Expect::Absent()));
        ++(!answer && answer.error().GetCode() == Code::kUnavailable ? failed : other);
      });
    }
  }
  EXPECT_EQ(failed, 8);
  EXPECT_EQ(other, 0);
  // Each stands, and was written once: a second time its expectation would not have held.
  for (std::uint64_t w = 0; w < 8; ++w) EXPECT_EQ(VersionOf(KeyOf(1, 1, 1, w)), 1u);
  EXPECT_EQ(VersionOf(WatchfulWitness::kCounter), 8u);
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineContract,
                         testing::Values(Kind{"Lmdb", MakeLmdb}, Kind{"Memory", MakeMemory}),
                         [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace oauthvault::storage
