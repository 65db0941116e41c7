#include "daemon/audit/verification.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <string>

#include "crypto/sealed.h"
#include "daemon/audit/line.h"
#include "daemon/audit/line_reader.h"

namespace oauthvault::audit {
namespace {

// What the next line must say, as far as the lines before tell.
struct Expected {
  std::uint64_t sequence = 1;
  std::optional<std::string> previous = std::string(kNoPrevious);  // unknown after a damaged line
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

}  // namespace

Result<RestingTrail> OpenResting(const std::filesystem::path& folder,
                                 const crypto::SecretBytes& audit_key) {
  if (audit_key.Size() != crypto::kKeySize) {
    return Fail(Code::kInvalid, "the key to verify the audit trail has another size");
  }
  const std::filesystem::path path = folder / kTrailFileName;
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const int number = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (number < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return Fail(Code::kInvalid, "there is no audit trail", Subject::Path(path.string()));
    }
    return Fail(Code::kUnavailable, "the audit trail cannot be opened for verification",
                Subject::Path(path.string()));
  }
  RestingTrail trail{std::make_unique<const OpenFile>(number), 0};
  struct stat status {};
  if (::fstat(number, &status) != 0 || !S_ISREG(status.st_mode)) {
    return Fail(Code::kInvalid, "the audit trail to verify is not a regular file",
                Subject::Path(path.string()));
  }
  trail.size_bytes = static_cast<std::uint64_t>(status.st_size);
  return trail;
}

void AddProblem(Verdict& verdict, std::uint64_t line_number, Text what) {
  if (verdict.problems.size() < kMaxProblems) {
    verdict.problems.push_back({line_number, std::string(what.View())});
  }
}

Result<Verdict> VerifyLines(const crypto::SecretBytes& audit_key, int file,
                            std::uint64_t size_bytes) {
  Verdict verdict;
  Expected expected;
  LineReader reader(file, 0, size_bytes);
  while (true) {
    const LineReader::Found found = reader.Next();
    if (found == LineReader::Found::kEnd) break;
    if (found == LineReader::Found::kUnreadable) {
      return Fail(Code::kUnavailable, "the audit trail cannot be read for verification");
    }
    ++verdict.lines;
    if (found == LineReader::Found::kTorn) {
      AddProblem(verdict, verdict.lines, "the last line is torn: it has no end");
      continue;
    }
    std::optional<Link> link;
    if (found == LineReader::Found::kLine) link = VerifyLine(audit_key, reader.Text());
    if (!link) {
      AddProblem(verdict, verdict.lines, "the line was edited, or the key is another one");
      ++expected.sequence;
      expected.previous.reset();
      continue;
    }
    const std::optional<storage::Position> position = PositionOf(reader.Text());
    if (const auto problem = ProblemOf(*link, expected, verdict.lines == 1)) {
      AddProblem(verdict, verdict.lines, *problem);
    } else if (!position || *position < expected.at_least) {
      AddProblem(verdict, verdict.lines, "the line has no position, or one before the line before");
    }
    if (verdict.first_sequence == 0) verdict.first_sequence = link->sequence;
    verdict.last_sequence = link->sequence;
    expected = {link->sequence + 1, HashLine(reader.Text()),
                position.value_or(expected.at_least)};
  }
  if (verdict.lines == 0) AddProblem(verdict, 1, "the trail is empty: its first line is missing");
  return verdict;
}

}  // namespace oauthvault::audit
