#include "daemon/audit/find.h"

#include <map>
#include <utility>

#include "daemon/audit/line.h"
#include "daemon/audit/line_reader.h"

namespace oauthvault::audit {

Result<Shown> FindShown(const std::vector<Segment>& segments, std::uint64_t after,
                        std::size_t limit, const FingerprintIn& fingerprint_in) {
  // What lies in front of the segment with the first wanted line is not read.
  std::size_t begin = 0;
  while (begin + 1 < segments.size() && segments[begin + 1].first_sequence <= after + 1) ++begin;
  SegmentsReader reader({segments.begin() + static_cast<std::ptrdiff_t>(begin), segments.end()});
  std::map<std::string, std::string, std::less<>> known;
  Shown shown{.lines = {}, .searched_to = after};
  std::uint64_t searched_bytes = 0;
  while (searched_bytes < kSearchedBytes && shown.lines.size() < limit) {
    auto stretch = reader.Next();
    if (!stretch) return Fail(std::move(stretch));
    if (stretch->segment == nullptr) {
      shown.at_end = true;
      break;
    }
    if (stretch->found != LineReader::Found::kLine) continue;
    const auto sequence = SequenceOf(stretch->text);
    if (!sequence || *sequence <= after) continue;
    searched_bytes += stretch->text.size();
    shown.searched_to = *sequence;
    const std::string_view fingerprints = FieldOf(stretch->text, "fingerprints");
    if (fingerprints.empty()) continue;
    const std::string_view project = FieldOf(stretch->text, "project");
    auto fingerprint = known.find(project);
    if (fingerprint == known.end()) {
      fingerprint = known.emplace(project, fingerprint_in(project)).first;
    }
    if (fingerprints.find(fingerprint->second) == std::string_view::npos) continue;
    shown.lines.push_back({*sequence, std::string(stretch->text)});
  }
  return shown;
}

}  // namespace oauthvault::audit
