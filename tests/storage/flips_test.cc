#include "tests/storage/flips.h"

#include <gtest/gtest.h>

namespace oauthvault::storage {
namespace {

TEST(Flips, Damage_OfEveryKindIsNoticed) {
  const FlipReport report = RunFlips({.rows = 60, .flips = 1500});
  EXPECT_EQ(report.Unnoticed(), 0u) << report.Text();
  EXPECT_EQ(report.flips.flips, 1500u);
  // The harness does meet what it looks for.
  EXPECT_GT(report.flips.damaged_rows, 300u) << report.Text();
  EXPECT_GT(report.flips.structure, 0u);
  EXPECT_GT(report.flips.rolled_back, 0u);
  EXPECT_GT(report.swaps.tried, 3000u);
  EXPECT_GT(report.cut_rows.tried, 500u);
  EXPECT_GT(report.cut_files.tried, 20u);
  EXPECT_GT(report.missing_rows.tried, 60u);
  EXPECT_GT(report.missing_pairs.tried, 60u);
  EXPECT_GT(report.older_rows.tried, 20u);
  EXPECT_GT(report.older_pairs.tried, 20u);
}

// A harness that does not notice what is broken on purpose notices nothing.
TEST(Flips, Sabotage_OfTheAssociatedDataIsCaught) {
  const FlipReport report = RunFlips({.flips = 30, .sabotage = Sabotage::kNoAad});
  EXPECT_EQ(report.swaps.unnoticed, report.swaps.tried);
}

TEST(Flips, Sabotage_OfTheSummariesIsCaught) {
  const FlipReport report = RunFlips({.flips = 30, .sabotage = Sabotage::kNoSummary});
  EXPECT_GT(report.missing_rows.unnoticed, 50u);
  // An older anchor alone is noticed by its generation.
  EXPECT_EQ(report.older_rows.unnoticed, report.older_rows.tried - 1);
  EXPECT_EQ(report.older_pairs.unnoticed, report.older_pairs.tried);
}

TEST(Flips, Sabotage_OfTheAnchorIsCaught) {
  const FlipReport report = RunFlips({.flips = 600, .sabotage = Sabotage::kSkipAnchor});
  EXPECT_GT(report.flips.silent, 0u);
  EXPECT_EQ(report.older_files.unnoticed, 1u);
}

}  // namespace
}  // namespace oauthvault::storage
