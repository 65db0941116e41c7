#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/audit/checkpoint.h"
#include "daemon/audit/course.h"
#include "daemon/audit/denial_limit.h"
#include "daemon/audit/file_calls.h"
#include "daemon/audit/line.h"
#include "daemon/audit/merkle.h"
#include "daemon/audit/segments.h"
#include "daemon/audit/trail.h"

namespace oauthvault::audit {

/// Of the open segment beyond its end stays allocated: what revokes may be told in it on a full
/// disk. Lines of what is allowed leave this much free, denials as much again.
inline constexpr std::uint64_t kReserveBytes = 1024 * 1024;

/// When the open segment is closed: with the line that finds it so large or so old. And how many
/// lines about denials one principal may cause at once.
struct TrailLimits {
  std::uint64_t size_bytes = 16 * 1024 * 1024;
  std::chrono::microseconds age = std::chrono::hours(24);
  std::uint32_t denial_burst = kDenialBurst;
};

/// What there is room for on the disk.
enum class Room : std::uint8_t {
  kNone,      ///< only what may use the reserve
  kAllowed,   ///< everything but denials
  kAll,
};

/// Where the durable trail ends. A copy stays readable while the trail goes on, also elsewhere.
struct TrailEnd {
  std::shared_ptr<const OpenFile> file;
  std::uint64_t size_bytes = 0;
  std::uint64_t sequence = 0;  ///< of the last line
  HashDigits hash = kNoPrevious;  ///< of the last line
  storage::Position head;      ///< of the last line
  MerkleTree tree;             ///< of all lines
  std::uint64_t first_sequence = 0;  ///< of the file's first line
};

/// The file of a trail and the end of its chain: what is appended either becomes durable as a
/// whole or is cut off again. Holds an exclusive flock on the file. AUDIT.md, "The file".
/// Threads: one at a time.
class TrailFile {
 public:
  /// As Trail::Open.
  static Result<std::unique_ptr<TrailFile>> Open(const std::filesystem::path& folder,
                                                 const crypto::SecretBytes& audit_key,
                                                 Trail::Clock clock, FileCalls calls,
                                                 TrailLimits limits);

  /// Writes the lines and syncs once; gives the sequence of the first. After an error none of them
  /// stands, and the next call first puts the file in order.
  /// Errors: Unavailable.
  Result<std::uint64_t> Append(std::span<const Entry> entries);

  /// Allocates what is to stay free behind so many lines, and says for what there is room. A file
  /// system that cannot allocate ahead has room for all, and no reserve.
  Room MakeRoom(std::size_t lines);

  /// Whether the open segment has reached its limits. False for a while after it could not be
  /// closed.
  bool IsDue() const;
  /// Closes the open segment with a `close` line and a signed checkpoint and begins the next. After
  /// an error the trail goes on in the same file, or in the next one; nothing is lost.
  /// Errors: Unavailable.
  Result<void> CloseSegment();

  const TrailEnd& End() const { return end_; }
  const std::filesystem::path& Path() const { return path_; }
  const std::filesystem::path& Folder() const { return folder_; }
  const crypto::SecretBytes& Key() const { return audit_key_; }
  const CheckpointSigner& Signer() const { return signer_; }

 private:
  TrailFile(const std::filesystem::path& folder, crypto::SecretBytes audit_key,
            Trail::Clock clock, FileCalls calls, TrailLimits limits);

  Result<std::shared_ptr<OpenFile>> OpenLocked(const std::filesystem::path& path,
                                               int more_flags) const;
  std::optional<std::uint64_t> SizeOf(const OpenFile& file) const;
  bool StandsWith(std::uint64_t size_bytes) const;
  bool EndsInOurLine(const OpenFile& file, std::uint64_t size_bytes) const;
  bool WriteAll(const OpenFile& file, std::string_view text) const;
  Result<void> FindEnd(std::shared_ptr<OpenFile> file);
  Result<void> FollowCourse();
  Result<void> FinishClosed();
  Result<TrailEnd> MakeFile(const std::filesystem::path& path, const Entry& begin);
  Result<void> StartNewFile(std::string_view reason);
  Result<void> WriteCheckpoint() const;
  Result<void> SetAside(const std::filesystem::path& path);
  Result<void> SyncName() const;
  Result<void> Repair();
  Result<void> Refuse(Text text);

  std::filesystem::path folder_;
  std::filesystem::path path_;
  crypto::SecretBytes audit_key_;
  Trail::Clock clock_;
  FileCalls calls_;
  TrailLimits limits_;
  CheckpointSigner signer_;
  TrailEnd end_;
  Course course_;                  // of the lines up to the end
  std::int64_t begun_us_ = 0;      // the time of the file's first line
  std::int64_t not_due_until_us_ = 0;
  std::uint64_t allocated_to_ = 0;  // in the file; 0: not known
  std::uint64_t cut_bytes_ = 0;  // cut off and not yet told in a line
  bool repair_needed_ = false;
  bool tail_is_ours_ = false;  // bytes behind the end come from an append that failed
};

}  // namespace oauthvault::audit
