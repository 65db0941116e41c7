#include "storage/lmdb/lmdb_engine.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#include "crypto/descriptor.h"
#include "crypto/sabotage.h"
#include "storage/lmdb/file_system.h"
#include "storage/lmdb/lmdb_file.h"

namespace oauthvault::storage {
namespace {

constexpr std::uint64_t kMinMapSizeBytes = 1ull << 20;
constexpr std::uint64_t kMaxMapSizeBytes = 1ull << 40;
// One commit takes at most this many batches, so that the first of them is not kept waiting.
constexpr std::size_t kMaxGroupBatches = 256;
// A reader that died with its process keeps old pages from being used again; so often it is looked
// for.
constexpr std::chrono::seconds kReaderCheckInterval{60};

constexpr mdb_mode_t kFileMode = 0600;
constexpr const char* kLockFile = "vault.lock";

Subject PathIn(const std::filesystem::path& folder, const char* file) {
  return Subject::Path((folder / file).string());
}

Result<void> CheckSettings(const LmdbSettings& settings) {
  if (settings.map_size_bytes < kMinMapSizeBytes || settings.map_size_bytes > kMaxMapSizeBytes) {
    return Fail(Code::kInvalid, "the store's map size is not 1 MiB to 1 TiB");
  }
  if (settings.max_readers == 0 || settings.write_queue == 0) {
    return Fail(Code::kInvalid, "the store needs at least one reader and one waiting batch");
  }
  struct statfs file_system {};
  if (statfs(settings.folder.c_str(), &file_system) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return Fail(Code::kInvalid, "the store's folder does not exist",
                  Subject::Path(settings.folder.string()));
    }
    return Fail(Code::kUnavailable, "the store's folder cannot be looked at",
                Subject::Path(settings.folder.string()));
  }
  if (IsRemoteFileSystem(file_system.f_type)) {
    return Fail(Code::kInvalid, "the store's folder is on a remote file system",
                Subject::Path(settings.folder.string()));
  }
  return {};
}

// A file of its own: LMDB's locks are fcntl locks, which the closing of any descriptor drops, and
// which do not keep out a second open in this process. This one belongs to the open descriptor.
using crypto::Descriptor;

Result<Descriptor> LockFolder(const std::filesystem::path& folder) {
  Descriptor lock(open((folder / kLockFile).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                       kFileMode));
  if (lock.Get() < 0) {
    return Fail(Code::kUnavailable, "the store's lock file cannot be opened",
                PathIn(folder, kLockFile));
  }
  if (flock(lock.Get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return Fail(Code::kConflict, "the store is open already", PathIn(folder, kLockFile));
    }
    return Fail(Code::kUnavailable, "the store's lock file cannot be locked",
                PathIn(folder, kLockFile));
  }
  return lock;
}

// An open file and the lock that guards it, which is let go last.
struct OpenFile {
  Descriptor lock;
  Env env;
  MDB_dbi rows = 0;
};

// Opens data.mdb, which LMDB makes when it is missing; `lock` is held.
Result<OpenFile> OpenData(const LmdbSettings& settings, Descriptor lock) {
  MDB_env* made = nullptr;
  if (mdb_env_create(&made) != 0) return Fail(Code::kUnavailable, "LMDB cannot start");
  OpenFile file{std::move(lock), Env(made), 0};
  // Neither can fail before the opening, but for arguments that were checked.
  mdb_env_set_mapsize(made, settings.map_size_bytes);
  mdb_env_set_maxreaders(made, settings.max_readers);
  // Every commit is synced, data and meta page: no flag that weakens it. MDB_NOTLS ties a read to
  // its transaction instead of to the thread that began it.
  unsigned flags = MDB_NOTLS;
  if (crypto::IsSabotaged(crypto::Sabotage::kNoSync)) flags |= MDB_NOSYNC;
  if (crypto::IsSabotaged(crypto::Sabotage::kNoMetaSync)) flags |= MDB_NOMETASYNC;
  const int rc = mdb_env_open(made, settings.folder.c_str(), flags, kFileMode);
  if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH) {
    return Fail(Code::kInvalid, "the data file is no LMDB file of this version",
                PathIn(settings.folder, kDataFile));
  }
  if (rc != 0) {
    return Fail(Code::kUnavailable, "the data file cannot be opened",
                PathIn(settings.folder, kDataFile));
  }
  // Slots of readers that died with their process would keep old pages from being used again.
  int dead = 0;
  if (const int checked = mdb_reader_check(made, &dead); checked != 0) return ReadFailure(checked);
  Result<Txn> txn = Begin(made, MDB_RDONLY);
  if (!txn) return Fail(std::move(txn));
  if (const int opened = mdb_dbi_open(txn->get(), nullptr, 0, &file.rows); opened != 0) {
    return ReadFailure(opened);
  }
  // Committing is what keeps the handle.
  if (const int kept = mdb_txn_commit(txn->release()); kept != 0) return ReadFailure(kept);
  return file;
}

Result<void> SyncFolder(const std::filesystem::path& folder) {
  if (crypto::SyncFolder(folder.c_str())) return {};
  return Fail(Code::kUnavailable, "the store's folder cannot be synced",
              Subject::Path(folder.string()));
}

// Through LMDB's own descriptor, which stays open: closing another one would drop the locks.
Result<void> Preallocate(MDB_env* env, const LmdbSettings& settings) {
  int file = -1;
  mdb_env_get_fd(env, &file);
  struct stat status {};
  if (fstat(file, &status) != 0) {
    return Fail(Code::kUnavailable, "the data file cannot be looked at");
  }
  const auto size = static_cast<off_t>(settings.map_size_bytes);
  // Blocks of 512 bytes: a file that has them all is not touched again.
  if (status.st_size >= size && status.st_blocks >= size / 512) return {};
  int failure = 0;
  do {
    failure = fallocate(file, 0, 0, size) == 0 ? 0 : errno;
  } while (failure == EINTR);
  if (failure == EOPNOTSUPP || failure == ENOSYS) return {};
  if (failure != 0) {
    // What was got before the disk was full is given back: no page lies there yet.
    if (ftruncate(file, status.st_size) != 0) {
      return Fail(Code::kUnavailable, "the room that was taken for nothing cannot be given back",
                  PathIn(settings.folder, kDataFile));
    }
    if (failure == ENOSPC || failure == EDQUOT || failure == EFBIG) {
      return Fail(Code::kExhausted, "the disk has no room for the store's map",
                  PathIn(settings.folder, kDataFile));
    }
    return Fail(Code::kUnavailable, "the room for the store's map cannot be taken",
                PathIn(settings.folder, kDataFile));
  }
  if (fsync(file) != 0) {
    return Fail(Code::kUnavailable, "the room for the store's map cannot be synced",
                PathIn(settings.folder, kDataFile));
  }
  return {};
}

// The bytes of the file that are in use, or cannot be used again yet.
Result<std::uint64_t> UsedBytes(MDB_env* env, MDB_txn* reading) {
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(env, &info);
  mdb_env_stat(env, &stat);
  Result<std::uint64_t> free_pages = CountFreePages(env, reading);
  if (!free_pages) return Fail(std::move(free_pages));
  // The last page may be younger than the transaction; the count never falls below what it sees.
  const std::uint64_t pages = info.me_last_pgno + 1;
  return (pages - std::min(pages, *free_pages)) * stat.ms_psize;
}

// What a row takes of the file, more or less: a large one has pages of its own, and the pages that
// hold small ones are two thirds full.
std::uint64_t CostOf(const crypto::SealedRow& row, std::uint64_t page_bytes) {
  constexpr std::uint64_t kPageHeadBytes = 16;
  constexpr std::uint64_t kNodeHeadBytes = 10;
  const std::uint64_t node_bytes = kNodeHeadBytes + crypto::kRowKeySize;
  const std::uint64_t size = row.Bytes().size();
  if (size <= kSmallRowBytes) return (node_bytes + size) * 3 / 2;
  return node_bytes + (kPageHeadBytes + size + page_bytes - 1) / page_bytes * page_bytes;
}

Result<std::optional<crypto::SealedRow>> LookUp(MDB_txn* txn, MDB_dbi rows,
                                                const crypto::RowKey& row_key) {
  MDB_val key = ValueOf(row_key.bytes);
  MDB_val value{};
  const int rc = mdb_get(txn, rows, &key, &value);
  if (rc == MDB_NOTFOUND) return std::optional<crypto::SealedRow>();
  if (rc != 0) return ReadFailure(rc);
  Result<crypto::SealedRow> row = crypto::SealedRow::Parse(BytesOf(value));
  if (!row) return Fail(std::move(row));
  return std::optional<crypto::SealedRow>(std::move(*row));
}

// 0, or LMDB's code.
int Put(MDB_txn* txn, MDB_dbi rows, const Change& change) {
  MDB_val key = ValueOf(change.key.bytes);
  if (change.row) {
    MDB_val value = ValueOf(change.row->Bytes());
    return mdb_put(txn, rows, &key, &value, 0);
  }
  const int rc = mdb_del(txn, rows, &key, nullptr);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

// Codes of LMDB and of the system after which nothing was kept and the next try may succeed.
bool IsFull(int rc) {
  return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC || rc == EDQUOT;
}

class LmdbEngine final : public Engine {
 public:
  LmdbEngine(OpenFile file, const FormatRow& format_row, const LmdbSettings& settings,
             Witness& witness)
      : file_(std::move(file)),
        vault_(format_row.vault),
        settings_(settings),
        witness_(witness),
        written_generation_(format_row.generation),
        generation_(format_row.generation) {}

  ~LmdbEngine() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    arrived_.notify_one();
    if (writer_.joinable()) writer_.join();
  }

  Result<void> StartWriter() {
    try {
      writer_ = std::thread([this] { Write(); });
    } catch (const std::system_error&) {
      return Fail(Code::kUnavailable, "the store's writer thread cannot start");
    }
    return {};
  }

  Result<std::vector<std::optional<crypto::SealedRow>>> Read(
      std::span<const crypto::RowKey> keys) const override;
  Result<std::vector<KeyedRow>> Scan(std::span<const std::uint8_t> prefix,
                                     const std::optional<crypto::RowKey>& after,
                                     std::size_t limit) const override;
  Result<std::vector<crypto::RowKey>> ScanKeys(std::span<const std::uint8_t> prefix,
                                               const std::optional<crypto::RowKey>& after,
                                               std::size_t limit) const override;
  Result<std::uint64_t> Commit(std::vector<Change> changes, std::string act) override;
  Result<void> CopyTo(const std::filesystem::path& folder) const override;
  std::uint64_t Generation() const override { return generation_; }
  Result<Fill> GetFill() const override;
  std::uint64_t ReadCount() const override { return read_count_; }

 private:
  using Answer = Result<std::uint64_t>;
  struct Waiting {
    std::vector<Change> changes;
    std::string act;
    std::promise<Answer> answer;
  };
  // What a transaction has done so far.
  struct Work {
    MDB_txn* txn;
    std::uint64_t page_bytes;
    std::uint64_t used_bytes;  // no less than what is used
    bool counted = false;      // the free pages are not among them
    std::map<crypto::RowKey, Touched> touched;
    std::vector<std::string> acts;
    bool broken = false;  // half of a batch is in it: it cannot go on
  };

  template <class Take>
  Result<void> Walk(std::span<const std::uint8_t> prefix,
                    const std::optional<crypto::RowKey>& after, std::size_t limit,
                    Take take) const;
  void Write();
  std::vector<Waiting> TakeGroup();
  void LookForDeadReaders();
  Result<void> Serve(std::span<Waiting> group);
  Result<void> GetReady();
  Result<std::vector<Answer>> CommitTogether(std::span<Waiting> group);
  Result<void> Perform(Work& work, std::span<const Change> changes);
  Result<void> CopyDurable(const std::filesystem::path& folder,
                           const std::filesystem::path& data) const;
  Result<void> TakeRoom(Work& work, std::uint64_t created_bytes, std::uint64_t replaced_bytes);
  std::unexpected<Error> WriteFailure(int rc);

  const OpenFile file_;
  const crypto::VaultId vault_;
  const LmdbSettings settings_;
  Witness& witness_;
  std::uint64_t written_generation_;       // the writer thread's own, likewise the next
  std::chrono::steady_clock::time_point readers_checked_at_;
  std::atomic<std::uint64_t> generation_;  // of the last one that was announced
  std::atomic<bool> io_failed_ = false;    // set by the writer thread only
  mutable std::atomic<std::uint64_t> read_count_ = 0;

  std::mutex mutex_;  // guards queue_ and stopping_
  std::condition_variable arrived_;
  std::deque<Waiting> queue_;
  bool stopping_ = false;
  std::thread writer_;
};

Result<std::vector<std::optional<crypto::SealedRow>>> LmdbEngine::Read(
    std::span<const crypto::RowKey> keys) const {
  ++read_count_;
  Result<Txn> txn = Begin(file_.env.get(), MDB_RDONLY);
  if (!txn) return Fail(std::move(txn));
  std::vector<std::optional<crypto::SealedRow>> rows;
  rows.reserve(keys.size());
  for (const crypto::RowKey& row_key : keys) {
    Result<std::optional<crypto::SealedRow>> row = LookUp(txn->get(), file_.rows, row_key);
    if (!row) return Fail(std::move(row));
    rows.push_back(std::move(*row));
  }
  return rows;
}

// Calls `take(key, stored bytes)` for up to `limit` rows; its error ends the walk.
template <class Take>
Result<void> LmdbEngine::Walk(std::span<const std::uint8_t> prefix,
                              const std::optional<crypto::RowKey>& after, std::size_t limit,
                              Take take) const {
  if (Result<void> checked = CheckScan(prefix, limit); !checked) return checked;
  ++read_count_;
  Result<Txn> txn = Begin(file_.env.get(), MDB_RDONLY);
  if (!txn) return Fail(std::move(txn));
  Result<Cursor> cursor = OpenCursor(txn->get(), file_.rows);
  if (!cursor) return Fail(std::move(cursor));

  std::span<const std::uint8_t> from = prefix;
  if (after && !std::lexicographical_compare(after->bytes.begin(), after->bytes.end(),
                                             prefix.begin(), prefix.end())) {
    from = after->bytes;
  }
  MDB_val key = ValueOf(from);
  MDB_val value{};
  std::size_t taken = 0;
  // LMDB knows no empty key to seek.
  int rc = mdb_cursor_get(cursor->get(), &key, &value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
  for (; rc == 0 && taken < limit;
       rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_NEXT)) {
    const std::span<const std::uint8_t> found = BytesOf(key);
    if (IsFormatKey(found)) continue;
    if (found.size() != crypto::kRowKeySize) {
      return Fail(Code::kCorrupt, "a key of the store has a wrong size");
    }
    if (!std::equal(prefix.begin(), prefix.end(), found.begin())) return {};
    crypto::RowKey row_key;
    std::copy(found.begin(), found.end(), row_key.bytes.begin());
    if (after && row_key <= *after) continue;
    if (Result<void> took = take(row_key, BytesOf(value)); !took) return took;
    ++taken;
  }
  if (rc != 0 && rc != MDB_NOTFOUND) return ReadFailure(rc);
  return {};
}

Result<std::vector<KeyedRow>> LmdbEngine::Scan(std::span<const std::uint8_t> prefix,
                                               const std::optional<crypto::RowKey>& after,
                                               std::size_t limit) const {
  std::vector<KeyedRow> rows;
  Result<void> walked = Walk(
      prefix, after, limit,
      [&](const crypto::RowKey& key, std::span<const std::uint8_t> stored) -> Result<void> {
        Result<crypto::SealedRow> row = crypto::SealedRow::Parse(stored);
        if (!row) return Fail(std::move(row));
        rows.push_back({key, std::move(*row)});
        return {};
      });
  if (!walked) return Fail(std::move(walked));
  return rows;
}

Result<std::vector<crypto::RowKey>> LmdbEngine::ScanKeys(
    std::span<const std::uint8_t> prefix, const std::optional<crypto::RowKey>& after,
    std::size_t limit) const {
  std::vector<crypto::RowKey> keys;
  Result<void> walked = Walk(prefix, after, limit,
                             [&](const crypto::RowKey& key, auto) -> Result<void> {
                               keys.push_back(key);
                               return {};
                             });
  if (!walked) return Fail(std::move(walked));
  return keys;
}

Result<std::uint64_t> LmdbEngine::Commit(std::vector<Change> changes, std::string act) {
  if (Result<void> checked = CheckBatch(changes, act); !checked) return Fail(std::move(checked));
  // Of rows that are there: what is new is looked up by whoever put it.
  const bool reply_early =
      crypto::IsSabotaged(crypto::Sabotage::kReplyBeforeCommit) &&
      std::ranges::all_of(changes, [](const Change& change) {
        return change.expect.kind == Expect::Kind::kVersion;
      });
  std::future<Answer> answer;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= settings_.write_queue) {
      return Fail(Code::kExhausted, kQueueIsFull);
    }
    answer = queue_.emplace_back(std::move(changes), std::move(act), std::promise<Answer>())
                 .answer.get_future();
  }
  arrived_.notify_one();
  if (reply_early) return generation_ + 1;
  return answer.get();
}

Result<Fill> LmdbEngine::GetFill() const {
  Result<Txn> txn = Begin(file_.env.get(), MDB_RDONLY);
  if (!txn) return Fail(std::move(txn));
  MDB_stat stat{};
  if (const int rc = mdb_stat(txn->get(), file_.rows, &stat); rc != 0) return ReadFailure(rc);
  Result<std::uint64_t> used_bytes = UsedBytes(file_.env.get(), txn->get());
  if (!used_bytes) return Fail(std::move(used_bytes));
  Fill fill;
  fill.used_bytes = *used_bytes;
  fill.capacity_bytes = settings_.map_size_bytes;
  fill.create_limit_bytes = CreateLimit(settings_.map_size_bytes);
  fill.rows = stat.ms_entries - 1;  // the format row
  fill.read_only = io_failed_;
  return fill;
}

Result<void> LmdbEngine::CopyTo(const std::filesystem::path& folder) const {
  std::error_code wrong;
  if (!std::filesystem::is_directory(folder, wrong) ||
      !std::filesystem::is_empty(folder, wrong)) {
    return Fail(Code::kInvalid, "a copy of the store goes into an existing empty folder",
                Subject::Path(folder.string()));
  }
  const std::filesystem::path data = folder / kDataFile;
  Result<void> copied = CopyDurable(folder, data);
  // Half a copy is none, and its folder may be used again.
  if (!copied) std::filesystem::remove(data, wrong);
  return copied;
}

Result<void> LmdbEngine::CopyDurable(const std::filesystem::path& folder,
                                     const std::filesystem::path& data) const {
  const int rc = mdb_env_copy2(file_.env.get(), folder.c_str(), MDB_CP_COMPACT);
  if (rc < 0) return ReadFailure(rc);
  if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG) {
    return Fail(Code::kExhausted, "the disk has no room for a copy of the store",
                Subject::Path(folder.string()));
  }
  const Descriptor copy(open(data.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (rc != 0 || copy.Get() < 0 || fchmod(copy.Get(), kFileMode) != 0 || fsync(copy.Get()) != 0) {
    return Fail(Code::kUnavailable, "a copy of the store cannot be written",
                Subject::Path(folder.string()));
  }
  return SyncFolder(folder);
}

// Waits for batches and takes some. Empty at the end.
std::vector<LmdbEngine::Waiting> LmdbEngine::TakeGroup() {
  std::unique_lock lock(mutex_);
  while (!arrived_.wait_for(lock, kReaderCheckInterval,
                            [this] { return stopping_ || !queue_.empty(); })) {
    lock.unlock();
    LookForDeadReaders();
    lock.lock();
  }
  std::vector<Waiting> group;
  std::size_t act_bytes = 0;
  while (!queue_.empty() && group.size() < kMaxGroupBatches && act_bytes < kMaxGroupActBytes) {
    act_bytes += queue_.front().act.size();
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return group;
}

void LmdbEngine::LookForDeadReaders() {
  int dead = 0;
  mdb_reader_check(file_.env.get(), &dead);
  readers_checked_at_ = std::chrono::steady_clock::now();
}

// The writer thread: takes what waits, commits it together, answers.
void LmdbEngine::Write() {
  pthread_setname_np(pthread_self(), "store-writer");
  for (;;) {
    std::vector<Waiting> group = TakeGroup();
    if (group.empty()) return;
    (void)Serve(group);
    // A writer that is never idle looks, too.
    if (std::chrono::steady_clock::now() - readers_checked_at_ > kReaderCheckInterval) {
      LookForDeadReaders();
    }
  }
}

// Commits what waits and answers each; the error when nothing at all can be written now.
Result<void> LmdbEngine::Serve(std::span<Waiting> group) {
  Result<void> ready = GetReady();
  if (ready) {
    Result<std::vector<Answer>> answers = CommitTogether(group);
    if (answers) {
      for (std::size_t i = 0; i < group.size(); ++i) {
        group[i].answer.set_value(std::move((*answers)[i]));
      }
      return ready;
    }
    if (group.size() == 1) {
      group.front().answer.set_value(std::unexpected(answers.error()));
      return ready;
    }
  }
  // Nothing of the group was kept. One batch must not fail the others: each once more, alone. What
  // refuses all is asked once only, as it may take its time, and after an I/O error it refuses, so
  // that nothing is written a second time.
  for (Waiting& waiting : group) {
    if (ready) {
      ready = Serve(std::span(&waiting, 1));
    } else {
      waiting.answer.set_value(std::unexpected(ready.error()));
    }
  }
  return ready;
}

// What every transaction needs first.
Result<void> LmdbEngine::GetReady() {
  if (io_failed_) {
    return Fail(Code::kUnavailable, "the store writes no more after an I/O error");
  }
  if (Result<void> settled = witness_.Settle(); !settled) return settled;
  generation_ = written_generation_;
  return {};
}

// One transaction for all; an answer for each batch, or the error that undid the transaction.
Result<std::vector<LmdbEngine::Answer>> LmdbEngine::CommitTogether(std::span<Waiting> group) {
  MDB_txn* begun = nullptr;
  if (const int rc = mdb_txn_begin(file_.env.get(), nullptr, 0, &begun); rc != 0) {
    return WriteFailure(rc);
  }
  Txn txn(begun);
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(file_.env.get(), &info);
  mdb_env_stat(file_.env.get(), &stat);
  Work work{.txn = begun,
            .page_bytes = stat.ms_psize,
            .used_bytes = (info.me_last_pgno + 1) * stat.ms_psize};
  std::vector<Answer> answers;
  answers.reserve(group.size());
  std::uint64_t generation = written_generation_;
  for (const Waiting& waiting : group) {
    Result<void> performed = Perform(work, waiting.changes);
    if (!performed && work.broken) return Fail(std::move(performed));
    if (!performed) {
      answers.push_back(Fail(std::move(performed)));
      continue;
    }
    work.acts.push_back(waiting.act);
    answers.push_back(++generation);
  }
  if (generation == written_generation_) return answers;  // nothing to write

  std::vector<Touched> touched;
  touched.reserve(work.touched.size());
  for (auto& [key, row] : work.touched) touched.push_back(std::move(row));
  const Transaction transaction{written_generation_ + 1, generation, touched, work.acts};
  Result<std::vector<Change>> attested = witness_.Attest(
      transaction, [&](const crypto::RowKey& key) { return LookUp(begun, file_.rows, key); });
  if (!attested) return Fail(std::move(attested));
  for (const Change& change : *attested) {
    if (const int rc = Put(begun, file_.rows, change); rc != 0) return WriteFailure(rc);
  }
  if (const int rc = PutFormatRow(begun, file_.rows, {vault_, generation}); rc != 0) {
    return WriteFailure(rc);
  }
  if (const int rc = mdb_txn_commit(txn.release()); rc != 0) {
    // A full disk undoes the transaction, unless it struck the meta page: then LMDB itself refuses
    // every later one, and whether this one stands is not known.
    MDB_txn* probe = nullptr;
    if (IsFull(rc) && mdb_txn_begin(file_.env.get(), nullptr, 0, &probe) != 0) {
      return WriteFailure(MDB_PANIC);
    }
    mdb_txn_abort(probe);
    return WriteFailure(rc);
  }
  written_generation_ = generation;
  if (Result<void> announced = witness_.Announce(transaction); !announced) {
    // It stands, and its callers are not told so. The next transaction settles it first.
    for (Answer& answer : answers) {
      if (answer) answer = std::unexpected(announced.error());
    }
    return answers;
  }
  generation_ = generation;
  return answers;
}

// Makes the changes of one batch. What refuses a batch does so before its first change, but for a
// full map or a damaged page.
Result<void> LmdbEngine::Perform(Work& work, std::span<const Change> changes) {
  std::vector<std::optional<crypto::SealedRow>> before;
  before.reserve(changes.size());
  std::uint64_t created_bytes = 0;
  std::uint64_t replaced_bytes = 0;
  for (const Change& change : changes) {
    Result<std::optional<crypto::SealedRow>> row = LookUp(work.txn, file_.rows, change.key);
    if (row && !change.expect.HoldsFor(*row)) {
      return Fail(Code::kConflict, "it was changed, added or removed meanwhile; try again");
    }
    if (!row && row.error().GetCode() == Code::kCorrupt && change.expect.HoldsForDamaged()) {
      // A damaged row can go. What it was is not known, so the witness takes it out of nothing, and
      // the check of the store goes on to miss it.
      row = std::optional<crypto::SealedRow>();
    }
    if (!row) return Fail(std::move(row));
    if (change.row && !*row) created_bytes += CostOf(*change.row, work.page_bytes);
    if (change.row && *row && !HardlyGrows(**row, *change.row)) {
      replaced_bytes += CostOf(*change.row, work.page_bytes);
    }
    before.push_back(std::move(*row));
  }
  if (Result<void> taken = TakeRoom(work, created_bytes, replaced_bytes); !taken) return taken;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (const int rc = Put(work.txn, file_.rows, changes[i]); rc != 0) {
      work.broken = true;
      return WriteFailure(rc);
    }
    const crypto::RowKey& key = changes[i].key;
    const auto [entry, first] =
        work.touched.try_emplace(key, key, std::move(before[i]), std::nullopt);
    entry->second.after = changes[i].row;
  }
  return {};
}

// Refuses what would take more than its share of the file. To count the free pages means to walk
// their lists, which is done only where it makes a difference, and once in a transaction.
Result<void> LmdbEngine::TakeRoom(Work& work, std::uint64_t created_bytes,
                                  std::uint64_t replaced_bytes) {
  if (crypto::IsSabotaged(crypto::Sabotage::kNoLimit)) return {};
  const std::uint64_t added_bytes = created_bytes + replaced_bytes;
  const auto fits = [&] {
    const std::uint64_t after_bytes = work.used_bytes + added_bytes;
    return (created_bytes == 0 || after_bytes <= CreateLimit(settings_.map_size_bytes)) &&
           (replaced_bytes == 0 || after_bytes <= ReplaceLimit(settings_.map_size_bytes));
  };
  if (!fits() && !work.counted) {
    LookForDeadReaders();
    MDB_envinfo info{};
    mdb_env_info(file_.env.get(), &info);
    // Beside the transaction that writes: LMDB lists the free pages to readers only.
    Result<Txn> reading = Begin(file_.env.get(), MDB_RDONLY);
    if (!reading) return Fail(std::move(reading));
    Result<std::uint64_t> used_bytes = UsedBytes(file_.env.get(), reading->get());
    if (!used_bytes) return Fail(std::move(used_bytes));
    work.used_bytes -= (info.me_last_pgno + 1) * work.page_bytes - *used_bytes;
    work.counted = true;
  }
  if (!fits()) {
    return Fail(Code::kExhausted, "the store is full for this change; removals still work");
  }
  work.used_bytes += added_bytes;
  return {};
}

std::unexpected<Error> LmdbEngine::WriteFailure(int rc) {
  if (IsFull(rc)) return Fail(Code::kExhausted, "the store is full");
  // After a failed write or sync the system may have dropped the pages and call them clean: what a
  // second try reports would mean nothing. LMDB's own codes are negative and not of this kind,
  // except the one with which it says that a meta page is in doubt.
  if (rc == MDB_PANIC || (rc > 0 && rc != ENOMEM)) {
    io_failed_ = !crypto::IsSabotaged(crypto::Sabotage::kGoOnAfterIoError);
    return Fail(Code::kUnavailable, "the store met an I/O error while it wrote",
                Subject::Number(rc));
  }
  if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND) return ReadFailure(rc);
  return Fail(Code::kUnavailable, "the store cannot be written", Subject::Number(rc));
}

}  // namespace

Result<void> CreateLmdbStore(const LmdbSettings& settings, const crypto::VaultId& vault) {
  if (Result<void> checked = CheckSettings(settings); !checked) return Fail(std::move(checked));
  Result<Descriptor> lock = LockFolder(settings.folder);
  if (!lock) return Fail(std::move(lock));
  Result<OpenFile> file = OpenData(settings, std::move(*lock));
  if (!file) return Fail(std::move(file));
  Result<Txn> txn = Begin(file->env.get(), 0);
  if (!txn) return Fail(std::move(txn));
  // A store comes into being with its format row: a file without entries is one that was left
  // half made, and nothing is lost by going on with it.
  MDB_stat stat{};
  if (const int rc = mdb_stat(txn->get(), file->rows, &stat); rc != 0) return ReadFailure(rc);
  if (stat.ms_entries != 0) {
    return Fail(Code::kConflict, "the folder holds a store already",
                PathIn(settings.folder, kDataFile));
  }
  int rc = PutFormatRow(txn->get(), file->rows, {vault, 0});
  if (rc == 0) rc = mdb_txn_commit(txn->release());
  if (rc != 0) {
    return Fail(Code::kUnavailable, "the new store cannot be written", Subject::Number(rc));
  }
  return SyncFolder(settings.folder);
}

Result<std::unique_ptr<Engine>> OpenLmdbStore(const LmdbSettings& settings,
                                              const crypto::VaultId& vault, Witness& witness) {
  if (Result<void> checked = CheckSettings(settings); !checked) return Fail(std::move(checked));
  Result<Descriptor> lock = LockFolder(settings.folder);
  if (!lock) return Fail(std::move(lock));
  // LMDB would make a missing file. It is looked at by name: opening and closing it here would
  // drop LMDB's locks.
  struct stat data {};
  if (lstat((settings.folder / kDataFile).c_str(), &data) != 0 || !S_ISREG(data.st_mode) ||
      data.st_size == 0) {
    return Fail(Code::kInvalid, "there is no store in the folder",
                Subject::Path(settings.folder.string()));
  }
  Result<OpenFile> file = OpenData(settings, std::move(*lock));
  if (!file) return Fail(std::move(file));
  std::optional<FormatRow> format_row;
  {
    Result<Txn> txn = Begin(file->env.get(), MDB_RDONLY);
    if (!txn) return Fail(std::move(txn));
    Result<std::optional<FormatRow>> found = ReadFormatRow(txn->get(), file->rows);
    if (!found) return Fail(std::move(found));
    format_row = *found;
  }
  if (!format_row) {
    return Fail(Code::kInvalid, "the store was left half made: make it again",
                Subject::Path(settings.folder.string()));
  }
  if (format_row->vault != vault) {
    return Fail(Code::kInvalid, "the store belongs to another vault",
                Subject::Path(settings.folder.string()));
  }
  if (settings.preallocate) {
    if (Result<void> taken = Preallocate(file->env.get(), settings); !taken) {
      return Fail(std::move(taken));
    }
  }
  auto engine = std::make_unique<LmdbEngine>(std::move(*file), *format_row, settings, witness);
  if (Result<void> started = engine->StartWriter(); !started) return Fail(std::move(started));
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace oauthvault::storage
