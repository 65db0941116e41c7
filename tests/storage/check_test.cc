#include "storage/check.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "tests/storage/full_rows.h"
#include "tests/storage/kept_store.h"

namespace oauthvault::storage {
namespace {

std::string AllOf(const CheckReport& report) {
  std::string text;
  for (const Problem& problem : report.problems) text += std::string(problem.what) + "\n";
  return text;
}

bool Has(const CheckReport& report, std::string_view what,
         const std::optional<crypto::RowKey>& key = {}) {
  return std::ranges::any_of(report.problems, [&](const Problem& problem) {
    return problem.what == what && (!key || problem.key == key);
  });
}

constexpr std::string_view kTally = "a summary and its rows do not come to the same";
constexpr std::string_view kAll = "the anchor and all rows do not come to the same";

class CheckTest : public testing::Test {
 protected:
  static Credentials CredentialsNamed(std::string_view project, std::string_view id) {
    Credentials row = FullCredentials();
    row.project = ProjectNamed(project);
    row.component = ComponentNamed("component-0");
    row.id = OauthNamed(id);
    return row;
  }

  KeptStore kept_;
  const RawFile raw_{kept_.Folder()};
};

TEST_F(CheckTest, New_IsWhole) {
  kept_.Close();
  const CheckReport report = kept_.Check();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << AllOf(report);
  EXPECT_EQ(report.rows, 0u);
  EXPECT_EQ(report.position, (Position{0, 0}));
}

TEST_F(CheckTest, Whole_CountsRowsAndSaysWhereTheStoreStands) {
  kept_.FillWith(60);
  const std::uint64_t rows = kept_.GetEngine().GetFill()->rows;
  const std::uint64_t generation = kept_.GetEngine().Generation();
  kept_.Close();
  const CheckReport report = kept_.Check();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << AllOf(report);
  EXPECT_EQ(report.problem_count, 0u);
  EXPECT_EQ(report.rows, rows);
  EXPECT_GT(report.rows, 60u);
  EXPECT_EQ(report.unopened, 0u);
  EXPECT_EQ(report.position, (Position{0, generation}));
  EXPECT_EQ(report.previous, (Position{0, generation - 1}));
}

TEST_F(CheckTest, Copy_IsCheckedAndNothingIsLeftInItsFolder) {
  kept_.FillWith(60);
  const TemporaryFolder copy;
  ASSERT_TRUE(kept_.GetEngine().CopyTo(copy.Path()).has_value());
  const CheckReport report = CheckStore(copy.Path(), kept_.Keys());
  EXPECT_EQ(report.verdict, Verdict::kWhole) << AllOf(report);
  EXPECT_EQ(report.position.generation, kept_.GetEngine().Generation());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(copy.Path()), {}), 1);
}

TEST_F(CheckTest, Open_RefusesWhatIsNoStoreOfThisVault) {
  const TemporaryFolder empty;
  EXPECT_EQ(CheckStore(empty.Path(), kept_.Keys()).verdict, Verdict::kCannotOpen);
  EXPECT_EQ(CheckStore(empty.Path() / "nowhere", kept_.Keys()).verdict, Verdict::kCannotOpen);
  std::ofstream(empty.Path() / "data.mdb") << std::string(8192, 'x');
  EXPECT_EQ(CheckStore(empty.Path(), kept_.Keys()).verdict, Verdict::kCannotOpen);

  kept_.FillWith(20);
  kept_.Close();
  const KeptStore other;
  const CheckReport foreign = CheckStore(kept_.Folder(), other.Keys());
  EXPECT_EQ(foreign.verdict, Verdict::kCannotOpen);
  EXPECT_TRUE(Has(foreign, "the data file belongs to another vault"));

  std::string format_row = raw_.Get(RawFile::FormatKey());
  format_row[8] = 2;
  raw_.Put(RawFile::FormatKey(), format_row);
  EXPECT_EQ(kept_.Check().verdict, Verdict::kCannotOpen);
  raw_.Put(RawFile::FormatKey(), std::nullopt);
  EXPECT_EQ(kept_.Check().verdict, Verdict::kCannotOpen);
}

TEST_F(CheckTest, Cut_FileIsNoticedBeforeItIsRead) {
  kept_.FillWith(60);
  const TemporaryFolder copy;
  ASSERT_TRUE(kept_.GetEngine().CopyTo(copy.Path()).has_value());
  const auto size = std::filesystem::file_size(copy.Path() / "data.mdb");
  std::filesystem::resize_file(copy.Path() / "data.mdb", size - 4096);
  const CheckReport report = CheckStore(copy.Path(), kept_.Keys());
  EXPECT_EQ(report.verdict, Verdict::kStructure);
  EXPECT_TRUE(Has(report, "the data file ends before its last page"));
}

TEST_F(CheckTest, Bytes_OfAnyPartThatAreChangedAreFound) {
  kept_.FillWith(30);
  kept_.Close();
  for (const auto& [key, value] : raw_.Rows()) {
    for (const std::size_t at : {value.size() - 1, value.size() / 2, std::size_t{50}}) {
      std::string changed = value;
      changed[at] = static_cast<char>(changed[at] ^ 1);
      raw_.Put(key, changed);
      const CheckReport report = kept_.Check();
      EXPECT_EQ(report.verdict, Verdict::kDamagedRows);
      EXPECT_TRUE(std::ranges::any_of(report.problems, [&](const Problem& problem) {
        return problem.key == key;
      })) << AllOf(report);
    }
    raw_.Put(key, value);
  }
  EXPECT_EQ(kept_.Check().verdict, Verdict::kWhole);
}

TEST_F(CheckTest, Row_ThatIsMissingIsFoundByItsSummary) {
  kept_.FillWith(60);
  kept_.Close();
  for (const auto& [key, value] : raw_.Rows()) {
    raw_.Put(key, std::nullopt);
    const CheckReport report = kept_.Check();
    EXPECT_EQ(report.verdict, Verdict::kDamagedRows);
    if (key == kept_.AnchorKey()) {
      EXPECT_TRUE(Has(report, "the anchor is missing"));
    } else if (key.bytes[0] == static_cast<std::uint8_t>(TableId::kSummaries)) {
      EXPECT_TRUE(Has(report, "rows of a table and project have no summary"));
    } else {
      EXPECT_TRUE(Has(report, kAll));
      EXPECT_TRUE(Has(report, kTally, kept_.SummaryKeyOf(key)) ||
                  Has(report, "a summary has no rows", kept_.SummaryKeyOf(key)));
    }
    raw_.Put(key, value);
  }
  EXPECT_EQ(kept_.Check().verdict, Verdict::kWhole);
}

TEST_F(CheckTest, Row_AndItsSummaryThatAreMissingAreFoundByTheAnchor) {
  kept_.FillWith(20);
  ASSERT_TRUE(kept_.Put(FullConnection()).error().GetCode() == Code::kNotFound);
  kept_.Close();
  const crypto::RowKey grant = kept_.KeyOf(FullGrant());
  raw_.Put(grant, std::nullopt);
  raw_.Put(kept_.SummaryKeyOf(grant), std::nullopt);
  const CheckReport report = kept_.Check();
  EXPECT_EQ(report.verdict, Verdict::kDamagedRows);
  EXPECT_TRUE(Has(report, kAll));
  EXPECT_EQ(report.problem_count, 1u) << AllOf(report);
}

TEST_F(CheckTest, Row_OfAnEarlierTimeIsFound) {
  kept_.FillWith(20);
  const Credentials row = CredentialsNamed("project-0", "replayed");
  const crypto::RowKey key = kept_.KeyOf(row);
  const crypto::RowKey summary = kept_.SummaryKeyOf(key);
  ASSERT_TRUE(kept_.Put(row).has_value());
  kept_.Close();
  const std::string old_row = raw_.Get(key);
  const std::string old_summary = raw_.Get(summary);
  const std::string old_anchor = raw_.Get(kept_.AnchorKey());
  kept_.Open();
  ASSERT_TRUE(kept_.Put(row).has_value());
  ASSERT_TRUE(kept_.Put(FullGrant()).has_value());
  kept_.Close();
  const std::string new_row = raw_.Get(key);
  const std::string new_summary = raw_.Get(summary);

  raw_.Put(key, old_row);
  EXPECT_TRUE(Has(kept_.Check(), kTally, summary));
  raw_.Put(summary, old_summary);
  EXPECT_FALSE(Has(kept_.Check(), kTally));
  EXPECT_TRUE(Has(kept_.Check(), kAll));
  raw_.Put(kept_.AnchorKey(), old_anchor);
  EXPECT_TRUE(Has(kept_.Check(), "the anchor and the format row are not of one commit"));
  EXPECT_TRUE(Has(kept_.Check(), kAll));  // the grant is newer than that anchor
  raw_.Put(key, new_row);
  EXPECT_TRUE(Has(kept_.Check(), kTally, summary));
  raw_.Put(summary, new_summary);
  EXPECT_EQ(kept_.Check().verdict, Verdict::kDamagedRows);
}

TEST_F(CheckTest, LedgersRows_OfAnEarlierTimeAreFound) {
  kept_.FillWith(20);
  kept_.Close();
  const crypto::RowKey summary = kept_.SummaryKeyOf(kept_.KeyOf(FullGrant()));
  const std::string old_summary = raw_.Get(summary);
  const std::string old_anchor = raw_.Get(kept_.AnchorKey());
  kept_.Open();
  ASSERT_TRUE(kept_.Put(FullGrant()).has_value());
  kept_.Close();
  const std::string new_summary = raw_.Get(summary);
  raw_.Put(summary, old_summary);
  const CheckReport report = kept_.Check();
  EXPECT_TRUE(Has(report, kTally, summary));
  EXPECT_EQ(report.problem_count, 1u);
  raw_.Put(summary, new_summary);
  raw_.Put(kept_.AnchorKey(), old_anchor);
  EXPECT_EQ(kept_.Check().problem_count, 2u);
  EXPECT_TRUE(Has(kept_.Check(), kAll));
  // Without the format row the anchor's tally alone tells.
  std::string format_row = raw_.Get(RawFile::FormatKey());
  --format_row[28];
  raw_.Put(RawFile::FormatKey(), format_row);
  EXPECT_EQ(kept_.Check().problem_count, 1u);
  EXPECT_TRUE(Has(kept_.Check(), kAll));
}

TEST_F(CheckTest, Rows_ThatChangedPlacesAreFound) {
  kept_.FillWith(20);
  kept_.Close();
  const auto rows = raw_.Rows();
  for (std::size_t i = 1; i < rows.size(); ++i) {
    raw_.Put(rows[i - 1].first, rows[i].second);
    raw_.Put(rows[i].first, rows[i - 1].second);
    const CheckReport report = kept_.Check();
    EXPECT_EQ(report.verdict, Verdict::kDamagedRows);
    raw_.Put(rows[i - 1].first, rows[i - 1].second);
    raw_.Put(rows[i].first, rows[i].second);
  }
}

TEST_F(CheckTest, Row_WithTheNamesOfAnotherIsFound) {
  kept_.FillWith(20);
  kept_.Close();
  const Credentials inside = CredentialsNamed("project-0", "inside");
  const crypto::RowKey key = kept_.KeyOf(CredentialsNamed("project-0", "place"));
  FieldWriter fields;
  inside.Encode(fields);
  const auto sealed = kept_.Keys().Seal(crypto::Owner::Project("project-0"), key, 1,
                                        {std::move(fields).Take(), std::nullopt, std::nullopt});
  ASSERT_TRUE(sealed.has_value());
  raw_.Put(key, std::string(sealed->Bytes().begin(), sealed->Bytes().end()));
  EXPECT_TRUE(Has(kept_.Check(), "a row's names do not belong to the key it was found under", key));
}

TEST_F(CheckTest, Row_OfNoProjectAndOfNoTableIsFound) {
  kept_.FillWith(20);
  ASSERT_TRUE(kept_.Keys().EnsureKek(crypto::Owner::Project("unregistered")).has_value());
  const Credentials orphan = CredentialsNamed("unregistered", "orphan");
  ASSERT_TRUE(kept_.Put(orphan).has_value());
  kept_.Close();
  const CheckReport report = kept_.Check();
  EXPECT_EQ(report.verdict, Verdict::kDamagedRows);
  EXPECT_EQ(report.problem_count, 1u) << AllOf(report);
  EXPECT_TRUE(Has(report, "a row belongs to no project that is registered", kept_.KeyOf(orphan)));

  crypto::RowKey unknown = kept_.KeyOf(orphan);
  unknown.bytes[0] = 200;
  raw_.Put(unknown, raw_.Get(kept_.KeyOf(orphan)));
  EXPECT_TRUE(Has(kept_.Check(), "a row belongs to no table", unknown));
}

// LMDB 0.9: a page begins with its number (8), 2 unused, its kind (2), and the end of the list of
// places (2) that follows the head of 16; an entry with 8 of its own before its key.
TEST_F(CheckTest, Branch_ThatLeadsAstrayIsFoundByLookingUpWhatTheScanMet) {
  kept_.FillWith(200);
  const TemporaryFolder copy;
  ASSERT_TRUE(kept_.GetEngine().CopyTo(copy.Path()).has_value());
  const auto path = copy.Path() / "data.mdb";
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  file.clear();
  const auto number = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<std::uint8_t>(content[at])) |
           static_cast<std::size_t>(static_cast<std::uint8_t>(content[at + 1])) << 8;
  };
  int branches = 0;
  for (std::size_t page = 2 * 4096; page < content.size(); page += 4096) {
    if (number(page + 10) != 1) continue;
    const std::size_t entry = page + number(page + 16 + 2);  // the second: the first has no key
    ASSERT_EQ(number(entry + 6), crypto::kRowKeySize);
    file.seekp(static_cast<std::streamoff>(entry + 8)).put('\xff').flush();
    const CheckReport report = CheckStore(copy.Path(), kept_.Keys());
    EXPECT_EQ(report.verdict, Verdict::kStructure);
    EXPECT_TRUE(Has(report, "a row that the scan met is not found by its key"));
    file.seekp(static_cast<std::streamoff>(entry + 8)).put(content[entry + 8]).flush();
    ++branches;
  }
  EXPECT_GT(branches, 0);
  EXPECT_EQ(CheckStore(copy.Path(), kept_.Keys()).verdict, Verdict::kWhole);
}

TEST_F(CheckTest, Key_OfAnotherSizeIsStructure) {
  kept_.FillWith(20);
  kept_.Close();
  raw_.Put("short key", "value");
  EXPECT_EQ(kept_.Check().verdict, Verdict::kStructure);
  raw_.Put("short key", std::nullopt);
  EXPECT_EQ(kept_.Check().verdict, Verdict::kWhole);
}

TEST_F(CheckTest, FormatRow_OfAnotherCommitIsFound) {
  kept_.FillWith(20);
  kept_.Close();
  std::string format_row = raw_.Get(RawFile::FormatKey());
  ++format_row[28];
  raw_.Put(RawFile::FormatKey(), format_row);
  const CheckReport report = kept_.Check();
  EXPECT_EQ(report.verdict, Verdict::kDamagedRows);
  EXPECT_TRUE(Has(report, "the anchor and the format row are not of one commit"));
}

TEST_F(CheckTest, Shredded_ProjectsRowsAreCountedAndNotOpened) {
  kept_.FillWith(60);
  const crypto::Owner owner = crypto::Owner::Project("project-1");
  const Project project = kept_.Rows().Get<Project>(Project::Names(ProjectNamed("project-1")))->row;
  kept_.Close();
  // Without the mark in the project's row, rows that do not open are damage.
  ASSERT_TRUE(kept_.Keys().RemoveOwner(owner).has_value());
  const CheckReport lost = kept_.Check();
  EXPECT_EQ(lost.verdict, Verdict::kDamagedRows);
  EXPECT_EQ(lost.unopened, 0u);

  kept_.Open();
  Project marked = project;
  marked.shredding_at_s = 1;
  ASSERT_TRUE(kept_.Put(marked).has_value());
  kept_.Close();
  const CheckReport report = kept_.Check();
  EXPECT_EQ(report.verdict, Verdict::kWhole) << AllOf(report);
  EXPECT_EQ(report.unopened, lost.problem_count);
  EXPECT_GT(report.unopened, 5u);

  // A key that was made since opens none of them, and is no reason to call them damaged.
  ASSERT_TRUE(kept_.Keys().EnsureKek(owner).has_value());
  EXPECT_EQ(kept_.Check().verdict, Verdict::kWhole);

  // They still count: one that is missing is missed.
  const auto rows = raw_.Rows();
  const auto credentials = std::ranges::find_if(rows, [&](const auto& row) {
    const auto prefix = kept_.Keys().PrefixOf(static_cast<std::uint8_t>(TableId::kCredentials),
                                              "project-1", {});
    return std::equal(prefix.begin(), prefix.end(), row.first.bytes.begin());
  });
  ASSERT_NE(credentials, rows.end());
  raw_.Put(credentials->first, std::nullopt);
  EXPECT_EQ(kept_.Check().verdict, Verdict::kDamagedRows);
}

TEST_F(CheckTest, DamagedRow_ThatIsRemovedIsStillMissed) {
  kept_.FillWith(20);
  const Credentials row = CredentialsNamed("project-0", "damaged");
  const crypto::RowKey key = kept_.KeyOf(row);
  ASSERT_TRUE(kept_.Put(row).has_value());
  kept_.Close();
  raw_.Put(key, "no sealed row");
  EXPECT_EQ(kept_.Check().verdict, Verdict::kDamagedRows);
  kept_.Open();
  EXPECT_EQ(kept_.Put(row).error().GetCode(), Code::kCorrupt);
  const auto act = EncodeAct(Act{.act = "test.remove"});
  ASSERT_TRUE(kept_.GetEngine()
                  .Commit({Change{key, {}, std::nullopt}}, std::string(act.begin(), act.end()))
                  .has_value());
  kept_.Close();
  const CheckReport report = kept_.Check();
  EXPECT_EQ(report.verdict, Verdict::kDamagedRows);
  EXPECT_EQ(report.problem_count, 2u) << AllOf(report);
  EXPECT_TRUE(Has(report, kTally, kept_.SummaryKeyOf(key)));
  EXPECT_TRUE(Has(report, kAll));
}

TEST_F(CheckTest, Problems_BeyondTheirBoundAreCountedOnly) {
  kept_.FillWith(200);
  kept_.Close();
  for (const auto& [key, value] : raw_.Rows()) raw_.Put(key, "no sealed row");
  const CheckReport report = kept_.Check();
  EXPECT_EQ(report.problems.size(), kMaxKeptProblems);
  EXPECT_GE(report.problem_count, 200u);
}

TEST_F(CheckTest, Beside_ADaemonThatWritesIsWholeEachTime) {
  kept_.FillWith(60);
  kept_.Close();
  std::array<int, 2> reports{};
  std::array<int, 2> go{};
  ASSERT_EQ(pipe(reports.data()), 0);
  ASSERT_EQ(pipe(go.data()), 0);
  struct Said {
    Verdict verdict;
    std::uint64_t generation;
  };
  // At least so many, and on until it saw the store change, which the disk may make slow.
  constexpr int kChecks = 20;
  constexpr int kMostChecks = 20'000;
  const pid_t child = fork();
  if (child == 0) {
    char byte = 0;
    // Locked memory is zero in a child.
    const auto keyring = crypto::Keyring::Unlock(kept_.KeysFile(), kept_.Secret());
    if (!keyring || read(go[0], &byte, 1) != 1) _exit(2);
    std::set<std::uint64_t> seen;
    for (int i = 0; i < kChecks || (seen.size() < 2 && i < kMostChecks); ++i) {
      const CheckReport report = CheckStore(kept_.Folder(), **keyring);
      const Said said{report.verdict, report.position.generation};
      seen.insert(said.generation);
      if (write(reports[1], &said, sizeof(said)) != sizeof(said)) _exit(3);
    }
    _exit(0);
  }
  close(reports[1]);
  kept_.Open();
  ASSERT_EQ(write(go[1], "g", 1), 1);
  int status = 0;
  std::uint64_t name = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    ASSERT_TRUE(kept_.Put(CredentialsNamed("project-0", std::to_string(name++ % 40))).has_value());
  }
  EXPECT_EQ(status, 0);
  std::set<std::uint64_t> generations;
  Said said{};
  while (read(reports[0], &said, sizeof(said)) == sizeof(said)) {
    EXPECT_EQ(said.verdict, Verdict::kWhole);
    generations.insert(said.generation);
  }
  EXPECT_GT(generations.size(), 1u);
  for (const int fd : {reports[0], go[0], go[1]}) close(fd);
}

}  // namespace
}  // namespace oauthvault::storage
