// Damages a small store in every way that somebody with its file can, bit by bit and row by row,
// and prints how each was noticed. Exit 0: everything was, 1: something was not, 2: arguments.
//
//   flip [--rows N] [--flips N | --all] [--seed N] [--sabotage no-aad|no-summary|skip-anchor]

#include <charconv>
#include <cstdio>
#include <string_view>

#include "crypto/secret.h"
#include "tests/storage/flips.h"

namespace {

using oauthvault::storage::FlipPlan;
using oauthvault::storage::FlipReport;
using oauthvault::storage::Sabotage;

template <class T>
bool Read(const char* text, T& number) {
  const std::string_view view(text);
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), number);
  return error == std::errc() && end == view.data() + view.size();
}

bool Read(std::string_view text, Sabotage& sabotage) {
  if (text == "no-aad") sabotage = Sabotage::kNoAad;
  if (text == "no-summary") sabotage = Sabotage::kNoSummary;
  if (text == "skip-anchor") sabotage = Sabotage::kSkipAnchor;
  return sabotage != Sabotage::kNone;
}

bool Read(int count, char** arguments, FlipPlan& plan) {
  for (int i = 1; i < count; ++i) {
    const std::string_view name(arguments[i]);
    if (name == "--all") {
      plan.all = true;
      continue;
    }
    if (++i == count) return false;
    const bool is_read = name == "--rows"       ? Read(arguments[i], plan.rows)
                         : name == "--flips"    ? Read(arguments[i], plan.flips)
                         : name == "--seed"     ? Read(arguments[i], plan.seed)
                         : name == "--sabotage" ? Read(std::string_view(arguments[i]),
                                                       plan.sabotage)
                                                : false;
    if (!is_read) return false;
  }
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  FlipPlan plan;
  if (!Read(count, arguments, plan) || !oauthvault::crypto::Prepare()) {
    std::fputs("flip [--rows N] [--flips N | --all] [--seed N] "
               "[--sabotage no-aad|no-summary|skip-anchor]\n",
               stderr);
    return 2;
  }
  const FlipReport report = oauthvault::storage::RunFlips(plan);
  std::fputs(report.Text().c_str(), stdout);
  return report.Unnoticed() == 0 ? 0 : 1;
}
