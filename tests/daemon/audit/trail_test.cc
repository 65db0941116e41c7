#include "daemon/audit/trail.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

class TrailTest : public TrailFolder {};

TEST_F(TrailTest, ANewTrailHasABeginLineAndIsForItsOwnerOnly) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  EXPECT_EQ(trail->LastSequence(), 1U);
  const auto lines = Lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(nlohmann::json::parse(lines[0])["act"], "begin");
  struct stat status {};
  ASSERT_EQ(::stat(File().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(TrailTest, WritesTheGoldenTrailByteForByte) {
  {
    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_TRUE(trail->RecordCommits(2, std::vector<storage::Committed>{{17, RegisterAct()}}));
    ASSERT_TRUE(trail->RecordAndWait(RevealOf("id-0")));
    Entry update;
    update.act = "Connections.Update";
    update.principal = "local/admin";
    update.right = "connect";
    update.outcome = Outcome::kFailed;
    update.project = "42";
    update.component = "keboola.ex-google-drive";
    update.oauth_id = "id-0";
    update.object = "\xc5\xbelu\xc5\xa5 \"1\"\n";
    update.code = "UNAVAILABLE";
    update.peer = "unix:";
    update.request_id = "request-2";
    ASSERT_TRUE(trail->RecordAndWait(update));
  }
  EXPECT_EQ(Read(File()), Read(OAUTHVAULT_SOURCE_DIR "/tests/golden/audit/trail.jsonl"));
}

TEST_F(TrailTest, TheGoldenTrailStillVerifiesAndGoesOn) {
  Write(File(), Read(OAUTHVAULT_SOURCE_DIR "/tests/golden/audit/trail.jsonl"));
  EXPECT_EQ(Problems(), std::vector<std::string>{});
  const Result<Recorded> recorded = OpenTrail()->RecordAndWait(RevealOf("next"));
  ASSERT_TRUE(recorded);
  EXPECT_EQ(recorded->Sequence(), 5U);
}

TEST_F(TrailTest, TheChainGoesOnAcrossReopening) {
  for (int round = 0; round < 3; ++round) WriteTrail(2);
  const auto verdict = VerifyFile(folder_, TestKey());
  ASSERT_TRUE(verdict);
  EXPECT_EQ(Problems(), std::vector<std::string>{});
  EXPECT_EQ(verdict->lines, 7U);
  EXPECT_EQ(verdict->first_sequence, 1U);
  EXPECT_EQ(verdict->last_sequence, 7U);
  EXPECT_EQ(OpenTrail()->LastSequence(), 7U);
}

TEST_F(TrailTest, Open_CutsATornLastLineAndRecordsTheCut) {
  WriteTrail(2);
  const std::string whole = Read(File());
  Write(File(), whole + whole.substr(0, 100));
  EXPECT_EQ(Problems(), (std::vector<std::string>{"4: the last line is torn: it has no end"}));
  const std::unique_ptr<Trail> trail = OpenTrail();
  EXPECT_EQ(trail->LastSequence(), 4U);
  const auto cut = nlohmann::json::parse(Lines().at(3));
  EXPECT_EQ(cut["act"], "cut");
  EXPECT_EQ(cut["object"], "bytes:100");
  EXPECT_EQ(Problems(), std::vector<std::string>{});
}

TEST_F(TrailTest, Open_BeginsAnewInAFileWhoseFirstLineIsTorn) {
  WriteTrail(0);
  Write(File(), Read(File()).substr(0, 33));
  OpenTrail();
  EXPECT_EQ(nlohmann::json::parse(Lines().at(0))["act"], "begin");
  EXPECT_EQ(nlohmann::json::parse(Lines().at(1))["object"], "bytes:33");
  EXPECT_EQ(Problems(), std::vector<std::string>{});
}

TEST_F(TrailTest, Open_RefusesATrailWhoseLastLineDoesNotVerify) {
  WriteTrail(2);
  std::string text = Read(File());
  text[text.size() - 100] ^= 1;
  Write(File(), text);
  const auto edited = Trail::Open(folder_, TestKey(), StandingClock);
  ASSERT_FALSE(edited);
  EXPECT_EQ(edited.error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(Read(File()), text);

  Write(File(), std::string(300'000, 'x'));
  const auto foreign = Trail::Open(folder_, TestKey(), StandingClock);
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().GetCode(), Code::kCorrupt);
}

TEST_F(TrailTest, Open_RefusesAnotherKeyAMissingFolderAndAShortKey) {
  WriteTrail(1);
  const auto code_of = [](const std::filesystem::path& folder, const crypto::SecretBytes& key) {
    const auto trail = Trail::Open(folder, key, StandingClock);
    return trail ? std::nullopt : std::optional(trail.error().GetCode());
  };
  EXPECT_EQ(code_of(folder_, KeyFrom(1)), Code::kCorrupt);
  EXPECT_EQ(code_of(folder_ / "none", TestKey()), Code::kInvalid);
  EXPECT_EQ(code_of(folder_, crypto::SecretBytes(31)), Code::kInvalid);
}

TEST_F(TrailTest, Open_FollowsNoSymbolicLink) {
  Write(folder_ / "elsewhere", "");
  std::filesystem::create_symlink(folder_ / "elsewhere", File());
  const auto trail = Trail::Open(folder_, TestKey(), StandingClock);
  ASSERT_FALSE(trail);
  EXPECT_EQ(trail.error().GetCode(), Code::kInvalid);
}

TEST_F(TrailTest, ASecondDaemonIsRefusedWhileTheFirstLives) {
  {
    const std::unique_ptr<Trail> first = OpenTrail();
    const auto second = Trail::Open(folder_, TestKey(), StandingClock);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().GetCode(), Code::kConflict);
  }
  EXPECT_TRUE(Trail::Open(folder_, TestKey(), StandingClock));
}

TEST_F(TrailTest, Record_SharesOneSyncAmongThoseThatWait) {
  constexpr int kThreads = 64;
  constexpr int kLinesEach = 20;
  std::atomic<int> syncs = 0;
  FileCalls calls = FileCalls::System();
  calls.fdatasync = [&, system = calls.fdatasync](int file) {
    ++syncs;
    return system(file);
  };
  std::mutex mutex;
  std::set<std::uint64_t> sequences;
  {
    const std::unique_ptr<Trail> trail = OpenTrail(calls);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (int line = 0; line < kLinesEach; ++line) {
          const Result<Recorded> recorded = trail->RecordAndWait(RevealOf("id"));
          const std::lock_guard lock(mutex);
          if (recorded) sequences.insert(recorded->Sequence());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(sequences.size(), static_cast<std::size_t>(kThreads * kLinesEach));
  EXPECT_EQ(Lines().size(), sequences.size() + 1);
  EXPECT_LT(syncs, kThreads * kLinesEach / 2);
  EXPECT_EQ(Problems(), std::vector<std::string>{});
}

TEST_F(TrailTest, Record_AnswersOnlyWhenTheLineIsWrittenAndSynced) {
  std::mutex mutex;
  std::vector<std::string> order;
  const auto note = [&](const char* what) {
    const std::lock_guard lock(mutex);
    order.emplace_back(what);
  };
  FileCalls calls = FileCalls::System();
  calls.write = [&, system = calls.write](int file, const void* bytes, std::size_t size_bytes) {
    note("write");
    return system(file, bytes, size_bytes);
  };
  calls.fdatasync = [&, system = calls.fdatasync](int file) {
    const int result = system(file);
    note("synced");
    return result;
  };
  std::promise<void> answered;
  const std::unique_ptr<Trail> trail = OpenTrail(calls);
  order.clear();
  trail->Record(RevealOf("id"), [&](Result<Recorded> recorded) {
    EXPECT_TRUE(recorded);
    note("answered");
    answered.set_value();
  });
  answered.get_future().wait();
  const std::lock_guard lock(mutex);
  EXPECT_EQ(order, (std::vector<std::string>{"write", "synced", "answered"}));
}

TEST_F(TrailTest, Record_LooksAtTheFileOnceBeforeTheWriteAndOnceBehindTheSync) {
  std::mutex mutex;
  std::string order;
  const auto note = [&](char what) {
    const std::lock_guard lock(mutex);
    order += what;
  };
  const FileCalls system = FileCalls::System();
  FileCalls calls = system;
  calls.write = [&](int file, const void* bytes, std::size_t size_bytes) {
    note('w');
    return system.write(file, bytes, size_bytes);
  };
  calls.fdatasync = [&](int file) {
    note('s');
    return system.fdatasync(file);
  };
  calls.fstat = [&](int file, struct stat* status) {
    note('l');
    return system.fstat(file, status);
  };
  const std::unique_ptr<Trail> trail = OpenTrail(calls);
  order.clear();
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("id")));
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("id")));
  const std::lock_guard lock(mutex);
  EXPECT_EQ(order, "lwsllwsl");
}

TEST_F(TrailTest, Record_IsNotHeldUpByASlowCallback) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::promise<void> second;
  const std::unique_ptr<Trail> trail = OpenTrail();
  trail->Record(RevealOf("slow"), [released](Result<Recorded>) { released.wait(); });
  while (trail->LastSequence() < 2) std::this_thread::yield();
  trail->Record(RevealOf("next"), [&](Result<Recorded>) { second.set_value(); });
  while (trail->LastSequence() < 3) std::this_thread::yield();
  release.set_value();
  second.get_future().wait();
}

TEST_F(TrailTest, TheDestructorWritesAndAnswersWhatWaits) {
  std::atomic<int> recorded = 0;
  {
    const std::unique_ptr<Trail> trail = OpenTrail();
    for (int i = 0; i < 500; ++i) {
      trail->Record(RevealOf("id"), [&](Result<Recorded> result) { recorded += result ? 1 : 0; });
    }
  }
  EXPECT_EQ(recorded, 500);
  EXPECT_EQ(Lines().size(), 501U);
}

TEST_F(TrailTest, Show_GivesTheLinesBehindASequence) {
  WriteTrail(5);
  const std::unique_ptr<Trail> trail = OpenTrail();
  const auto sequences = [&](std::uint64_t after, std::size_t limit) {
    std::vector<std::uint64_t> shown;
    const auto lines = trail->Show(after, limit);
    EXPECT_TRUE(lines);
    for (const Line& line : *lines) {
      EXPECT_EQ(line.json, Lines().at(line.sequence - 1));
      shown.push_back(line.sequence);
    }
    return shown;
  };
  EXPECT_EQ(sequences(0, 2), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(sequences(2, 1000), (std::vector<std::uint64_t>{3, 4, 5, 6}));
  EXPECT_EQ(sequences(6, 10), (std::vector<std::uint64_t>{}));
  EXPECT_FALSE(trail->Show(0, 0));
  EXPECT_EQ(trail->Show(0, 1001).error().GetCode(), Code::kInvalid);
}

TEST_F(TrailTest, Show_FindsEachLineOfALargeFileAlsoBetweenDamagedOnes) {
  constexpr std::uint64_t kLines = 2000;
  std::promise<void> last;
  const std::unique_ptr<Trail> trail = OpenTrail();
  for (std::uint64_t i = 2; i <= kLines; ++i) {
    trail->Record(RevealOf("id"), [&, i](Result<Recorded>) {
      if (i == kLines) last.set_value();
    });
  }
  last.get_future().wait();
  const auto expect_all_but = [&](std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t after = 0; after < kLines; after += 37) {
      const std::uint64_t next = after + 1;
      const auto lines = trail->Show(after, 1);
      ASSERT_TRUE(lines && lines->size() == 1);
      EXPECT_EQ(lines->front().sequence, next < from || next > to ? next : to + 1);
    }
  };
  expect_all_but(0, 0);
  std::string text = Read(File());
  std::size_t begin = 0;
  for (std::uint64_t line = 1; line < 500; ++line) begin = text.find('\n', begin) + 1;
  std::size_t end = begin;
  for (std::uint64_t line = 500; line <= 900; ++line) end = text.find('\n', end) + 1;
  std::fill(text.begin() + static_cast<std::ptrdiff_t>(begin),
            text.begin() + static_cast<std::ptrdiff_t>(end - 1), '\0');
  std::fstream(File(), std::ios::in | std::ios::out | std::ios::binary) << text;
  expect_all_but(500, 900);
}

}  // namespace
}  // namespace oauthvault::audit
