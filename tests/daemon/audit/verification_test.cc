#include "daemon/audit/verification.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "daemon/audit/line.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

using Found = std::vector<std::string>;

class VerificationTest : public TrailFolder {};

TEST_F(VerificationTest, AnUntouchedTrailHasNoProblem) {
  WriteTrail(5);
  EXPECT_EQ(Problems(), Found{});
}

TEST_F(VerificationTest, EachChangedByteIsFound) {
  WriteTrail(3);
  const std::string text = Read(File());
  std::fstream file(File(), std::ios::in | std::ios::out | std::ios::binary);
  const auto put = [&](std::size_t at, int byte) {
    file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte)).flush();
  };
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const int flip : {0x01, 0x20, 0x80, 0xff}) {
      put(at, text[at] ^ flip);
      ASSERT_NE(Problems(), Found{}) << "byte " << at << " flip " << flip;
    }
    put(at, text[at]);
  }
  EXPECT_EQ(Problems(), Found{});
}

TEST_F(VerificationTest, AnEditedLineIsNamed) {
  WriteTrail(5);
  auto lines = Lines();
  lines[2].replace(lines[2].find("id-1"), 4, "id-9");
  WriteLines(lines);
  EXPECT_EQ(Problems(), (Found{"3: the line was edited, or the key is another one"}));
}

TEST_F(VerificationTest, ADroppedLineIsFoundAtTheNext) {
  WriteTrail(5);
  auto lines = Lines();
  lines.erase(lines.begin() + 2);
  WriteLines(lines);
  EXPECT_EQ(Problems(), (Found{"3: lines before this one are missing"}));
}

TEST_F(VerificationTest, DroppedFirstLinesAreFound) {
  WriteTrail(5);
  auto lines = Lines();
  lines.erase(lines.begin(), lines.begin() + 2);
  WriteLines(lines);
  EXPECT_EQ(Problems(), (Found{"1: the file begins in the middle of the chain: the lines before "
                               "are missing"}));
}

TEST_F(VerificationTest, SwappedLinesAreFound) {
  WriteTrail(5);
  auto lines = Lines();
  std::swap(lines[2], lines[3]);
  WriteLines(lines);
  EXPECT_EQ(Problems(), (Found{"3: lines before this one are missing",
                               "4: the line stands a second time or too late",
                               "5: lines before this one are missing"}));
}

TEST_F(VerificationTest, ADuplicatedLineIsFound) {
  WriteTrail(5);
  auto lines = Lines();
  lines.insert(lines.begin() + 3, lines[2]);
  WriteLines(lines);
  EXPECT_EQ(Problems(), (Found{"4: the line stands a second time or too late"}));
}

TEST_F(VerificationTest, ALineOfAnotherChainUnderTheSameKeyIsFound) {
  WriteTrail(5);
  auto lines = Lines();
  lines[3] = EncodedLine(RevealOf("forked"), {}, 4, StandingClock(), HashLine("other"));
  WriteLines(lines);
  EXPECT_EQ(Problems(), (Found{"4: the line does not follow from the line before",
                               "5: the line does not follow from the line before"}));
}

TEST_F(VerificationTest, APositionThatGoesBackIsFound) {
  WriteTrail(0);
  std::vector<std::string> lines = Lines();
  for (const storage::Position& position : {storage::Position{1, 7}, {1, 6}, {0, 8}, {2, 1}}) {
    lines.push_back(EncodedLine(CommitAt(position), {}, lines.size() + 1, StandingClock(),
                                HashLine(lines.back())));
  }
  WriteLines(lines);
  EXPECT_EQ(Problems(), (Found{"3: the line has no position, or one before the line before",
                               "4: the line has no position, or one before the line before"}));
}

TEST_F(VerificationTest, ATailCutInsideALineIsFound) {
  WriteTrail(5);
  const std::string text = Read(File());
  for (std::size_t cut = 1; cut < Lines().back().size() + 1; ++cut) {
    Write(File(), text.substr(0, text.size() - cut));
    ASSERT_EQ(Problems(), (Found{"6: the last line is torn: it has no end"})) << cut;
  }
}

TEST_F(VerificationTest, ATailCutAtALinesEndShowsOnlyInTheLastSequence) {
  WriteTrail(5);
  auto lines = Lines();
  lines.pop_back();
  WriteLines(lines);
  EXPECT_EQ(Problems(), Found{});
  EXPECT_EQ(VerifyFile(folder_, TestKey())->last_sequence, 5U);
}

TEST_F(VerificationTest, TheLivingTrailKnowsWhatMustBeAtItsEnd) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(trail->RecordAndWait(RevealOf("id")));
  EXPECT_TRUE(trail->Verify()->problems.empty());
  const std::string text = Read(File());
  const std::uint64_t last_line = Lines().back().size() + 1;
  std::filesystem::resize_file(File(), text.size() - last_line);
  const auto cut = trail->Verify();
  ASSERT_EQ(cut->problems.size(), 1U);
  EXPECT_EQ(cut->problems[0].line_number, 4U);
  EXPECT_EQ(cut->problems[0].what, "lines at the end of the trail are missing");
  Write(File(), text);
  EXPECT_TRUE(trail->Verify()->problems.empty());
  std::filesystem::rename(File(), folder_ / "moved");
  const auto moved = trail->Verify();
  ASSERT_EQ(moved->problems.size(), 1U);
  EXPECT_EQ(moved->problems[0].what, "the file of the trail was deleted or replaced");
}

TEST_F(VerificationTest, AWrongKeyMakesEachLineAProblem) {
  WriteTrail(5);
  const Found problems = Problems(KeyFrom(1));
  ASSERT_EQ(problems.size(), 6U);
  EXPECT_EQ(problems[5], "6: the line was edited, or the key is another one");
}

TEST_F(VerificationTest, NamesABoundedNumberOfProblemsAndCountsAllLines) {
  Write(File(), std::string(5000, '\n'));
  const auto verdict = VerifyFile(folder_, TestKey());
  EXPECT_EQ(verdict->problems.size(), kMaxProblems);
  EXPECT_EQ(verdict->lines, 5000U);
}

TEST_F(VerificationTest, ALineBeyondEveryLimitIsOneProblem) {
  WriteTrail(3);
  auto lines = Lines();
  lines.insert(lines.begin() + 2, std::string(1'000'000, 'x'));
  WriteLines(lines);
  EXPECT_EQ(Problems(), (Found{"3: the line was edited, or the key is another one",
                               "4: the line stands a second time or too late"}));
}

TEST_F(VerificationTest, AnEmptyFileIsNoTrail) {
  Write(File(), "");
  EXPECT_EQ(Problems(), (Found{"1: the trail is empty: its first line is missing"}));
}

TEST_F(VerificationTest, AMissingFileIsInvalid) {
  const auto verdict = VerifyFile(folder_, TestKey());
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().GetCode(), Code::kInvalid);
}

}  // namespace
}  // namespace oauthvault::audit
