#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/audit/checkpoint.h"
#include "daemon/audit/file_calls.h"
#include "storage/tables/act.h"
#include "storage/tables/ledger.h"
#include "storage/tables/rows.h"

namespace oauthvault::audit {

/// How a decision ended.
enum class Outcome : std::uint8_t {
  kAllowed,  ///< decided yes; the line stands before the secret leaves
  kDenied,   ///< decided no
  kFailed,   ///< an administrative act or a send that was allowed and did not come about
};
/// The word of the line: `allowed`, `denied`, `failed`.
std::string_view NameOf(Outcome outcome);

/// What one line says: an act, and how it ended. Values never; every text is an id, a fixed word or
/// a public name. AUDIT.md lists the fields of the line. `code` is the error code's name, or the
/// reason, when not allowed.
struct Entry : storage::Act {
  Outcome outcome = Outcome::kDenied;
  /// Where the line tells of a commit: where the store stands with it. Absent: it tells of none,
  /// and has the position of the line before.
  std::optional<storage::Position> position;
  /// Of what is shown or sent, as text (`Fingerprints` of custody): at most
  /// kMaxFingerprintsTextSize bytes.
  std::string fingerprints = {};
  /// Whether it takes something away (revokes, deletes, seals): such a line, and one that tells of
  /// a commit, may use the reserve of a full disk. Stands in no line.
  bool revokes = false;
  /// The trail's own lines only: what an interval came to, and the tree of all lines before.
  std::string closes = {};
  std::string tree = {};
};

/// The line about something that was committed at `position`: allowed, or failed where it has a
/// code.
Entry EntryOf(storage::Act act, storage::Position position);

/// A field of an entry has at most this many bytes; longer ones are cut and end in `~`.
inline constexpr std::size_t kMaxEntryFieldSize = 1024;
/// A line names so many fingerprints of 32 digits, separated by spaces.
inline constexpr std::size_t kMaxFingerprints = 17;
inline constexpr std::size_t kMaxFingerprintsTextSize = kMaxFingerprints * 33;

/// Proof that a line is durable. Move-only, made by the trail alone: what lets a secret out asks
/// for it, so that skipping the audit does not compile.
class Recorded {
 public:
  Recorded(Recorded&&) noexcept = default;
  Recorded& operator=(Recorded&&) noexcept = default;
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;

  /// The line's number in the trail.
  std::uint64_t Sequence() const { return sequence_; }

 private:
  friend class Trail;
  explicit Recorded(std::uint64_t sequence) : sequence_(sequence) {}
  std::uint64_t sequence_;
};

/// A line as it stands in the file, for `audit show`.
struct Line {
  std::uint64_t sequence = 0;
  std::string json;  ///< without the line's end
};

/// What verification found.
struct Verdict {
  std::uint64_t lines = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;
  /// Empty when every line verifies; else one problem each, at most kMaxProblems.
  struct Problem {
    std::uint64_t line_number;  ///< from 1, counted through all segments
    std::string what;           ///< a fixed phrase
  };
  std::vector<Problem> problems;
  /// The last line that a signed checkpoint proves; 0: none.
  std::uint64_t proven_sequence = 0;
};
inline constexpr std::size_t kMaxProblems = 100;

/// How far the trail is behind.
struct Lag {
  std::uint64_t lines = 0;  ///< not durable yet
  std::chrono::steady_clock::duration oldest{};  ///< how long the first of them has waited
  /// How long ago a line could not be made durable, where none has been made so since.
  std::optional<std::chrono::steady_clock::duration> failed_ago;
};

/// The waiting requests share one sync; this many at most wait, more are refused at once.
inline constexpr std::size_t kMaxWaitingLines = 4096;
/// So many of them may be denials; the other places are for what is allowed.
inline constexpr std::size_t kMaxWaitingDenials = kMaxWaitingLines * 3 / 4;
/// `Show` gives at most this many lines.
inline constexpr std::size_t kMaxShownLines = 1000;

struct Segment;
struct TrailLimits;

/// The chained record: JSON lines in segments (the open one is `audit.jsonl`, mode 0600), each with
/// the hash of the line before and a MAC. One thread writes and syncs; a second one runs the
/// callbacks, so that slow callbacks never hold up the disk. Group commit without a timer: whatever
/// waits when the disk is free goes together. Fail closed: when a line cannot be made durable its
/// callback gets Unavailable within kAuditTimeoutMs, also while the disk hangs, and writing is
/// tried again with the next line (a partial line is cut off first; a deleted or replaced file is
/// noticed). Threads: all members from any thread.
class Trail {
 public:
  using Done = std::move_only_function<void(Result<Recorded>)>;
  /// Wall clock for the lines' time stamps.
  using Clock = std::function<std::int64_t()>;  // microseconds since the epoch

  /// Opens or creates `folder`/audit.jsonl and finds the end of the chain: the last line must
  /// verify; a torn last line without an end-of-line (a crash) is cut and the cut is recorded.
  /// Holds an exclusive flock on the file until it ends. `audit_key` is 32 bytes and is cloned;
  /// `clock` is called from the writing thread. `calls` is for tests of failing disks, `limits` for
  /// those of small segments; null: the usual ones. Errors: Invalid (folder, key, not a regular
  /// file), Corrupt (the last line does not verify, or there are closed segments and no open one),
  /// Conflict (another daemon holds the file), Unavailable.
  static Result<std::unique_ptr<Trail>> Open(const std::filesystem::path& folder,
                                             const crypto::SecretBytes& audit_key, Clock clock,
                                             FileCalls calls = FileCalls::System(),
                                             const TrailLimits* limits = nullptr);
  /// From here on several callbacks that are due together are called within `around`, which calls
  /// what it is given, once. At most once; whatever it refers to outlives the trail.
  using Around = std::function<void(const std::function<void()>& call_back)>;
  void CallBackWithin(Around around);

  /// Writes what waits and calls back, then ends the threads; waits as long as the disk hangs.
  ~Trail();
  Trail(const Trail&) = delete;
  Trail& operator=(const Trail&) = delete;

  /// Records `entry`; calls `done` once, from the trail's completion thread, when the line is
  /// durable or cannot be made so. Only the refusal of a full queue comes from the calling thread,
  /// before this returns. `done` must be short, and neither wait for a line nor destroy the trail.
  /// Errors: Unavailable (cannot write, in time), Exhausted (queue).
  void Record(Entry entry, Done done);

  /// The same for callers that may wait.
  Result<Recorded> RecordAndWait(Entry entry);

  /// Records the entries of one decision, 1 to kMaxWaitingLines, none of them a denial: they stand
  /// behind each other, and become durable with one write and one sync, all of them or none. `done`
  /// gets a proof for each, in their order. Otherwise as Record.
  using AllDone = std::move_only_function<void(Result<std::vector<Recorded>>)>;
  void RecordTogether(std::vector<Entry> entries, AllDone done);

  /// Records a denial, within what its principal may cause (denial_limit.h): beyond that `done` is
  /// called at once, and one line tells how many there were. Errors: as Record.
  using DenialDone = std::move_only_function<void(Result<void>)>;
  void RecordDenial(Entry entry, DenialDone done);
  /// The same for callers that may wait.
  Result<void> RecordDenialAndWait(Entry entry);

  /// False while the disk is so full that only what revokes is recorded. Looked at again all the
  /// time. What changes the store asks before: a commit that stands must get its line.
  bool HasRoom() const;

  /// Closes the open segment, unless it has no line but its first: a `close` line and a signed
  /// checkpoint beside the segment. Gives the checkpoint of the last segment that is closed.
  /// Errors: Unavailable; NotFound where none ever was and there is nothing to close.
  Result<std::string> CloseSegment();

  /// A signed checkpoint of all durable lines (AUDIT.md, "Checkpoints"), and the key that checks
  /// it.
  std::string Checkpoint() const;
  const CheckpointKey& PublicKey() const;
  /// Where the segments and their checkpoints are.
  const std::filesystem::path& Folder() const;

  /// The files of the trail, the oldest first, as far as they are durable. Errors: Unavailable.
  Result<std::vector<Segment>> Segments() const;

  /// Records the lines about commits of `epoch`, in the order of their generations, with one write
  /// and one sync: all of them or none. May be asked again with the same commits, also while the
  /// disk still has the lines of the time before: a commit that has its line gets no second one.
  /// Waits at most kAuditTimeoutMs. Errors: Unavailable, also when the queue is full.
  Result<void> RecordCommits(std::uint64_t epoch, std::span<const storage::Committed> commits);

  /// Lines with a sequence > `after`, oldest first, at most `limit` (1 to kMaxShownLines). They are
  /// not verified. Errors: Invalid (limit), Unavailable (cannot be read).
  Result<std::vector<Line>> Show(std::uint64_t after, std::size_t limit) const;

  /// Verifies the whole file. Runs beside writing: covers what was durable when it began, and
  /// notices lines missing at the end and another file at the path. Errors: Unavailable.
  Result<Verdict> Verify() const;

  /// How far the trail is behind now.
  Lag GetLag() const;

  /// The sequence of the last durable line.
  std::uint64_t LastSequence() const;

  /// Where the store stands by the last durable line: the last commit that has one.
  storage::Position Head() const;

 private:
  struct State;
  explicit Trail(std::unique_ptr<State> state);
  static Recorded MakeRecorded(std::uint64_t sequence) { return Recorded(sequence); }
  std::optional<Error> Enqueue(std::span<Entry> entries, Done& done, std::size_t places);
  std::unique_ptr<State> state_;
};

/// What a ledger records its commits with: RecordCommits. `trail` outlives it.
storage::Ledger::Record RecorderOf(Trail& trail);

/// A line must be durable within this time, or its caller is refused: within 1 s, its way back
/// included.
inline constexpr std::int64_t kAuditTimeoutMs = 800;

/// Verifies a trail that no daemon writes to (`oauthvaultd verify-audit`).
/// Lines missing at the end are seen only by comparing with a number or a checkpoint that was kept
/// elsewhere (`kept`: signed notes). Errors: Invalid (key, no such file), Corrupt (what was kept is
/// not this vault's), Unavailable (cannot be read).
Result<Verdict> VerifyFile(const std::filesystem::path& folder,
                           const crypto::SecretBytes& audit_key,
                           const std::vector<std::string>& kept = {});

}  // namespace oauthvault::audit
