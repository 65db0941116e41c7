#pragma once

#include <sys/types.h>

#include "crypto/error.h"
#include "daemon/config.h"

namespace oauthvault {

/// Whoever makes files in the folders `state` and `audit` must be their owner: root may write into
/// those of another user, who then cannot open what root left. `user` is who this process runs as;
/// for all but root the system decides. A folder that is not there yet has no owner. Errors:
/// Denied; the folder as subject.
Result<void> ExpectOwner(const Config& config, uid_t user);

}  // namespace oauthvault
