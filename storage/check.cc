#include "storage/check.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include "crypto/sabotage.h"
#include "storage/lmdb/lmdb_file.h"
#include "storage/tables/ledger.h"
#include "storage/tables/open_row.h"

namespace oauthvault::storage {
namespace {

using Prefix = std::array<std::uint8_t, kSummaryPrefixSize>;

Prefix PrefixOf(std::span<const std::uint8_t> bytes) {
  Prefix prefix{};
  std::copy_n(bytes.begin(), prefix.size(), prefix.begin());
  return prefix;
}

// A project that has rows of its own, or may have some.
struct KnownProject {
  crypto::Owner owner;
  bool is_shredded = false;  // it bears the mark: its keys may be gone, and its rows will be
};

class Check {
 public:
  explicit Check(const crypto::Keyring& keyring) : keyring_(keyring) {}

  CheckReport Run(const std::filesystem::path& folder);

 private:
  void Add(Verdict verdict, std::string_view what, const std::optional<crypto::RowKey>& key = {}) {
    report_.verdict = std::max(report_.verdict, verdict);
    ++report_.problem_count;
    if (report_.problems.size() < kMaxKeptProblems) report_.problems.push_back({what, key});
  }

  bool Open(const std::filesystem::path& folder);
  void Scan();
  void LookUp(MDB_val key, MDB_val value, const std::optional<crypto::RowKey>& row_key);
  void CheckEntry(const crypto::RowKey& key, std::span<const std::uint8_t> value);
  template <Row R>
  void CheckRow(const crypto::RowKey& key, crypto::SealedRow sealed);
  template <Row R>
  const crypto::Owner* OwnerOf(const crypto::RowKey& key);
  void Note(const crypto::RowKey& key, const Project& row);
  void Note(const crypto::RowKey& key, const Summary& row) {
    summaries_.try_emplace(PrefixOf({reinterpret_cast<const std::uint8_t*>(row.prefix.data()),
                                     row.prefix.size()}),
                           key, row.rows);
  }
  void Note(const crypto::RowKey&, const Anchor& row) { anchor_ = row; }
  void Note(const crypto::RowKey&, const auto&) {}
  void CompareSummaries();
  void CompareAnchor();

  const crypto::Keyring& keyring_;
  const crypto::Owner vault_ = crypto::Owner::Vault();
  CheckReport report_;

  Env env_;
  Txn txn_;
  MDB_dbi rows_ = 0;
  FormatRow format_row_;
  std::uint64_t entries_ = 0;      // as the file says
  std::uint64_t max_entries_ = 0;  // more cannot be in a file of this size

  // By table and project tag; of project rows first, as their table is the first one.
  std::map<Prefix, KnownProject> projects_;
  std::map<Prefix, Tally> tallies_;
  Tally all_;
  std::map<Prefix, std::pair<crypto::RowKey, Tally>> summaries_;
  std::optional<Anchor> anchor_;
};

CheckReport Check::Run(const std::filesystem::path& folder) {
  if (!Open(folder)) return std::move(report_);
  Scan();
  CompareSummaries();
  CompareAnchor();
  return std::move(report_);
}

// False, with a problem, when there is nothing to scan.
bool Check::Open(const std::filesystem::path& folder) {
  using enum Verdict;
  struct stat data {};
  if (lstat((folder / kDataFile).c_str(), &data) != 0 || !S_ISREG(data.st_mode) ||
      data.st_size == 0) {
    Add(kCannotOpen, "there is no data file in the folder");
    return false;
  }
  MDB_env* made = nullptr;
  if (mdb_env_create(&made) != 0) {
    Add(kCannotOpen, "LMDB has no memory to start");
    return false;
  }
  env_.reset(made);
  // Without a table of readers nobody has it open, and none is left behind.
  struct stat readers {};
  const bool is_copy = lstat((folder / kReaderFile).c_str(), &readers) != 0;
  const unsigned flags = MDB_RDONLY | MDB_NOTLS | (is_copy ? MDB_NOLOCK : 0u);
  if (mdb_env_open(made, folder.c_str(), flags, 0) != 0) {
    Add(kCannotOpen, "LMDB cannot open the data file");
    return false;
  }
  Result<Txn> txn = Begin(made, MDB_RDONLY);
  if (!txn) {
    Add(kCannotOpen, "no read can begin in the data file");
    return false;
  }
  txn_ = std::move(*txn);
  if (mdb_dbi_open(txn_.get(), nullptr, 0, &rows_) != 0) {
    Add(kCannotOpen, "the main database of the file cannot be opened");
    return false;
  }

  MDB_envinfo info{};
  MDB_stat stat{};
  unsigned database_flags = 0;
  mdb_env_info(made, &info);
  if (mdb_stat(txn_.get(), rows_, &stat) != 0 ||
      mdb_dbi_flags(txn_.get(), rows_, &database_flags) != 0) {
    Add(kCannotOpen, "the main database of the file cannot be looked at");
    return false;
  }
  // The size is taken after the number: a file that is being written only grows.
  const std::uint64_t pages = info.me_last_pgno + 1;
  if (lstat((folder / kDataFile).c_str(), &data) != 0 ||
      static_cast<std::uint64_t>(data.st_size) / stat.ms_psize < pages) {
    Add(kStructure, "the data file ends before its last page");
    return false;
  }
  if (database_flags != 0) {
    Add(kStructure, "the main database is of another kind than a store's");
    return false;
  }
  // Of an entry the least is two bytes in its page's list, eight of its own, and a key.
  constexpr std::uint64_t kLeastEntryBytes = 2 + 8 + crypto::kRowKeySize;
  entries_ = stat.ms_entries;
  max_entries_ = pages * (stat.ms_psize / kLeastEntryBytes) + 1;

  Result<std::optional<FormatRow>> format_row = ReadFormatRow(txn_.get(), rows_);
  if (!format_row) {
    const bool is_damaged = format_row.error().GetCode() == Code::kCorrupt;
    Add(is_damaged ? kStructure : kCannotOpen, format_row.error().GetText());
    return false;
  }
  if (!*format_row) {
    Add(kCannotOpen, "the data file has no format row");
    return false;
  }
  format_row_ = **format_row;
  if (format_row_.vault != keyring_.Id()) {
    Add(kCannotOpen, "the data file belongs to another vault");
    return false;
  }
  return true;
}

void Check::Scan() {
  using enum Verdict;
  Result<Cursor> cursor = OpenCursor(txn_.get(), rows_);
  if (!cursor) {
    Add(kStructure, cursor.error().GetText());
    return;
  }
  std::uint64_t met = 0;
  std::vector<std::uint8_t> last;
  MDB_val key{};
  MDB_val value{};
  int rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_NEXT)) {
    const std::span<const std::uint8_t> found = BytesOf(key);
    // Both end a walk in a circle.
    if (met == max_entries_) {
      Add(kStructure, "the pages give more entries than the file can hold");
      return;
    }
    if (met != 0 && !std::ranges::lexicographical_compare(last, found)) {
      Add(kStructure, "the keys do not rise");
      return;
    }
    ++met;
    last.assign(found.begin(), found.end());
    if (IsFormatKey(found)) {
      LookUp(key, value, {});
      continue;
    }
    ++report_.rows;
    if (found.size() != crypto::kRowKeySize) {
      Add(kStructure, "a key has a wrong size");
      continue;
    }
    crypto::RowKey row_key;
    std::ranges::copy(found, row_key.bytes.begin());
    LookUp(key, value, row_key);
    CheckEntry(row_key, BytesOf(value));
  }
  if (rc != MDB_NOTFOUND) {
    Add(kStructure, "the scan met a damaged page");
    return;
  }
  if (met != entries_) Add(kStructure, "the scan met another number of entries than the file has");
}

// A scan goes from leaf to leaf of the tree. A look-up goes by the keys above them, and may miss
// what a scan finds when one of those is damaged.
void Check::LookUp(MDB_val key, MDB_val value, const std::optional<crypto::RowKey>& row_key) {
  MDB_val again{};
  if (mdb_get(txn_.get(), rows_, &key, &again) != 0) {
    Add(Verdict::kStructure, "a row that the scan met is not found by its key", row_key);
  } else if (!std::ranges::equal(BytesOf(again), BytesOf(value))) {
    Add(Verdict::kStructure, "a row has other bytes when it is looked up by its key", row_key);
  }
}

void Check::CheckEntry(const crypto::RowKey& key, std::span<const std::uint8_t> value) {
  Result<crypto::SealedRow> sealed = crypto::SealedRow::Parse(value);
  if (!sealed) {
    Add(Verdict::kDamagedRows, sealed.error().GetText(), key);
    return;
  }
  bool is_known = false;
  ForEachRowType([&]<Row R>() {
    if (key.bytes[0] != static_cast<std::uint8_t>(R::kTable)) return;
    is_known = true;
    if (R::kTable != TableId::kAnchor && R::kTable != TableId::kSummaries) {
      const auto element = keyring_.ElementOf(key, *sealed);
      tallies_[PrefixOf(key.bytes)].Add(element);
      all_.Add(element);
    }
    CheckRow<R>(key, std::move(*sealed));
  });
  if (!is_known) Add(Verdict::kDamagedRows, "a row belongs to no table", key);
}

template <Row R>
void Check::CheckRow(const crypto::RowKey& key, crypto::SealedRow sealed) {
  const crypto::Owner* const owner = OwnerOf<R>(key);
  if (owner == nullptr) return;
  const Result<Stored<R>> stored = OpenRow<R>(keyring_, *owner, key, std::move(sealed));
  if (!stored) {
    Add(Verdict::kDamagedRows, stored.error().GetText(), key);
    return;
  }
  for (const crypto::Part part : {crypto::Part::kData, crypto::Part::kAppSecret}) {
    if (!stored->sealed.Has(part)) continue;
    const Result<crypto::SecretBytes> opened =
        keyring_.Open(stored->part_key, key, stored->sealed, part);
    if (!opened) Add(Verdict::kDamagedRows, opened.error().GetText(), key);
  }
  Note(key, stored->row);
}

// Whose key opens the row; null when none does, which is a problem unless it was meant.
template <Row R>
const crypto::Owner* Check::OwnerOf(const crypto::RowKey& key) {
  static_assert(R::kOwner != crypto::OwnerKind::kComponent, "no table of theirs is known here");
  if (R::kOwner == crypto::OwnerKind::kVault) return &vault_;
  const auto project = projects_.find(PrefixOf(key.bytes));
  if (project == projects_.end()) {
    Add(Verdict::kDamagedRows, "a row belongs to no project that is registered", key);
    return nullptr;
  }
  if (project->second.is_shredded) {
    ++report_.unopened;
    return nullptr;
  }
  return &project->second.owner;
}

void Check::Note(const crypto::RowKey&, const Project& row) {
  const crypto::Owner owner = crypto::Owner::Project(row.id.Str());
  // Whether it has a key says nothing: one that was made after the shredding opens no older row.
  const bool is_shredded = row.shredding_at_s != 0;
  ForEachRowType([&]<Row R>() {
    if (R::kOwner != crypto::OwnerKind::kProject) return;
    const auto prefix = keyring_.PrefixOf(static_cast<std::uint8_t>(R::kTable), row.id.Str(), {});
    projects_.emplace(PrefixOf(prefix), KnownProject{owner, is_shredded});
  });
}

void Check::CompareSummaries() {
  using enum Verdict;
  if (crypto::IsSabotaged(crypto::Sabotage::kNoSummary)) return;
  for (const auto& [prefix, tally] : tallies_) {
    const auto summary = summaries_.find(prefix);
    if (summary == summaries_.end()) {
      Add(kDamagedRows, "rows of a table and project have no summary");
    } else if (summary->second.second != tally) {
      Add(kDamagedRows, "a summary and its rows do not come to the same", summary->second.first);
    }
  }
  for (const auto& [prefix, summary] : summaries_) {
    if (!tallies_.contains(prefix)) {
      Add(kDamagedRows, "a summary has no rows", summary.first);
    }
  }
}

void Check::CompareAnchor() {
  using enum Verdict;
  if (!anchor_) {
    // A new store has none.
    if (format_row_.generation != 0 || report_.rows != 0) {
      Add(kDamagedRows, "the anchor is missing");
    }
    return;
  }
  report_.position = anchor_->position;
  report_.previous = anchor_->previous;
  const crypto::RowKey key =
      keyring_.KeyOf(static_cast<std::uint8_t>(Anchor::kTable), Anchor::Names());
  if (anchor_->position.generation != format_row_.generation) {
    Add(kDamagedRows, "the anchor and the format row are not of one commit", key);
  }
  if (anchor_->all != all_ && !crypto::IsSabotaged(crypto::Sabotage::kNoSummary)) {
    Add(kDamagedRows, "the anchor and all rows do not come to the same", key);
  }
  if (const Result<std::vector<Committed>> commits = CommitsOf(*anchor_); !commits) {
    Add(kDamagedRows, commits.error().GetText(), key);
  }
}

}  // namespace

CheckReport CheckStore(const std::filesystem::path& folder, const crypto::Keyring& keyring) {
  return Check(keyring).Run(folder);
}

}  // namespace oauthvault::storage
