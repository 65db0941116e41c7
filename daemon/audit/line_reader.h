#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace oauthvault::audit {

/// Reads the lines of a part of a file, with a few hundred KiB in memory however large it is.
/// Threads: one reader belongs to one; many readers may share a descriptor (it only uses pread).
class LineReader {
 public:
  /// What the next stretch of bytes is.
  enum class Found : std::uint8_t {
    kLine,        ///< a line, ended as it should be
    kTooLong,     ///< more bytes than a line may have; passed over
    kTorn,        ///< the last bytes, without a line's end
    kEnd,         ///< nothing more
    kUnreadable,  ///< the system cannot read the file
  };

  /// Reads the bytes from `begin` to before `end`, or to the end of a file that is shorter.
  /// `file` stays open as long as the reader lives.
  /// `longest` is kMaxLineSize for lines of a trail.
  LineReader(int file, std::uint64_t begin, std::uint64_t end, std::size_t longest = 64 * 1024);

  /// On kLine and kTorn `Text()` holds the bytes without the line's end, until the next call.
  Found Next();
  std::string_view Text() const { return text_; }

  /// Where what the last call found begins in the file.
  std::uint64_t Offset() const { return offset_; }

 private:
  /// Adds a chunk to the buffer; false at the end, or when it cannot be read.
  bool ReadMore();

  int file_;
  std::uint64_t read_to_;  // in the file: where the buffer ends
  std::uint64_t end_;
  std::size_t longest_;
  std::string buffer_;
  std::size_t taken_ = 0;  // of the buffer
  bool unreadable_ = false;
  std::string_view text_;
  std::uint64_t offset_;
};

}  // namespace oauthvault::audit
