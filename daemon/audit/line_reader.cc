#include "daemon/audit/line_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>


namespace oauthvault::audit {
namespace {

constexpr std::size_t kChunkSize = 64 * 1024;

}  // namespace

LineReader::LineReader(int file, std::uint64_t begin, std::uint64_t end, std::size_t longest)
    : file_(file), read_to_(begin), end_(end), longest_(longest), offset_(begin) {}

bool LineReader::ReadMore() {
  const std::size_t size =
      static_cast<std::size_t>(std::min<std::uint64_t>(kChunkSize, end_ - read_to_));
  if (size == 0) return false;
  const std::size_t kept = buffer_.size();
  buffer_.resize(kept + size);
  ssize_t got = 0;
  do {
    got = ::pread(file_, buffer_.data() + kept, size, static_cast<off_t>(read_to_));
  } while (got < 0 && errno == EINTR);
  buffer_.resize(kept + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) unreadable_ = true;
  if (got <= 0) return false;
  read_to_ += static_cast<std::uint64_t>(got);
  return true;
}

LineReader::Found LineReader::Next() {
  offset_ = read_to_ - (buffer_.size() - taken_);
  bool too_long = false;
  std::size_t searched = taken_;
  while (true) {
    const std::size_t newline = buffer_.find('\n', searched);
    if (newline != std::string::npos) {
      text_ = std::string_view(buffer_).substr(taken_, newline - taken_);
      taken_ = newline + 1;
      return too_long || text_.size() > longest_ ? Found::kTooLong : Found::kLine;
    }
    buffer_.erase(0, taken_);
    taken_ = 0;
    if (buffer_.size() > longest_) {
      too_long = true;
      buffer_.clear();
    }
    searched = buffer_.size();
    if (ReadMore()) continue;
    if (unreadable_) return Found::kUnreadable;
    text_ = buffer_;
    taken_ = buffer_.size();
    if (too_long) return Found::kTooLong;
    return text_.empty() ? Found::kEnd : Found::kTorn;
  }
}

}  // namespace oauthvault::audit
