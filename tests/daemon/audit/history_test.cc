#include "daemon/audit/history.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "daemon/audit/line.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

using Told = std::vector<std::string>;
using storage::Position;

class HistoryTest : public TrailFolder {
 protected:
  /// begin; commits {0,1} {0,2}; a reveal; commits {0,3} {0,4}; a denied removal.
  void WriteHistory() const {
    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 2)));
    ASSERT_TRUE(trail->RecordAndWait(RevealOf("id")));
    ASSERT_TRUE(trail->RecordCommits(0, Commits(3, 4)));
    Entry denied{storage::Act{.act = "Registry.RemoveGrant", .principal = "runner/r"}};
    denied.outcome = Outcome::kDenied;
    denied.code = "DENIED";
    ASSERT_TRUE(trail->RecordAndWait(std::move(denied)));
  }

  /// `sequence epoch.generation act outcome`, and `*` where the line tells of a commit; at the end
  /// the error's code, if there is one.
  Told Behind(Position after, const crypto::SecretBytes& key = TestKey()) const {
    Told told;
    const Result<void> read = ReadHistory(folder_, key, after, [&](const HistoryLine& line) {
      told.push_back(std::to_string(line.sequence) + " " + std::to_string(line.position.epoch) +
                     "." + std::to_string(line.position.generation) + " " + line.entry.act + " " +
                     std::string(NameOf(line.entry.outcome)) + (line.entry.position ? "*" : ""));
      EXPECT_EQ(line.entry.position.value_or(line.position), line.position);
      return Result<void>();
    });
    if (!read) {
      told.emplace_back(NameOf(read.error().GetCode()));
      subject_ = read.error().GetSubject();
    }
    return told;
  }
  mutable std::string subject_;  // of the last error
};

TEST_F(HistoryTest, GivesEachLineBehindThePositionAndMarksTheCommits) {
  WriteHistory();
  EXPECT_EQ(Behind({}), (Told{"2 0.1 Registry.AddProject allowed*",
                              "3 0.2 Registry.AddProject allowed*",
                              "4 0.2 Credentials.Reveal allowed",
                              "5 0.3 Registry.AddProject allowed*",
                              "6 0.4 Registry.AddProject allowed*",
                              "7 0.4 Registry.RemoveGrant denied"}));
  EXPECT_EQ(Behind({0, 2}), (Told{"5 0.3 Registry.AddProject allowed*",
                                  "6 0.4 Registry.AddProject allowed*",
                                  "7 0.4 Registry.RemoveGrant denied"}));
  EXPECT_EQ(Behind({0, 4}), Told{});
  EXPECT_EQ(Behind({1, 0}), Told{});
}

TEST_F(HistoryTest, ALaterEpochIsBehindEachPositionOfAnEarlierOne) {
  WriteHistory();
  ASSERT_TRUE(OpenTrail()->RecordCommits(1, Commits(3, 3)));
  EXPECT_EQ(Behind({0, 4}), (Told{"8 1.3 Registry.AddProject allowed*"}));
}

TEST_F(HistoryTest, GivesEveryFieldAsItWasRecorded) {
  Entry written{storage::Act{.act = "Registry.RemoveGrant", .principal = "local/admin",
                             .right = "register", .project = "42", .component = "c",
                             .oauth_id = "one", .object = "runner/\xc5\xbe \"r\"\n", .version = 3,
                             .peer = "unix:", .request_id = "request-9", .code = "CONFLICT"}};
  written.outcome = Outcome::kFailed;
  {
    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_TRUE(trail->RecordCommits(2, Commits(1, 1)));
    ASSERT_TRUE(trail->RecordAndWait(written));
  }
  int lines = 0;
  ASSERT_TRUE(ReadHistory(folder_, TestKey(), {}, [&](const HistoryLine& line) {
    if (++lines == 2) {
      EXPECT_EQ(static_cast<const storage::Act&>(line.entry),
                static_cast<const storage::Act&>(written));
      EXPECT_EQ(line.entry.outcome, Outcome::kFailed);
      EXPECT_EQ(line.time, "2001-09-09T01:46:40.000123Z");
    }
    return Result<void>();
  }));
  EXPECT_EQ(lines, 2);
}

TEST_F(HistoryTest, GivesNothingOfATrailInWhichAnyLineIsDamaged) {
  WriteHistory();
  const std::vector<std::string> lines = Lines();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::vector<std::string> edited = lines;
    edited[i].replace(edited[i].find("\"seq\""), 5, "\"Seq\"");
    WriteLines(edited);
    EXPECT_EQ(Behind({}), Told{"CORRUPT"}) << i;
    EXPECT_EQ(subject_, std::to_string(i + 1));
  }
  for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
    std::vector<std::string> dropped = lines;
    dropped.erase(dropped.begin() + static_cast<std::ptrdiff_t>(i));
    WriteLines(dropped);
    EXPECT_EQ(Behind({}), Told{"CORRUPT"}) << i;
    std::vector<std::string> twice = lines;
    twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(i), lines[i]);
    WriteLines(twice);
    EXPECT_EQ(Behind({}), Told{"CORRUPT"}) << i;
  }
  WriteLines(lines);
  EXPECT_EQ(Behind({}, KeyFrom(1)), Told{"CORRUPT"});
  EXPECT_EQ(Behind({}).size(), 6U);
}

TEST_F(HistoryTest, GivesNothingOfAChainThatWasForgedUnderTheKeyButDoesNotHold) {
  WriteTrail(1);
  const std::vector<std::string> lines = Lines();
  const auto with = [&](const std::string& line) {
    WriteLines({lines[0], lines[1], line});
    return Behind({});
  };
  const HashDigits hash = HashLine(lines[1]);
  const auto line_of = [&](Position position, std::uint64_t sequence, const HashDigits& previous) {
    return EncodedLine(CommitAt(position), {}, sequence, StandingClock(), previous);
  };
  EXPECT_EQ(with(line_of({0, 5}, 3, hash)), Told{"3 0.5 Registry.AddProject allowed*"});
  EXPECT_EQ(with(line_of({0, 5}, 3, HashLine("another"))), Told{"CORRUPT"});
  EXPECT_EQ(with(line_of({0, 5}, 4, hash)), Told{"CORRUPT"});
  WriteLines({lines[0], lines[1], line_of({0, 5}, 3, hash),
              line_of({0, 4}, 4, HashLine(line_of({0, 5}, 3, hash)))});
  EXPECT_EQ(Behind({}), Told{"CORRUPT"});
  WriteLines({EncodedLine(CommitAt({0, 5}), {}, 1, StandingClock(), hash)});
  EXPECT_EQ(Behind({}), Told{"CORRUPT"});
}

TEST_F(HistoryTest, PassesOverATornLastLine) {
  WriteHistory();
  const std::string text = Read(File());
  Write(File(), text + text.substr(0, 50));
  EXPECT_EQ(Behind({0, 3}), (Told{"6 0.4 Registry.AddProject allowed*",
                                  "7 0.4 Registry.RemoveGrant denied"}));
}

TEST_F(HistoryTest, AFileBegunInTheMiddleOfTheChainTellsOfTheTimeBehindItsBeginOnly) {
  {
    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 4)));
    std::filesystem::remove(File());
    EXPECT_FALSE(trail->RecordCommits(0, Commits(5, 5)));
    ASSERT_TRUE(trail->RecordCommits(0, Commits(5, 6)));
  }
  EXPECT_EQ(Behind({0, 4}), (Told{"7 0.5 Registry.AddProject allowed*",
                                  "8 0.6 Registry.AddProject allowed*"}));
  EXPECT_EQ(Behind({0, 5}), (Told{"8 0.6 Registry.AddProject allowed*"}));
  EXPECT_EQ(Behind({0, 3}), Told{"CORRUPT"});
}

TEST_F(HistoryTest, EndsWithTheErrorOfWhoTakesTheLines) {
  WriteHistory();
  int taken = 0;
  const Result<void> read = ReadHistory(folder_, TestKey(), {}, [&](const HistoryLine&) {
    return ++taken == 2 ? Result<void>(Fail(Code::kConflict, "this test takes no more lines"))
                        : Result<void>();
  });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().GetCode(), Code::kConflict);
  EXPECT_EQ(taken, 2);
}

TEST_F(HistoryTest, ReadsBesideTheTrailThatIsOpen) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 1)));
  EXPECT_EQ(Behind({}), (Told{"2 0.1 Registry.AddProject allowed*"}));
}

TEST_F(HistoryTest, NeedsATrailAndItsKey) {
  EXPECT_EQ(Behind({}), Told{"INVALID"});
  Write(File(), "");
  EXPECT_EQ(Behind({}), Told{"CORRUPT"});
  EXPECT_EQ(Behind({}, crypto::SecretBytes(31)), Told{"INVALID"});
}

}  // namespace
}  // namespace oauthvault::audit
