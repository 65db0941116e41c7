#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "crypto/error.h"
#include "daemon/access/decide.h"
#include "daemon/custody/store.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

using StoredCredentials = storage::Stored<storage::Credentials>;

/// What credentials were before a later write. A damaged one has a number and no row: it can be
/// removed, and is in the way of nothing.
struct FormerVersion {
  std::uint64_t version = 0;
  std::optional<storage::Stored<storage::CredentialsVersion>> stored;
};

/// The former versions of `current` that are kept, newest first, at most kMaxKeptVersions: no write
/// leaves any further back. Errors: Unavailable.
Result<std::vector<FormerVersion>> FormerVersions(const StoredCredentials& current,
                                                  const storage::Store& store);

/// One of them. Errors: NotFound, Corrupt, Unavailable.
Result<storage::Stored<storage::CredentialsVersion>> FormerVersionOf(
    const StoredCredentials& current, std::uint64_t version, const storage::Store& store);

/// Adds to the batch that replaces `current`: what it was is kept, in the place of whatever stands
/// under its number, and all but the newest `kept.most` numbers go. What does not open any more is
/// not kept; nothing is where the store is too full for new rows.
/// Errors: Unavailable.
Result<void> KeepFormer(storage::Batch& batch, const StoredCredentials& current, KeptVersions kept,
                        const storage::Store& store);

/// Adds to a batch the removal of all of them but the newest `keep`; how many go.
/// Errors: Unavailable.
Result<std::uint64_t> RemoveFormer(storage::Batch& batch, const StoredCredentials& current,
                                   std::uint64_t keep, const storage::Store& store);

/// The same for credentials that do not open, so that nobody knows their number: all versions of
/// `id` that open, whatever their numbers; the highest of them, 0 for none. One that does not open
/// says not whose it is, and stays. Errors: Unavailable.
Result<std::uint64_t> RemoveFormerOfDamaged(storage::Batch& batch, const access::PairIds& pair,
                                            const OauthId& id, const storage::Store& store);

/// Makes what credentials were at `version` what they are: a new version with the old one's
/// content, its creator and its time, too. `permit` is for store on the pair; `act` gets what it is
/// about. Errors: NotFound (no credentials, or this version is not kept), Conflict (it is the
/// present one; or another write came first), Denied, Corrupt, Exhausted, Unavailable.
Result<StoredCredentials> RollBack(const access::Permit& permit, const OauthId& id,
                                   std::uint64_t version, KeptVersions kept, storage::Act act,
                                   storage::Store& store);

/// Removes former versions but the newest `keep`; how many. 0: nothing was committed, and `act` is
/// told of nowhere. Errors: NotFound, Denied, Unavailable.
Result<std::uint64_t> Prune(const access::Permit& permit, const OauthId& id, std::uint64_t keep,
                            storage::Act act, storage::Store& store);

}  // namespace oauthvault::custody
