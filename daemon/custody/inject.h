#pragma once

#include <functional>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/configuration.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

enum class IdBeside : std::uint8_t { kKeep, kDrop };

using InjectDone = std::move_only_function<void(Result<crypto::SecretBytes>)>;

/// Inject: a component's configuration in, the same with the credentials it names out. Only
/// `authorization.oauth_api.id` leads to a look-up, and that is a reveal: same permit, same line in
/// the trail. `done` is called once, as with Reveal. Errors: Invalid (the configuration), NotFound
/// (the component is not registered, no such credentials), Corrupt, Unavailable.
void Inject(access::Permit permit, const crypto::SecretBytes& document, IdBeside id_beside,
            const access::Caller& caller, const storage::Store& store, audit::Trail& trail,
            InjectDone done);

}  // namespace oauthvault::custody
