#include "daemon/audit/course.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "crypto/hex.h"
#include "daemon/audit/line.h"
#include "daemon/audit/object_text.h"

namespace oauthvault::audit {
namespace {

constexpr std::string_view kFirst = "first:";
constexpr std::string_view kProjects = " projects:";
constexpr std::string_view kBefore = " before:";
constexpr std::size_t kHexSize = 64;

// `<size>:` and the peaks, the largest first.
std::optional<MerkleTree> ParseTree(std::string_view text) {
  const auto size = TakeNumber(text);
  if (!size || !TakeWord(text, ":") || text.size() % kHexSize != 0 ||
      text.size() / kHexSize > kMaxPeaks) {
    return std::nullopt;
  }
  std::vector<TreeHash> peaks;
  for (; !text.empty(); text.remove_prefix(kHexSize)) {
    const auto peak = TreeHashOf(text.substr(0, kHexSize));
    if (!peak) return std::nullopt;
    peaks.push_back(*peak);
  }
  return MerkleTree::From(*size, std::move(peaks));
}

}  // namespace

std::optional<Closes> ParseCloses(std::string_view text) {
  if (!TakeWord(text, kFirst)) return std::nullopt;
  const auto first = TakeNumber(text);
  if (!first || !TakeWord(text, kProjects)) return std::nullopt;
  const auto projects = TreeHashOf(text.substr(0, std::min(kHexSize, text.size())));
  if (!projects) return std::nullopt;
  text.remove_prefix(kHexSize);
  if (!TakeWord(text, kBefore) || !TreeHashOf(text)) return std::nullopt;
  return Closes{*first, *projects, std::string(text)};
}

std::string Course::TreeText() const {
  std::string text = std::to_string(tree_.Size()) + ":";
  for (const TreeHash& peak : tree_.Peaks()) text += crypto::HexOf(peak);
  return text;
}

std::string Course::ClosesText() const {
  return std::string(kFirst) + std::to_string(first_) + std::string(kProjects) +
         crypto::HexOf(tally_.Root()) + std::string(kBefore) +
         (before_.empty() ? std::string(kNoPrevious) : before_);
}

void Course::Take(std::string_view line) {
  const std::uint64_t sequence = SequenceOf(line).value_or(0);
  const std::string_view act = FieldOf(line, "act");
  const bool closes = !FieldOf(line, "closes").empty();
  if (act == kBeginAct) {
    // A line that an older daemon wrote has no tree: one begins there.
    tree_ = ParseTree(FieldOf(line, "tree")).value_or(MerkleTree());
    if (!closes) {
      const auto link = LinkOf(line);
      first_ = sequence;
      before_ = link && FieldOf(line, "object") == kNextSegment ? link->previous
                                                                : std::string_view();
      tally_ = {};
    }
  }
  const TreeHash leaf = LeafHash(line);
  tree_.Add(leaf);
  if (closes) {
    first_ = sequence + 1;
    before_ = HashLine(line);
    tally_ = {};
  } else {
    tally_.Add(FieldOf(line, "project"), leaf);
  }
}

}  // namespace oauthvault::audit
