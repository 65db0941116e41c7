#include "tests/storage/flips.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/keyring.h"
#include "storage/check.h"
#include "storage/lmdb/lmdb_file.h"
#include "storage/tables/rows.h"
#include "tests/storage/full_rows.h"
#include "tests/storage/kept_store.h"

namespace oauthvault::storage {
namespace {

// A child that takes longer hangs: a check of so small a store takes a few milliseconds.
constexpr unsigned kChildSeconds = 10;
// What LMDB 0.9 uses of a meta page begins with its head; the rest of the page is slack.
constexpr std::size_t kMetaBytes = 160;
constexpr std::size_t kPageBytes = 4096;

void Require(bool held, const char* what) {
  if (held) return;
  std::fprintf(stderr, "flips: %s\n", what);
  std::abort();
}

// What the parts of each row open to, one after the other; absent: they do not open.
using Plains = std::map<crypto::RowKey, std::string>;

// All that can be read, in both ways: what one way still finds, the other may miss.
struct Dump {
  Plains looked_up;
  Plains scanned;
  bool operator==(const Dump&) const = default;
};

crypto::Owner OwnerOf(const crypto::Keyring& keyring, const crypto::RowKey& key,
                      std::size_t projects) {
  for (std::size_t i = 0; i < projects; ++i) {
    const std::string id = "project-" + std::to_string(i);
    for (const TableId table : TablesOfProjects()) {
      const auto prefix = keyring.PrefixOf(static_cast<std::uint8_t>(table), id, {});
      if (std::equal(prefix.begin(), prefix.end(), key.bytes.begin())) {
        return crypto::Owner::Project(id);
      }
    }
  }
  return crypto::Owner::Vault();
}

std::optional<std::string> PlainOf(const crypto::Keyring& keyring, const crypto::Owner& owner,
                                   const crypto::RowKey& key, std::string_view value) {
  const auto sealed = crypto::SealedRow::Parse(
      {reinterpret_cast<const std::uint8_t*>(value.data()), value.size()});
  if (!sealed) return std::nullopt;
  std::string plain;
  for (const crypto::Part part :
       {crypto::Part::kMeta, crypto::Part::kData, crypto::Part::kAppSecret}) {
    if (!sealed->Has(part)) continue;
    const auto opened = keyring.Open(owner, key, *sealed, part);
    if (!opened) return std::nullopt;
    opened->Expose([&](std::span<const std::uint8_t> bytes) {
      plain.append(bytes.begin(), bytes.end());
    });
    plain += '|';
  }
  return plain;
}

constexpr std::size_t kProjects = 3;

// Reads each key of `known` as the daemon does, one by one, and then what a scan meets.
Dump DumpOf(const std::filesystem::path& folder, const crypto::Keyring& keyring,
            const std::vector<std::pair<crypto::RowKey, std::string>>& known) {
  Dump dump;
  MDB_env* made = nullptr;
  if (mdb_env_create(&made) != 0) return dump;
  const Env env(made);
  if (mdb_env_open(made, folder.c_str(), MDB_RDONLY | MDB_NOLOCK, 0) != 0) return dump;
  const Result<Txn> txn = Begin(made, MDB_RDONLY);
  MDB_dbi rows = 0;
  if (!txn || mdb_dbi_open(txn->get(), nullptr, 0, &rows) != 0) return dump;
  const auto add = [&](Plains& plains, const crypto::RowKey& key, const MDB_val& value) {
    const auto plain = PlainOf(keyring, OwnerOf(keyring, key, kProjects), key,
                               {static_cast<const char*>(value.mv_data), value.mv_size});
    if (plain) plains.try_emplace(key, *plain);
  };
  for (const auto& [key, unused] : known) {
    MDB_val mdb_key = ValueOf(key.bytes);
    MDB_val value{};
    if (mdb_get(txn->get(), rows, &mdb_key, &value) == 0) {
      add(dump.looked_up, key, value);
    }
  }
  const Result<Cursor> cursor = OpenCursor(txn->get(), rows);
  if (!cursor) return dump;
  MDB_val mdb_key{};
  MDB_val value{};
  for (std::size_t met = 0; met < 4 * known.size() + 10; ++met) {
    if (mdb_cursor_get(cursor->get(), &mdb_key, &value, MDB_NEXT) != 0) break;
    if (mdb_key.mv_size != crypto::kRowKeySize) continue;
    crypto::RowKey key;
    std::ranges::copy(BytesOf(mdb_key), key.bytes.begin());
    add(dump.scanned, key, value);
  }
  return dump;
}

// What a child has found so far, in memory that it shares: it may die at any point.
struct Findings {
  bool is_checked = false;
  Verdict verdict = Verdict::kWhole;
  Position position;
  bool is_read = false;
  bool reads_the_same = false;
  bool is_wrong = false;
};

class Flips {
 public:
  explicit Flips(const FlipPlan& plan) : plan_(plan), random_(plan.seed) {
    Make();
    shared_ = static_cast<Findings*>(mmap(nullptr, sizeof(Findings), PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    Require(shared_ != MAP_FAILED, "no shared memory");
  }
  ~Flips() { munmap(shared_, sizeof(Findings)); }
  Flips(const Flips&) = delete;
  Flips& operator=(const Flips&) = delete;

  FlipReport Run() {
    FlipBits();
    SwapRows();
    CutRows();
    CutFiles();
    RemoveRows();
    PutOlderRows();
    report_.older_files.tried = 1;
    if (!IsNoticed(before_.Path())) ++report_.older_files.unnoticed;
    return report_;
  }

 private:
  void Make();
  void Remember();
  void FlipBits();
  void FlipOne(const std::filesystem::path& folder, int file, std::size_t at, unsigned bit);
  Findings Examine(const std::filesystem::path& folder, int& status);
  void SwapRows();
  void CutRows();
  void CutFiles();
  void RemoveRows();
  void PutOlderRows();

  // The verdict on a report, as the build that is sabotaged would give it.
  Verdict VerdictOf(const CheckReport& report) const {
    if (plan_.sabotage != Sabotage::kNoSummary) return report.verdict;
    static const std::set<std::string_view> kUnseen = {
        "rows of a table and project have no summary",
        "a summary and its rows do not come to the same",
        "a summary has no rows",
        "the anchor and all rows do not come to the same",
        // The file's own count of its entries, which is not authentic, is of the same kind.
        "the scan met another number of entries than the file has",
    };
    const bool is_seen = report.problem_count > report.problems.size() ||
                         std::ranges::any_of(report.problems, [](const Problem& problem) {
                           return !kUnseen.contains(problem.what);
                         });
    return is_seen ? report.verdict : Verdict::kWhole;
  }
  bool IsWhereItShouldBe(const Position& position) const {
    return position == position_ || plan_.sabotage == Sabotage::kSkipAnchor;
  }
  // Whether somebody notices: the check, or who compares the position with the last one.
  bool IsNoticed(const std::filesystem::path& folder) const {
    const CheckReport report = CheckStore(folder, kept_.Keys());
    return VerdictOf(report) != Verdict::kWhole || !IsWhereItShouldBe(report.position);
  }

  const FlipPlan plan_;
  std::minstd_rand random_;
  mutable KeptStore kept_;
  const TemporaryFolder compact_;
  const TemporaryFolder before_;  // of one commit before the last
  Position position_;
  Dump now_;
  // What ever stood under each key: a flipped bit may lead to pages of long ago.
  std::map<crypto::RowKey, std::set<std::string>> ever_;
  std::map<crypto::RowKey, std::string> remembered_;  // sealed
  std::vector<std::pair<crypto::RowKey, std::string>> rows_;
  std::map<crypto::RowKey, std::string> older_;  // values before the last few commits
  Findings* shared_ = nullptr;
  FlipReport report_;
};

// Rows of all tables, and then each credentials row once more, so that it has an older version.
void Flips::Make() {
  kept_.BeforeRecord([this] { Remember(); });
  kept_.FillWith(plan_.rows, kProjects);
  kept_.Close();
  for (const auto& [key, value] : RawFile(kept_.Folder()).Rows()) older_.emplace(key, value);
  kept_.Open();
  for (std::size_t i = 0; i < kProjects; ++i) {
    const std::string project = "project-" + std::to_string(i);
    std::string token;
    do {
      auto page = kept_.Rows().List<Credentials>(project, "", token, 0);
      Require(page.has_value(), "the rows cannot be listed");
      for (const auto& stored : page->rows) {
        Credentials row = stored.row;
        row.authorized_for += " again";
        auto secrets = kept_.Rows().OpenSecrets(stored);
        Require(secrets && kept_.Put(row, std::move(*secrets)), "a row cannot be replaced");
      }
      token = page->next;
    } while (!token.empty());
  }
  // The last commit changes a summary and the anchor, too.
  Grant grant = FullGrant();
  grant.principal = "spiffe://vault.example/runner/last";
  Require(kept_.GetEngine().CopyTo(before_.Path()).has_value(), "no copy before the last commit");
  Require(kept_.Put(grant).has_value(), "the last row cannot be put");
  Require(kept_.GetEngine().CopyTo(compact_.Path()).has_value(), "no compact copy");
  position_ = kept_.Rows().GetAnchor()->position;
  kept_.Close();

  rows_ = RawFile(kept_.Folder()).Rows();
  now_ = DumpOf(kept_.Folder(), kept_.Keys(), rows_);
  Require(now_.looked_up.size() == rows_.size() && now_.scanned == now_.looked_up,
          "a row does not open");
  Require(CheckStore(compact_.Path(), kept_.Keys()).verdict == Verdict::kWhole &&
              kept_.Check().verdict == Verdict::kWhole,
          "the store is not whole to begin with");
}

// Called after each commit.
void Flips::Remember() {
  std::optional<crypto::RowKey> after;
  for (;;) {
    const auto rows = kept_.GetEngine().Scan({}, after, kMaxScanRows);
    Require(rows.has_value(), "the rows cannot be scanned");
    for (const KeyedRow& keyed : *rows) {
      const std::string value(keyed.row.Bytes().begin(), keyed.row.Bytes().end());
      std::string& last = remembered_[keyed.key];
      if (last == value) continue;
      last = value;
      const auto plain = PlainOf(kept_.Keys(), OwnerOf(kept_.Keys(), keyed.key, kProjects),
                                 keyed.key, value);
      Require(plain.has_value(), "a row that was just written does not open");
      ever_[keyed.key].insert(*plain);
    }
    if (rows->size() < kMaxScanRows) return;
    after = rows->back().key;
  }
}

Findings Flips::Examine(const std::filesystem::path& folder, int& status) {
  *shared_ = Findings();
  const pid_t child = fork();
  Require(child >= 0, "no child process");
  if (child == 0) {
    alarm(kChildSeconds);
    const rlimit none{};
    setrlimit(RLIMIT_CORE, &none);
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    // Locked memory is zero in a child, so it opens the keys again.
    const auto keyring = crypto::Keyring::Unlock(kept_.KeysFile(), kept_.Secret());
    if (!keyring) _exit(9);
    const CheckReport report = CheckStore(folder, **keyring);
    shared_->verdict = VerdictOf(report);
    shared_->position = report.position;
    shared_->is_checked = true;
    const Dump dump = DumpOf(folder, **keyring, rows_);
    shared_->reads_the_same = dump == now_;
    for (const Plains& plains : {dump.looked_up, dump.scanned}) {
      for (const auto& [key, plain] : plains) {
        const auto known = ever_.find(key);
        if (known == ever_.end() || !known->second.contains(plain)) shared_->is_wrong = true;
      }
    }
    shared_->is_read = true;
    _exit(0);
  }
  Require(waitpid(child, &status, 0) == child, "the child is lost");
  Require(!WIFEXITED(status) || WEXITSTATUS(status) != 9, "the keys do not open in the child");
  return *shared_;
}

void Flips::FlipOne(const std::filesystem::path& folder, int file, std::size_t at, unsigned bit) {
  const auto offset = static_cast<off_t>(at);
  std::uint8_t byte = 0;
  Require(pread(file, &byte, 1, offset) == 1, "the file cannot be read");
  const auto flipped = static_cast<std::uint8_t>(byte ^ (1u << bit));
  Require(pwrite(file, &flipped, 1, offset) == 1, "the file cannot be written");
  int status = 0;
  const Findings found = Examine(folder, status);
  Require(pwrite(file, &byte, 1, offset) == 1, "the file cannot be mended");

  FlipFigures& figures = report_.flips;
  ++figures.flips;
  if (found.is_wrong) ++figures.wrong_plaintext;
  if (!found.is_checked) {
    ++(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? figures.hung : figures.crashed);
    return;
  }
  switch (found.verdict) {
    case Verdict::kDamagedRows: ++figures.damaged_rows; return;
    case Verdict::kStructure: ++figures.structure; return;
    case Verdict::kCannotOpen: ++figures.cannot_open; return;
    case Verdict::kWhole: break;
  }
  if (!IsWhereItShouldBe(found.position)) {
    ++figures.rolled_back;
  } else if (found.is_read && found.reads_the_same) {
    ++figures.no_effect;
  } else {
    ++figures.silent;
  }
}

void Flips::FlipBits() {
  const auto compact = compact_.Path() / kDataFile;
  const auto written = kept_.Folder() / kDataFile;
  const std::size_t size = std::filesystem::file_size(compact);
  // The reader table would be made anew in each child.
  std::filesystem::remove(kept_.Folder() / kReaderFile);

  int file = open(compact.c_str(), O_RDWR | O_CLOEXEC);
  Require(file >= 0, "the compact file cannot be opened");
  const std::size_t meta_flips = std::min(plan_.flips / 3, 2 * 8 * kMetaBytes);
  const std::size_t flips = plan_.all ? 8 * size : plan_.flips - meta_flips;
  for (std::size_t i = 0; i < flips; ++i) {
    if (plan_.all) {
      FlipOne(compact_.Path(), file, i / 8, i % 8);
    } else {
      // Evenly over the file, a bit of chance in each place.
      const std::size_t from = size * i / flips;
      const std::size_t to = std::max(from + 1, size * (i + 1) / flips);
      FlipOne(compact_.Path(), file, from + random_() % (to - from), random_() % 8);
    }
  }
  close(file);

  // In a compact file one of the meta pages is that of an empty store. Both are true in one that
  // was written to, and a flipped bit may make the older one hold.
  file = open(written.c_str(), O_RDWR | O_CLOEXEC);
  Require(file >= 0, "the written file cannot be opened");
  std::vector<std::size_t> bits;
  for (std::size_t page = 0; page < 2; ++page) {
    for (std::size_t i = 0; i < 8 * (plan_.all ? kPageBytes : kMetaBytes); ++i) {
      bits.push_back(8 * kPageBytes * page + i);
    }
  }
  std::ranges::shuffle(bits, random_);
  if (!plan_.all) bits.resize(meta_flips);
  for (const std::size_t bit : bits) {
    FlipOne(kept_.Folder(), file, bit / 8, static_cast<unsigned>(bit % 8));
  }
  close(file);
}

void Flips::SwapRows() {
  const crypto::Keyring& keyring = kept_.Keys();
  std::vector<std::pair<crypto::RowKey, std::string>> sources = rows_;
  sources.insert(sources.end(), older_.begin(), older_.end());
  for (const auto& [place, unused] : rows_) {
    for (const auto& [key, value] : sources) {
      if (key == place) continue;
      ++report_.swaps.tried;
      // With the owner's key of the place, and with that of the row itself.
      const crypto::RowKey& bound_to = plan_.sabotage == Sabotage::kNoAad ? key : place;
      if (PlainOf(keyring, OwnerOf(keyring, place, kProjects), bound_to, value) ||
          PlainOf(keyring, OwnerOf(keyring, key, kProjects), bound_to, value)) {
        ++report_.swaps.unnoticed;
      }
    }
  }
}

void Flips::CutRows() {
  const crypto::Keyring& keyring = kept_.Keys();
  for (const auto& [key, value] : rows_) {
    const crypto::Owner owner = OwnerOf(keyring, key, kProjects);
    for (std::size_t size = 0; size < value.size(); size += 1 + random_() % 40) {
      ++report_.cut_rows.tried;
      if (PlainOf(keyring, owner, key, value.substr(0, size))) ++report_.cut_rows.unnoticed;
    }
    ++report_.cut_rows.tried;
    if (PlainOf(keyring, owner, key, value + '\0')) ++report_.cut_rows.unnoticed;
  }
}

void Flips::CutFiles() {
  const TemporaryFolder cut;
  const std::size_t size = std::filesystem::file_size(compact_.Path() / kDataFile);
  for (std::size_t left = 0; left < size; left += 1 + random_() % kPageBytes) {
    std::filesystem::copy_file(compact_.Path() / kDataFile, cut.Path() / kDataFile,
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(cut.Path() / kDataFile, left);
    ++report_.cut_files.tried;
    int status = 0;
    const Findings found = Examine(cut.Path(), status);
    if (found.is_checked && found.verdict == Verdict::kWhole) ++report_.cut_files.unnoticed;
  }
}

void Flips::RemoveRows() {
  const RawFile raw(kept_.Folder());
  for (const auto& [key, value] : rows_) {
    raw.Put(key, std::nullopt);
    ++report_.missing_rows.tried;
    if (!IsNoticed(kept_.Folder())) ++report_.missing_rows.unnoticed;
    const crypto::RowKey summary_key = kept_.SummaryKeyOf(key);
    const std::string summary = raw.Get(summary_key);
    if (!summary.empty()) {
      raw.Put(summary_key, std::nullopt);
      ++report_.missing_pairs.tried;
      if (!IsNoticed(kept_.Folder())) ++report_.missing_pairs.unnoticed;
      raw.Put(summary_key, summary);
    }
    raw.Put(key, value);
  }
}

void Flips::PutOlderRows() {
  const RawFile raw(kept_.Folder());
  for (const auto& [key, value] : rows_) {
    const auto older = older_.find(key);
    if (older == older_.end() || older->second == value) continue;
    raw.Put(key, older->second);
    ++report_.older_rows.tried;
    if (!IsNoticed(kept_.Folder())) ++report_.older_rows.unnoticed;
    const crypto::RowKey summary_key = kept_.SummaryKeyOf(key);
    const auto summary = older_.find(summary_key);
    if (summary != older_.end()) {
      const std::string newer = raw.Get(summary_key);
      raw.Put(summary_key, summary->second);
      ++report_.older_pairs.tried;
      if (!IsNoticed(kept_.Folder())) ++report_.older_pairs.unnoticed;
      raw.Put(summary_key, newer);
    }
    raw.Put(key, value);
  }
}

}  // namespace

std::uint64_t FlipReport::Unnoticed() const {
  return flips.silent + flips.wrong_plaintext + swaps.unnoticed + cut_rows.unnoticed +
         cut_files.unnoticed + missing_rows.unnoticed + missing_pairs.unnoticed +
         older_rows.unnoticed + older_pairs.unnoticed + older_files.unnoticed;
}

std::string FlipReport::Text() const {
  std::ostringstream text;
  text << "flips " << flips.flips << "\nno_effect " << flips.no_effect
       << "\nreported_damaged_rows " << flips.damaged_rows << "\nreported_structure "
       << flips.structure << "\nreported_cannot_open " << flips.cannot_open
       << "\nreported_rolled_back " << flips.rolled_back << "\ncrashed " << flips.crashed
       << "\nhung " << flips.hung << "\nsilent " << flips.silent << "\nwrong_plaintext "
       << flips.wrong_plaintext << "\n";
  const auto add = [&](const char* name, const Tries& tries) {
    text << name << "_tried " << tries.tried << "\n" << name << "_unnoticed " << tries.unnoticed
         << "\n";
  };
  add("swaps", swaps);
  add("cut_rows", cut_rows);
  add("cut_files", cut_files);
  add("missing_rows", missing_rows);
  add("missing_rows_with_summary", missing_pairs);
  add("older_rows", older_rows);
  add("older_rows_with_summary", older_pairs);
  add("older_files", older_files);
  text << "unnoticed " << Unnoticed() << "\n";
  return text.str();
}

FlipReport RunFlips(const FlipPlan& plan) { return Flips(plan).Run(); }

}  // namespace oauthvault::storage
