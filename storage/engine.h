#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/sealed.h"

namespace oauthvault::storage {

/// A row under its key.
struct KeyedRow {
  crypto::RowKey key;
  crypto::SealedRow row;
};

/// What must be true of a row's present state for a change to be made.
struct Expect {
  enum class Kind : std::uint8_t { kAnything, kAbsent, kVersion, kWrite, kDamaged };
  Kind kind = Kind::kAnything;
  std::uint64_t record_version = 0;                              ///< for kVersion
  std::array<std::uint8_t, crypto::kCommitmentSize> commitment{};  ///< for kWrite

  /// No row.
  static Expect Absent() { return {Kind::kAbsent, 0, {}}; }
  /// A row of this version.
  static Expect Version(std::uint64_t record_version) {
    return {Kind::kVersion, record_version, {}};
  }
  /// The very write that `row` is, if rewrapped: a row that was removed and put anew may have the
  /// same version, and is another write.
  static Expect Write(const crypto::SealedRow& row);
  /// A row that is damaged in its structure.
  static Expect Damaged() { return {Kind::kDamaged, 0, {}}; }

  /// Whether it holds for `present`, the row as it stands, whose structure is whole; nullopt:
  /// absent.
  bool HoldsFor(const std::optional<crypto::SealedRow>& present) const;
  /// Whether it holds for a row that is damaged in its structure.
  bool HoldsForDamaged() const { return kind == Kind::kAnything || kind == Kind::kDamaged; }
};

/// One change of a batch: puts a row, or removes it.
struct Change {
  crypto::RowKey key;
  Expect expect;
  std::optional<crypto::SealedRow> row;  ///< absent: remove
};

/// How full the store is, and whether it still takes writes.
struct Fill {
  std::uint64_t used_bytes = 0;  ///< what a read under way may still look at counts as used
  std::uint64_t capacity_bytes = 0;
  std::uint64_t create_limit_bytes = 0;  ///< at this fill no new row is taken
  std::uint64_t rows = 0;                ///< all of them, the store's own too
  bool read_only = false;                ///< after an I/O error, until the next start
};

/// At these shares of the capacity the store takes no new row, and no other row in the place of
/// one: what is left is for whatever makes room, so that a removal always works.
inline constexpr std::uint64_t kCreateLimitPercent = 85;
inline constexpr std::uint64_t kReplaceLimitPercent = 95;
/// However small the capacity is, so much of it is left for removals, and as much again for
/// replacements.
inline constexpr std::uint64_t kLeastReserveBytes = 256 * 1024;

/// The fill up to which new rows are taken, and replacements, in bytes.
std::uint64_t CreateLimit(std::uint64_t capacity_bytes);
std::uint64_t ReplaceLimit(std::uint64_t capacity_bytes);

/// A replacement that is small and hardly larger than the row before it costs no more than a
/// removal, and is taken as long: revoking and shredding begin with one.
inline constexpr std::size_t kSmallRowBytes = 2000;
inline constexpr std::size_t kSlightGrowthBytes = 64;

/// Whether `after` is such a replacement of `before`.
bool HardlyGrows(const crypto::SealedRow& before, const crypto::SealedRow& after);

/// A row before and after a transaction; absent: it was not there, or is not there any more.
struct Touched {
  crypto::RowKey key;
  std::optional<crypto::SealedRow> before;
  std::optional<crypto::SealedRow> after;
};

/// Batches that become durable together. A view: valid during the call that gets it.
struct Transaction {
  std::uint64_t first_generation;         ///< of its first batch
  std::uint64_t last_generation;          ///< of its last one
  std::span<const Touched> touched;       ///< each row once
  std::span<const std::string> acts;      ///< one for each batch, in their order
};

/// Who takes part in every transaction of an engine: adds rows of its own to it, and is told of it
/// when it is durable, before anybody else is. Threads: called by the engine's writer alone.
class Witness {
 public:
  /// Looks up a row as the transaction leaves it.
  using Look = std::function<Result<std::optional<crypto::SealedRow>>(const crypto::RowKey&)>;
  virtual ~Witness() = default;

  /// Before a transaction: finishes what Announce could not. An error refuses the transaction.
  virtual Result<void> Settle() = 0;
  /// Within it: the changes that it adds, behind all others. An error refuses it.
  virtual Result<std::vector<Change>> Attest(const Transaction& transaction, const Look& look) = 0;
  /// It is durable. An error is what its callers get, although it stands.
  virtual Result<void> Announce(const Transaction& transaction) = 0;
};

/// One scan returns at most this many rows.
inline constexpr std::size_t kMaxScanRows = 1000;
/// The text of the Exhausted that is about the queue before the writer, and not about room.
inline constexpr Text kQueueIsFull = "too many batches wait for the store's writer";
/// One batch holds at most this many changes.
inline constexpr std::size_t kMaxBatchChanges = 1000;
/// The act of a batch has at most this many bytes, those of one transaction so many more or less.
inline constexpr std::size_t kMaxActBytes = 16 * 1024;
inline constexpr std::size_t kMaxGroupActBytes = 64 * 1024;

/// What no engine accepts, whatever rows it holds: the first thing that each Commit asks.
/// Errors: Invalid when there is no change, more than kMaxBatchChanges, two of one key, or an act
/// longer than kMaxActBytes.
Result<void> CheckBatch(std::span<const Change> changes, std::string_view act);

/// The same for each Scan. Errors: Invalid when the prefix is longer than a key, or the limit is
/// not 1 to kMaxScanRows.
Result<void> CheckScan(std::span<const std::uint8_t> prefix, std::size_t limit);

/// Ordered keys over sealed rows. Accepts sealed bytes only: plaintext at rest cannot be expressed.
/// Every engine passes tests/storage/engine_contract_test.cc. Threads: all members from any thread.
class Engine {
 public:
  virtual ~Engine() = default;

  /// The rows under `keys`, from one snapshot, in the order of `keys`; absent ones are nullopt.
  /// Errors: Corrupt (a row's structure), Unavailable (the store cannot be read).
  virtual Result<std::vector<std::optional<crypto::SealedRow>>> Read(
      std::span<const crypto::RowKey> keys) const = 0;

  /// Up to `limit` rows (1 to kMaxScanRows) whose key begins with `prefix` (0 to 41 bytes), in
  /// order of key, from one snapshot, after `after` where given. Errors: as Read; Invalid as
  /// CheckScan.
  virtual Result<std::vector<KeyedRow>> Scan(std::span<const std::uint8_t> prefix,
                                             const std::optional<crypto::RowKey>& after,
                                             std::size_t limit) const = 0;

  /// The keys alone of what Scan would give, also of rows that are damaged in their structure.
  /// Errors: as Scan; Corrupt (a key, or a page).
  virtual Result<std::vector<crypto::RowKey>> ScanKeys(std::span<const std::uint8_t> prefix,
                                                       const std::optional<crypto::RowKey>& after,
                                                       std::size_t limit) const = 0;

  /// Makes all changes or none, durable when it returns, and returns the generation: the number of
  /// this commit, which rises by 1 with each. All expectations are compared with the state before
  /// the batch. Batches of several callers may share one sync; each keeps a number of its own.
  /// `act` says why, for the witness; the engine does not look into it. A damaged row can be
  /// removed, or written over, by whoever expects nothing of it, or the damage; the witness is told
  /// of no row before.
  /// Errors: Invalid as CheckBatch; Conflict (an expectation does not hold); Exhausted (full for
  /// this kind of change, or the queue is); Corrupt (a row that the batch touches); what the
  /// witness says; Unavailable (an I/O error: after one at commit every later commit is refused,
  /// perhaps every read, and whether that one was made shows at the next start).
  virtual Result<std::uint64_t> Commit(std::vector<Change> changes, std::string act) = 0;

  /// The number of the last commit that the witness announced; 0 for a new store.
  virtual std::uint64_t Generation() const = 0;

  /// Writes a compact copy of one snapshot, durable, into an existing empty folder; holds a read
  /// transaction for as long as that takes. Errors: Invalid (the folder is not empty), Corrupt,
  /// Unavailable.
  virtual Result<void> CopyTo(const std::filesystem::path& folder) const = 0;

  /// How full the store is. Errors: Unavailable.
  virtual Result<Fill> GetFill() const = 0;

  /// Reads and scans answered since the start: the access tests show that a denial makes none.
  virtual std::uint64_t ReadCount() const = 0;
};

}  // namespace oauthvault::storage
