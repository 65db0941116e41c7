#pragma once

namespace oauthvault {

/// What the process gives up before it reads anything: core files and ptrace, variables that make
/// libraries print or write secrets (GRPC_TRACE, SSLKEYLOGFILE, ..), the death by SIGPIPE and
/// SIGXFSZ, files that others may read.
void HardenProcess();

}  // namespace oauthvault
