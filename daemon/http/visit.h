#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/keyring.h"
#include "crypto/secret.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/store.h"
#include "daemon/http/exchange.h"
#include "daemon/http/survey.h"
#include "daemon/metrics/calls.h"
#include "daemon/metrics/exposition.h"
#include "daemon/registry/tokens.h"
#include "storage/tables/store.h"

namespace oauthvault::http {

/// Wall clock in seconds since 1970.
using Clock = std::function<std::int64_t()>;

/// What the pages about the daemon tell beside the calls.
struct Gauges {
  std::string_view version;       ///< of the daemon
  std::int64_t started_at_s = 0;  ///< the process, not the opening
  /// Writes what gRPC's doors count; null: there are none.
  std::function<void(metrics::Exposition&)> write_doors;
  std::function<std::uint64_t()> connections;  ///< of this interface
  /// Of what gRPC's door shows now; null: it is sealed.
  std::function<std::int64_t()> daemon_certificate_expires_at_s;
  std::int64_t http_certificate_expires_at_s = 0;  ///< 0: plain HTTP
  /// Connections of Rivery that wait to be brought in step; null: it is sealed.
  std::function<std::uint64_t()> connections_behind;
  /// A check of the store, in a word (`running`, `whole`, `damaged`, ..; empty: none was), and
  /// when the last one ended.
  struct Check {
    std::string result;
    std::int64_t at_s = 0;  ///< 0: none has ended
  };
  std::function<Check()> last_check;  ///< null: it is sealed
};

/// The parts of an open vault that stories use.
struct Vault {
  crypto::Keyring& keyring;
  storage::Store& store;
  registry::Tokens& tokens;
  audit::Trail& trail;
  Clock now_s;
  custody::KeptVersions kept_versions = {};
  Surveyor surveyor;
};

/// One admitted request, as a story gets it.
struct Visit {
  const Request& request;
  Vault* vault;  ///< null while the vault is sealed
  const metrics::Calls& calls;
  const Gauges& gauges;
  std::string component;  ///< of the path, empty where it names none
  std::string id;
  std::optional<access::Permit> permit;       ///< where the caller shows a token
  std::optional<registry::TokenHolder> holder;  ///< who shows it
  audit::Entry entry;                         ///< the line about this call
  /// Set by a story that something was committed by, because the commit records it.
  bool recorded = false;

  /// What the line about this call's commit says.
  storage::Act ForCommit() {
    recorded = true;
    return entry;
  }
};

}  // namespace oauthvault::http
