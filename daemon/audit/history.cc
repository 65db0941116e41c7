#include "daemon/audit/history.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/sealed.h"
#include "daemon/audit/line.h"
#include "daemon/audit/line_reader.h"
#include "daemon/audit/segments.h"

namespace oauthvault::audit {
namespace {

using nlohmann::json;

std::unexpected<Error> Damaged(std::uint64_t line_number) {
  return Fail(Code::kCorrupt, "a line of the audit trail that is read does not verify",
              Subject::Number(static_cast<std::int64_t>(line_number)));
}

std::string TextIn(const json& line, const char* name) {
  const auto field = line.find(name);
  return field != line.end() && field->is_string() ? field->get<std::string>() : std::string();
}

std::uint64_t NumberIn(const json& line, const char* name) {
  const auto field = line.find(name);
  return field != line.end() && field->is_number_unsigned() ? field->get<std::uint64_t>() : 0;
}

std::optional<Outcome> OutcomeOf(std::string_view word) {
  for (const Outcome outcome : {Outcome::kAllowed, Outcome::kDenied, Outcome::kFailed}) {
    if (word == NameOf(outcome)) return outcome;
  }
  return std::nullopt;
}

// Nothing for what is no line of this format, whatever its MAC.
std::optional<HistoryLine> Parse(std::string_view text, std::uint64_t sequence,
                                 storage::Position position) {
  const json fields = json::parse(text, nullptr, false);
  if (!fields.is_object()) return std::nullopt;
  const std::optional<Outcome> outcome = OutcomeOf(TextIn(fields, "outcome"));
  if (!outcome) return std::nullopt;
  HistoryLine line{.sequence = sequence, .time = TextIn(fields, "time"), .position = position};
  Entry& entry = line.entry;
  entry.act = TextIn(fields, "act");
  entry.principal = TextIn(fields, "principal");
  entry.right = TextIn(fields, "right");
  entry.project = TextIn(fields, "project");
  entry.component = TextIn(fields, "component");
  entry.oauth_id = TextIn(fields, "oauth_id");
  entry.object = TextIn(fields, "object");
  entry.version = NumberIn(fields, "version");
  entry.peer = TextIn(fields, "peer");
  entry.request_id = TextIn(fields, "request_id");
  entry.code = TextIn(fields, "code");
  entry.outcome = *outcome;
  return line;
}

// Verifies line after line and gives those behind `after`. Damage ends it.
Result<void> Walk(const std::vector<Segment>& segments, const crypto::SecretBytes& audit_key,
                  storage::Position after, const TakeLine& take) {
  SegmentsReader reader(segments);
  std::uint64_t line_number = 0;
  std::optional<std::uint64_t> sequence;  // of the line before, likewise below
  HashDigits hash = kNoPrevious;
  storage::Position position;
  while (true) {
    const auto stretch = reader.Next();
    if (!stretch) return Fail(Code::kUnavailable, "the history in the audit trail cannot be read");
    if (stretch->segment == nullptr) break;
    if (stretch->found == LineReader::Found::kEnd) continue;
    if (stretch->found == LineReader::Found::kTorn && !stretch->segment->closed) continue;
    ++line_number;
    if (stretch->found != LineReader::Found::kLine) return Damaged(line_number);
    const std::optional<Link> link = VerifyLine(audit_key, stretch->text);
    const std::optional<storage::Position> stated = PositionOf(stretch->text);
    if (!link || !stated || *stated < position) return Damaged(line_number);
    const bool goes_on = sequence ? link->sequence == *sequence + 1 && link->previous == hash
                                  : link->sequence != 1 || link->previous == hash;
    if (!goes_on) return Damaged(line_number);
    // A file that was begun in the middle of the chain says where the one before it ended.
    if (!sequence && link->sequence != 1 && *stated > after) {
      return Fail(Code::kCorrupt, "the audit trail begins later than what is asked of it");
    }
    const bool tells_commit = *stated > position && sequence;
    if (*stated > after) {
      std::optional<HistoryLine> line = Parse(stretch->text, link->sequence, *stated);
      if (!line) return Damaged(line_number);
      if (tells_commit) line->entry.position = *stated;
      if (Result<void> taken = take(*line); !taken) return taken;
    }
    sequence = link->sequence;
    hash = HashLine(stretch->text);
    position = *stated;
  }
  if (!sequence) return Fail(Code::kCorrupt, "the audit trail that is read has no line");
  return {};
}

}  // namespace

Result<void> ReadHistory(const std::filesystem::path& folder, const crypto::SecretBytes& audit_key,
                         storage::Position after, const TakeLine& take) {
  if (audit_key.Size() != crypto::kKeySize) {
    return Fail(Code::kInvalid, "the key to read the history has another size");
  }
  auto trail = RestingSegments(folder);
  if (!trail) return Fail(std::move(trail));
  const auto pass_over = [](const HistoryLine&) { return Result<void>(); };
  if (Result<void> verified = Walk(*trail, audit_key, after, pass_over); !verified) {
    return verified;
  }
  return Walk(*trail, audit_key, after, take);
}

}  // namespace oauthvault::audit
