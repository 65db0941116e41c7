#pragma once

#include <string>

#include "daemon/access/principal.h"

namespace oauthvault::access {

/// One call's caller, as the doors found it.
struct Caller {
  Principal who;
  std::string peer;        ///< `unix:` or `ip:port`
  std::string request_id;  ///< the caller's x-request-id where it is an id, else made here
  /// Serial of the certificate of the vault's own CA that it showed; empty: it showed none.
  std::string own_serial = {};
};

}  // namespace oauthvault::access
