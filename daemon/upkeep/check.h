#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "storage/tables/rows.h"

namespace oauthvault::upkeep {

/// What a check of a store found.
struct CheckResult {
  /// How a check ended.
  enum class Verdict : std::uint8_t {
    kWhole,
    kDamaged,   ///< rows do not verify, or some are missing; the others can be served
    kUnusable,  ///< its pages do not hold together: reading it may end the reader
    kNoStore,   ///< nothing there is a store of this vault and format
  };
  Verdict verdict = Verdict::kUnusable;
  std::uint64_t rows = 0;
  storage::Position position;
  std::uint64_t problem_count = 0;
  struct Problem {
    std::string what;     ///< a fixed phrase
    std::string row_key;  ///< hex; empty where it is about no row
  };
  std::vector<Problem> problems;  ///< the first of them
};

/// Whether a check is wanted no more. Asked about ten times a second; an empty one never says so.
using BreakOff = std::function<bool()>;

/// Reads and opens every row of the store in `folder` in a child process, which may die of a
/// damaged file without harm: LMDB follows what stands in its pages. `keys_file` is opened with the
/// root of `keyring`, which goes to the child through a pipe. For a store that nobody writes. Ends
/// the child after `patience`; the child holds keys, and ends with this process. Errors:
/// Unavailable (the child cannot be started, was not done in time, or was broken off), Exhausted.
Result<CheckResult> RunCheck(const std::filesystem::path& folder,
                             const std::filesystem::path& keys_file,
                             const crypto::Keyring& keyring, std::chrono::seconds patience,
                             const BreakOff& break_off = {});

/// The same for a store that a daemon may write meanwhile, of this process or another. The child
/// reads the keys before the rows: a row under a key that was made in between does not open, and a
/// new root makes the keys unreadable. So what does not verify is looked at a second time.
Result<CheckResult> RunLiveCheck(const std::filesystem::path& folder,
                                 const std::filesystem::path& keys_file,
                                 const crypto::Keyring& keyring, std::chrono::seconds patience,
                                 const BreakOff& break_off = {});

/// What the child does: reads the root from standard input, writes the result to standard output.
/// Gives the exit code.
int CheckChild(const std::filesystem::path& folder, const std::filesystem::path& keys_file);

/// How long a check of a store of `size_bytes` may take: a minute, and one for each 64 MiB.
std::chrono::seconds CheckPatience(std::uint64_t size_bytes);

/// The last check, for `status`. Threads: any.
class LastCheck {
 public:
  /// Its words are those of `status`: empty before the first, `running`, `whole`, `damaged`,
  /// `unusable`, `no-store`, `failed`.
  struct State {
    std::string word;
    std::int64_t at_s = 0;
  };
  State Get() const {
    const std::lock_guard lock(guard_);
    return state_;
  }
  /// One has begun; one has ended.
  void Begin();
  void End(const Result<CheckResult>& result, std::int64_t now_s);

 private:
  mutable std::mutex guard_;  // guards state_
  State state_;
};

}  // namespace oauthvault::upkeep
