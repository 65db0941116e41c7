// How many calls there may be, in all and for each principal.

#include "daemon/rpc/concurrency.h"

#include <gtest/gtest.h>

#include <vector>

namespace oauthvault::rpc {
namespace {

class ConcurrencyTest : public testing::Test {
 protected:
  CallCounters counters_;
  Concurrency concurrency_{{.in_all = 3, .per_principal = 2}, counters_};
};

TEST_F(ConcurrencyTest, OnePrincipalBeyondItsLimit_LeavesTheOthersTheirs) {
  auto first = concurrency_.Take("a");
  auto second = concurrency_.Take("a");
  ASSERT_TRUE(first && second);
  const auto third = concurrency_.Take("a");
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().GetCode(), Code::kExhausted);
  auto other = concurrency_.Take("b");
  EXPECT_TRUE(other);
  EXPECT_FALSE(concurrency_.Take("c")) << "three in all";
  EXPECT_EQ(counters_.under_way, 3u);
  EXPECT_EQ(counters_.too_many, 2u);
}

TEST_F(ConcurrencyTest, APlaceThatEnds_IsFreeForTheNext) {
  std::vector<Concurrency::Place> places;
  for (int i = 0; i < 100; ++i) {
    auto place = concurrency_.Take("a");
    ASSERT_TRUE(place) << i;
    if (i % 2 == 1) places.clear();
    places.push_back(std::move(*place));
    if (i % 2 == 1) places.clear();
  }
  places.clear();
  EXPECT_EQ(counters_.under_way, 0u);
}

TEST_F(ConcurrencyTest, APlaceThatMoves_IsGivenBackOnce) {
  {
    auto taken = concurrency_.Take("a");
    ASSERT_TRUE(taken);
    Concurrency::Place moved = std::move(*taken);
    Concurrency::Place assigned;
    assigned = std::move(moved);
    EXPECT_EQ(counters_.under_way, 1u);
  }
  EXPECT_EQ(counters_.under_way, 0u);
}

TEST_F(ConcurrencyTest, AnswersThatNobodyReads_AreBoundedForEachPrincipal) {
  auto first = concurrency_.Take("a");
  auto second = concurrency_.Take("a");
  auto other = concurrency_.Take("b");
  ASSERT_TRUE(first && second && other);
  EXPECT_TRUE(first->Hold(kMaxUnreadBytes + 1)) << "one alone is bounded by its message's limit";
  const auto refused = second->Hold(1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().GetCode(), Code::kExhausted);
  EXPECT_TRUE(other->Hold(kMaxUnreadBytes));
  *first = Concurrency::Place();
  EXPECT_TRUE(second->Hold(1)) << "what was read counts no more";
}

}  // namespace
}  // namespace oauthvault::rpc
