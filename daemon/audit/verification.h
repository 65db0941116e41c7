#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/audit/trail.h"
#include "daemon/audit/trail_file.h"

namespace oauthvault::audit {

/// A trail that nobody writes to, open for reading, as long as it was then.
struct RestingTrail {
  std::unique_ptr<const OpenFile> file;
  std::uint64_t size_bytes = 0;
};

/// Opens the trail of a folder; no lock is taken. Errors: Invalid (key, no such file, not a regular
/// file), Unavailable.
Result<RestingTrail> OpenResting(const std::filesystem::path& folder,
                                 const crypto::SecretBytes& audit_key);

/// Verifies the first `size_bytes` bytes of an open trail: every MAC, every sequence, every hash of
/// a line before, that no position goes back, and that the first line is the chain's first. Errors:
/// Unavailable (cannot be read). Threads: any.
Result<Verdict> VerifyLines(const crypto::SecretBytes& audit_key, int file,
                            std::uint64_t size_bytes);

/// Adds a problem, unless kMaxProblems are there.
void AddProblem(Verdict& verdict, std::uint64_t line_number, Text what);

}  // namespace oauthvault::audit
