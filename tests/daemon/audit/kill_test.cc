#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

class KillTest : public TrailFolder {
 protected:
  /// Records without an end and tells each recorded sequence through `acknowledged`.
  [[noreturn]] void RecordUntilKilled(int acknowledged) {
    const std::unique_ptr<Trail> trail = OpenTrail();
    if (!trail) ::_exit(1);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        while (true) {
          const Result<Recorded> recorded = trail->RecordAndWait(RevealOf("id"));
          if (!recorded) ::_exit(2);
          const std::uint64_t sequence = recorded->Sequence();
          if (::write(acknowledged, &sequence, sizeof sequence) != sizeof sequence) ::_exit(3);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ::_exit(4);
  }
};

TEST_F(KillTest, EachLineThatWasAcknowledgedBeforeAKillStandsInTheTrail) {
  constexpr int kRounds = 10;
  std::uint64_t acknowledged = 0;
  for (int round = 0; round < kRounds; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      RecordUntilKilled(ends[1]);
    }
    ::close(ends[1]);
    std::vector<std::uint64_t> sequences;
    std::uint64_t sequence = 0;
    // Another number each time, so that the kill meets other moments.
    const std::size_t enough = static_cast<std::size_t>(20 + 13 * round);
    while (::read(ends[0], &sequence, sizeof sequence) == sizeof sequence) {
      sequences.push_back(sequence);
      if (sequences.size() == enough) ::kill(child, SIGKILL);
    }
    ::close(ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    acknowledged += sequences.size();

    const std::unique_ptr<Trail> trail = OpenTrail();
    ASSERT_NE(trail, nullptr);
    ASSERT_TRUE(trail->Verify()->problems.empty());
    ASSERT_GE(trail->LastSequence(), *std::ranges::max_element(sequences));
    for (const std::uint64_t one : sequences) {
      const auto lines = trail->Show(one - 1, 1);
      ASSERT_TRUE(lines && lines->size() == 1);
      ASSERT_EQ(lines->front().sequence, one);
      ASSERT_NE(lines->front().json.find("Credentials.Reveal"), std::string::npos);
    }
  }
  EXPECT_GE(acknowledged, 20U * kRounds);
}

}  // namespace
}  // namespace oauthvault::audit
