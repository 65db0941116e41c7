#pragma once

#include <expected>

#include "daemon/config.h"
#include "daemon/refusal.h"

namespace oauthvault {

/// Does a command that needs no running daemon: every one but kServe. Gives the exit code.
std::expected<int, Refusal> RunOffline(const Invocation& invocation);

}  // namespace oauthvault
