#pragma once

#include <cstdint>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/audit/trail.h"

namespace oauthvault::audit {

/// Verifies the first `size_bytes` bytes of an open trail: every MAC, every sequence, every hash of
/// a line before, and that the first line is the chain's first. Errors: Unavailable (cannot be
/// read). Threads: any.
Result<Verdict> VerifyLines(const crypto::SecretBytes& audit_key, int file,
                            std::uint64_t size_bytes);

/// Adds a problem, unless kMaxProblems are there.
void AddProblem(Verdict& verdict, std::uint64_t line_number, Text what);

}  // namespace oauthvault::audit
