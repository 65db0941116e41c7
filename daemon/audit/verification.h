#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/audit/checkpoint.h"
#include "daemon/audit/segments.h"
#include "daemon/audit/trail.h"

namespace oauthvault::audit {

/// What a verification goes by.
struct Verification {
  std::filesystem::path folder;  ///< where the checkpoints of the closed segments are
  /// Null: MACs are not checked, as by whoever has no key of the vault.
  const crypto::SecretBytes* audit_key = nullptr;
  CheckpointKey public_key;
  std::vector<Checkpoint> kept;  ///< checkpoints that were kept elsewhere
};

/// Adds checkpoints that were kept elsewhere, as signed notes. Errors: Corrupt when one is not this
/// key's.
Result<void> AddKept(Verification& by, const std::vector<std::string>& notes);

/// Verifies all lines of the segments: every MAC, every sequence, every hash of a line before, that
/// no position goes back, that the first line is the chain's first; that the tree and the intervals
/// are what the lines come to, and the root of every checkpoint, too.
/// Errors: Unavailable (cannot be read). Threads: any.
Result<Verdict> VerifySegments(std::vector<Segment> segments, const Verification& by);

/// The trail of a folder that nobody writes to, checked by an outsider: with the public key and the
/// checkpoints that were kept (each a signed note), and no key of the vault. What lies behind the
/// newest checkpoint is chained, but not proven. Errors: Invalid (no trail), Corrupt (a checkpoint
/// that was kept is not this key's), Unavailable.
Result<Verdict> VerifyFromOutside(const std::filesystem::path& folder,
                                  const CheckpointKey& public_key,
                                  const std::vector<std::string>& kept);

/// Adds a problem, unless kMaxProblems are there.
void AddProblem(Verdict& verdict, std::uint64_t line_number, Text what);

}  // namespace oauthvault::audit
