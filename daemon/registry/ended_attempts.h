#pragma once

#include <cstddef>
#include <cstdint>

#include "crypto/error.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::registry {

/// So many attempts are removed in one commit.
inline constexpr std::size_t kMaxAttemptsTogether = 256;

/// Removes the attempts of `project` that have ended and have not changed since `before_s`. A
/// commit and a line for each kMaxAttemptsTogether, its object `removed:` and how many. Those that
/// are unfinished stay. How many went. Errors: Conflict (one changed meanwhile), Corrupt (a row of
/// the project's attempts), Unavailable. Threads: any.
Result<std::uint64_t> RemoveEndedAttempts(storage::Store& store, const ProjectId& project,
                                          std::int64_t before_s, const storage::Act& act);

/// The same in all projects but those that are being shredded. What fails in one keeps no other
/// from it; the first error is the answer then.
Result<std::uint64_t> PruneAttempts(storage::Store& store, std::int64_t before_s,
                                    const storage::Act& act);

}  // namespace oauthvault::registry
