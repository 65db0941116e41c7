#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/sealed.h"
#include "storage/tables/rows.h"

namespace oauthvault::storage {

/// What a check came to, from good to bad; the worst of all problems counts.
enum class Verdict : std::uint8_t {
  kWhole,        ///< every row opens, and the rows are those that were committed last
  kDamagedRows,  ///< rows do not verify, are missing, left over, or older than they should be
  kStructure,    ///< the pages do not hang together
  kCannotOpen,   ///< no store of this vault and format, or LMDB refuses the file
};

/// One finding.
struct Problem {
  std::string_view what;              ///< a fixed phrase
  std::optional<crypto::RowKey> key;  ///< of the row that it is about
};

/// So many problems are kept; all are counted.
inline constexpr std::size_t kMaxKeptProblems = 100;

/// What a check found.
struct CheckReport {
  Verdict verdict = Verdict::kWhole;
  std::uint64_t rows = 0;      ///< met in the file, the store's own too
  std::uint64_t unopened = 0;  ///< of those, of projects that are being shredded
  Position position;           ///< where the anchor says that the store stands; zeros: none
  Position previous;           ///< and where it stood before
  std::uint64_t problem_count = 0;
  std::vector<Problem> problems;
};

/// Checks the store that lies in `folder`, on one snapshot, and writes nothing: opens every part of
/// every row, looks each key up again, and compares what the rows come to with the summaries and
/// the anchor. Whether the position is the newest one only a record outside of the store can say.
/// Damaged pages may crash this process, or keep it for ever: run it in a child, with a time limit.
/// A daemon may have the store open and write meanwhile, in another process only; a store without a
/// reader table (a copy) must be nobody's. Memory grows with projects and tables, not with rows.
CheckReport CheckStore(const std::filesystem::path& folder, const crypto::Keyring& keyring);

}  // namespace oauthvault::storage
