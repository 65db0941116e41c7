#include "daemon/audit/verification.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "crypto/sabotage.h"
#include "daemon/audit/course.h"
#include "daemon/audit/line.h"
#include "daemon/audit/line_reader.h"

namespace oauthvault::audit {
namespace {

// What the next line must say, as far as the lines before tell.
struct Expected {
  std::uint64_t sequence = 1;
  std::optional<HashDigits> previous = kNoPrevious;  // unknown after a damaged line
  storage::Position at_least = {};
};

std::optional<Text> ProblemOf(const Link& link, const Expected& expected, bool first) {
  if (link.sequence > expected.sequence) {
    return first ? Text("the file begins in the middle of the chain: the lines before are missing")
                 : Text("lines before this one are missing");
  }
  if (link.sequence < expected.sequence) return Text("the line stands a second time or too late");
  if (expected.previous && link.previous != *expected.previous) {
    return Text("the line does not follow from the line before");
  }
  return std::nullopt;
}

// Goes through the lines once, and says what is wrong with each.
class Walk {
 public:
  Walk(const Verification& by, Verdict& verdict) : by_(by), verdict_(verdict) {
    for (const Checkpoint& kept : by.kept) checkpoints_.emplace(kept.size, kept);
  }

  Result<void> ReadCheckpoints();
  void Take(const SegmentsReader::Stretch& stretch);
  void EndSegment(const Segment& segment);
  void End();

 private:
  void TakeLine(std::string_view text);
  void Problem(Text what) { AddProblem(verdict_, verdict_.lines, what); }

  const Verification& by_;
  Verdict& verdict_;
  Expected expected_;
  Course course_;
  bool whole_ = true;      // no line that the course depends on was missing or wrong
  bool last_closes_ = false;
  std::multimap<std::uint64_t, Checkpoint> checkpoints_;  // by size, those not yet compared
  std::map<std::uint64_t, std::uint64_t> sizes_;  // of the segments' own, by their first line
};

// The checkpoints of the closed segments, each signed.
Result<void> Walk::ReadCheckpoints() {
  if (crypto::IsSabotaged(crypto::Sabotage::kNoCheckpointCheck)) return {};
  auto names = CheckpointsIn(by_.folder);
  if (!names) return Fail(std::move(names));
  for (const std::uint64_t first : *names) {
    const auto note = ReadSmallFile(by_.folder / CheckpointName(first), kMaxCheckpointSize);
    auto checkpoint = note ? by_.public_key.Open(*note)
                           : Result<Checkpoint>(Fail(Code::kCorrupt, "a checkpoint is no file"));
    if (!checkpoint) {
      AddProblem(verdict_, 1, "a segment's checkpoint is not signed by this vault");
      continue;
    }
    sizes_.emplace(first, checkpoint->size);
    checkpoints_.emplace(checkpoint->size, *std::move(checkpoint));
  }
  return {};
}

void Walk::TakeLine(std::string_view text) {
  const std::optional<Link> link =
      by_.audit_key != nullptr ? VerifyLine(*by_.audit_key, text) : LinkOf(text);
  if (!link) {
    Problem(by_.audit_key != nullptr ? Text("the line was edited, or the key is another one")
                                     : Text("the line is no line of this format"));
    ++expected_.sequence;
    expected_.previous.reset();
    whole_ = last_closes_ = false;
    return;
  }
  const std::optional<storage::Position> position = PositionOf(text);
  const bool first = verdict_.lines == 1;
  const std::string_view closes = FieldOf(text, "closes");
  const std::string_view tree = FieldOf(text, "tree");
  if (const auto problem = ProblemOf(*link, expected_, first)) {
    Problem(*problem);
    whole_ = false;
  } else if (!position || *position < expected_.at_least) {
    Problem("the line has no position, or one before the line before");
  } else if (whole_ && !tree.empty() && tree != course_.TreeText()) {
    Problem("the tree in the line is not that of the lines before");
  } else if (whole_ && !closes.empty() && closes != course_.ClosesText()) {
    Problem("the line closes an interval with other lines");
  }
  if (verdict_.first_sequence == 0) verdict_.first_sequence = link->sequence;
  verdict_.last_sequence = link->sequence;
  course_.Take(text);
  last_closes_ = !closes.empty();
  expected_ = {link->sequence + 1, HashLine(text), position.value_or(expected_.at_least)};
  // The tree's size tells which checkpoints are about the lines up to this one.
  const auto [begin, end] = checkpoints_.equal_range(course_.Tree().Size());
  for (auto checkpoint = begin; checkpoint != end; ++checkpoint) {
    if (checkpoint->second.root == course_.Tree().Root()) {
      verdict_.proven_sequence = link->sequence;
    } else {
      Problem("the lines up to this one are not those of a checkpoint");
    }
  }
  checkpoints_.erase(begin, end);
}

void Walk::Take(const SegmentsReader::Stretch& stretch) {
  ++verdict_.lines;
  switch (stretch.found) {
    case LineReader::Found::kTorn:
      Problem("the last line is torn: it has no end");
      whole_ = last_closes_ = false;
      return;
    case LineReader::Found::kLine: TakeLine(stretch.text); break;
    default: TakeLine({}); break;
  }
  if (stretch.begins_segment && stretch.segment->closed &&
      stretch.segment->first_sequence != verdict_.last_sequence) {
    Problem("the segment has another name than its first line");
  }
}

void Walk::EndSegment(const Segment& segment) {
  if (!segment.closed) return;
  if (!last_closes_) Problem("the segment does not end in the line that closes it");
  if (crypto::IsSabotaged(crypto::Sabotage::kNoCheckpointCheck)) return;
  const auto size = sizes_.find(segment.first_sequence);
  if (size == sizes_.end()) {
    Problem("the checkpoint of the segment is missing");
  } else if (whole_ && size->second != course_.Tree().Size()) {
    Problem("the checkpoint of the segment is another segment's");
  }
}

void Walk::End() {
  if (verdict_.lines == 0) {
    AddProblem(verdict_, 1, "the trail is empty: its first line is missing");
  }
  for (const auto& [size, checkpoint] : checkpoints_) {
    AddProblem(verdict_, verdict_.lines + 1,
               size > course_.Tree().Size() ? Text("a checkpoint tells of lines that are missing")
                                            : Text("a checkpoint tells of no place in the trail"));
  }
}

}  // namespace

void AddProblem(Verdict& verdict, std::uint64_t line_number, Text what) {
  if (verdict.problems.size() < kMaxProblems) {
    verdict.problems.push_back({line_number, std::string(what.View())});
  }
}

Result<void> AddKept(Verification& by, const std::vector<std::string>& notes) {
  for (const std::string& note : notes) {
    auto checkpoint = by.public_key.Open(note);
    if (!checkpoint) return Fail(std::move(checkpoint));
    by.kept.push_back(*std::move(checkpoint));
  }
  return {};
}

Result<Verdict> VerifySegments(std::vector<Segment> segments, const Verification& by) {
  Verdict verdict;
  Walk walk(by, verdict);
  // Before the lines: a segment that is closed meanwhile has a checkpoint that is not asked for.
  if (auto read = walk.ReadCheckpoints(); !read) return Fail(std::move(read));
  SegmentsReader reader(std::move(segments));
  while (true) {
    auto stretch = reader.Next();
    if (!stretch) return Fail(std::move(stretch));
    if (stretch->segment == nullptr) break;
    if (stretch->found == LineReader::Found::kEnd) {
      walk.EndSegment(*stretch->segment);
    } else {
      walk.Take(*stretch);
    }
  }
  walk.End();
  return verdict;
}

Result<Verdict> VerifyFromOutside(const std::filesystem::path& folder,
                                  const CheckpointKey& public_key,
                                  const std::vector<std::string>& kept) {
  auto segments = RestingSegments(folder);
  if (!segments) return Fail(std::move(segments));
  Verification by{folder, nullptr, public_key, {}};
  if (auto added = AddKept(by, kept); !added) return Fail(std::move(added));
  return VerifySegments(*std::move(segments), by);
}

}  // namespace oauthvault::audit
