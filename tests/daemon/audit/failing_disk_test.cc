#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/daemon/audit/hanging_sync.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

using Found = std::vector<std::string>;

class FailingDisk : public TrailFolder {
 protected:
  static Code CodeOf(const Result<Recorded>& result) {
    EXPECT_FALSE(result);
    return result ? Code::kInvalid : result.error().GetCode();
  }
  std::vector<std::filesystem::path> FilesSetAside() const {
    std::vector<std::filesystem::path> files;
    for (const auto& file : std::filesystem::directory_iterator(folder_)) {
      if (file.path().filename().string().starts_with("audit.jsonl.aside-")) {
        files.push_back(file.path());
      }
    }
    return files;
  }
};

TEST_F(FailingDisk, AFullDiskRefusesAndRecoversWhenThereIsSpace) {
  std::atomic<bool> full = false;
  FileCalls calls = FileCalls::System();
  calls.write = [&, system = calls.write](int file, const void* bytes, std::size_t size_bytes) {
    if (!full) return system(file, bytes, size_bytes);
    // A full disk takes a part first.
    if (size_bytes > 100) return system(file, bytes, 100);
    errno = ENOSPC;
    return ssize_t{-1};
  };
  const std::unique_ptr<Trail> trail = OpenTrail(calls);
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("before")));
  full = true;
  const std::string before = Read(File());
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  EXPECT_EQ(Read(File()), before);
  full = false;
  const Result<Recorded> after = trail->RecordAndWait(RevealOf("after"));
  ASSERT_TRUE(after);
  EXPECT_EQ(after->Sequence(), 3U);
  EXPECT_TRUE(trail->Verify()->problems.empty());
  EXPECT_EQ(Read(File()).find("refused"), std::string::npos);
}

TEST_F(FailingDisk, AFailedSyncRefusesAndTheLineDoesNotStay) {
  std::atomic<int> failures = 0;
  FileCalls calls = FileCalls::System();
  calls.fdatasync = [&, system = calls.fdatasync](int file) {
    if (failures == 0) return system(file);
    --failures;
    errno = EIO;
    return -1;
  };
  const std::unique_ptr<Trail> trail = OpenTrail(calls);
  failures = 2;
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  EXPECT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_EQ(Lines().size(), 2U);
  EXPECT_TRUE(trail->Verify()->problems.empty());
}

TEST_F(FailingDisk, WhatCannotBeCutOffAtOnceIsCutOffBeforeTheNextLine) {
  std::atomic<bool> failing = false;
  FileCalls calls = FileCalls::System();
  calls.fdatasync = [&, system = calls.fdatasync](int file) { return failing ? -1 : system(file); };
  calls.ftruncate = [&, system = calls.ftruncate](int file, off_t size_bytes) {
    return failing ? -1 : system(file, size_bytes);
  };
  const std::unique_ptr<Trail> trail = OpenTrail(calls);
  failing = true;
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  failing = false;
  EXPECT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_EQ(Lines().size(), 2U);
  EXPECT_TRUE(trail->Verify()->problems.empty());
}

TEST_F(FailingDisk, AStuckSyncRefusesInTimeAndTheTrailWorksWhenItIsReleased) {
  HangingSync disk;
  const std::unique_ptr<Trail> trail = OpenTrail(disk.Calls());
  disk.Hang();
  const auto begin = std::chrono::steady_clock::now();
  auto taken = std::async(std::launch::async,
                          [&] { return trail->RecordAndWait(RevealOf("taken")); });
  disk.AwaitSync();
  std::vector<std::future<Result<Recorded>>> queued;
  for (int i = 0; i < 8; ++i) {
    queued.push_back(std::async(std::launch::async,
                                [&] { return trail->RecordAndWait(RevealOf("queued")); }));
  }
  EXPECT_EQ(CodeOf(taken.get()), Code::kUnavailable);
  for (auto& one : queued) EXPECT_EQ(CodeOf(one.get()), Code::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kGenerous);
  // Reading does not wait for the disk's answer.
  EXPECT_EQ(trail->LastSequence(), 1U);
  EXPECT_TRUE(trail->Verify()->problems.empty());
  disk.Release();
  const Result<Recorded> after = RecordOnceItAnswers(*trail, RevealOf("after"));
  ASSERT_TRUE(after);
  // The line that the disk had already says what was decided; those behind it were never written.
  EXPECT_EQ(after->Sequence(), 3U);
  EXPECT_NE(Lines().at(1).find("taken"), std::string::npos);
  EXPECT_EQ(Read(File()).find("queued"), std::string::npos);
  EXPECT_TRUE(trail->Verify()->problems.empty());
}

TEST_F(FailingDisk, ALineWhoseTimeRanOutIsNotWrittenForWhoeverComesNext) {
  HangingSync disk;
  std::promise<void> next_waits;
  std::atomic<bool> holds = false;
  FileCalls calls = disk.Calls();
  // Asked each time before the writer takes what waits.
  calls.fallocate = [&, waits = next_waits.get_future().share()](int, int, off_t, off_t) {
    if (holds) waits.wait();
    errno = EOPNOTSUPP;
    return -1;
  };
  const std::unique_ptr<Trail> trail = OpenTrail(calls);
  disk.Hang();
  auto taken = std::async(std::launch::async,
                          [&] { return trail->RecordAndWait(RevealOf("taken")); });
  disk.AwaitSync();
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("overdue"))), Code::kUnavailable);
  EXPECT_EQ(CodeOf(taken.get()), Code::kUnavailable);
  holds = true;
  disk.Release();
  std::future<Result<Recorded>> next;
  do {
    std::promise<Result<Recorded>> answer;
    next = answer.get_future();
    trail->Record(RevealOf("next"), [answer = std::move(answer)](Result<Recorded> result) mutable {
      answer.set_value(std::move(result));
    });
  } while (next.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  next_waits.set_value();
  EXPECT_TRUE(next.get());
  EXPECT_NE(Lines().back().find("next"), std::string::npos);
  EXPECT_EQ(Read(File()).find("overdue"), std::string::npos);
}

TEST_F(FailingDisk, ADiskThatHangsAgainRefusesInTimeAgain) {
  HangingSync disk;
  const std::unique_ptr<Trail> trail = OpenTrail(disk.Calls());
  for (std::uint64_t sequence = 2; sequence < 5; ++sequence) {
    disk.Hang();
    EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("id"))), Code::kUnavailable);
    disk.Release();
    // The line becomes durable, and nobody is left to be answered.
    while (trail->LastSequence() < sequence) std::this_thread::yield();
  }
}

TEST_F(FailingDisk, AStuckWriteRefusesInTimeToo) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<bool> hanging = false;
  FileCalls calls = FileCalls::System();
  calls.write = [&, system = calls.write](int file, const void* bytes, std::size_t size_bytes) {
    if (hanging) released.wait();
    return system(file, bytes, size_bytes);
  };
  const std::unique_ptr<Trail> trail = OpenTrail(calls);
  hanging = true;
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("stuck"))), Code::kUnavailable);
  hanging = false;
  // While it hangs nobody waits for it a second time.
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("at once"))), Code::kUnavailable);
  release.set_value();
  EXPECT_TRUE(RecordOnceItAnswers(*trail, RevealOf("after")));
  EXPECT_EQ(Read(File()).find("at once"), std::string::npos);
}

// Waits in a signal, in whichever thread gets it.
std::atomic<bool> held_up = false;
int release_end = -1;
void HoldUp(int) {
  held_up = true;
  char byte = 0;
  while (::read(release_end, &byte, 1) < 0 && errno == EINTR) {
  }
}

// The writing thread, once it sleeps.
pid_t SleepingWriter() {
  while (true) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::ifstream stat(task.path() / "stat");
      std::string number;
      std::string name;
      std::string state;
      if (stat >> number >> name >> state && name == "(audit-write)" && state == "S") {
        return std::stoi(number);
      }
    }
    std::this_thread::yield();
  }
}

TEST_F(FailingDisk, AWritingThreadThatWasHeldUpIsNotTakenForADiskThatHangsForEver) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  release_end = ends[0];
  struct sigaction hold {};
  struct sigaction before {};
  hold.sa_handler = HoldUp;
  ASSERT_EQ(::sigaction(SIGUSR1, &hold, &before), 0);
  {
    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_EQ(::syscall(SYS_tgkill, ::getpid(), SleepingWriter(), SIGUSR1), 0);
    while (!held_up) std::this_thread::yield();
    EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("never written"))), Code::kUnavailable);
    EXPECT_EQ(::write(ends[1], "", 1), 1);
    EXPECT_TRUE(RecordOnceItAnswers(*trail, RevealOf("after")));
    EXPECT_EQ(Read(File()).find("never written"), std::string::npos);
  }
  ::sigaction(SIGUSR1, &before, nullptr);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(FailingDisk, AFullQueueRefusesAtOnceAndKeepsPlacesForWhatIsAllowed) {
  std::atomic<std::size_t> answered = 0;
  std::atomic<std::size_t> exhausted = 0;
  {
    // A callback that hangs keeps every place taken, however long this test runs.
    std::promise<void> release;
    const std::shared_future<void> released = release.get_future().share();
    std::promise<void> holding;
    const std::unique_ptr<Trail> trail = OpenTrail();
    trail->Record(RevealOf("first"), [&](Result<Recorded>) {
      holding.set_value();
      released.wait();
      ++answered;
    });
    holding.get_future().wait();
    const auto record = [&](Outcome outcome) {
      Entry entry = RevealOf("id");
      entry.outcome = outcome;
      trail->Record(std::move(entry), [&](Result<Recorded> result) {
        ++answered;
        if (!result && result.error().GetCode() == Code::kExhausted) ++exhausted;
      });
    };
    for (std::size_t i = 1; i < kMaxWaitingDenials; ++i) record(Outcome::kDenied);
    EXPECT_EQ(exhausted, 0U);
    record(Outcome::kDenied);
    EXPECT_EQ(exhausted, 1U);
    for (std::size_t i = kMaxWaitingDenials; i < kMaxWaitingLines; ++i) record(Outcome::kAllowed);
    EXPECT_EQ(exhausted, 1U);
    record(Outcome::kAllowed);
    EXPECT_EQ(exhausted, 2U);
    release.set_value();
  }
  EXPECT_EQ(answered, kMaxWaitingLines + 2);
}

TEST_F(FailingDisk, ADeletedFileRefusesThenTheChainGoesOnInANewOneThatShowsTheGap) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("before")));
  std::filesystem::remove(File());
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  const Result<Recorded> after = trail->RecordAndWait(RevealOf("after"));
  ASSERT_TRUE(after);
  EXPECT_EQ(after->Sequence(), 4U);
  const auto begin = nlohmann::json::parse(Lines().at(0));
  EXPECT_EQ(begin["act"], "begin");
  EXPECT_EQ(begin["seq"], 3);
  EXPECT_EQ(begin["object"], "file-lost");
  EXPECT_EQ(Problems(), (Found{"1: the file begins in the middle of the chain: the lines before "
                               "are missing"}));
}

TEST_F(FailingDisk, AFileMovedAwayAndItsFollowerVerifyTogether) {
  {
    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_TRUE(trail->RecordAndWait(RevealOf("before")));
    std::filesystem::rename(File(), folder_ / "moved");
    EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
    ASSERT_TRUE(trail->RecordAndWait(RevealOf("after")));
  }
  Write(File(), Read(folder_ / "moved") + Read(File()));
  EXPECT_EQ(Problems(), Found{});
}

TEST_F(FailingDisk, AFilePutBackIsGoneOnWithWithoutAGap) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  std::filesystem::rename(File(), folder_ / "moved");
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  std::filesystem::rename(folder_ / "moved", File());
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_TRUE(trail->Verify()->problems.empty());
  EXPECT_EQ(trail->LastSequence(), 2U);
}

TEST_F(FailingDisk, AFaithfulCopyInThePlaceOfTheFileIsGoneOnWith) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("before")));
  std::filesystem::copy_file(File(), folder_ / "copy");
  std::filesystem::rename(folder_ / "copy", File());
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_TRUE(trail->Verify()->problems.empty());
  EXPECT_EQ(Lines().size(), 3U);
  EXPECT_FALSE(Trail::Open(folder_, TestKey(), StandingClock));  // the copy is locked, too
}

TEST_F(FailingDisk, AForeignFileInThePlaceOfTheTrailIsKeptAside) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  Write(folder_ / "foreign", "not a trail\n");
  std::filesystem::rename(folder_ / "foreign", File());
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_EQ(nlohmann::json::parse(Lines().at(0))["object"], "file-replaced");
  ASSERT_EQ(FilesSetAside().size(), 1U);
  EXPECT_EQ(Read(FilesSetAside()[0]), "not a trail\n");
}

TEST_F(FailingDisk, ASymbolicLinkInThePlaceOfTheTrailIsNotWrittenThrough) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  std::filesystem::rename(File(), folder_ / "target");
  std::filesystem::create_symlink(folder_ / "target", File());
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_FALSE(std::filesystem::is_symlink(File()));
  EXPECT_EQ(FilesSetAside().size(), 1U);
}

TEST_F(FailingDisk, ATrailCutUnderTheDaemonIsKeptAsideAndTheGapShows) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("before")));
  std::filesystem::resize_file(File(), 10);
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_EQ(nlohmann::json::parse(Lines().at(0))["object"], "file-damaged");
  EXPECT_EQ(nlohmann::json::parse(Lines().at(0))["seq"], 3);
  EXPECT_EQ(FilesSetAside().size(), 1U);
}

TEST_F(FailingDisk, BytesThatAnotherAppendedAreCutOffAndTheCutIsRecorded) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  std::ofstream(File(), std::ios::app) << "forged\n";
  EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  ASSERT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_EQ(nlohmann::json::parse(Lines().at(1))["object"], "bytes:7");
  EXPECT_TRUE(trail->Verify()->problems.empty());
}

TEST_F(FailingDisk, AFileDeletedDuringTheSyncIsNotAcknowledged) {
  HangingSync disk;
  const std::unique_ptr<Trail> trail = OpenTrail(disk.Calls());
  disk.Hang();
  auto result = std::async(std::launch::async,
                           [&] { return trail->RecordAndWait(RevealOf("refused")); });
  disk.AwaitSync();
  std::filesystem::remove(File());
  disk.Release();
  EXPECT_EQ(CodeOf(result.get()), Code::kUnavailable);
  EXPECT_TRUE(trail->RecordAndWait(RevealOf("after")));
}

TEST_F(FailingDisk, AMissingFolderRefusesUntilItIsBack) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  const std::filesystem::path away = folder_.string() + "-away";
  std::filesystem::rename(folder_, away);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(CodeOf(trail->RecordAndWait(RevealOf("refused"))), Code::kUnavailable);
  }
  std::filesystem::rename(away, folder_);
  EXPECT_TRUE(trail->RecordAndWait(RevealOf("after")));
  EXPECT_TRUE(trail->Verify()->problems.empty());
}

// Each call that the trail makes fails once, or from then on for a while: nothing that was
// acknowledged is lost, and the trail works again and verifies when the disk does.
TEST_F(FailingDisk, WhicheverCallFailsNothingAcknowledgedIsLost) {
  for (const int failing_calls : {1, 4}) {
    bool reached = true;
    for (int first_failing = 0; reached; ++first_failing) {
      std::filesystem::remove_all(folder_);
      std::filesystem::create_directory(folder_);
      std::atomic<int> count = 0;
      const auto fails = [&] {
        const int call = count++;
        errno = EIO;
        return call >= first_failing && call < first_failing + failing_calls;
      };
      const FileCalls system = FileCalls::System();
      const FileCalls calls{
          .open = [&](const char* path, int flags,
                      mode_t mode) { return fails() ? -1 : system.open(path, flags, mode); },
          .write =
              [&](int file, const void* bytes, std::size_t size_bytes) {
                return fails() ? ssize_t{-1} : system.write(file, bytes, size_bytes);
              },
          .fdatasync = [&](int file) { return fails() ? -1 : system.fdatasync(file); },
          .ftruncate =
              [&](int file, off_t size_bytes) {
                return fails() ? -1 : system.ftruncate(file, size_bytes);
              },
          .fstat = [&](int file,
                       struct stat* status) { return fails() ? -1 : system.fstat(file, status); },
          .fallocate =
              [&](int file, int mode, off_t begin, off_t size_bytes) {
                return fails() ? -1 : system.fallocate(file, mode, begin, size_bytes);
              },
      };
      std::map<std::uint64_t, std::string> acknowledged;
      for (int round = 0; round < 2; ++round) {
        const auto trail = Trail::Open(folder_, TestKey(), StandingClock, calls);
        if (!trail) {
          EXPECT_EQ(trail.error().GetCode(), Code::kUnavailable) << trail.error().Message();
          continue;
        }
        for (int i = 0; i < 8; ++i) {
          const std::string id = "id-" + std::to_string(round) + "-" + std::to_string(i);
          const Result<Recorded> recorded = (*trail)->RecordAndWait(RevealOf(id));
          if (recorded) acknowledged[recorded->Sequence()] = id;
        }
        EXPECT_TRUE((*trail)->RecordAndWait(RevealOf("works again")) || count < first_failing + 5);
      }
      reached = count > first_failing;
      OpenTrail();
      EXPECT_EQ(Problems(), Found{}) << "call " << first_failing;
      const auto lines = Lines();
      for (const auto& [sequence, id] : acknowledged) {
        ASSERT_LE(sequence, lines.size()) << "call " << first_failing;
        EXPECT_NE(lines[sequence - 1].find('"' + id + '"'), std::string::npos);
      }
    }
  }
}

}  // namespace
}  // namespace oauthvault::audit
