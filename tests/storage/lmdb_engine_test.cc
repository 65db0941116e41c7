#include "storage/lmdb/lmdb_engine.h"

#include <gtest/gtest.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "tests/storage/sealed_rows.h"
#include "tests/storage/silent_witness.h"
#include "tests/storage/temporary_folder.h"

namespace {

// The disk under LMDB: these stand before the C library's functions of the same names, for the
// whole test program, and do the same unless they are told to fail or to wait.
std::atomic<int> sync_fails_with = 0;   // errno of every fdatasync
std::atomic<int> write_fails_with = 0;  // errno of every write of pages; meta pages too
std::atomic<bool> meta_only = false;    // of the writes, fail those of meta pages only
std::atomic<int> syncs = 0;
std::atomic<int> allocation_fails_with = 0;  // errno of every fallocate
std::atomic<int> allocations = 0;

std::mutex gate_mutex;
std::condition_variable gate_moved;
bool gate_closed = false;
int gate_waiting = 0;

void PassGate() {
  std::unique_lock lock(gate_mutex);
  if (!gate_closed) return;
  ++gate_waiting;
  gate_moved.notify_all();
  gate_moved.wait(lock, [] { return !gate_closed; });
}

void CloseGate() {
  const std::lock_guard lock(gate_mutex);
  gate_closed = true;
  gate_waiting = 0;
}

void AwaitOneAtGate() {
  std::unique_lock lock(gate_mutex);
  gate_moved.wait(lock, [] { return gate_waiting > 0; });
}

void OpenGate() {
  const std::lock_guard lock(gate_mutex);
  gate_closed = false;
  gate_moved.notify_all();
}

bool FailsAt(off_t offset) {
  // The two meta pages are the first of the file, and are written from within the page.
  const bool meta = offset >= 0 && offset < 8192;
  return write_fails_with != 0 && (!meta_only || meta);
}

}  // namespace

extern "C" {

int fdatasync(int fd) {
  PassGate();
  ++syncs;
  if (sync_fails_with != 0) {
    errno = sync_fails_with;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
  ++allocations;
  if (allocation_fails_with != 0) {
    // As some file systems do: they keep what they got.
    syscall(SYS_fallocate, fd, mode, offset, size / 2);
    errno = allocation_fails_with;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fallocate, fd, mode, offset, size));
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  if (FailsAt(offset)) {
    errno = write_fails_with;
    return -1;
  }
  return syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t writev(int fd, const iovec* parts, int count) {
  if (FailsAt(-1)) {
    errno = write_fails_with;
    return -1;
  }
  return syscall(SYS_writev, fd, parts, count);
}

}  // extern "C"

namespace oauthvault::storage {
namespace {

class LmdbEngineTest : public testing::Test {
 protected:
  void SetUp() override {
    settings_.folder = folder_.Path();
    settings_.map_size_bytes = 4 << 20;
    ASSERT_TRUE(CreateLmdbStore(settings_, kTestVault).has_value());
  }
  void TearDown() override {
    sync_fails_with = 0;
    write_fails_with = 0;
    allocation_fails_with = 0;
    meta_only = false;
    OpenGate();
  }

  std::unique_ptr<Engine> Open() {
    Result<std::unique_ptr<Engine>> engine = OpenLmdbStore(settings_, kTestVault, witness_);
    EXPECT_TRUE(engine.has_value()) << (engine ? "" : engine.error().Message());
    return engine ? std::move(*engine) : nullptr;
  }

  std::optional<Code> OpenRefusal(const crypto::VaultId& vault = kTestVault) const {
    const Result<std::unique_ptr<Engine>> engine = OpenLmdbStore(settings_, vault, witness_);
    if (engine) return std::nullopt;
    return engine.error().GetCode();
  }

  static Result<std::uint64_t> Put(Engine& engine, std::uint64_t name, std::size_t size = 20,
                                   Expect expect = {}) {
    const crypto::RowKey key = KeyOf(1, 1, 1, name);
    return engine.Commit({Change{key, expect, SealedRowOf(key, 1, size)}}, {});
  }

  // Puts a new row. While the queue has no room, counts that in `refused` and asks again.
  static Result<std::uint64_t> PutWhenThereIsRoom(Engine& engine, std::uint64_t name,
                                                  std::atomic<int>& refused) {
    for (;;) {
      Result<std::uint64_t> answer = Put(engine, name, 20, Expect::Absent());
      if (answer || answer.error().GetCode() != Code::kExhausted) return answer;
      ++refused;
      std::this_thread::yield();
    }
  }

  static bool Has(const Engine& engine, std::uint64_t name) {
    const crypto::RowKey key = KeyOf(1, 1, 1, name);
    const auto rows = engine.Read(std::span(&key, 1));
    return rows && rows->front().has_value();
  }

  // Writes the format row by hand, as another version of the program would have.
  void PutFormatRow(const std::string& bytes) const { PutRaw(std::string(1, '\0'), bytes); }

  void PutRaw(std::string key, std::string bytes) const {
    MDB_env* env = nullptr;
    MDB_txn* txn = nullptr;
    MDB_dbi rows = 0;
    ASSERT_EQ(mdb_env_create(&env), 0);
    ASSERT_EQ(mdb_env_open(env, folder_.Path().c_str(), 0, 0600), 0);
    ASSERT_EQ(mdb_txn_begin(env, nullptr, 0, &txn), 0);
    ASSERT_EQ(mdb_dbi_open(txn, nullptr, 0, &rows), 0);
    MDB_val mdb_key{key.size(), key.data()};
    MDB_val value{bytes.size(), bytes.data()};
    ASSERT_EQ(mdb_put(txn, rows, &mdb_key, &value, 0), 0);
    ASSERT_EQ(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
  }

  static std::string FormatRowOf(std::uint8_t format) {
    std::string bytes("ovstore\0", 8);
    bytes += std::string{static_cast<char>(format), 0, 0, 0};
    bytes.append(kTestVault.begin(), kTestVault.end());
    bytes += std::string(8, '\0');
    return bytes;
  }

  const TemporaryFolder folder_;
  LmdbSettings settings_;
  mutable SilentWitness witness_;
};

TEST_F(LmdbEngineTest, Open_TwiceInOneProcessIsConflict) {
  std::unique_ptr<Engine> engine = Open();
  EXPECT_EQ(OpenRefusal(), Code::kConflict);
  EXPECT_EQ(CreateLmdbStore(settings_, kTestVault).error().GetCode(), Code::kConflict);
  engine.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(LmdbEngineTest, Open_InASecondProcessIsConflict) {
  std::array<int, 2> ready{};
  std::array<int, 2> stop{};
  ASSERT_EQ(pipe(ready.data()), 0);
  ASSERT_EQ(pipe(stop.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(stop[1]);
    const auto engine = OpenLmdbStore(settings_, kTestVault, witness_);
    char byte = engine ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1) _exit(2);
    (void)!read(stop[0], &byte, 1);  // until the parent closes its end
    _exit(0);
  }
  close(stop[0]);
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(OpenRefusal(), Code::kConflict);
  close(stop[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_NE(Open(), nullptr);
  close(ready[0]);
  close(ready[1]);
}

TEST_F(LmdbEngineTest, Create_RefusesAFolderWithAStore) {
  const Result<void> again = CreateLmdbStore(settings_, kTestVault);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().GetCode(), Code::kConflict);
  EXPECT_EQ(again.error().GetText(), "the folder holds a store already");
}

TEST_F(LmdbEngineTest, Create_GoesOnWithOneThatWasLeftHalfMade) {
  const TemporaryFolder other;
  settings_.folder = other.Path();
  MDB_env* env = nullptr;
  ASSERT_EQ(mdb_env_create(&env), 0);
  ASSERT_EQ(mdb_env_open(env, other.Path().c_str(), 0, 0600), 0);
  mdb_env_close(env);
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
  EXPECT_TRUE(CreateLmdbStore(settings_, kTestVault).has_value());
  EXPECT_NE(Open(), nullptr);
}

TEST_F(LmdbEngineTest, Files_AreTheOwnersAlone) {
  const std::unique_ptr<Engine> engine = Open();
  for (const char* name : {"data.mdb", "lock.mdb", "vault.lock"}) {
    struct stat file {};
    ASSERT_EQ(stat((folder_.Path() / name).c_str(), &file), 0) << name;
    EXPECT_EQ(file.st_mode & 0777, 0600u) << name;
  }
}

TEST_F(LmdbEngineTest, Open_RefusesAFolderWithoutAStore) {
  const TemporaryFolder empty;
  settings_.folder = empty.Path();
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
  EXPECT_FALSE(std::filesystem::exists(empty.Path() / "data.mdb"));
  std::ofstream(empty.Path() / "data.mdb").flush();
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
  settings_.folder = empty.Path() / "nowhere";
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
}

TEST_F(LmdbEngineTest, Open_RefusesAFileThatIsNoStore) {
  const TemporaryFolder other;
  settings_.folder = other.Path();
  std::ofstream(other.Path() / "data.mdb") << std::string(8192, 'x');
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
}

TEST_F(LmdbEngineTest, Open_RefusesAnotherFormat) {
  PutFormatRow(FormatRowOf(kStoreFormat));
  EXPECT_NE(Open(), nullptr);
  PutFormatRow(FormatRowOf(kStoreFormat + 1));
  const auto refused = OpenLmdbStore(settings_, kTestVault, witness_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().GetCode(), Code::kInvalid);
  EXPECT_EQ(refused.error().Message(),
            "the store has a format that this version does not read: 2");
  // Of a later format nothing but the number is known: it may be of another size.
  PutFormatRow(FormatRowOf(9) + "more");
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
  PutFormatRow(FormatRowOf(kStoreFormat) + "more");
  EXPECT_EQ(OpenRefusal(), Code::kCorrupt);
  PutFormatRow("something else of some other program");
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
}

TEST_F(LmdbEngineTest, Open_RefusesAnotherVaultsStore) {
  EXPECT_EQ(OpenRefusal({1, 2, 3}), Code::kInvalid);
  EXPECT_EQ(OpenRefusal(), std::nullopt);
}

TEST_F(LmdbEngineTest, Open_RefusesSettingsOutOfRange) {
  const LmdbSettings good = settings_;
  settings_.map_size_bytes = (1 << 20) - 1;
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
  settings_.map_size_bytes = (1ull << 40) + 1;
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
  settings_ = good;
  settings_.max_readers = 0;
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
  settings_ = good;
  settings_.write_queue = 0;
  EXPECT_EQ(OpenRefusal(), Code::kInvalid);
}

TEST_F(LmdbEngineTest, Reopen_KeepsRowsAndGeneration) {
  {
    const std::unique_ptr<Engine> engine = Open();
    ASSERT_EQ(*Put(*engine, 1), 1u);
    ASSERT_EQ(*Put(*engine, 2), 2u);
  }
  const std::unique_ptr<Engine> engine = Open();
  EXPECT_EQ(engine->Generation(), 2u);
  EXPECT_TRUE(Has(*engine, 1));
  EXPECT_TRUE(Has(*engine, 2));
  EXPECT_EQ(engine->GetFill()->rows, 2u);
  EXPECT_EQ(*Put(*engine, 3), 3u);
}

TEST_F(LmdbEngineTest, Reopen_TakesALargerMap) {
  { ASSERT_TRUE(Put(*Open(), 1).has_value()); }
  settings_.map_size_bytes = 8 << 20;
  const std::unique_ptr<Engine> engine = Open();
  EXPECT_EQ(engine->GetFill()->capacity_bytes, 8u << 20);
  EXPECT_TRUE(Has(*engine, 1));
}

TEST_F(LmdbEngineTest, Preallocation_HappensOnceForAMap) {
  const int before = allocations;
  (void)Open();
  EXPECT_EQ(allocations - before, 1);
  (void)Open();
  EXPECT_EQ(allocations - before, 1);
  settings_.map_size_bytes = 8 << 20;
  (void)Open();
  EXPECT_EQ(allocations - before, 2);
  settings_.preallocate = false;
  settings_.map_size_bytes = 12 << 20;
  (void)Open();
  EXPECT_EQ(allocations - before, 2);
}

TEST_F(LmdbEngineTest, Preallocation_ThatFailsIsExhaustedOrUnavailable) {
  const auto size = std::filesystem::file_size(folder_.Path() / "data.mdb");
  for (const int full : {ENOSPC, EDQUOT, EFBIG}) {
    allocation_fails_with = full;
    EXPECT_EQ(OpenRefusal(), Code::kExhausted);
    EXPECT_EQ(std::filesystem::file_size(folder_.Path() / "data.mdb"), size);
  }
  allocation_fails_with = EIO;
  EXPECT_EQ(OpenRefusal(), Code::kUnavailable);
  // A file system that cannot do it is used without.
  allocation_fails_with = EOPNOTSUPP;
  EXPECT_EQ(OpenRefusal(), std::nullopt);
}

TEST_F(LmdbEngineTest, Read_OfADamagedRowIsCorruptAndHarmsNoOther) {
  const crypto::RowKey bad = KeyOf(1, 1, 1, 7);
  PutRaw(std::string(bad.bytes.begin(), bad.bytes.end()), "no sealed row");
  const std::unique_ptr<Engine> engine = Open();
  ASSERT_TRUE(Put(*engine, 8).has_value());
  EXPECT_EQ(engine->Read(std::span(&bad, 1)).error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(engine->Scan({}, {}, 10).error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(Put(*engine, 7, 20, Expect::Version(1)).error().GetCode(), Code::kCorrupt);
  EXPECT_TRUE(Has(*engine, 8));
  EXPECT_TRUE(engine->Commit({Change{bad, {}, std::nullopt}}, {}).has_value());
  EXPECT_TRUE(engine->Scan({}, {}, 10).has_value());
}

TEST_F(LmdbEngineTest, Scan_OfAKeyOfAnotherSizeIsCorrupt) {
  PutRaw("short key", "value");
  EXPECT_EQ(Open()->Scan({}, {}, 10).error().GetCode(), Code::kCorrupt);
}

TEST_F(LmdbEngineTest, Kill_LosesNoAcknowledgedRow) {
  std::uint64_t next = 0;
  std::set<std::uint64_t> acknowledged;
  for (int round = 0; round < 10; ++round) {
    std::array<int, 2> acks{};
    ASSERT_EQ(pipe(acks.data()), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(acks[0]);
      const auto engine = OpenLmdbStore(settings_, kTestVault, witness_);
      if (!engine) _exit(2);
      const auto write_rows = [&](std::uint64_t from) {
        for (std::uint64_t name = from;; name += 2) {
          if (!Put(**engine, name)) _exit(3);
          if (write(acks[1], &name, sizeof(name)) != sizeof(name)) _exit(4);
        }
      };
      std::thread second([&] { write_rows(next + 1); });
      write_rows(next);
    }
    close(acks[1]);
    // The kill falls at another place of the commit each time.
    std::uint64_t name = 0;
    for (int acks_left = 5 + 7 * round; acks_left > 0; --acks_left) {
      ASSERT_EQ(read(acks[0], &name, sizeof(name)), static_cast<ssize_t>(sizeof(name)));
      acknowledged.insert(name);
    }
    kill(child, SIGKILL);
    while (read(acks[0], &name, sizeof(name)) == sizeof(name)) acknowledged.insert(name);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    close(acks[0]);
    next = *acknowledged.rbegin() + 100;

    const std::unique_ptr<Engine> engine = Open();
    ASSERT_NE(engine, nullptr);
    for (const std::uint64_t row : acknowledged) ASSERT_TRUE(Has(*engine, row)) << row;
    // Each of the two threads may have had one commit that was made and not acknowledged.
    EXPECT_GE(engine->Generation(), acknowledged.size());
    EXPECT_LE(engine->Generation(), acknowledged.size() + 2 * (static_cast<unsigned>(round) + 1));
    EXPECT_EQ(engine->GetFill()->rows, engine->Generation());
  }
}

TEST_F(LmdbEngineTest, Full_StaysReadableAndCanBeEmptied) {
  const std::unique_ptr<Engine> engine = Open();
  std::uint64_t put = 0;
  while (Put(*engine, put, 20000)) ++put;
  ASSERT_GT(put, 50u);
  EXPECT_EQ(Put(*engine, put, 20000).error().GetCode(), Code::kExhausted);
  EXPECT_EQ(engine->Generation(), put);
  for (std::uint64_t i = 0; i < put; ++i) ASSERT_TRUE(Has(*engine, i));
  for (std::uint64_t i = 0; i < put; ++i) {
    ASSERT_TRUE(engine->Commit({Change{KeyOf(1, 1, 1, i), {}, std::nullopt}}, {}).has_value());
    EXPECT_FALSE(Has(*engine, i));
  }
  EXPECT_EQ(engine->GetFill()->rows, 0u);
  EXPECT_TRUE(Put(*engine, 0, 20000).has_value());
}

TEST_F(LmdbEngineTest, Full_ByAReaderThatDiedIsNotFullForLong) {
  std::array<int, 2> ready{};
  std::array<int, 2> go{};
  ASSERT_EQ(pipe(ready.data()), 0);
  ASSERT_EQ(pipe(go.data()), 0);
  // A process of its own, as a check of the store is: made before this one has the store open.
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    MDB_env* env = nullptr;
    MDB_txn* txn = nullptr;
    if (read(go[0], &byte, 1) != 1 || mdb_env_create(&env) != 0 ||
        mdb_env_open(env, folder_.Path().c_str(), MDB_RDONLY, 0) != 0 ||
        mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn) != 0 || write(ready[1], &byte, 1) != 1) {
      _exit(2);
    }
    for (;;) pause();
  }
  const std::unique_ptr<Engine> engine = Open();
  for (std::uint64_t i = 0; i < 10; ++i) ASSERT_TRUE(Put(*engine, i, 100000).has_value());
  char byte = 0;
  ASSERT_EQ(write(go[1], &byte, 1), 1);
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  // What the reader may see stays, so each replacement takes new room.
  int replaced = 0;
  while (replaced < 100 && Put(*engine, 1, 100000)) ++replaced;
  EXPECT_LT(replaced, 40);
  EXPECT_EQ(Put(*engine, 1, 100000).error().GetText(),
            "the store is full for this change; removals still work");
  // Although each takes some room that the reader keeps.
  for (std::uint64_t i = 2; i < 10; ++i) {
    EXPECT_TRUE(engine->Commit({Change{KeyOf(1, 1, 1, i), {}, std::nullopt}}, {}).has_value());
  }
  kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(Put(*engine, 1, 100000).has_value());
  for (const int fd : {ready[0], ready[1], go[0], go[1]}) close(fd);
}

TEST_F(LmdbEngineTest, Group_SharesOneSyncAndLeavesOutWhatConflicts) {
  settings_.write_queue = 20;
  const std::unique_ptr<Engine> engine = Open();
  ASSERT_TRUE(Put(*engine, 0).has_value());
  CloseGate();
  std::vector<std::jthread> callers;
  callers.emplace_back([&] { (void)Put(*engine, 1); });
  AwaitOneAtGate();  // the writer is busy: all that follows waits, and becomes one group
  const int before = syncs;
  std::atomic<int> made = 0;
  std::atomic<int> conflicts = 0;
  std::atomic<int> refused = 0;
  for (std::uint64_t i = 0; i < 21; ++i) {
    callers.emplace_back([&, i] {
      // Every second one expects row 0 to be absent, which it is not.
      const auto answer = PutWhenThereIsRoom(*engine, i % 2 == 0 ? 10 + i : 0, refused);
      if (answer) ++made;
      if (!answer && answer.error().GetCode() == Code::kConflict) ++conflicts;
    });
  }
  // One finds no room: the other twenty wait.
  while (refused == 0) std::this_thread::yield();
  OpenGate();
  callers.clear();
  EXPECT_EQ(made, 11);
  EXPECT_EQ(conflicts, 10);
  EXPECT_EQ(engine->Generation(), 13u);
  for (std::uint64_t i = 0; i < 21; i += 2) EXPECT_TRUE(Has(*engine, 10 + i));
  // The first batch, the group, and the one that found no room.
  EXPECT_LE(syncs - before, 3);
}

TEST_F(LmdbEngineTest, Group_IsNotHarmedByABatchThatIsTooLarge) {
  settings_.write_queue = 6;
  const std::unique_ptr<Engine> engine = Open();
  std::vector<Change> large;
  for (std::uint64_t i = 0; i < 60; ++i) {
    const crypto::RowKey key = KeyOf(2, 1, 1, i);
    large.push_back({key, {}, SealedRowOf(key, 1, 100000)});
  }
  CloseGate();
  std::vector<std::jthread> callers;
  callers.emplace_back([&] { (void)Put(*engine, 1); });
  AwaitOneAtGate();
  std::atomic<int> made = 0;
  std::atomic<int> full = 0;
  std::atomic<int> refused = 0;
  callers.emplace_back([&] {
    for (;;) {
      const auto answer = engine->Commit(large, {});
      if (answer || answer.error().GetText() ==
                        "the store is full for this change; removals still work") {
        if (!answer) ++full;
        return;
      }
      ++refused;
    }
  });
  for (std::uint64_t i = 0; i < 6; ++i) {
    callers.emplace_back([&, i] {
      if (PutWhenThereIsRoom(*engine, 10 + i, refused)) ++made;
    });
  }
  while (refused == 0) std::this_thread::yield();
  OpenGate();
  callers.clear();
  EXPECT_EQ(made, 6);
  EXPECT_EQ(full, 1);
  EXPECT_EQ(engine->Generation(), 7u);
  EXPECT_EQ(engine->GetFill()->rows, 7u);
  const std::vector<std::uint8_t> table = {2};
  EXPECT_TRUE(engine->Scan(table, {}, 10)->empty());
}

TEST_F(LmdbEngineTest, Queue_RefusesMoreThanItsBound) {
  settings_.write_queue = 2;
  const std::unique_ptr<Engine> engine = Open();
  CloseGate();
  std::vector<std::jthread> callers;
  callers.emplace_back([&] { (void)Put(*engine, 0); });
  AwaitOneAtGate();
  std::atomic<int> made = 0;
  std::atomic<int> refused = 0;
  for (std::uint64_t i = 1; i <= 5; ++i) {
    callers.emplace_back([&, i] {
      const auto answer = Put(*engine, i);
      if (answer) ++made;
      if (!answer && answer.error().GetCode() == Code::kExhausted) ++refused;
    });
  }
  // Two of the five fit and wait for the gate; the others are answered at once.
  while (refused < 3) std::this_thread::yield();
  EXPECT_EQ(made, 0);
  OpenGate();
  callers.clear();
  EXPECT_EQ(made, 2);
  EXPECT_EQ(refused, 3);
}

TEST_F(LmdbEngineTest, Read_GoesOnWhileTheWriterWaitsForTheDisk) {
  const std::unique_ptr<Engine> engine = Open();
  ASSERT_TRUE(Put(*engine, 1).has_value());
  CloseGate();
  std::jthread caller([&] { (void)Put(*engine, 2); });
  AwaitOneAtGate();
  EXPECT_TRUE(Has(*engine, 1));
  EXPECT_FALSE(Has(*engine, 2));  // nobody sees what is not durable
  EXPECT_EQ(engine->Generation(), 1u);
  OpenGate();
  caller.join();
  EXPECT_TRUE(Has(*engine, 2));
}

TEST_F(LmdbEngineTest, Destruction_AnswersTheBatchesThatWait) {
  settings_.write_queue = 5;
  std::unique_ptr<Engine> engine = Open();
  CloseGate();
  std::vector<std::jthread> callers;
  std::atomic<int> made = 0;
  std::atomic<int> refused = 0;
  callers.emplace_back([&, e = engine.get()] { made += Put(*e, 0).has_value(); });
  AwaitOneAtGate();
  for (std::uint64_t i = 1; i <= 6; ++i) {
    callers.emplace_back([&, e = engine.get(), i] {
      if (Put(*e, i)) {
        ++made;
      } else {
        ++refused;
      }
    });
  }
  // One finds no room: the other five wait, and nobody else is about to call.
  while (refused == 0) std::this_thread::yield();
  callers.emplace_back([&] { engine.reset(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // so that it mostly comes first
  OpenGate();
  callers.clear();
  EXPECT_EQ(made, 6);
  EXPECT_EQ(Open()->Generation(), 6u);
}

TEST_F(LmdbEngineTest, Sync_ThatFailsEndsAllWriting) {
  {
    const std::unique_ptr<Engine> engine = Open();
    ASSERT_TRUE(Put(*engine, 1).has_value());
    sync_fails_with = EIO;
    EXPECT_EQ(Put(*engine, 2).error().GetCode(), Code::kUnavailable);
    // The disk says that it is well again: that is not believed before the next start.
    sync_fails_with = 0;
    const int before = syncs;
    const auto later = Put(*engine, 3);
    ASSERT_FALSE(later.has_value());
    EXPECT_EQ(later.error().GetCode(), Code::kUnavailable);
    EXPECT_EQ(later.error().GetText(), "the store writes no more after an I/O error");
    EXPECT_EQ(syncs, before);
    EXPECT_TRUE(Has(*engine, 1));
    EXPECT_FALSE(Has(*engine, 2));
    EXPECT_EQ(engine->Generation(), 1u);
  }
  const std::unique_ptr<Engine> engine = Open();
  EXPECT_EQ(engine->Generation(), 1u);
  EXPECT_TRUE(Put(*engine, 3).has_value());
}

TEST_F(LmdbEngineTest, Write_ToAFullDiskIsExhaustedAndTheNextMayPass) {
  const std::unique_ptr<Engine> engine = Open();
  ASSERT_TRUE(Put(*engine, 1).has_value());
  write_fails_with = ENOSPC;
  EXPECT_EQ(Put(*engine, 2).error().GetCode(), Code::kExhausted);
  EXPECT_EQ(Put(*engine, 2, 50000).error().GetCode(), Code::kExhausted);
  EXPECT_TRUE(Has(*engine, 1));
  EXPECT_FALSE(Has(*engine, 2));
  write_fails_with = 0;
  EXPECT_EQ(*Put(*engine, 2), 2u);
}

TEST_F(LmdbEngineTest, Meta_PageThatCannotBeWrittenEndsEverythingUntilTheNextStart) {
  {
    const std::unique_ptr<Engine> engine = Open();
    ASSERT_TRUE(Put(*engine, 1).has_value());
    meta_only = true;
    write_fails_with = ENOSPC;
    EXPECT_EQ(Put(*engine, 2).error().GetCode(), Code::kUnavailable);
    write_fails_with = 0;
    EXPECT_EQ(Put(*engine, 3).error().GetCode(), Code::kUnavailable);
    // Which of the two meta pages holds is in doubt, so LMDB answers no read either.
    EXPECT_EQ(engine->Scan({}, {}, 10).error().GetCode(), Code::kUnavailable);
    EXPECT_EQ(engine->Generation(), 1u);
  }
  const std::unique_ptr<Engine> engine = Open();
  EXPECT_TRUE(Has(*engine, 1));
  EXPECT_FALSE(Has(*engine, 3));
  EXPECT_TRUE(Put(*engine, 3).has_value());
}

TEST_F(LmdbEngineTest, Commit_SyncsBeforeItAnswers) {
  const std::unique_ptr<Engine> engine = Open();
  const int before = syncs;
  ASSERT_TRUE(Put(*engine, 1).has_value());
  EXPECT_GT(syncs, before);
}

TEST_F(LmdbEngineTest, Readers_BeyondTheirNumberAreUnavailable) {
  settings_.max_readers = 1;
  // LMDB keeps the number with the lock file.
  std::filesystem::remove(folder_.Path() / "lock.mdb");
  const std::unique_ptr<Engine> engine = Open();
  ASSERT_TRUE(Put(*engine, 1, 100000).has_value());
  std::atomic<int> unavailable = 0;
  std::atomic<int> wrong = 0;
  std::atomic<bool> stop = false;
  {
    std::vector<std::jthread> readers;
    for (int r = 0; r < 4; ++r) {
      readers.emplace_back([&] {
        const crypto::RowKey key = KeyOf(1, 1, 1, 1);
        for (int i = 0; i < 200000 && !stop; ++i) {
          const auto rows = engine->Read(std::span(&key, 1));
          if (!rows && rows.error().GetCode() != Code::kUnavailable) ++wrong;
          if (!rows) {
            ++unavailable;
            stop = true;
          }
        }
      });
    }
  }
  EXPECT_GT(unavailable, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(Has(*engine, 1));
}

}  // namespace
}  // namespace oauthvault::storage
