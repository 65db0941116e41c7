#pragma once

#include <cstddef>

#include "crypto/error.h"

namespace oauthvault {

/// What the process gives up before it reads anything: core files and ptrace, variables that make
/// libraries print or write secrets (GRPC_TRACE, SSLKEYLOGFILE, ..), the death by SIGPIPE and
/// SIGXFSZ, files that others may read, memory that is kept after it was freed.
void HardenProcess();

/// Raises the limit on open files as far as this process may, to at most kMaxDescriptors: each
/// connection is one.
void AllowDescriptors();
inline constexpr std::size_t kMaxDescriptors = 65'536;

/// Whether so many threads may run at one time. gRPC with too few starts, answers nothing and does
/// not end, so it is found out before. Errors: Exhausted.
Result<void> ExpectThreads(std::size_t count);

}  // namespace oauthvault
