#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/audit/file_calls.h"
#include "daemon/audit/trail.h"

namespace oauthvault::audit {

/// The name of the trail in its folder.
inline constexpr const char* kTrailFileName = "audit.jsonl";

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

/// Where the durable trail ends. A copy stays readable while the trail goes on, also elsewhere.
struct TrailEnd {
  std::shared_ptr<const OpenFile> file;
  std::uint64_t size_bytes = 0;
  std::uint64_t sequence = 0;  ///< of the last line
  std::string hash;            ///< of the last line
  storage::Position head;      ///< of the last line
};

/// The file of a trail and the end of its chain: what is appended either becomes durable as a
/// whole or is cut off again. Holds an exclusive flock on the file. AUDIT.md, "The file".
/// Threads: one at a time.
class TrailFile {
 public:
  /// As Trail::Open.
  static Result<std::unique_ptr<TrailFile>> Open(const std::filesystem::path& folder,
                                                 const crypto::SecretBytes& audit_key,
                                                 Trail::Clock clock, FileCalls calls);

  /// Writes the lines and syncs once; gives the sequence of the first. After an error none of them
  /// stands, and the next call first puts the file in order.
  /// Errors: Unavailable.
  Result<std::uint64_t> Append(std::span<const Entry> entries);

  const TrailEnd& End() const { return end_; }
  const std::filesystem::path& Path() const { return path_; }
  const crypto::SecretBytes& Key() const { return audit_key_; }

 private:
  TrailFile(const std::filesystem::path& folder, const crypto::SecretBytes& audit_key,
            Trail::Clock clock, FileCalls calls);

  Result<std::shared_ptr<OpenFile>> OpenLocked(int more_flags) const;
  std::optional<std::uint64_t> SizeOf(const OpenFile& file) const;
  bool Untouched(std::uint64_t size_bytes) const;
  bool EndsInOurLine(const OpenFile& file, std::uint64_t size_bytes) const;
  bool WriteAll(const OpenFile& file, std::string_view text) const;
  Result<void> FindEnd(std::shared_ptr<OpenFile> file);
  Result<void> StartNewFile(std::string_view reason);
  Result<void> SetAside();
  Result<void> SyncName() const;
  Result<void> Repair();
  Result<void> Refuse(Text text);

  std::filesystem::path folder_;
  std::filesystem::path path_;
  crypto::SecretBytes audit_key_;
  Trail::Clock clock_;
  FileCalls calls_;
  TrailEnd end_;
  std::uint64_t cut_bytes_ = 0;  // cut off and not yet told in a line
  bool repair_needed_ = false;
  bool tail_is_ours_ = false;  // bytes behind the end come from an append that failed
};

}  // namespace oauthvault::audit
