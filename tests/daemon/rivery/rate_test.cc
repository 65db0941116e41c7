#include "daemon/rivery/rate.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::rivery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RateTest : public testing::Test {
 protected:
  /// Spends calls one by one until one is refused; how many there were.
  int SpendAll(Purpose purpose, const AccountId& account) {
    for (int calls = 0;; ++calls) {
      auto turn = rate_.Take(account, purpose);
      if (!turn) return calls;
      turn->Spend();
    }
  }
  std::chrono::steady_clock::duration WaitFor(Purpose purpose, unsigned calls = 1) {
    auto turn = rate_.Take(eu_, purpose, calls);
    return turn ? seconds(0) : turn.error();
  }

  Rate::Time now_{seconds(1'000'000)};
  Rate rate_{15, [this] { return now_; }};
  const AccountId eu_ = *AccountId::Parse("eu");
  const AccountId us_ = *AccountId::Parse("us");
};

TEST_F(RateTest, Take_GivesFifteenInAnyMinuteAndNoMore) {
  EXPECT_EQ(SpendAll(Purpose::kLastLook, eu_), 15);
  EXPECT_EQ(WaitFor(Purpose::kLastLook), seconds(60));
  now_ += seconds(59);
  EXPECT_EQ(WaitFor(Purpose::kLastLook), seconds(1));
  now_ += seconds(1);
  EXPECT_EQ(SpendAll(Purpose::kLastLook, eu_), 15);
}

TEST_F(RateTest, Take_SlidesInsteadOfBeginningMinutes) {
  for (int i = 0; i < 15; ++i, now_ += seconds(2)) {
    rate_.Take(eu_, Purpose::kLastLook)->Spend();
  }
  EXPECT_EQ(WaitFor(Purpose::kLastLook), seconds(30));
  EXPECT_EQ(WaitFor(Purpose::kLastLook, 3), seconds(34));
  now_ += seconds(30);
  EXPECT_EQ(SpendAll(Purpose::kLastLook, eu_), 1);
}

TEST_F(RateTest, Take_CountsEachAccountByItself) {
  EXPECT_EQ(SpendAll(Purpose::kLastLook, eu_), 15);
  EXPECT_EQ(SpendAll(Purpose::kLastLook, us_), 15);
}

TEST_F(RateTest, Take_LeavesToEachPurposeWhatIsKeptFromTheOnesBelow) {
  rate_.KeepForLastLooks(eu_, 4);
  EXPECT_EQ(SpendAll(Purpose::kPoll, eu_), 8);
  EXPECT_EQ(SpendAll(Purpose::kOnward, eu_), 3);
  EXPECT_EQ(SpendAll(Purpose::kLastLook, eu_), 4);
  EXPECT_EQ(SpendAll(Purpose::kPoll, us_), 12);
  EXPECT_EQ(rate_.PollsPerWindow(), 12u);
}

TEST_F(RateTest, KeepForLastLooks_LeavesTheOthersTwoThirds) {
  rate_.KeepForLastLooks(eu_, 1'000);
  EXPECT_EQ(SpendAll(Purpose::kOnward, eu_), 10);
  EXPECT_EQ(rate_.LastLooksPerWindow(), 5u);
}

TEST_F(RateTest, Take_AdmitsMoreThanThereEverIsRoomForWhenNothingElseIs) {
  Rate small(1, [this] { return now_; });
  auto both = small.Take(eu_, Purpose::kPoll, 2);
  ASSERT_TRUE(both);
  both->Spend();
  EXPECT_FALSE(small.Take(eu_, Purpose::kLastLook));
  EXPECT_EQ(small.PollsPerWindow(), 1u);
}

TEST_F(RateTest, Turn_GivesBackWhatItDidNotSpend) {
  {
    auto turn = rate_.Take(eu_, Purpose::kOnward, 2);
    ASSERT_TRUE(turn);
    Turn moved = std::move(*turn);
    moved.Spend();
  }
  EXPECT_EQ(SpendAll(Purpose::kLastLook, eu_), 14);
}

TEST_F(RateTest, Turn_IsChargedForWhatItSpendsBeyond) {
  auto turn = rate_.Take(eu_, Purpose::kOnward);
  ASSERT_TRUE(turn);
  for (int page = 0; page < 20; ++page) turn->Spend();
  EXPECT_EQ(WaitFor(Purpose::kLastLook), seconds(60));
  now_ += seconds(60);
  EXPECT_EQ(SpendAll(Purpose::kLastLook, eu_), 15);
}

TEST_F(RateTest, Obey_HoldsEveryCallOfThatAccountBack) {
  rate_.Take(eu_, Purpose::kPoll)->Obey(seconds(90));
  rate_.Take(us_, Purpose::kPoll)->Obey(seconds(5));
  EXPECT_EQ(WaitFor(Purpose::kLastLook), seconds(90));
  now_ += seconds(10);
  EXPECT_TRUE(rate_.Take(us_, Purpose::kLastLook));
  EXPECT_EQ(WaitFor(Purpose::kLastLook), seconds(80));
  now_ += seconds(80);
  EXPECT_TRUE(rate_.Take(eu_, Purpose::kPoll));
}

TEST_F(RateTest, Obey_IsNeverCutShortByAShorterWait) {
  auto turn = rate_.Take(eu_, Purpose::kPoll);
  turn->Obey(seconds(90));
  turn->Obey(seconds(5));
  turn->SlowDown();
  EXPECT_EQ(WaitFor(Purpose::kLastLook), seconds(90));
}

TEST_F(RateTest, SlowDown_WaitsForOneCallOfTheBudget) {
  rate_.Take(eu_, Purpose::kPoll)->SlowDown();
  EXPECT_EQ(WaitFor(Purpose::kLastLook), seconds(4));
}

TEST_F(RateTest, TakeNow_SaysHowLongToWait) {
  SpendAll(Purpose::kLastLook, eu_);
  now_ += milliseconds(500);
  auto turn = rate_.TakeNow(eu_, Purpose::kOnward);
  ASSERT_FALSE(turn);
  EXPECT_EQ(turn.error().GetCode(), Code::kExhausted);
  EXPECT_TRUE(turn.error().Message().contains("60")) << turn.error().Message();
}

}  // namespace
}  // namespace oauthvault::rivery
