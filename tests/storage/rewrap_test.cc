// Whole owners at once: rows brought under a newer KEK, and rows removed that nobody can open.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/storage/full_rows.h"
#include "tests/storage/kept_store.h"

namespace oauthvault::storage {
namespace {

const Act kAct{.act = "test.rewrap"};

class RewrapTest : public testing::Test {
 protected:
  void SetUp() override { kept_.FillWith(120); }

  std::map<crypto::RowKey, crypto::SealedRow> AllRows() {
    std::map<crypto::RowKey, crypto::SealedRow> all;
    const auto rows = kept_.GetEngine().Scan({}, {}, kMaxScanRows);
    EXPECT_TRUE(rows.has_value());
    for (const KeyedRow& row : *rows) all.emplace(row.key, row.row);
    return all;
  }

  // Whose the row is, in a store of these projects.
  crypto::Owner OwnerOf(const crypto::RowKey& key) const {
    for (const char* project : {"project-0", "project-1", "project-2"}) {
      for (const TableId table : TablesOfProjects()) {
        const auto prefix =
            kept_.Keys().PrefixOf(static_cast<std::uint8_t>(table), project, {});
        if (std::equal(prefix.begin(), prefix.end(), key.bytes.begin())) {
          return crypto::Owner::Project(project);
        }
      }
    }
    return crypto::Owner::Vault();
  }
  bool IsOf(const crypto::RowKey& key, const crypto::Owner& owner) const {
    const crypto::Owner found = OwnerOf(key);
    return found.kind == owner.kind && found.name == owner.name;
  }

  // Page after page from `token`; all that was looked at and rewrapped.
  RewrapPage RewrapAll(const crypto::Owner& owner, std::size_t limit, std::string token = {}) {
    RewrapPage sum;
    for (;;) {
      const auto page = kept_.Rows().Rewrap(owner, token, limit, kAct);
      if (!page && page.error().GetCode() == Code::kConflict) {
        ++conflicts_;
        continue;
      }
      EXPECT_TRUE(page.has_value());
      if (!page) return sum;
      EXPECT_LE(page->looked_at, limit);
      sum.looked_at += page->looked_at;
      sum.rewrapped += page->rewrapped;
      token = page->next;
      if (token.empty()) return sum;
    }
  }

  std::uint64_t CountAt(const crypto::Owner& owner, std::uint32_t version) {
    return static_cast<std::uint64_t>(std::ranges::count_if(AllRows(), [&](const auto& row) {
      return row.first != kept_.AnchorKey() && IsOf(row.first, owner) &&
             row.second.KekVersion() == version;
    }));
  }

  void ExpectWhole() {
    kept_.Close();
    EXPECT_EQ(kept_.Check().verdict, Verdict::kWhole);
    kept_.Open();
  }

  KeptStore kept_;
  std::uint64_t conflicts_ = 0;
};

TEST_F(RewrapTest, Rewrap_BringsTheRowsOfAProjectInAllTablesUnderItsNewestKek) {
  const crypto::Owner owner = crypto::Owner::Project("project-1");
  const std::uint64_t rows = CountAt(owner, 1);
  ASSERT_GT(rows, 30u);
  const Tally all = kept_.Rows().GetAnchor()->all;
  const auto before = AllRows();
  ASSERT_EQ(*kept_.Keys().RotateKek(owner), 2u);
  const RewrapPage sum = RewrapAll(owner, 7);
  EXPECT_EQ(sum.looked_at, rows);
  EXPECT_EQ(sum.rewrapped, rows);
  EXPECT_EQ(CountAt(owner, 2), rows);
  EXPECT_EQ(CountAt(owner, 1), 0u);
  // What the rows come to is the same, and nothing of them but the wrap has changed.
  EXPECT_EQ(kept_.Rows().GetAnchor()->all, all);
  for (const auto& [key, row] : AllRows()) {
    const crypto::SealedRow& old = before.at(key);
    if (IsOf(key, owner)) {
      EXPECT_EQ(row.RecordVersion(), old.RecordVersion());
      EXPECT_TRUE(std::ranges::equal(row.Commitment(), old.Commitment()));
    } else if (key.bytes[0] != static_cast<std::uint8_t>(TableId::kAnchor) &&
               key.bytes[0] != static_cast<std::uint8_t>(TableId::kSummaries)) {
      EXPECT_TRUE(std::ranges::equal(row.Bytes(), old.Bytes()));
    }
  }
  ExpectWhole();
}

TEST_F(RewrapTest, Rewrap_LeavesTheSummariesAsTheyWere) {
  const crypto::Owner owner = crypto::Owner::Project("project-1");
  const auto summaries = [&] {
    std::map<std::string, Tally> tallies;
    const auto page = kept_.Rows().List<Summary>("", "", "", kMaxPageSize);
    EXPECT_TRUE(page.has_value());
    for (const auto& stored : page->rows) tallies[stored.row.prefix] = stored.row.rows;
    return tallies;
  };
  const auto before = summaries();
  ASSERT_TRUE(kept_.Keys().RotateKek(owner).has_value());
  (void)RewrapAll(owner, 50);
  EXPECT_EQ(summaries(), before);
}

TEST_F(RewrapTest, Rewrap_OfTheVaultTakesItsSummariesToo) {
  const crypto::Owner owner = crypto::Owner::Vault();
  const std::uint64_t rows = CountAt(owner, 1);
  ASSERT_TRUE(kept_.Keys().RotateKek(owner).has_value());
  const RewrapPage sum = RewrapAll(owner, 4);
  EXPECT_EQ(sum.looked_at, rows);
  EXPECT_EQ(CountAt(owner, 1), 0u);
  EXPECT_EQ(CountAt(owner, 2), rows);
  EXPECT_EQ(AllRows().at(kept_.AnchorKey()).KekVersion(), 2u);
  ExpectWhole();
}

TEST_F(RewrapTest, Rewrap_FromTheStartAgainIsHarmless) {
  const crypto::Owner owner = crypto::Owner::Project("project-0");
  const std::uint64_t rows = CountAt(owner, 1);
  ASSERT_TRUE(kept_.Keys().RotateKek(owner).has_value());
  const auto half = kept_.Rows().Rewrap(owner, "", rows / 2, kAct);
  ASSERT_TRUE(half.has_value());
  EXPECT_EQ(half->rewrapped, rows / 2);
  EXPECT_FALSE(half->next.empty());
  kept_.Close();
  kept_.Open();
  const RewrapPage sum = RewrapAll(owner, 10);
  EXPECT_EQ(sum.looked_at, rows);
  EXPECT_EQ(sum.rewrapped, rows - rows / 2);
  const std::uint64_t generation = kept_.GetEngine().Generation();
  EXPECT_EQ(RewrapAll(owner, 10).rewrapped, 0u);
  EXPECT_EQ(kept_.GetEngine().Generation(), generation);  // nothing to commit
  ExpectWhole();
}

TEST_F(RewrapTest, Rewrap_RefusesWhatIsNoPage) {
  const crypto::Owner owner = crypto::Owner::Project("project-0");
  const auto code_of = [&](const crypto::Owner& whose, const std::string& token,
                           std::size_t limit) -> std::optional<Code> {
    const auto page = kept_.Rows().Rewrap(whose, token, limit, kAct);
    if (page) return std::nullopt;
    return page.error().GetCode();
  };
  EXPECT_EQ(code_of(owner, "", 0), Code::kInvalid);
  EXPECT_EQ(code_of(owner, "", kMaxPageSize + 1), Code::kInvalid);
  EXPECT_EQ(code_of(owner, "no token", 10), Code::kInvalid);
  EXPECT_EQ(code_of(crypto::Owner::Project("nobody"), "", 10), Code::kNotFound);
  const std::string token = kept_.Rows().Rewrap(owner, "", 1, kAct)->next;
  EXPECT_EQ(code_of(owner, token, 10), std::nullopt);
  EXPECT_EQ(code_of(crypto::Owner::Project("project-1"), token, 10), Code::kInvalid);
  EXPECT_EQ(code_of(crypto::Owner::Vault(), token, 10), Code::kInvalid);
}

TEST_F(RewrapTest, Rewrap_BesideWritersLosesNothingAndComesToAnEnd) {
  std::atomic<bool> done = false;
  std::atomic<std::uint64_t> replaced = 0;
  std::map<std::string, std::string> last;  // what was acknowledged of each row
  std::vector<Credentials> rows;
  for (const char* project : {"project-0", "project-1", "project-2"}) {
    const auto page = kept_.Rows().List<Credentials>(project, "", "", kMaxPageSize);
    for (const auto& stored : page->rows) rows.push_back(stored.row);
  }
  std::jthread writer([&] {
    for (std::uint64_t i = 0; !done; ++i) {
      Credentials row = rows[i % rows.size()];
      row.authorized_for = "round " + std::to_string(i);
      // A rewrap does not change the version, so it is no conflict for a writer.
      const auto put = kept_.Put(row, {crypto::SecretBytes::CopyOf(row.authorized_for), {}});
      EXPECT_TRUE(put.has_value());
      last[row.project.Str() + row.id.Str()] = row.authorized_for;
      ++replaced;
    }
  });
  for (const crypto::Owner& owner :
       {crypto::Owner::Project("project-0"), crypto::Owner::Vault(),
        crypto::Owner::Project("project-1"), crypto::Owner::Project("project-2")}) {
    while (replaced < 5) std::this_thread::yield();
    ASSERT_TRUE(kept_.Keys().RotateKek(owner).has_value());
    (void)RewrapAll(owner, kMaxPageSize);
  }
  done = true;
  writer.join();
  EXPECT_LT(conflicts_, 5u);  // each needs a writer that sealed before the rotation
  for (const Credentials& row : rows) {
    const auto found = kept_.Rows().Get<Credentials>(row.Names());
    ASSERT_TRUE(found.has_value());
    const auto known = last.find(row.project.Str() + row.id.Str());
    if (known != last.end()) {
      EXPECT_EQ(found->row.authorized_for, known->second);
    }
    EXPECT_TRUE(kept_.Rows().OpenSecrets(*found).has_value());
  }
  // A writer may have sealed before a rotation what it committed after it: one row at most.
  for (const char* project : {"project-0", "project-1", "project-2"}) {
    EXPECT_LE(CountAt(crypto::Owner::Project(project), 1), 1u);
    (void)RewrapAll(crypto::Owner::Project(project), 10);
    EXPECT_EQ(CountAt(crypto::Owner::Project(project), 1), 0u);
  }
  ExpectWhole();
}

// An engine that lets somebody in between a scan and what is committed after it.
class Interrupted final : public Engine {
 public:
  Interrupted(Engine& engine, std::function<void()> interrupt)
      : engine_(engine), interrupt_(std::move(interrupt)) {}

  Result<std::vector<std::optional<crypto::SealedRow>>> Read(
      std::span<const crypto::RowKey> keys) const override {
    return engine_.Read(keys);
  }
  Result<std::vector<KeyedRow>> Scan(std::span<const std::uint8_t> prefix,
                                     const std::optional<crypto::RowKey>& after,
                                     std::size_t limit) const override {
    return engine_.Scan(prefix, after, limit);
  }
  Result<std::vector<crypto::RowKey>> ScanKeys(std::span<const std::uint8_t> prefix,
                                               const std::optional<crypto::RowKey>& after,
                                               std::size_t limit) const override {
    return engine_.ScanKeys(prefix, after, limit);
  }
  Result<std::uint64_t> Commit(std::vector<Change> changes, std::string act) override {
    if (interrupt_) std::exchange(interrupt_, nullptr)();
    return engine_.Commit(std::move(changes), std::move(act));
  }
  std::uint64_t Generation() const override { return engine_.Generation(); }
  Result<void> CopyTo(const std::filesystem::path& folder) const override {
    return engine_.CopyTo(folder);
  }
  Result<Fill> GetFill() const override { return engine_.GetFill(); }
  std::uint64_t ReadCount() const override { return engine_.ReadCount(); }

 private:
  Engine& engine_;
  std::function<void()> interrupt_;
};

TEST_F(RewrapTest, Rewrap_DoesNotBringBackWhatWasRemovedAndPutAnew) {
  const crypto::Owner owner = crypto::Owner::Project("project-0");
  const std::uint64_t rows = CountAt(owner, 1);
  const auto page = kept_.Rows().List<Credentials>("project-0", "", "", 1);
  Credentials row = page->rows.front().row;
  ASSERT_TRUE(kept_.Keys().RotateKek(owner).has_value());
  Interrupted engine(kept_.GetEngine(), [&] {
    EXPECT_TRUE(kept_.Remove(row).has_value());
    row.authorized_for = "put anew";
    EXPECT_TRUE(kept_.Put(row).has_value());  // at version 1 again
  });
  Store store(engine, kept_.Keys());
  ASSERT_TRUE(store.Rewrap(owner, "", kMaxPageSize, kAct).has_value());
  EXPECT_EQ(kept_.Rows().Get<Credentials>(row.Names())->row.authorized_for, "put anew");
  EXPECT_EQ(CountAt(owner, 2), rows);
}

TEST_F(RewrapTest, RemoveUnopened_TakesTheRowsOfAShreddedProjectAndNoOther) {
  const ProjectId id = ProjectNamed("project-1");
  const crypto::Owner owner = crypto::Owner::Project("project-1");
  const std::uint64_t rows = CountAt(owner, 1);
  const std::uint64_t others = AllRows().size() - rows;
  Project project = kept_.Rows().Get<Project>(Project::Names(id))->row;
  project.shredding_at_s = 1;
  ASSERT_TRUE(kept_.Put(project).has_value());
  ASSERT_TRUE(kept_.Keys().RemoveOwner(owner).has_value());

  EXPECT_EQ(kept_.Rows().RemoveUnopened(TableId::kCredentials, id, 0, kAct).error().GetCode(),
            Code::kInvalid);
  EXPECT_EQ(kept_.Rows()
                .RemoveUnopened(TableId::kCredentials, id, kMaxPageSize + 1, kAct)
                .error()
                .GetCode(),
            Code::kInvalid);
  std::uint64_t removed = 0;
  for (const TableId table : TablesOfProjects()) {
    for (;;) {
      const auto count = kept_.Rows().RemoveUnopened(table, id, 6, kAct);
      ASSERT_TRUE(count.has_value());
      EXPECT_LE(*count, 6u);
      if (*count == 0) break;
      removed += *count;
      // Each page leaves a store that is whole.
      if (removed < 15) ExpectWhole();
    }
  }
  EXPECT_EQ(removed, rows);
  EXPECT_EQ(CountAt(owner, 1), 0u);
  // Its summaries went with them, one for each table.
  EXPECT_EQ(AllRows().size(), others - TablesOfProjects().size());
  ASSERT_TRUE(kept_.Remove(project).has_value());
  ExpectWhole();
}

}  // namespace
}  // namespace oauthvault::storage
