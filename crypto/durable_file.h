#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "crypto/error.h"
#include "crypto/secret.h"

namespace oauthvault::crypto {

/// Writes a file that must not exist yet, mode 0600; it and its folder are synced. There is no
/// second file, so that a secret lies in one place only; a failed attempt leaves none.
/// Errors: Conflict when `path` exists, Unavailable; the path as subject.
Result<void> WriteNewFile(const std::filesystem::path& path, std::span<const std::uint8_t> bytes);

/// What becomes of a file that is in the place already.
enum class Existing : std::uint8_t {
  kRefuse,   ///< it stays, and the call is refused
  kReplace,  ///< it is let go
  kErase,    ///< it is let go, and its content is overwritten with zeros
};

/// What became of the old file's content.
enum class OldContent : std::uint8_t {
  kNone,    ///< there was none
  kLetGo,   ///< its blocks are free and hold what they held
  kErased,  ///< its blocks were overwritten and synced
};

/// Puts a file with these bytes at `path`, mode 0600, synced with its folder: readers and a crash
/// see the old state or the new file, whole. Goes through `path` + ".tmp" in the same folder; what
/// a crash left there is removed. One caller at a time. kErase overwrites the old content after the
/// new file stands, where the file system writes in place; a file that has another name (a copy by
/// hard link) is left alone. That is best effort: its failure is no error but the result.
/// Errors: Conflict when `path` exists under kRefuse; Unavailable (the old or the new file stands
/// then); the path as subject.
Result<OldContent> PlaceFile(const std::filesystem::path& path,
                             std::span<const std::uint8_t> bytes, Existing existing);

/// Who may read a file that is read.
enum class FileAccess : std::uint8_t { kAny, kOwnerOnly };

/// Reads a regular file of at most `limit_bytes`; one that was replaced meanwhile is read again, as
/// its content may be overwritten by then. Errors: Invalid when it is missing, unreadable,
/// not a regular file, larger, or open to group or others under kOwnerOnly; the path as subject.
Result<SecretBytes> ReadFileBytes(const std::filesystem::path& path, std::size_t limit_bytes,
                                  FileAccess access);

}  // namespace oauthvault::crypto
