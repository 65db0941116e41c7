#pragma once

#include "crypto/error.h"
#include "daemon/access/decide.h"
#include "daemon/custody/eight_keys.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// The eight keys with sealed copies in the places of `#data` and `#appSecret`: what a sandbox and
/// `GET /credentials/{component}/{id}` show. Nothing is opened, so nothing is recorded. It opens
/// by injection, for the credentials' project and component (the component's app secret: for
/// the component), also after the credentials were replaced or deleted, until the project's key is
/// shredded. `#appSecret` is the empty string where none goes with the credentials.
/// `permit` is for describe on the pair. Errors: NotFound, Corrupt, Unavailable; Denied for another
/// right's permit, Invalid for one that is not for a whole pair.
Result<EightKeys> SealedCopy(const access::Permit& permit, const OauthId& id,
                             const storage::Store& store);

}  // namespace oauthvault::custody
