#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace oauthvault::storage {

/// What is broken on purpose, to show that the harness notices.
enum class Sabotage {
  kNone,
  kNoAad,       ///< rows open wherever they lie, as without associated data
  kNoSummary,   ///< nobody compares what rows come to with summaries and anchor
  kSkipAnchor,  ///< nobody compares the position with the one that was last
};

/// How much is tried.
struct FlipPlan {
  std::size_t rows = 60;
  std::size_t flips = 1500;  ///< a third of them in the meta pages of a file that was written to
  bool all = false;          ///< every bit of a compact file, and of those meta pages, instead
  std::uint32_t seed = 1;
  Sabotage sabotage = Sabotage::kNone;
};

/// One bit each of a file on disk, checked in a child process of its own.
struct FlipFigures {
  std::uint64_t flips = 0;
  std::uint64_t no_effect = 0;     ///< whole, and all that is read is as before
  std::uint64_t damaged_rows = 0;  ///< the check says so, likewise the next two
  std::uint64_t structure = 0;
  std::uint64_t cannot_open = 0;
  std::uint64_t rolled_back = 0;  ///< whole, and not where it should stand
  std::uint64_t crashed = 0;
  std::uint64_t hung = 0;
  std::uint64_t silent = 0;           ///< whole, where it should stand, and not what it was
  std::uint64_t wrong_plaintext = 0;  ///< a row opened to what was never written under its key
};

/// Things that somebody with the file can do, and how many went unnoticed.
struct Tries {
  std::uint64_t tried = 0;
  std::uint64_t unnoticed = 0;
};

/// All that was found.
struct FlipReport {
  FlipFigures flips;
  Tries swaps;           ///< a row in the place of another, of any table, project and component
  Tries cut_rows;        ///< a row without its end
  Tries cut_files;       ///< a file without its last pages
  Tries missing_rows;    ///< a row that was removed from the file
  Tries missing_pairs;   ///< a row and its summary that were removed
  Tries older_rows;      ///< an older row in the place of a newer one
  Tries older_pairs;     ///< an older row with the summary of its time
  Tries older_files;     ///< the whole file of a commit before

  /// What went unnoticed, in all; 0 is what is promised.
  std::uint64_t Unnoticed() const;
  /// A line for each figure: its name and its number.
  std::string Text() const;
};

/// Makes a store in a temporary folder and does all that to it. What goes wrong in the making ends
/// the process. Forks: for a process with one thread.
FlipReport RunFlips(const FlipPlan& plan);

}  // namespace oauthvault::storage
