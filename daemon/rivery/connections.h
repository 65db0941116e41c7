#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/rivery/client.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// A connection's name: 1 to 200 bytes of UTF-8 without control characters. Errors: Invalid.
Result<void> CheckConnectionName(const std::string& name);

/// The body that a connection holds: what Rivery's fetch gave, which is `#data` verbatim. It must
/// be a JSON object. Errors: Invalid.
Result<crypto::SecretBytes> BodyOf(const crypto::CredentialsData& data);

/// The connections that the vault made or adopted. Threads: any.
class Connections {
 public:
  Connections(const Client& client, storage::Store& store, audit::Trail& trail)
      : client_(client), store_(store), trail_(trail) {}

  /// Writes a connection anew, whole: `new_name` (empty: stays) and the credentials as they stand
  /// in the vault; an update without them would wipe them. One update at a time for each
  /// connection. The line in the trail is durable before the credentials leave. `permit` is for
  /// connect on the pair.
  /// Errors: NotFound (connection, credentials, account), Invalid (name, `#data` that is no JSON
  /// object), Denied (account), Conflict (another update is on its way, or Rivery refuses: in use),
  /// Unavailable (Rivery, with the advice of Failure).
  Result<storage::Stored<storage::Connection>> Update(access::Permit permit,
                                                      const AccountId& account,
                                                      const std::string& connection_id,
                                                      const std::string& new_name,
                                                      const access::Caller& caller,
                                                      std::int64_t now_s);

 private:
  const Client& client_;
  storage::Store& store_;
  audit::Trail& trail_;
  std::mutex guard_;            // guards busy_
  std::set<std::string> busy_;  // account and id of connections that are being written
};

}  // namespace oauthvault::rivery
