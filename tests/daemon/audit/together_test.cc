#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tests/daemon/audit/hanging_sync.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

using All = Result<std::vector<Recorded>>;

// Lines of one decision that stand or fall together.
class TogetherTest : public TrailFolder {
 protected:
  FileCalls Calls() {
    FileCalls calls = FileCalls::System();
    calls.fdatasync = [this, system = calls.fdatasync](int file) {
      ++syncs_;
      if (!fails_) return system(file);
      errno = EIO;
      return -1;
    };
    return calls;
  }
  static std::vector<Entry> Entries(int count) {
    std::vector<Entry> entries;
    for (int i = 0; i < count; ++i) entries.push_back(RevealOf("id-" + std::to_string(i)));
    return entries;
  }
  static All RecordAndWait(Trail& trail, std::vector<Entry> entries) {
    std::promise<All> promise;
    trail.RecordTogether(std::move(entries),
                         [&promise](All all) { promise.set_value(std::move(all)); });
    return promise.get_future().get();
  }

  std::atomic<int> syncs_ = 0;
  std::atomic<bool> fails_ = false;
};

TEST_F(TogetherTest, TheyStandBehindEachOtherAfterOneSyncWithAProofEach) {
  const std::unique_ptr<Trail> trail = OpenTrail(Calls());
  const std::uint64_t before = trail->LastSequence();
  const int syncs = syncs_;
  const All all = RecordAndWait(*trail, Entries(64));
  ASSERT_TRUE(all) << all.error().Message();
  EXPECT_EQ(syncs_, syncs + 1);
  ASSERT_EQ(all->size(), 64u);
  const std::vector<std::string> lines = Lines();
  for (std::size_t i = 0; i < all->size(); ++i) {
    EXPECT_EQ((*all)[i].Sequence(), before + 1 + i);
    const nlohmann::json line = nlohmann::json::parse(lines.at(before + i));
    EXPECT_EQ(line.at("seq"), (*all)[i].Sequence());
    EXPECT_EQ(line.at("oauth_id"), "id-" + std::to_string(i));
  }
  EXPECT_EQ(Problems(), std::vector<std::string>{});
}

TEST_F(TogetherTest, OneEntryIsAGroupToo) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  const All all = RecordAndWait(*trail, Entries(1));
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 1u);
  EXPECT_EQ(all->front().Sequence(), trail->LastSequence());
}

TEST_F(TogetherTest, WhereTheDiskFails_NoneOfThemStands) {
  const std::unique_ptr<Trail> trail = OpenTrail(Calls());
  const std::size_t lines = Lines().size();
  fails_ = true;
  const All all = RecordAndWait(*trail, Entries(8));
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().GetCode(), Code::kUnavailable);
  fails_ = false;
  ASSERT_TRUE(RecordOnceItAnswers(*trail, RevealOf("after")));
  EXPECT_EQ(Lines().size(), lines + 1);
}

TEST_F(TogetherTest, WhatFindsNoPlaceForAll_TakesNone) {
  const std::unique_ptr<Trail> trail = OpenTrail();
  const All refused = RecordAndWait(*trail, Entries(static_cast<int>(kMaxWaitingLines) + 1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().GetCode(), Code::kExhausted);
  EXPECT_EQ(Lines().size(), 1u);
}

TEST_F(TogetherTest, CallbacksThatAreDueTogetherAreCalledWithinWhatWasAsked) {
  HangingSync disk;
  const std::unique_ptr<Trail> trail = OpenTrail(disk.Calls());
  std::vector<int> called_in;  // of each callback: the number of that call, 0: it was in none
  int around = 0;
  bool is_within = false;
  trail->CallBackWithin([&](const std::function<void()>& call_back) {
    ++around;
    is_within = true;
    call_back();
    is_within = false;
  });
  disk.Hang();
  std::promise<void> all;
  const auto record = [&] {
    trail->Record(RevealOf("id"), [&](Result<Recorded> recorded) {
      EXPECT_TRUE(recorded);
      called_in.push_back(is_within ? around : 0);
      if (called_in.size() == 4) all.set_value();
    });
  };
  record();
  disk.AwaitSync();
  for (int i = 0; i < 3; ++i) record();
  disk.Release();
  ASSERT_EQ(all.get_future().wait_for(kGenerous), std::future_status::ready);
  EXPECT_EQ(called_in, (std::vector<int>{0, 1, 1, 1}));
}

}  // namespace
}  // namespace oauthvault::audit
