#include "daemon/audit/segments.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <limits>
#include <system_error>
#include <utility>

#include "daemon/audit/line.h"

namespace oauthvault::audit {
namespace {

constexpr std::string_view kNameStart = "audit-";
constexpr std::string_view kSegmentEnd = ".jsonl";
constexpr std::string_view kCheckpointEnd = ".checkpoint";
constexpr std::size_t kDigits = 20;

std::string NameOfNumber(std::uint64_t sequence, std::string_view end) {
  std::array<char, kDigits + 1> digits{};
  std::snprintf(digits.data(), digits.size(), "%020llu", static_cast<unsigned long long>(sequence));
  return std::string(kNameStart) + digits.data() + std::string(end);
}

std::optional<std::uint64_t> NumberIn(std::string_view name, std::string_view end) {
  if (name.size() != kNameStart.size() + kDigits + end.size() || !name.starts_with(kNameStart) ||
      !name.ends_with(end)) {
    return std::nullopt;
  }
  const std::string_view digits = name.substr(kNameStart.size(), kDigits);
  std::uint64_t number = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + kDigits, number);
  if (error != std::errc() || stop != digits.data() + kDigits || number == 0) return std::nullopt;
  return number;
}

Result<std::vector<std::uint64_t>> NumbersIn(const std::filesystem::path& folder,
                                             std::string_view end) {
  std::vector<std::uint64_t> numbers;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(folder, failed), last; !failed && at != last;
       at.increment(failed)) {
    if (const auto number = NumberIn(at->path().filename().string(), end)) {
      numbers.push_back(*number);
    }
  }
  if (failed && failed != std::errc::no_such_file_or_directory &&
      failed != std::errc::not_a_directory) {
    return Fail(Code::kUnavailable, "the folder of the audit trail cannot be read");
  }
  std::ranges::sort(numbers);
  return numbers;
}

// The sequence that the first line of a file claims.
std::optional<std::uint64_t> FirstSequenceIn(const std::filesystem::path& path) {
  auto opened = OpenSegment({path});
  if (!opened) return std::nullopt;
  LineReader reader(opened->file->Number(), 0, opened->size_bytes);
  if (reader.Next() != LineReader::Found::kLine) return std::nullopt;
  return SequenceOf(reader.Text());
}

}  // namespace

OpenFile::~OpenFile() { ::close(number_); }

bool OpenFile::StandsAt(const std::filesystem::path& path) const {
  struct stat open_file {};
  struct stat at_path {};
  return ::fstat(number_, &open_file) == 0 && ::lstat(path.c_str(), &at_path) == 0 &&
         open_file.st_dev == at_path.st_dev && open_file.st_ino == at_path.st_ino;
}

std::string ClosedName(std::uint64_t first_sequence) {
  return NameOfNumber(first_sequence, kSegmentEnd);
}

std::string CheckpointName(std::uint64_t first_sequence) {
  return NameOfNumber(first_sequence, kCheckpointEnd);
}

Result<std::vector<Segment>> ClosedSegments(const std::filesystem::path& folder) {
  auto numbers = NumbersIn(folder, kSegmentEnd);
  if (!numbers) return Fail(std::move(numbers));
  std::vector<Segment> segments;
  for (const std::uint64_t number : *numbers) {
    segments.push_back({folder / ClosedName(number), true, number});
  }
  // A crash came after the two names were exchanged, and before the closed one got its own.
  const auto next = FirstSequenceIn(folder / kNextFileName);
  const auto open = FirstSequenceIn(folder / kTrailFileName);
  if (next && open && *next < *open &&
      (segments.empty() || segments.back().first_sequence < *next)) {
    segments.push_back({folder / kNextFileName, true, *next});
  }
  return segments;
}

Result<std::vector<std::uint64_t>> CheckpointsIn(const std::filesystem::path& folder) {
  return NumbersIn(folder, kCheckpointEnd);
}

Result<std::vector<Segment>> RestingSegments(const std::filesystem::path& folder) {
  auto segments = ClosedSegments(folder);
  if (!segments) return segments;
  auto open = OpenSegment({folder / kTrailFileName});
  if (!open) return Fail(std::move(open));
  open->first_sequence = FirstSequenceIn(open->path).value_or(0);
  segments->push_back(*std::move(open));
  return segments;
}

Result<Segment> OpenSegment(Segment segment) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const int number = ::open(segment.path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (number < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return Fail(Code::kInvalid, "there is no audit trail", Subject::Path(segment.path.string()));
    }
    return Fail(Code::kUnavailable, "the audit trail cannot be opened for reading",
                Subject::Path(segment.path.string()));
  }
  segment.file = std::make_shared<const OpenFile>(number);
  struct stat status {};
  if (::fstat(number, &status) != 0 || !S_ISREG(status.st_mode)) {
    return Fail(Code::kInvalid, "the audit trail to read is not a regular file",
                Subject::Path(segment.path.string()));
  }
  segment.size_bytes = static_cast<std::uint64_t>(status.st_size);
  return segment;
}

std::optional<std::string> ReadSmallFile(const std::filesystem::path& path,
                                         std::size_t most_bytes) {
  auto opened = OpenSegment({path});
  if (!opened || opened->size_bytes > most_bytes) return std::nullopt;
  std::string text(static_cast<std::size_t>(opened->size_bytes), '\0');
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = ::pread(opened->file->Number(), text.data() + filled, text.size() - filled,
                                static_cast<off_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    filled += static_cast<std::size_t>(got);
  }
  return text;
}

Result<SegmentsReader::Stretch> SegmentsReader::Next() {
  if (at_ == segments_.size()) return Stretch{};
  const Segment& segment = segments_[at_];
  if (!reader_) {
    std::uint64_t size_bytes = segment.size_bytes;
    file_ = segment.file;
    if (file_ == nullptr) {
      auto opened = OpenSegment(segment);
      if (!opened) return Fail(std::move(opened));
      file_ = opened->file;
      size_bytes = opened->size_bytes;
    }
    reader_.emplace(file_->Number(), 0, size_bytes);
    begins_ = true;
  }
  const LineReader::Found found = reader_->Next();
  if (found == LineReader::Found::kUnreadable) {
    return Fail(Code::kUnavailable, "a segment of the audit trail cannot be read",
                Subject::Path(segment.path.string()));
  }
  const Stretch stretch{found, reader_->Text(), &segment, std::exchange(begins_, false)};
  if (found == LineReader::Found::kEnd) {
    reader_.reset();
    ++at_;
  }
  return stretch;
}

}  // namespace oauthvault::audit
