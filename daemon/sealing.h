#pragma once

#include "crypto/keyring.h"
#include "daemon/http/sealing.h"
#include "storage/tables/store.h"

namespace oauthvault {

/// What the HTTP interface has sealed by custody. `keyring` and `store` outlive it. Threads: any.
http::Sealing SealingOf(crypto::Keyring& keyring, const storage::Store& store);

}  // namespace oauthvault
