// What a store does that is nearly full, and how much room it takes, with a ledger that writes its
// own rows in every commit.
#include <gtest/gtest.h>
#include <signal.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "tests/storage/full_rows.h"
#include "tests/storage/kept_store.h"
#include "tests/storage/silent_witness.h"

namespace oauthvault::storage {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

struct Shape {
  const char* name;
  std::uint64_t map_bytes;
  std::size_t size_bytes;  // of the title, which is in the meta part
  bool own_project;        // each row has a project of its own, and so a summary
};

class FillTest : public testing::TestWithParam<Shape> {};

// A row whose size the test chooses.
Grant GrantOf(const Shape& shape, std::size_t i, std::size_t size_bytes) {
  Grant row = FullGrant();
  row.principal = "runner-" + std::to_string(i);
  row.project = shape.own_project ? "p" + std::to_string(i) : "p";
  row.created_by = std::string(size_bytes, 'x');
  return row;
}

TEST_P(FillTest, Creates_StopThenReplacementsStopAndRemovalsGoOnUntilItIsEmpty) {
  const Shape& shape = GetParam();
  KeptStore kept(shape.map_bytes);
  Store& store = kept.Rows();
  const auto insert = [&](std::size_t from, std::size_t count) {
    Batch batch(Act{.act = "test.insert"});
    for (std::size_t i = from; i < from + count; ++i) {
      batch.Insert(GrantOf(shape, i, shape.size_bytes));
    }
    return store.Commit(std::move(batch));
  };
  std::size_t rows = 0;
  for (const std::size_t count : {20u, 1u}) {
    Result<std::uint64_t> last = 0;
    while ((last = insert(rows, count))) rows += count;
    ASSERT_EQ(last.error().GetText(), "the store is full for this change; removals still work");
  }
  const Fill full = *kept.GetEngine().GetFill();
  EXPECT_LE(full.used_bytes, full.create_limit_bytes + shape.map_bytes / 20);
  EXPECT_GE(full.used_bytes, full.create_limit_bytes - shape.map_bytes / 10);

  std::size_t replaced = 0;
  for (; replaced < rows; ++replaced) {
    Batch batch(Act{.act = "test.replace"});
    batch.Replace(GrantOf(shape, replaced, shape.size_bytes + 300), 1);
    const auto answer = store.Commit(std::move(batch));
    if (answer) continue;
    ASSERT_EQ(answer.error().GetCode(), Code::kExhausted);
    break;
  }
  EXPECT_GT(replaced, 0u);
  EXPECT_LE(kept.GetEngine().GetFill()->used_bytes,
            ReplaceLimit(shape.map_bytes) + shape.map_bytes / 100);

  // With the longest acts that there are: the anchor needs pages of its own for them.
  const std::string longest(kMaxActTextSize, 'a');
  for (std::size_t i = 0; i < rows; ++i) {
    Batch batch(Act{longest, longest, longest, longest, longest, longest, longest, 1, longest,
                    longest, longest});
    batch.Remove(GrantOf(shape, i, 0), i < replaced ? 2 : 1);
    const auto answer = store.Commit(std::move(batch));
    ASSERT_TRUE(answer.has_value()) << i << " of " << rows << ": " << answer.error().Message();
  }
  EXPECT_EQ(kept.GetEngine().GetFill()->rows, 1u);  // the anchor
  EXPECT_TRUE(insert(0, 1).has_value());
  kept.Close();
  EXPECT_EQ(kept.Check().verdict, Verdict::kWhole);
}

INSTANTIATE_TEST_SUITE_P(Shapes, FillTest,
                         testing::Values(Shape{"Tiny", kMiB, 10, false},
                                         Shape{"TinyWithSummaries", kMiB, 10, true},
                                         Shape{"Middle", 2 * kMiB, 1500, true},
                                         Shape{"Large", 4 * kMiB, 20000, true},
                                         Shape{"Largest", 4 * kMiB, 100000, false}),
                         [](const auto& parameter) { return parameter.param.name; });

TEST(Bloat, Overwrites_BesidePromptReadersTakeNoMoreRoomThanTheyNeed) {
  KeptStore kept(64 * kMiB);
  Store& store = kept.Rows();
  const Shape shape{"", 0, 0, false};
  constexpr std::size_t kRows = 1000;
  constexpr std::size_t kBatch = 50;
  constexpr std::size_t kOverwrites = 20000;
  for (std::size_t i = 0; i < kRows; i += 500) {
    Batch batch(Act{.act = "test.insert"});
    for (std::size_t j = i; j < i + 500; ++j) batch.Insert(GrantOf(shape, j, 300));
    ASSERT_TRUE(store.Commit(std::move(batch)).has_value());
  }
  const std::uint64_t before = kept.GetEngine().GetFill()->used_bytes;
  std::atomic<bool> done = false;
  std::atomic<std::uint64_t> reads = 0;
  std::uint64_t most = 0;
  {
    std::vector<std::jthread> readers;
    for (int r = 0; r < 3; ++r) {
      readers.emplace_back([&] {
        while (!done) {
          EXPECT_TRUE(kept.GetEngine().Scan({}, {}, 100).has_value());
          ++reads;
        }
      });
    }
    for (std::size_t i = 0; i < kOverwrites; i += kBatch) {
      Batch batch(Act{.act = "test.replace"});
      for (std::size_t j = i; j < i + kBatch; ++j) {
        batch.Replace(GrantOf(shape, j % kRows, 300), 1 + j / kRows);
      }
      ASSERT_TRUE(store.Commit(std::move(batch)).has_value());
      most = std::max(most, kept.GetEngine().GetFill()->used_bytes);
    }
    done = true;
  }
  EXPECT_GT(reads, 100u);
  EXPECT_LE(kept.GetEngine().GetFill()->used_bytes, before * 3 / 2);
  RecordProperty("before", std::to_string(before));
  RecordProperty("most", std::to_string(most));
}

TEST(Copies, Copy_BesideAWriterIsWhole) {
  KeptStore kept;
  kept.FillWith(200);
  std::atomic<bool> done = false;
  std::jthread writer([&] {
    for (std::size_t i = 0; !done; ++i) {
      EXPECT_TRUE(kept.Put(GrantOf({"", 0, 0, true}, i % 50, 500)).has_value());
    }
  });
  for (int i = 0; i < 8; ++i) {
    const std::uint64_t from = kept.GetEngine().Generation();
    const TemporaryFolder copy;
    ASSERT_TRUE(kept.GetEngine().CopyTo(copy.Path()).has_value());
    const CheckReport report = CheckStore(copy.Path(), kept.Keys());
    EXPECT_EQ(report.verdict, Verdict::kWhole);
    EXPECT_GE(report.position.generation, from);
    struct stat file {};
    ASSERT_EQ(stat((copy.Path() / "data.mdb").c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777, 0600u);
  }
  done = true;
}

TEST(Copies, Copy_HoldsNothingThatWasDeleted) {
  KeptStore kept;
  kept.FillWith(60);
  const Grant row = GrantOf({"", 0, 0, true}, 1, 3000);
  ASSERT_TRUE(kept.Put(row).has_value());
  const crypto::RowKey key = kept.KeyOf(row);
  const auto sealed = kept.GetEngine().Read(std::span(&key, 1));
  const std::string bytes(sealed->front()->Bytes().begin() + 100,
                          sealed->front()->Bytes().begin() + 200);
  ASSERT_TRUE(kept.Remove(row).has_value());
  const TemporaryFolder copy;
  ASSERT_TRUE(kept.GetEngine().CopyTo(copy.Path()).has_value());
  kept.Close();
  const auto holds = [&](const std::filesystem::path& folder) {
    std::ifstream file(folder / "data.mdb", std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    return content.find(bytes) != std::string::npos;
  };
  EXPECT_TRUE(holds(kept.Folder()));  // in a page that is free
  EXPECT_FALSE(holds(copy.Path()));
}

TEST(Copies, Copy_GoesIntoAnEmptyFolderOnly) {
  KeptStore kept;
  kept.FillWith(20);
  const TemporaryFolder copy;
  EXPECT_EQ(kept.GetEngine().CopyTo(copy.Path() / "nowhere").error().GetCode(), Code::kInvalid);
  std::ofstream(copy.Path() / "something").flush();
  EXPECT_EQ(kept.GetEngine().CopyTo(copy.Path()).error().GetCode(), Code::kInvalid);
}

// Runs in a child, so that what it does to its limits and mounts ends with it.
template <class F>
int InChild(F&& run) {
  const pid_t child = fork();
  if (child == 0) _exit(run());
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

void LimitFiles(std::uint64_t size_bytes) {
  const rlimit limit{size_bytes, size_bytes};
  setrlimit(RLIMIT_FSIZE, &limit);
  signal(SIGXFSZ, SIG_IGN);
}

TEST(Copies, Copy_ThatFindsNoRoomLeavesItsFolderEmpty) {
  KeptStore kept;
  kept.FillWith(200);
  kept.Close();
  const TemporaryFolder copy;
  EXPECT_EQ(InChild([&] {
              Ledger ledger(kept.Keys(), [](auto, auto) { return Result<void>(); });
              const auto engine = OpenLmdbStore(kept.Settings(), kept.Keys().Id(), ledger);
              if (!engine) return 1;
              LimitFiles(32 * 1024);
              const Result<void> copied = (*engine)->CopyTo(copy.Path());
              if (copied || copied.error().GetCode() != Code::kExhausted) return 2;
              return std::filesystem::is_empty(copy.Path()) ? 0 : 3;
            }),
            0);
}

// Opens a store that wants the whole map's room, in a folder on a disk that has not enough.
int OpenOnAFullDisk(const std::filesystem::path& folder) {
  SilentWitness nobody;
  LmdbSettings settings;
  settings.folder = folder;
  settings.map_size_bytes = 16 * kMiB;
  if (!CreateLmdbStore(settings, {})) return 1;
  const auto size = std::filesystem::file_size(folder / "data.mdb");
  const auto engine = OpenLmdbStore(settings, {}, nobody);
  if (engine || engine.error().GetCode() != Code::kExhausted) return 2;
  return std::filesystem::file_size(folder / "data.mdb") == size ? 0 : 3;
}

TEST(Preallocation, Open_OnADiskWithoutTheRoomIsExhausted) {
  const TemporaryFolder folder;
  EXPECT_EQ(InChild([&] {
              LimitFiles(kMiB);
              return OpenOnAFullDisk(folder.Path());
            }),
            0);
  // A disk that is full indeed, where one can be made.
  const TemporaryFolder disk;
  EXPECT_EQ(InChild([&] {
              if (unshare(CLONE_NEWNS) != 0 ||
                  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                  mount("none", disk.Path().c_str(), "tmpfs", 0, "size=2m") != 0) {
                LimitFiles(kMiB);
                return OpenOnAFullDisk(disk.Path());
              }
              const int answer = OpenOnAFullDisk(disk.Path());
              struct statvfs left {};
              if (answer != 0 || statvfs(disk.Path().c_str(), &left) != 0) return answer + 10;
              return left.f_bavail * left.f_frsize > kMiB ? 0 : 4;
            }),
            0);
}

TEST(Preallocation, Open_TakesTheWholeMapsRoomAndKeepsIt) {
  KeptStore kept;
  kept.FillWith(20);
  kept.Close();
  const auto blocks = [&] {
    struct stat file {};
    EXPECT_EQ(stat((kept.Folder() / "data.mdb").c_str(), &file), 0);
    return static_cast<std::uint64_t>(file.st_blocks) * 512;
  };
  EXPECT_LT(blocks(), 8 * kMiB);
  kept.Settings().preallocate = true;
  kept.Open();
  EXPECT_GE(blocks(), 16 * kMiB);
  ASSERT_TRUE(kept.Put(FullBackup()).has_value());
  // The room is no data: neither of the fill, nor of a copy.
  EXPECT_LT(kept.GetEngine().GetFill()->used_bytes, kMiB);
  const TemporaryFolder copy;
  ASSERT_TRUE(kept.GetEngine().CopyTo(copy.Path()).has_value());
  EXPECT_LT(std::filesystem::file_size(copy.Path() / "data.mdb"), kMiB);
  kept.Close();
  EXPECT_EQ(kept.Check().verdict, Verdict::kWhole);
  kept.Open();
  EXPECT_TRUE(kept.Rows().Get<Backup>(FullBackup().Names()).has_value());
}

}  // namespace
}  // namespace oauthvault::storage
