#include "daemon/audit/extract.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "daemon/audit/find.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

Entry RevealIn(std::string project, std::string fingerprints = "") {
  Entry entry = RevealOf("id");
  entry.project = std::move(project);
  entry.fingerprints = std::move(fingerprints);
  return entry;
}

class ExtractTest : public TrailFolder {
 protected:
  /// Three closed segments; "acme" has lines in the first and the third.
  std::unique_ptr<Trail> WriteProjects() const {
    auto trail = OpenTrail();
    for (const std::vector<const char*>& segment : std::vector<std::vector<const char*>>{
             {"acme", "other", "acme"}, {"other", "third"}, {"third", "acme", "other"}}) {
      for (const char* project : segment) EXPECT_TRUE(trail->RecordAndWait(RevealIn(project)));
      EXPECT_TRUE(trail->CloseSegment());
    }
    EXPECT_TRUE(trail->RecordAndWait(RevealIn("acme")));
    return trail;
  }
  static std::vector<std::string> RecordsOf(const Trail& trail, std::string_view project) {
    std::vector<std::string> records;
    std::string token;
    do {
      auto page = ExtractOf(*trail.Segments(), trail.Folder(), trail.PublicKey(), project, token);
      EXPECT_TRUE(page) << (page ? "" : page.error().Message());
      if (!page) return records;
      for (std::string& record : page->records) records.push_back(std::move(record));
      token = page->next;
    } while (!token.empty());
    return records;
  }
  Result<ExtractVerdict> Check(const std::vector<std::string>& records,
                               const std::vector<std::string>& kept = {}) const {
    std::string text;
    for (const std::string& record : records) text += record + "\n";
    Write(folder_ / "extract", text);
    return VerifyExtract(folder_ / "extract", CheckpointSigner(TestKey()).Public(), kept);
  }
};

TEST_F(ExtractTest, ATenantIsShownItsLines_AndThatNoneIsMissing) {
  const auto trail = WriteProjects();
  struct Case {
    const char* project;
    std::uint64_t lines;
  };
  for (const Case& one : {Case{"acme", 3}, {"other", 3}, {"third", 2}, {"nobody", 0}}) {
    const auto verdict = Check(RecordsOf(*trail, one.project));
    ASSERT_TRUE(verdict);
    EXPECT_TRUE(verdict->problems.empty()) << one.project << verdict->problems[0].what;
    EXPECT_EQ(verdict->project, one.project);
    EXPECT_EQ(verdict->lines, one.lines);
    EXPECT_EQ(verdict->first_sequence, 1U);
    // 1 begin, 3 lines, close, begin, 2 lines, close, begin, 3 lines, close
    EXPECT_EQ(verdict->last_sequence, 14U);
  }
}

TEST_F(ExtractTest, TellsATenantNoNameOfOthers) {
  const auto trail = WriteProjects();
  for (const std::string& record : RecordsOf(*trail, "acme")) {
    EXPECT_EQ(record.find("other"), record.find("others") ) << record;
    EXPECT_EQ(record.find("third"), std::string::npos);
  }
}

TEST_F(ExtractTest, EachRecordThatIsMissingRepeatedMovedOrChangedIsFound) {
  const auto trail = WriteProjects();
  const auto records = RecordsOf(*trail, "acme");
  ASSERT_EQ(records.size(), 7U);
  const auto found = [&](const std::vector<std::string>& changed) {
    const auto verdict = Check(changed);
    return verdict && !verdict->problems.empty();
  };
  for (std::size_t i = 0; i < records.size(); ++i) {
    auto changed = records;
    changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_TRUE(found(changed)) << "without " << i;
    changed = records;
    changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(i), records[i]);
    EXPECT_TRUE(found(changed)) << "twice " << i;
    if (i > 0) {
      changed = records;
      std::swap(changed[i], changed[i - 1]);
      EXPECT_TRUE(found(changed)) << "moved " << i;
    }
    for (std::size_t at = 0; at < records[i].size(); at += 7) {
      changed = records;
      changed[i][at] = static_cast<char>(changed[i][at] ^ 1);
      // A changed name of a field may be one that nobody reads; a changed text never is.
      if (records[i].find("public_key") < at + 120 && i == 0) continue;
      EXPECT_TRUE(found(changed)) << "record " << i << " byte " << at;
    }
  }
  EXPECT_TRUE(found({}));
}

TEST_F(ExtractTest, AnExtractThatIsCutAtASegmentsEndEndsInNoCheckpoint) {
  const auto trail = WriteProjects();
  auto records = RecordsOf(*trail, "acme");
  records.resize(4);  // header, two lines, the first close
  const auto verdict = Check(records);
  ASSERT_TRUE(verdict);
  EXPECT_FALSE(verdict->problems.empty());
}

TEST_F(ExtractTest, AnOlderExtractIsNotTakenForTheCheckpointThatWasKept) {
  const auto trail = WriteProjects();
  const auto older = RecordsOf(*trail, "acme");
  const std::string kept = *trail->CloseSegment();
  EXPECT_TRUE(Check(older)->problems.empty());
  EXPECT_FALSE(Check(older, {kept})->problems.empty());
  EXPECT_TRUE(Check(RecordsOf(*trail, "acme"), {kept})->problems.empty());
}

TEST_F(ExtractTest, IsReadInPages) {
  auto trail = OpenTrail();
  Entry large = RevealIn("acme");
  large.object = std::string(kMaxEntryFieldSize, 'x');
  // A few at a time: a slow machine refuses what waits too long; that is not what is shown here.
  for (int i = 0; i < 100; ++i) {
    for (int each = 0; each < 20; ++each) trail->Record(large, [](Result<Recorded>) {});
    ASSERT_TRUE(RecordOnceItAnswers(*trail, RevealIn("acme")));
  }
  ASSERT_TRUE(OnceItAnswers([&] { return trail->CloseSegment(); }));
  std::size_t written = 0;
  const std::string closed = Read(folder_ / ClosedName(1));
  std::size_t at = closed.find("\"project\":\"acme\"");
  for (; at != std::string::npos; at = closed.find("\"project\":\"acme\"", at + 1)) ++written;
  const auto verdict = Check(RecordsOf(*trail, "acme"));
  ASSERT_TRUE(verdict);
  EXPECT_TRUE(verdict->problems.empty());
  EXPECT_GT(closed.size(), kExtractPageSize);
  EXPECT_EQ(verdict->lines, written);
}

TEST_F(ExtractTest, AnotherTokenThanItsOwnIsInvalid) {
  const auto trail = WriteProjects();
  for (const char* token : {"x", "1", "1.2", "7.7.7", "99999999999999999999.1.1", "1.1.1.1"}) {
    const auto page =
        ExtractOf(*trail->Segments(), trail->Folder(), trail->PublicKey(), "acme", token);
    ASSERT_FALSE(page) << token;
    EXPECT_EQ(page.error().GetCode(), Code::kInvalid);
  }
}

TEST_F(ExtractTest, AConsistencyProofShowsThatTheTrailGoesOn) {
  const auto trail = WriteProjects();
  const CheckpointKey& key = trail->PublicKey();
  const Checkpoint older = *key.Open(trail->Checkpoint());
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(trail->RecordAndWait(RevealIn("acme")));
  ASSERT_TRUE(trail->CloseSegment());
  const Checkpoint newer = *key.Open(trail->Checkpoint());
  const auto proof = ConsistencyProof(*trail->Segments(), older.size, newer.size);
  ASSERT_TRUE(proof);
  EXPECT_TRUE(IsConsistent(older.size, newer.size, older.root, newer.root, *proof));
  EXPECT_FALSE(IsConsistent(older.size, newer.size, newer.root, newer.root, *proof));
  EXPECT_FALSE(ConsistencyProof(*trail->Segments(), 0, newer.size));
  EXPECT_FALSE(ConsistencyProof(*trail->Segments(), older.size, newer.size + 9));
}

TEST_F(ExtractTest, FindsWhereAValueWasShown_InTheProjectsThatHaveItsFingerprint) {
  const std::string of_acme(32, 'a');
  const std::string of_other(32, 'b');
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordAndWait(RevealIn("acme", of_other + " " + of_acme)));
  ASSERT_TRUE(trail->RecordAndWait(RevealIn("other", of_acme)));
  ASSERT_TRUE(trail->CloseSegment());
  ASSERT_TRUE(trail->RecordAndWait(RevealIn("other", of_other)));
  ASSERT_TRUE(trail->RecordAndWait(RevealIn("acme")));
  const auto find = [&](std::uint64_t after, std::size_t limit) {
    return *FindShown(*trail->Segments(), after, limit, [&](std::string_view project) {
      return project == "acme" ? of_acme : of_other;
    });
  };
  const Shown all = find(0, 10);
  ASSERT_EQ(all.lines.size(), 2U);
  EXPECT_EQ(all.lines[0].sequence, 2U);
  EXPECT_EQ(all.lines[1].sequence, 6U);
  EXPECT_TRUE(all.at_end);
  const Shown first = find(0, 1);
  EXPECT_FALSE(first.at_end);
  EXPECT_EQ(find(first.searched_to, 10).lines.at(0).sequence, 6U);
}

}  // namespace
}  // namespace oauthvault::audit
