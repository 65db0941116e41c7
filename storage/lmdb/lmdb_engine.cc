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
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#include "crypto/fields.h"
#include "storage/lmdb/file_system.h"

namespace oauthvault::storage {
namespace {

constexpr std::uint64_t kMinMapSizeBytes = 1ull << 20;
constexpr std::uint64_t kMaxMapSizeBytes = 1ull << 40;
// One commit takes at most this many batches, so that the first of them is not kept waiting.
constexpr std::size_t kMaxGroupBatches = 256;

constexpr mdb_mode_t kFileMode = 0600;
constexpr const char* kDataFile = "data.mdb";
constexpr const char* kLockFile = "vault.lock";

// FORMAT.md, "Format row". Its key is shorter than any row key, and sorts before all.
constexpr std::array<std::uint8_t, 1> kFormatKey = {0};
constexpr std::array<std::uint8_t, 8> kFormatMark = {'o', 'v', 's', 't', 'o', 'r', 'e', 0};
constexpr std::size_t kFormatNumberAt = kFormatMark.size();
constexpr std::size_t kVaultIdAt = kFormatNumberAt + 4;
constexpr std::size_t kGenerationAt = kVaultIdAt + crypto::kVaultIdSize;
constexpr std::size_t kFormatRowSize = kGenerationAt + 8;

struct CloseEnv {
  void operator()(MDB_env* env) const { mdb_env_close(env); }
};
struct AbortTxn {
  void operator()(MDB_txn* txn) const { mdb_txn_abort(txn); }
};
struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};
using Env = std::unique_ptr<MDB_env, CloseEnv>;
using Txn = std::unique_ptr<MDB_txn, AbortTxn>;
using Cursor = std::unique_ptr<MDB_cursor, CloseCursor>;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int Get() const { return fd_; }

 private:
  int fd_;
};

// LMDB takes what it only reads through a pointer that is not const.
MDB_val ValueOf(std::span<const std::uint8_t> bytes) {
  return {bytes.size(), const_cast<std::uint8_t*>(bytes.data())};
}

std::span<const std::uint8_t> BytesOf(const MDB_val& value) {
  return {static_cast<const std::uint8_t*>(value.mv_data), value.mv_size};
}

Subject PathIn(const std::filesystem::path& folder, const char* file) {
  return Subject::Path((folder / file).string());
}

struct FormatRow {
  crypto::VaultId vault{};
  std::uint64_t generation = 0;
};

std::unexpected<Error> ReadFailure(int rc) {
  switch (rc) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_CURSOR_FULL:
      return Fail(Code::kCorrupt, "the pages of the store are damaged");
    case MDB_READERS_FULL: return Fail(Code::kUnavailable, "too many reads at one time");
    default: return Fail(Code::kUnavailable, "the store cannot be read", Subject::Number(rc));
  }
}

Result<Txn> Begin(MDB_env* env, unsigned flags) {
  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env, nullptr, flags, &txn); rc != 0) return ReadFailure(rc);
  return Txn(txn);
}

// The format row, or nullopt in a file that has none.
Result<std::optional<FormatRow>> ReadFormatRow(MDB_txn* txn, MDB_dbi rows) {
  MDB_val key = ValueOf(kFormatKey);
  MDB_val value{};
  const int rc = mdb_get(txn, rows, &key, &value);
  if (rc == MDB_NOTFOUND) return std::optional<FormatRow>();
  if (rc != 0) return ReadFailure(rc);
  const std::span<const std::uint8_t> bytes = BytesOf(value);
  if (bytes.size() < kVaultIdAt ||
      !std::equal(kFormatMark.begin(), kFormatMark.end(), bytes.begin())) {
    return Fail(Code::kInvalid, "the file holds something else than a store of this program");
  }
  // The number comes before anything else: what follows it belongs to that format.
  const auto format = crypto::FromLittleEndian<std::uint32_t>(bytes.subspan(kFormatNumberAt));
  if (format != kStoreFormat) {
    return Fail(Code::kInvalid, "the store has a format that this version does not read",
                Subject::Number(format));
  }
  if (bytes.size() != kFormatRowSize) {
    return Fail(Code::kCorrupt, "the format row of the store has a wrong size");
  }
  FormatRow found;
  std::copy_n(bytes.begin() + kVaultIdAt, found.vault.size(), found.vault.begin());
  found.generation = crypto::FromLittleEndian<std::uint64_t>(bytes.subspan(kGenerationAt));
  return found;
}

int PutFormatRow(MDB_txn* txn, MDB_dbi rows, const FormatRow& format_row) {
  std::array<std::uint8_t, kFormatRowSize> bytes{};
  std::copy(kFormatMark.begin(), kFormatMark.end(), bytes.begin());
  std::ranges::copy(crypto::LittleEndian(kStoreFormat), bytes.begin() + kFormatNumberAt);
  std::copy(format_row.vault.begin(), format_row.vault.end(), bytes.begin() + kVaultIdAt);
  std::ranges::copy(crypto::LittleEndian(format_row.generation), bytes.begin() + kGenerationAt);
  MDB_val key = ValueOf(kFormatKey);
  MDB_val value = ValueOf(bytes);
  return mdb_put(txn, rows, &key, &value, 0);
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
  const int rc = mdb_env_open(made, settings.folder.c_str(), MDB_NOTLS, kFileMode);
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
  const Descriptor opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.Get() < 0 || fsync(opened.Get()) != 0) {
    return Fail(Code::kUnavailable, "the store's folder cannot be synced",
                Subject::Path(folder.string()));
  }
  return {};
}

// Codes of LMDB and of the system after which nothing was kept and the next try may succeed.
bool IsFull(int rc) {
  return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC || rc == EDQUOT;
}

class LmdbEngine final : public Engine {
 public:
  LmdbEngine(OpenFile file, const FormatRow& format_row, std::size_t write_queue)
      : file_(std::move(file)),
        vault_(format_row.vault),
        write_queue_(write_queue),
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
  Result<std::uint64_t> Commit(std::vector<Change> changes) override;
  std::uint64_t Generation() const override { return generation_; }
  Result<Fill> GetFill() const override;
  std::uint64_t ReadCount() const override { return read_count_; }

 private:
  using Answer = Result<std::uint64_t>;
  struct Waiting {
    std::vector<Change> changes;
    std::promise<Answer> answer;
  };

  void Write();
  Result<std::vector<Answer>> CommitTogether(std::span<const Waiting> group);
  Result<void> CheckExpectations(MDB_txn* txn, std::span<const Change> changes) const;
  int Apply(MDB_txn* txn, std::span<const Change> changes) const;
  std::unexpected<Error> WriteFailure(int rc);

  const OpenFile file_;
  const crypto::VaultId vault_;
  const std::size_t write_queue_;
  std::atomic<std::uint64_t> generation_;  // written by the writer thread only
  bool io_failed_ = false;                 // the writer thread's own
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
    MDB_val key = ValueOf(row_key.bytes);
    MDB_val value{};
    const int rc = mdb_get(txn->get(), file_.rows, &key, &value);
    if (rc == MDB_NOTFOUND) {
      rows.emplace_back();
      continue;
    }
    if (rc != 0) return ReadFailure(rc);
    Result<crypto::SealedRow> row = crypto::SealedRow::Parse(BytesOf(value));
    if (!row) return Fail(std::move(row));
    rows.emplace_back(std::move(*row));
  }
  return rows;
}

Result<std::vector<KeyedRow>> LmdbEngine::Scan(std::span<const std::uint8_t> prefix,
                                               const std::optional<crypto::RowKey>& after,
                                               std::size_t limit) const {
  if (Result<void> checked = CheckScan(prefix, limit); !checked) return Fail(std::move(checked));
  ++read_count_;
  Result<Txn> txn = Begin(file_.env.get(), MDB_RDONLY);
  if (!txn) return Fail(std::move(txn));
  MDB_cursor* opened = nullptr;
  if (const int rc = mdb_cursor_open(txn->get(), file_.rows, &opened); rc != 0) {
    return ReadFailure(rc);
  }
  const Cursor cursor(opened);

  std::span<const std::uint8_t> from = prefix;
  if (after && !std::lexicographical_compare(after->bytes.begin(), after->bytes.end(),
                                             prefix.begin(), prefix.end())) {
    from = after->bytes;
  }
  MDB_val key = ValueOf(from);
  MDB_val value{};
  std::vector<KeyedRow> rows;
  // LMDB knows no empty key to seek.
  int rc = mdb_cursor_get(cursor.get(), &key, &value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
  for (; rc == 0 && rows.size() < limit;
       rc = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    const std::span<const std::uint8_t> found = BytesOf(key);
    if (std::ranges::equal(found, kFormatKey)) continue;
    if (found.size() != crypto::kRowKeySize) {
      return Fail(Code::kCorrupt, "a key of the store has a wrong size");
    }
    if (!std::equal(prefix.begin(), prefix.end(), found.begin())) return rows;
    crypto::RowKey row_key;
    std::copy(found.begin(), found.end(), row_key.bytes.begin());
    if (after && row_key <= *after) continue;
    Result<crypto::SealedRow> row = crypto::SealedRow::Parse(BytesOf(value));
    if (!row) return Fail(std::move(row));
    rows.push_back({row_key, std::move(*row)});
  }
  if (rc != 0 && rc != MDB_NOTFOUND) return ReadFailure(rc);
  return rows;
}

Result<std::uint64_t> LmdbEngine::Commit(std::vector<Change> changes) {
  if (Result<void> checked = CheckBatch(changes); !checked) return Fail(std::move(checked));
  std::future<Answer> answer;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= write_queue_) {
      return Fail(Code::kExhausted, "too many batches wait for the store's writer");
    }
    answer = queue_.emplace_back(std::move(changes), std::promise<Answer>()).answer.get_future();
  }
  arrived_.notify_one();
  return answer.get();
}

Result<Fill> LmdbEngine::GetFill() const {
  Result<Txn> txn = Begin(file_.env.get(), MDB_RDONLY);
  if (!txn) return Fail(std::move(txn));
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(file_.env.get(), &info);
  if (const int rc = mdb_stat(txn->get(), file_.rows, &stat); rc != 0) return ReadFailure(rc);

  // Pages that are free again are listed in LMDB's own database number 0: under the number of a
  // transaction a list, which begins with its count.
  MDB_cursor* opened = nullptr;
  if (const int rc = mdb_cursor_open(txn->get(), 0, &opened); rc != 0) return ReadFailure(rc);
  const Cursor cursor(opened);
  std::uint64_t free_pages = 0;
  MDB_val key{};
  MDB_val list{};
  int rc = mdb_cursor_get(cursor.get(), &key, &list, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor.get(), &key, &list, MDB_NEXT)) {
    std::size_t count = 0;
    if (list.mv_size < sizeof(count)) {
      return Fail(Code::kCorrupt, "the store's list of free pages is damaged");
    }
    std::memcpy(&count, list.mv_data, sizeof(count));
    free_pages += count;
  }
  if (rc != MDB_NOTFOUND) return ReadFailure(rc);

  // The last page may be younger than the transaction; the count never falls below what it sees.
  const std::uint64_t pages = info.me_last_pgno + 1;
  Fill fill;
  fill.used_bytes = (pages - std::min(pages, free_pages)) * stat.ms_psize;
  fill.capacity_bytes = info.me_mapsize;
  fill.rows = stat.ms_entries - 1;  // the format row
  return fill;
}

// The writer thread: takes what waits, commits it together, answers.
void LmdbEngine::Write() {
  pthread_setname_np(pthread_self(), "store-writer");
  for (;;) {
    std::vector<Waiting> group;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const std::size_t taken = std::min(queue_.size(), kMaxGroupBatches);
      const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(taken);
      group.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
    }
    Result<std::vector<Answer>> answers = CommitTogether(group);
    if (answers) {
      for (std::size_t i = 0; i < group.size(); ++i) {
        group[i].answer.set_value(std::move((*answers)[i]));
      }
      continue;
    }
    // Nothing of the group was kept. One large batch must not fail the others: each once more,
    // alone. After an I/O error CommitTogether refuses, so that nothing is written a second time.
    for (Waiting& waiting : group) {
      if (group.size() > 1) answers = CommitTogether(std::span(&waiting, 1));
      if (answers) {
        waiting.answer.set_value(std::move(answers->front()));
      } else {
        waiting.answer.set_value(std::unexpected(answers.error()));
      }
    }
  }
}

// One transaction for all; an answer for each batch, or the error that undid the transaction.
Result<std::vector<LmdbEngine::Answer>> LmdbEngine::CommitTogether(
    std::span<const Waiting> group) {
  if (io_failed_) {
    return Fail(Code::kUnavailable, "the store writes no more after an I/O error");
  }
  MDB_txn* begun = nullptr;
  if (const int rc = mdb_txn_begin(file_.env.get(), nullptr, 0, &begun); rc != 0) {
    return WriteFailure(rc);
  }
  Txn txn(begun);
  std::vector<Answer> answers;
  answers.reserve(group.size());
  std::uint64_t generation = generation_;
  for (const Waiting& waiting : group) {
    Result<void> expected = CheckExpectations(txn.get(), waiting.changes);
    if (!expected) {
      answers.push_back(Fail(std::move(expected)));
      continue;
    }
    if (const int rc = Apply(txn.get(), waiting.changes); rc != 0) return WriteFailure(rc);
    answers.push_back(++generation);
  }
  if (generation == generation_) return answers;  // nothing to write
  if (const int rc = PutFormatRow(txn.get(), file_.rows, {vault_, generation}); rc != 0) {
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
  generation_ = generation;
  return answers;
}

Result<void> LmdbEngine::CheckExpectations(MDB_txn* txn, std::span<const Change> changes) const {
  for (const Change& change : changes) {
    if (change.expect.kind == Expect::Kind::kAnything) continue;
    MDB_val key = ValueOf(change.key.bytes);
    MDB_val value{};
    const int rc = mdb_get(txn, file_.rows, &key, &value);
    if (rc != 0 && rc != MDB_NOTFOUND) return ReadFailure(rc);
    std::optional<std::uint64_t> present;
    if (rc == 0) {
      Result<crypto::SealedRow> row = crypto::SealedRow::Parse(BytesOf(value));
      if (!row) return Fail(std::move(row));
      present = row->RecordVersion();
    }
    if (!change.expect.HoldsFor(present)) {
      return Fail(Code::kConflict, "the row is not in the state that the change expects");
    }
  }
  return {};
}

int LmdbEngine::Apply(MDB_txn* txn, std::span<const Change> changes) const {
  for (const Change& change : changes) {
    MDB_val key = ValueOf(change.key.bytes);
    int rc = 0;
    if (change.row) {
      MDB_val value = ValueOf(change.row->Bytes());
      rc = mdb_put(txn, file_.rows, &key, &value, 0);
    } else {
      rc = mdb_del(txn, file_.rows, &key, nullptr);
      if (rc == MDB_NOTFOUND) rc = 0;
    }
    if (rc != 0) return rc;
  }
  return 0;
}

std::unexpected<Error> LmdbEngine::WriteFailure(int rc) {
  if (IsFull(rc)) return Fail(Code::kExhausted, "the store is full");
  // After a failed write or sync the system may have dropped the pages and call them clean: what a
  // second try reports would mean nothing. LMDB's own codes are negative and not of this kind,
  // except the one with which it says that a meta page is in doubt.
  if (rc == MDB_PANIC || (rc > 0 && rc != ENOMEM)) {
    io_failed_ = true;
    return Fail(Code::kUnavailable, "the store met an I/O error while it wrote",
                Subject::Number(rc));
  }
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
                                              const crypto::VaultId& vault) {
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
  auto engine =
      std::make_unique<LmdbEngine>(std::move(*file), *format_row, settings.write_queue);
  if (Result<void> started = engine->StartWriter(); !started) return Fail(std::move(started));
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace oauthvault::storage
