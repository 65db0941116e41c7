#include "daemon/audit/extract.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "crypto/hex.h"
#include "daemon/audit/course.h"
#include "daemon/audit/line.h"
#include "daemon/audit/line_reader.h"
#include "daemon/audit/tally.h"
#include "daemon/audit/verification.h"

namespace oauthvault::audit {
namespace {

using nlohmann::json;

// Where a page begins: so many records of this segment were given; and where all ends.
struct Place {
  std::uint64_t until = 0;    // the first line of the last segment
  std::uint64_t segment = 0;  // likewise of this one
  std::uint64_t given = 0;
};

std::string TokenOf(const Place& place) {
  return std::to_string(place.until) + "." + std::to_string(place.segment) + "." +
         std::to_string(place.given);
}

std::optional<Place> PlaceOf(std::string_view token) {
  Place place;
  for (std::uint64_t* number : {&place.until, &place.segment, &place.given}) {
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), *number);
    if (error != std::errc()) return std::nullopt;
    token.remove_prefix(static_cast<std::size_t>(end - token.data()));
    if (token.starts_with('.')) token.remove_prefix(1);
  }
  return token.empty() ? std::optional(place) : std::nullopt;
}

json HexesOf(const std::vector<TreeHash>& hashes) {
  json list = json::array();
  for (const TreeHash& hash : hashes) list.push_back(crypto::HexOf(hash));
  return list;
}

std::string LineRecord(std::string_view line) { return json{{"line", line}}.dump(); }

std::string CloseRecord(std::string_view line, const TallyProof& proof) {
  json others = json::array();
  for (const TallyEntry& other : proof.others) {
    others.push_back({{"tag", crypto::HexOf(other.tag)}, {"digest", crypto::HexOf(other.digest)}});
  }
  return json{{"close", line},
              {"levels", proof.siblings_there},
              {"siblings", HexesOf(proof.siblings)},
              {"others", others}}
      .dump();
}

// Calls `take(line)` for each line of a segment, until it says that this is enough.
template <class Take>
Result<void> ForEachLine(Segment segment, Take take) {
  SegmentsReader reader({std::move(segment)});
  while (true) {
    auto stretch = reader.Next();
    if (!stretch) return Fail(std::move(stretch));
    if (stretch->segment == nullptr) return {};
    if (stretch->found == LineReader::Found::kLine && !take(stretch->text)) return {};
  }
}

// The first record: the checkpoint that all ends in, and what the lines before the last one that
// closes come to.
Result<std::string> Header(const Segment& last, const std::filesystem::path& folder,
                           const CheckpointKey& public_key, std::string_view project) {
  const auto note =
      ReadSmallFile(folder / CheckpointName(last.first_sequence), kMaxCheckpointSize);
  if (!note) return Fail(Code::kCorrupt, "the checkpoint that an extract ends in is missing");
  auto checkpoint = public_key.Open(*note);
  if (!checkpoint) return Fail(std::move(checkpoint));
  Course course;
  MerkleTree before;
  auto read = ForEachLine(last, [&](std::string_view line) {
    course.Take(line);
    // The tree without the line that this one is.
    if (course.Tree().Size() + 1 == checkpoint->size) before = course.Tree();
    return course.Tree().Size() < checkpoint->size;
  });
  if (!read) return Fail(std::move(read));
  return json{{"extract", 1},
              {"project", project},
              {"public_key", public_key.Text()},
              {"checkpoint", *note},
              {"peaks", HexesOf(before.Peaks())}}
      .dump();
}

}  // namespace

Result<ExtractPage> ExtractOf(const std::vector<Segment>& segments,
                              const std::filesystem::path& folder, const CheckpointKey& public_key,
                              std::string_view project, const std::string& token) {
  std::vector<Segment> closed;
  std::ranges::copy_if(segments, std::back_inserter(closed), &Segment::closed);
  if (closed.empty()) {
    return Fail(Code::kNotFound, "no segment of the audit trail is closed yet");
  }
  ExtractPage page;
  Place place{closed.back().first_sequence, closed.front().first_sequence, 0};
  if (token.empty()) {
    auto header = Header(closed.back(), folder, public_key, project);
    if (!header) return Fail(std::move(header));
    page.records.push_back(*std::move(header));
  } else if (const auto parsed = PlaceOf(token)) {
    place = *parsed;
  } else {
    return Fail(Code::kInvalid, "this page token is not from an extract");
  }
  const auto at = std::ranges::find(closed, place.segment, &Segment::first_sequence);
  if (at == closed.end()) {
    return Fail(Code::kInvalid, "the segment that a page token names is not there");
  }
  Course course;
  std::uint64_t records = 0;
  std::size_t bytes = 0;
  bool full = false;
  auto read = ForEachLine(*at, [&](std::string_view line) {
    std::optional<std::string> record;
    const bool wanted = records >= place.given;
    if (!FieldOf(line, "closes").empty()) {
      if (wanted) record = CloseRecord(line, course.OpenTally().ProofOf(project));
      ++records;
    } else if (FieldOf(line, "project") == project) {
      if (wanted) record = LineRecord(line);
      ++records;
    }
    course.Take(line);
    if (!record) return true;
    bytes += record->size();
    page.records.push_back(*std::move(record));
    full = bytes >= kExtractPageSize;
    return !full;
  });
  if (!read) return Fail(std::move(read));
  if (full) {
    page.next = TokenOf({place.until, place.segment, records});
  } else if (place.segment < place.until && at + 1 != closed.end()) {
    page.next = TokenOf({place.until, (at + 1)->first_sequence, 0});
  }
  return page;
}

namespace {

// The hashes of a list; nothing where one is none.
std::optional<std::vector<TreeHash>> HashesIn(const json& record, const char* name) {
  const auto list = record.find(name);
  if (list == record.end() || !list->is_array()) return std::nullopt;
  std::vector<TreeHash> hashes;
  for (const json& each : *list) {
    const auto hash = each.is_string() ? TreeHashOf(each.get_ref<const std::string&>())
                                       : std::optional<TreeHash>();
    if (!hash) return std::nullopt;
    hashes.push_back(*hash);
  }
  return hashes;
}

std::optional<std::string> TextIn(const json& record, const char* name) {
  const auto text = record.find(name);
  if (text == record.end() || !text->is_string()) return std::nullopt;
  return text->get<std::string>();
}

std::optional<TallyProof> ProofIn(const json& record) {
  TallyProof proof;
  const auto levels = record.find("levels");
  auto siblings = HashesIn(record, "siblings");
  const auto others = record.find("others");
  if (levels == record.end() || !levels->is_number_unsigned() || !siblings ||
      levels->get<std::uint64_t>() > UINT32_MAX || others == record.end() || !others->is_array()) {
    return std::nullopt;
  }
  proof.siblings_there = levels->get<std::uint32_t>();
  proof.siblings = *std::move(siblings);
  for (const json& other : *others) {
    const auto tag = other.is_object() ? TextIn(other, "tag") : std::nullopt;
    const auto digest = other.is_object() ? TextIn(other, "digest") : std::nullopt;
    const auto tag_hash = tag ? TreeHashOf(*tag) : std::nullopt;
    const auto digest_hash = digest ? TreeHashOf(*digest) : std::nullopt;
    if (!tag_hash || !digest_hash) return std::nullopt;
    proof.others.push_back({*tag_hash, *digest_hash});
  }
  return proof;
}

// Goes through the records of an extract once.
class ExtractWalk {
 public:
  ExtractWalk(const CheckpointKey& public_key, ExtractVerdict& verdict)
      : public_key_(public_key), verdict_(verdict) {}

  void Take(std::string_view text) {
    ++number_;
    const json record = json::parse(text, nullptr, false);
    if (!record.is_object()) return Problem("the record is no JSON object");
    if (number_ == 1) return TakeHeader(record);
    if (const auto line = TextIn(record, "line")) return TakeLine(*line);
    if (const auto close = TextIn(record, "close")) return TakeClose(*close, record);
    Problem("the record is neither a line nor one that closes");
  }
  void End(const std::vector<Checkpoint>& kept);
  void Problem(Text what) {
    if (verdict_.problems.size() < kMaxProblems) {
      verdict_.problems.push_back({number_, std::string(what.View())});
    }
  }

 private:
  void TakeHeader(const json& record);
  void TakeLine(const std::string& line);
  void TakeClose(const std::string& line, const json& record);

  const CheckpointKey& public_key_;
  ExtractVerdict& verdict_;
  std::uint64_t number_ = 0;
  std::optional<Checkpoint> checkpoint_;
  std::vector<TreeHash> peaks_;
  ProjectLines open_;          // since the last line that closes
  std::uint64_t highest_ = 0;  // sequence of the last line of any kind
  std::uint64_t lowest_open_ = 0;  // of the first line since the last that closes; 0: none
  std::string last_close_;
};

void ExtractWalk::TakeHeader(const json& record) {
  const auto project = TextIn(record, "project");
  const auto note = TextIn(record, "checkpoint");
  auto peaks = HashesIn(record, "peaks");
  const auto format = record.find("extract");
  if (!project || !note || !peaks || format == record.end() || *format != 1) {
    return Problem("the first record is not that of an extract");
  }
  verdict_.project = *project;
  peaks_ = *std::move(peaks);
  auto checkpoint = public_key_.Open(*note);
  if (!checkpoint) return Problem("the extract's checkpoint is not signed with this key");
  checkpoint_ = *std::move(checkpoint);
}

void ExtractWalk::TakeLine(const std::string& line) {
  const auto sequence = SequenceOf(line);
  if (!sequence || *sequence <= highest_ || FieldOf(line, "project") != verdict_.project) {
    return Problem("the line is not one of this project in its place");
  }
  highest_ = *sequence;
  if (lowest_open_ == 0) lowest_open_ = *sequence;
  open_.Add(LeafHash(line));
  ++verdict_.lines;
}

void ExtractWalk::TakeClose(const std::string& line, const json& record) {
  const auto sequence = SequenceOf(line);
  const auto closes = ParseCloses(FieldOf(line, "closes"));
  const auto proof = ProofIn(record);
  if (!sequence || !closes || !proof || *sequence <= highest_) {
    return Problem("the record closes no interval");
  }
  if (last_close_.empty()) {
    verdict_.first_sequence = closes->first;
  } else if (closes->before != std::string_view(HashLine(last_close_)) ||
             closes->first != verdict_.last_sequence + 1) {
    Problem("an interval before this one is missing");
  }
  if (lowest_open_ != 0 && lowest_open_ < closes->first) {
    Problem("a line stands in another interval than its own");
  }
  if (RootFrom(verdict_.project, open_, *proof) != closes->projects) {
    Problem("the lines of an interval are not all of the project's, or not these");
  }
  open_ = {};
  lowest_open_ = 0;
  highest_ = verdict_.last_sequence = *sequence;
  last_close_ = line;
}

void ExtractWalk::End(const std::vector<Checkpoint>& kept) {
  if (!checkpoint_) return;
  if (open_.count != 0 || last_close_.empty()) Problem("the last interval is not closed");
  auto tree = MerkleTree::From(checkpoint_->size == 0 ? 0 : checkpoint_->size - 1, peaks_);
  if (tree) tree->Add(LeafHash(last_close_));
  if (!tree || tree->Size() != checkpoint_->size || tree->Root() != checkpoint_->root) {
    Problem("the last line that closes is not the one of the checkpoint");
  }
  for (const Checkpoint& each : kept) {
    if (each != *checkpoint_) Problem("the checkpoint that was kept is not the extract's");
  }
}

}  // namespace

Result<ExtractVerdict> VerifyExtract(const std::filesystem::path& file,
                                     const CheckpointKey& public_key,
                                     const std::vector<std::string>& kept) {
  ExtractVerdict verdict;
  ExtractWalk walk(public_key, verdict);
  std::vector<Checkpoint> checkpoints;
  for (const std::string& note : kept) {
    auto checkpoint = public_key.Open(note);
    if (!checkpoint) return Fail(std::move(checkpoint));
    checkpoints.push_back(*std::move(checkpoint));
  }
  auto opened = OpenSegment({file});
  if (!opened) return Fail(std::move(opened));
  LineReader reader(opened->file->Number(), 0, opened->size_bytes, kMaxRecordSize);
  while (true) {
    const LineReader::Found found = reader.Next();
    if (found == LineReader::Found::kEnd) break;
    if (found == LineReader::Found::kUnreadable) {
      return Fail(Code::kUnavailable, "the extract cannot be read");
    }
    walk.Take(found == LineReader::Found::kLine ? reader.Text() : std::string_view());
  }
  walk.End(checkpoints);
  if (verdict.project.empty() && verdict.problems.empty()) walk.Problem("the extract is empty");
  return verdict;
}

Result<std::vector<TreeHash>> ConsistencyProof(const std::vector<Segment>& segments,
                                               std::uint64_t older, std::uint64_t newer) {
  const std::vector<LeafRange> ranges = ConsistencyRanges(older, newer);
  if (older == 0 || older > newer) {
    return Fail(Code::kInvalid, "there is no proof between trees of these sizes");
  }
  std::vector<MerkleTree> trees(ranges.size());
  std::uint64_t leaf = 0;
  SegmentsReader reader(segments);
  while (leaf < newer) {
    auto stretch = reader.Next();
    if (!stretch) return Fail(std::move(stretch));
    if (stretch->segment == nullptr) break;
    if (stretch->found != LineReader::Found::kLine) continue;
    const TreeHash hash = LeafHash(stretch->text);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      if (leaf >= ranges[i].begin && leaf < ranges[i].end) trees[i].Add(hash);
    }
    ++leaf;
  }
  if (leaf < newer) return Fail(Code::kInvalid, "the tree has not so many lines");
  std::vector<TreeHash> proof;
  for (const MerkleTree& tree : trees) proof.push_back(tree.Root());
  return proof;
}

}  // namespace oauthvault::audit
