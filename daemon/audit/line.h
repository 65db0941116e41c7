#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/secret.h"
#include "daemon/audit/trail.h"

namespace oauthvault::audit {

/// The number that each line begins with (`v`).
inline constexpr std::uint64_t kLineFormat = 1;

/// The text fields of a line that come from outside; each byte of one becomes at most 6 (`\u0000`).
inline constexpr std::size_t kLineTextFields = 10;

/// A line has at most this many bytes, without its end.
inline constexpr std::size_t kMaxLineSize = 64 * 1024;
static_assert(kLineTextFields * kMaxEntryFieldSize * 6 + kMaxFingerprintsTextSize + 1024 <
              kMaxLineSize);

/// A hash of 32 bytes as it stands in a line, 64 lower-case hexadecimal digits: hashes are compared
/// as texts. 64 zeros, what the first line of a chain has for the hash of the line before, where
/// none is given.
class HashDigits {
 public:
  constexpr HashDigits() { digits_.fill('0'); }
  explicit HashDigits(std::span<const std::uint8_t, 32> hash);
  constexpr operator std::string_view() const { return {digits_.data(), digits_.size()}; }
  bool operator==(const HashDigits&) const = default;

 private:
  std::array<char, 64> digits_;
};
inline constexpr HashDigits kNoPrevious;

/// The acts of the trail itself. AUDIT.md, "Lines of the trail itself".
inline constexpr std::string_view kBeginAct = "begin";
inline constexpr std::string_view kCutAct = "cut";
inline constexpr std::string_view kCloseAct = "close";
inline constexpr std::string_view kDenialsAct = "denials";
/// The object of a `begin` line behind a segment that was closed.
inline constexpr std::string_view kNextSegment = "segment";

/// Appends one line to `text`, without its end: ASCII, fields in the order of AUDIT.md. `head`
/// stands in it unless the entry has a position of its own. `time_us` is microseconds since the
/// epoch; a time outside the years 1970 to 9999 becomes the nearer end. `previous` is the hash of
/// the line before.
void AppendLine(const crypto::SecretBytes& audit_key, const Entry& entry, storage::Position head,
                std::uint64_t sequence, std::int64_t time_us, const HashDigits& previous,
                std::string& text);

/// The hash by which the next line refers to this one: BLAKE2b-256. Without a key, so that whoever
/// keeps a hash elsewhere can check the chain up to it.
HashDigits HashLine(std::string_view line);

/// What a line says about its place in the chain.
struct Link {
  std::uint64_t sequence = 0;
  std::string_view previous;  ///< points into the line
};

/// The place of a line whose MAC is right under `audit_key`; nothing for any other line.
std::optional<Link> VerifyLine(const crypto::SecretBytes& audit_key, std::string_view line);

/// The position that a line states; nothing for what is no line of this format. Verify it first.
std::optional<storage::Position> PositionOf(std::string_view line);

/// What stands between the quotation marks of a line's text field, its escapes as they are; empty
/// where the line has no such field. Verify the line first.
std::string_view FieldOf(std::string_view line, std::string_view name);

/// The time of a line in microseconds since the epoch; nothing for what is no line of this format.
std::optional<std::int64_t> TimeOf(std::string_view line);
/// The same of the text of its time alone.
std::optional<std::int64_t> MomentOf(const std::string& time_text);

/// The place of a line, whatever its MAC; nothing for what is no line of this format.
std::optional<Link> LinkOf(std::string_view line);

/// The sequence that a line claims, unverified; nothing when it does not begin as a line.
std::optional<std::uint64_t> SequenceOf(std::string_view line);

}  // namespace oauthvault::audit
