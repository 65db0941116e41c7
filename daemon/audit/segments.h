#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "daemon/audit/line_reader.h"

namespace oauthvault::audit {

/// The name of the trail's open segment in its folder; this one is written to.
inline constexpr const char* kTrailFileName = "audit.jsonl";
/// A segment in the making, or one that was just closed. AUDIT.md, "Segments".
inline constexpr const char* kNextFileName = "audit.jsonl.next";

/// A descriptor that is closed at the end of its owner.
class OpenFile {
 public:
  explicit OpenFile(int number) : number_(number) {}
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int Number() const { return number_; }

  /// Whether this very file, not another of the same name, stands at `path`.
  bool StandsAt(const std::filesystem::path& path) const;

 private:
  int number_;
};

/// One file of a trail.
struct Segment {
  std::filesystem::path path;
  bool closed = false;
  /// The sequence of its first line: of a closed one by its name, of the open one as the line
  /// claims; 0 where it claims none.
  std::uint64_t first_sequence = 0;
  /// Open already, and to be read as far as `size_bytes`; null: opened when it is read, whole.
  std::shared_ptr<const OpenFile> file = nullptr;
  std::uint64_t size_bytes = 0;
};

/// `audit-<20 digits>.jsonl` and `audit-<20 digits>.checkpoint`: a closed segment and its signed
/// checkpoint, by the sequence of its first line.
std::string ClosedName(std::uint64_t first_sequence);
std::string CheckpointName(std::uint64_t first_sequence);

/// The closed segments in a folder, the oldest first; with one that a crash left under another
/// name. Errors: Unavailable (the folder cannot be read).
Result<std::vector<Segment>> ClosedSegments(const std::filesystem::path& folder);
/// The checkpoints in a folder, by the sequence that their names say; ascending. Errors: as above.
Result<std::vector<std::uint64_t>> CheckpointsIn(const std::filesystem::path& folder);

/// All files of a trail that nobody writes to, the oldest first. Errors: Invalid (there is none),
/// Unavailable.
Result<std::vector<Segment>> RestingSegments(const std::filesystem::path& folder);

/// Opens a file of a trail for reading. Errors: Invalid (not there, not a regular file),
/// Unavailable.
Result<Segment> OpenSegment(Segment segment);

/// The whole text of a small file; nothing where it is not there or larger than `most_bytes`.
std::optional<std::string> ReadSmallFile(const std::filesystem::path& path,
                                         std::size_t most_bytes);

/// Reads line after line through all segments, one open at a time. Threads: one.
class SegmentsReader {
 public:
  /// What one stretch of bytes is, and where.
  struct Stretch {
    LineReader::Found found = LineReader::Found::kEnd;
    std::string_view text;      ///< of kLine and kTorn, until the next call
    const Segment* segment = nullptr;  ///< lives as long as the reader
    bool begins_segment = false;  ///< nothing of the segment was before
  };

  explicit SegmentsReader(std::vector<Segment> segments) : segments_(std::move(segments)) {}

  /// kEnd comes at the end of each segment, and once more, of no segment, behind the last one.
  /// Errors: as OpenSegment, and Unavailable when a file cannot be read.
  Result<Stretch> Next();

 private:
  std::vector<Segment> segments_;
  std::size_t at_ = 0;
  std::shared_ptr<const OpenFile> file_;
  std::optional<LineReader> reader_;
  bool begins_ = false;
};

}  // namespace oauthvault::audit
