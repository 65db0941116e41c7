// What a full disk and many denials may do, and what they may not.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "daemon/audit/denial_limit.h"
#include "daemon/audit/trail_file.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

class RoomTest : public TrailFolder {
 protected:
  /// A disk that gives nothing beyond `limit_` bytes of the file; what is allocated stays.
  FileCalls SmallDisk() {
    FileCalls calls = FileCalls::System();
    calls.fallocate = [this](int, int, off_t begin, off_t size_bytes) {
      const auto end = static_cast<std::uint64_t>(begin + size_bytes);
      ++asked_;
      if (end > limit_) {
        errno = ENOSPC;
        return -1;
      }
      allocated_ = std::max<std::uint64_t>(allocated_, end);
      return 0;
    };
    calls.write = [this, system = calls.write](int file, const void* bytes, std::size_t size) {
      struct stat status {};
      ::fstat(file, &status);
      if (static_cast<std::uint64_t>(status.st_size) + size > std::max(allocated_, limit_.load())) {
        errno = ENOSPC;
        return ssize_t{-1};
      }
      return system(file, bytes, size);
    };
    return calls;
  }
  static bool Takes(Trail& trail, Entry entry) {
    return trail.RecordAndWait(std::move(entry)).has_value();
  }
  static Entry Denied(const std::string& principal = "spiffe://vault.test/runner/curious") {
    Entry entry = RevealOf("id");
    entry.principal = principal;
    entry.outcome = Outcome::kDenied;
    entry.code = "DENIED";
    return entry;
  }
  static Entry Revoking() {
    Entry entry = RevealOf("");
    entry.act = "Operations.Seal";
    entry.revokes = true;
    return entry;
  }

  /// Room for a few lines, and for no reserve.
  static constexpr std::uint64_t kAlmostNothing = 64 * 1024;

  std::atomic<std::uint64_t> limit_ = 1 << 30;
  std::atomic<std::uint64_t> asked_ = 0;  // for more room
  std::uint64_t allocated_ = 0;
};

TEST_F(RoomTest, AFullDiskRefusesAllButWhatRevokes_AndRecoversByItself) {
  const auto trail = OpenTrail(SmallDisk());
  ASSERT_TRUE(Takes(*trail, RevealOf("before")));
  EXPECT_TRUE(trail->HasRoom());
  limit_ = 0;  // nothing more is given
  // What is kept from denials is left for what is allowed.
  constexpr int kMost = 5000;
  int allowed = 0;
  while (Takes(*trail, RevealOf("more")) && allowed < kMost) ++allowed;
  EXPECT_LT(allowed, kMost);
  EXPECT_FALSE(trail->HasRoom());
  EXPECT_FALSE(Takes(*trail, Denied()));
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Takes(*trail, Revoking())) << i;
  // A commit stands, and gets its line.
  EXPECT_TRUE(RecorderOf(*trail)(0, Commits(1, 3)));
  EXPECT_FALSE(Takes(*trail, RevealOf("refused")));
  limit_ = 1 << 30;
  EXPECT_TRUE(RecordOnceItAnswers(*trail, RevealOf("after")));
  EXPECT_TRUE(trail->HasRoom());
  EXPECT_TRUE(trail->Verify()->problems.empty());
  EXPECT_EQ(Read(File()).find("refused"), std::string::npos);
}

TEST_F(RoomTest, DenialsLeaveTheSpaceOfWhatIsAllowed) {
  // Room for the reserve and something, and not for that of denials.
  limit_ = kReserveBytes + 512 * 1024;
  const auto trail = OpenTrail(SmallDisk());
  EXPECT_TRUE(Takes(*trail, RevealOf("allowed")));
  EXPECT_FALSE(Takes(*trail, Denied()));
  EXPECT_TRUE(Takes(*trail, RevealOf("allowed")));
  EXPECT_TRUE(trail->HasRoom());
}

TEST_F(RoomTest, OfLinesThatStandTogether_OneThatFindsNoRoomRefusesAll) {
  limit_ = kAlmostNothing;
  const auto trail = OpenTrail(SmallDisk());
  std::promise<bool> recorded;
  trail->RecordTogether({Revoking(), RevealOf("id")}, [&](Result<std::vector<Recorded>> all) {
    recorded.set_value(all.has_value());
  });
  EXPECT_FALSE(recorded.get_future().get());
  EXPECT_EQ(Lines().size(), 1U);
  EXPECT_TRUE(Takes(*trail, Revoking()));
}

TEST_F(RoomTest, ARefusalShowsUntilALineIsDurable_HoweverOftenTheDiskIsLookedAt) {
  limit_ = kAlmostNothing;
  const auto trail = OpenTrail(SmallDisk());
  EXPECT_FALSE(Takes(*trail, RevealOf("refused")));
  // The writer comes by again and again, and has nothing to write.
  const std::uint64_t asked = asked_;
  while (asked_ < asked + 20) std::this_thread::yield();
  EXPECT_TRUE(trail->GetLag().failed_ago);
  limit_ = 1 << 30;
  ASSERT_TRUE(RecordOnceItAnswers(*trail, RevealOf("after")));
  EXPECT_FALSE(trail->GetLag().failed_ago);
}

TEST_F(RoomTest, ItIsRarelyAskedForRoom) {
  const auto trail = OpenTrail(SmallDisk());
  ASSERT_TRUE(Takes(*trail, RevealOf("first")));
  const std::uint64_t asked = asked_;
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(Takes(*trail, RevealOf("id")));
  EXPECT_LE(asked_, asked + 1);
}

TEST_F(RoomTest, WhereNothingCanBeAllocatedAheadThereIsRoomForAll) {
  FileCalls calls = FileCalls::System();
  calls.fallocate = [](int, int, off_t, off_t) {
    errno = EOPNOTSUPP;
    return -1;
  };
  const auto trail = OpenTrail(calls);
  EXPECT_TRUE(Takes(*trail, Denied()));
  EXPECT_TRUE(trail->HasRoom());
}

TEST_F(RoomTest, BeyondItsBucketAPrincipalsDenialsAreCountedInOneLine) {
  {
    const auto trail = OpenTrail();
    for (std::uint32_t i = 0; i < kDenialBurst + 500; ++i) {
      ASSERT_TRUE(trail->RecordDenialAndWait(Denied()));
    }
    ASSERT_TRUE(trail->RecordDenialAndWait(Denied("spiffe://vault.test/runner/another")));
  }
  std::uint64_t single = 0;
  std::uint64_t counted = 0;
  std::uint64_t count_lines = 0;
  for (const std::string& line : Lines()) {
    const auto parsed = nlohmann::json::parse(line);
    if (parsed["outcome"] != "denied" ||
        parsed["principal"] != "spiffe://vault.test/runner/curious") {
      continue;
    }
    if (parsed["act"] == "denials") {
      counted += std::stoull(parsed["object"].get<std::string>().substr(6));
      ++count_lines;
    } else {
      ++single;
    }
  }
  EXPECT_EQ(single + counted, kDenialBurst + 500U);
  EXPECT_GE(counted, 1U);
  EXPECT_GE(single, kDenialBurst);
  EXPECT_LT(count_lines, 100U);
  EXPECT_NE(Read(File()).find("runner/another"), std::string::npos);
}

TEST_F(RoomTest, ABucketFillsAgain_AndThereIsABoundOnBuckets) {
  DenialLimit limit(2);
  DenialLimit::Time now{std::chrono::hours(1)};
  EXPECT_TRUE(limit.Take("a", now));
  EXPECT_TRUE(limit.Take("a", now));
  EXPECT_FALSE(limit.Take("a", now));
  EXPECT_TRUE(limit.Take("b", now));
  now += kDenialInterval;
  EXPECT_TRUE(limit.Take("a", now));
  EXPECT_FALSE(limit.Take("a", now));
  auto counts = limit.TakeCounts(10);
  ASSERT_EQ(counts.size(), 1U);
  EXPECT_EQ(counts[0].principal, "a");
  EXPECT_EQ(counts[0].denials, 2U);
  EXPECT_FALSE(limit.HasCounts());
  for (std::size_t i = 0; i < 2 * kMaxDeniedPrincipals; ++i) {
    limit.Take("p" + std::to_string(i), now);
  }
  EXPECT_FALSE(limit.Take("one too many", now));
  counts = limit.TakeCounts(10);
  ASSERT_EQ(counts.size(), 1U);
  EXPECT_EQ(counts[0].principal, kOtherPrincipals);
  limit.PutBack(counts[0]);
  EXPECT_TRUE(limit.HasCounts());
}

}  // namespace
}  // namespace oauthvault::audit
