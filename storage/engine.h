#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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
  enum class Kind : std::uint8_t { kAnything, kAbsent, kVersion };
  Kind kind = Kind::kAnything;
  std::uint64_t record_version = 0;  ///< for kVersion

  static Expect Absent() { return {Kind::kAbsent, 0}; }
  static Expect Version(std::uint64_t record_version) { return {Kind::kVersion, record_version}; }

  /// Whether it holds for a row that stands at `present`, or is absent (nullopt).
  bool HoldsFor(std::optional<std::uint64_t> present) const {
    switch (kind) {
      case Kind::kAnything: return true;
      case Kind::kAbsent: return !present;
      case Kind::kVersion: return present == record_version;
    }
    __builtin_unreachable();
  }
};

/// One change of a batch: puts a row, or removes it.
struct Change {
  crypto::RowKey key;
  Expect expect;
  std::optional<crypto::SealedRow> row;  ///< absent: remove
};

/// How full the store is.
struct Fill {
  std::uint64_t used_bytes = 0;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t rows = 0;
};

/// One scan returns at most this many rows.
inline constexpr std::size_t kMaxScanRows = 1000;
/// One batch holds at most this many changes.
inline constexpr std::size_t kMaxBatchChanges = 1000;

/// What no engine accepts, whatever rows it holds: the first thing that each Commit asks.
/// Errors: Invalid when there is no change, more than kMaxBatchChanges, or two of one key.
Result<void> CheckBatch(std::span<const Change> changes);

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

  /// Makes all changes or none, durable when it returns, and returns the generation: the number of
  /// this commit, which rises by 1 with each. All expectations are compared with the state before
  /// the batch. Batches of several callers may share one sync; each keeps a number of its own.
  /// Errors: Invalid as CheckBatch; Conflict (an expectation does not hold); Exhausted (full, or
  /// the queue is); Corrupt (a row that an expectation is about); Unavailable (an I/O error: after
  /// one at commit every later commit is refused, perhaps every read, and whether that one was made
  /// shows at the next start).
  virtual Result<std::uint64_t> Commit(std::vector<Change> changes) = 0;

  /// The number of the last commit; 0 for a new store.
  virtual std::uint64_t Generation() const = 0;

  /// How full the store is. Errors: Unavailable.
  virtual Result<Fill> GetFill() const = 0;

  /// Reads and scans answered since the start: the access tests show that a denial makes none.
  virtual std::uint64_t ReadCount() const = 0;
};

}  // namespace oauthvault::storage
