#include "daemon/audit/segments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>
#include <vector>

#include "daemon/audit/history.h"
#include "daemon/audit/trail_file.h"
#include "daemon/audit/verification.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

namespace fs = std::filesystem;
using Found = std::vector<std::string>;

class SegmentsTest : public TrailFolder {
 protected:
  /// Two closed segments of 5 and 4 lines more, and an open one.
  void WriteSegments() const {
    const auto trail = OpenTrail();
    for (int i = 0; i < 12; ++i) {
      if (i == 5 || i == 9) {
        ASSERT_TRUE(trail->CloseSegment());
      }
      ASSERT_TRUE(trail->RecordAndWait(RevealOf("id-" + std::to_string(i))));
    }
  }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& file : fs::directory_iterator(folder_)) files.push_back(file.path());
    std::ranges::sort(files);
    return files;
  }
  Found ProblemsFromOutside(const std::vector<std::string>& kept = {}) const {
    const auto key = CheckpointKey::Parse(CheckpointSigner(TestKey()).Public().Text());
    if (!key) return {"no key"};
    const auto verdict = VerifyFromOutside(folder_, *key, kept);
    if (!verdict) return {"cannot verify"};
    Found problems;
    for (const auto& problem : verdict->problems) problems.push_back(problem.what);
    return problems;
  }
};

TEST_F(SegmentsTest, AClosedSegmentHasItsCheckpoint_AndTheChainGoesOnBehindIt) {
  WriteSegments();
  std::vector<std::string> names;
  for (const fs::path& file : Files()) names.push_back(file.filename());
  EXPECT_EQ(names, (std::vector<std::string>{
                       "audit-00000000000000000001.checkpoint",
                       "audit-00000000000000000001.jsonl", "audit-00000000000000000008.checkpoint",
                       "audit-00000000000000000008.jsonl", "audit.jsonl"}));
  EXPECT_EQ(Problems(), Found{});
  EXPECT_EQ(ProblemsFromOutside(), Found{});
  EXPECT_EQ(VerifyFile(folder_, TestKey())->proven_sequence, 13U);
  OpenTrail();
  EXPECT_EQ(Problems(), Found{});
}

TEST_F(SegmentsTest, LinesAreShownAndReadThroughAllSegments) {
  WriteSegments();
  const auto trail = OpenTrail();
  std::uint64_t after = 0;
  for (const std::size_t limit : {1U, 2U, 3U, 4U, 7U}) {
    const auto lines = trail->Show(after, limit);
    ASSERT_TRUE(lines);
    ASSERT_EQ(lines->size(), limit);
    for (const Line& line : *lines) EXPECT_EQ(line.sequence, ++after);
  }
  EXPECT_EQ(trail->LastSequence(), after);
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(1, 2)));
  ASSERT_TRUE(trail->CloseSegment());
  ASSERT_TRUE(RecorderOf(*trail)(0, Commits(3, 4)));
  std::vector<std::uint64_t> generations;
  ASSERT_TRUE(ReadHistory(folder_, TestKey(), {0, 1}, [&](const HistoryLine& line) {
    if (line.entry.position) generations.push_back(line.entry.position->generation);
    return Result<void>();
  }));
  EXPECT_EQ(generations, (std::vector<std::uint64_t>{2, 3, 4}));
}

TEST_F(SegmentsTest, EachLineThatIsEditedDroppedRepeatedOrMovedIsFoundFromOutside) {
  WriteSegments();
  for (const fs::path& file : Files()) {
    if (file.extension() != ".jsonl") continue;
    const std::string good = Read(file);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < good.size();) {
      const std::size_t end = good.find('\n', at);
      lines.push_back(good.substr(at, end + 1 - at));
      at = end + 1;
    }
    const bool open = file.filename() == "audit.jsonl";
    const auto found = [&](const std::vector<std::string>& changed) {
      std::string text;
      for (const auto& line : changed) text += line;
      Write(file, text);
      return !ProblemsFromOutside().empty() && !Problems().empty();
    };
    for (std::size_t i = 0; i < lines.size(); ++i) {
      auto changed = lines;
      changed[i][changed[i].find("\"principal\":\"") + 13] = 'x';
      // Behind the last checkpoint the last line is proven by its MAC alone.
      if (!open || i + 1 < lines.size()) {
        EXPECT_TRUE(found(changed)) << file << " edited " << i;
      }
      changed = lines;
      changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
      if (!open || i + 1 < lines.size()) {
        EXPECT_TRUE(found(changed)) << file << " dropped " << i;
      }
      changed = lines;
      changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(i), lines[i]);
      EXPECT_TRUE(found(changed)) << file << " repeated " << i;
      if (i == 0) continue;
      changed = lines;
      std::swap(changed[i], changed[i - 1]);
      EXPECT_TRUE(found(changed)) << file << " moved " << i;
    }
    Write(file, good);
  }
  EXPECT_EQ(ProblemsFromOutside(), Found{});
}

TEST_F(SegmentsTest, EachFileThatIsTakenAwayOrExchangedIsFound) {
  WriteSegments();
  const std::vector<fs::path> files = Files();
  for (const fs::path& file : files) {
    const fs::path aside = folder_ / "aside";
    fs::rename(file, aside);
    EXPECT_NE(ProblemsFromOutside(), Found{}) << file;
    EXPECT_NE(Problems(), Found{}) << file;
    fs::rename(aside, file);
    for (const fs::path& other : files) {
      if (other == file || other.extension() != file.extension()) continue;
      const std::string good = Read(file);
      Write(file, Read(other));
      EXPECT_NE(ProblemsFromOutside(), Found{}) << file << " " << other;
      EXPECT_NE(Problems(), Found{}) << file << " " << other;
      Write(file, good);
    }
  }
  EXPECT_EQ(Problems(), Found{});
}

TEST_F(SegmentsTest, ACheckpointThatWasKeptShowsACutTail_AndAnotherHistory) {
  WriteSegments();
  std::string kept;
  {
    const auto trail = OpenTrail();
    ASSERT_TRUE(trail->RecordAndWait(RevealOf("last")));
    kept = trail->Checkpoint();
  }
  EXPECT_EQ(ProblemsFromOutside({kept}), Found{});
  std::string text = Read(File());
  text.pop_back();
  Write(File(), text.substr(0, text.rfind('\n') + 1));
  EXPECT_EQ(ProblemsFromOutside(), Found{});
  EXPECT_EQ(ProblemsFromOutside({kept}), (Found{"a checkpoint tells of lines that are missing"}));
  {
    const auto trail = OpenTrail();
    ASSERT_TRUE(trail->RecordAndWait(RevealOf("another")));
  }
  EXPECT_EQ(ProblemsFromOutside({kept}),
            (Found{"the lines up to this one are not those of a checkpoint"}));
}

TEST_F(SegmentsTest, ACheckpointIsASignedNote_AndNoByteOfItCanBeChanged) {
  const auto trail = OpenTrail();
  const std::string note = trail->Checkpoint();
  const CheckpointKey& key = trail->PublicKey();
  const auto checkpoint = key.Open(note);
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->size, 1U);
  EXPECT_EQ(note.substr(0, note.find('\n')), key.Origin());
  for (std::size_t at = 0; at < note.size(); ++at) {
    std::string changed = note;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_FALSE(key.Open(changed)) << at;
  }
  EXPECT_TRUE(CheckpointKey::Parse(key.Text()));
  EXPECT_FALSE(CheckpointKey::Parse(key.Text().substr(1)));
  EXPECT_FALSE(CheckpointSigner(KeyFrom(1)).Public().Open(note));
}

TEST_F(SegmentsTest, ASegmentThatIsLargeOrOldIsClosedByItself) {
  const TrailLimits small{.size_bytes = 2000};
  {
    const auto trail = OpenTrail(FileCalls::System(), &small);
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(trail->RecordAndWait(RevealOf("id")));
  }
  EXPECT_GE(ClosedSegments(folder_)->size(), 3U);
  EXPECT_EQ(Problems(), Found{});
  std::int64_t now_us = StandingClock();
  const auto trail = Trail::Open(folder_, TestKey(), [&] { return now_us; });
  ASSERT_TRUE(trail);
  const std::size_t closed = ClosedSegments(folder_)->size();
  ASSERT_TRUE((*trail)->RecordAndWait(RevealOf("young")));
  now_us += 25LL * 3600 * 1'000'000;
  ASSERT_TRUE((*trail)->RecordAndWait(RevealOf("old")));
  ASSERT_TRUE((*trail)->RecordAndWait(RevealOf("next")));
  EXPECT_EQ(ClosedSegments(folder_)->size(), closed + 1);
}

TEST_F(SegmentsTest, WhereTheOpenSegmentWasTakenAwayTheTrailIsNotBegunAnew) {
  WriteSegments();
  fs::remove(File());
  const auto trail = Trail::Open(folder_, TestKey(), StandingClock);
  ASSERT_FALSE(trail);
  EXPECT_EQ(trail.error().GetCode(), Code::kCorrupt);
}

TEST_F(SegmentsTest, ACrashBetweenTheStepsOfClosingLosesNothing) {
  WriteSegments();
  // The names were exchanged, and the closed one had not got its own.
  fs::rename(folder_ / ClosedName(8), folder_ / kNextFileName);
  EXPECT_EQ(Problems(), Found{});
  OpenTrail();
  EXPECT_TRUE(fs::exists(folder_ / ClosedName(8)));
  EXPECT_EQ(Problems(), Found{});
  // The next segment was made, and the names were not exchanged.
  Write(folder_ / kNextFileName, "{\"v\":1,\"seq\":17,\n");
  OpenTrail();
  EXPECT_FALSE(fs::exists(folder_ / kNextFileName));
  EXPECT_EQ(Problems(), Found{});
}

TEST_F(SegmentsTest, WhicheverCallFailsWhileSegmentsAreClosedNothingAcknowledgedIsLost) {
  const TrailLimits small{.size_bytes = 1500};
  bool reached = true;
  for (int failing = 0; reached; ++failing) {
    fs::remove_all(folder_);
    fs::create_directory(folder_);
    std::atomic<int> count = 0;
    const auto fails = [&] {
      errno = EIO;
      return count++ == failing;
    };
    const FileCalls system = FileCalls::System();
    FileCalls calls = system;
    calls.open = [&](const char* path, int flags, mode_t mode) {
      return fails() ? -1 : system.open(path, flags, mode);
    };
    calls.write = [&](int file, const void* bytes, std::size_t size_bytes) {
      return fails() ? ssize_t{-1} : system.write(file, bytes, size_bytes);
    };
    calls.fdatasync = [&](int file) { return fails() ? -1 : system.fdatasync(file); };
    calls.ftruncate = [&](int file, off_t size) {
      return fails() ? -1 : system.ftruncate(file, size);
    };
    std::vector<std::string> acknowledged;
    if (const auto trail = Trail::Open(folder_, TestKey(), StandingClock, calls, &small)) {
      for (int i = 0; i < 9; ++i) {
        const std::string id = "id-" + std::to_string(i);
        if ((*trail)->RecordAndWait(RevealOf(id))) acknowledged.push_back(id);
      }
    }
    reached = count > failing;
    const auto trail = OpenTrail();
    const auto lines = trail->Show(0, kMaxShownLines);
    for (const std::string& id : acknowledged) {
      EXPECT_TRUE(std::ranges::any_of(*lines, [&](const Line& line) {
        return line.json.find('"' + id + '"') != std::string::npos;
      })) << "call " << failing;
    }
    EXPECT_TRUE(trail->Verify()->problems.empty()) << "call " << failing;
  }
}

}  // namespace
}  // namespace oauthvault::audit
