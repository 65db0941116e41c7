#pragma once

#include <expected>
#include <memory>
#include <string>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "daemon/config.h"
#include "daemon/notify.h"
#include "daemon/opening.h"
#include "daemon/refusal.h"
#include "daemon/rpc/counters.h"
#include "daemon/rpc/door.h"
#include "daemon/rpc/server.h"

namespace oauthvault::rpc {
struct DaemonFacts;
}

namespace oauthvault {

/// The listeners: they stay while the vault is sealed and opened, so that a client that waits is
/// answered by whoever comes next.
struct Listeners {
  rpc::Descriptor tcp;
  rpc::Descriptor unix_socket;
};

/// The same listeners, for a phase to take along. Errors: Unavailable.
Result<Listeners> Duplicate(const Listeners& listeners);

/// The limits of both doors.
rpc::Server::Settings DoorsOf(const Config& config);

/// Sealed: answers status and unseal on the unix socket until the vault is opened.
std::expected<Opening, Refusal> ServeSealed(const Config& config, const Listeners& listeners,
                                            const rpc::DaemonFacts& facts,
                                            const rpc::AccessRules& rules, const Notifier& notifier,
                                            rpc::Counters& counters);

}  // namespace oauthvault
