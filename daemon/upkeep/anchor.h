#pragma once

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "daemon/audit/trail.h"
#include "storage/tables/store.h"

namespace oauthvault::upkeep {

/// Compares where the store stands with where the trail says it does, and the keys with what the
/// store last knew of them, once, before anything is served. Commits of the last transaction whose
/// lines a crash kept from the trail are told there now; each commit has one line in the end.
/// Errors: Stale (the store is older than the trail, or further ahead than one transaction: one of
/// the two was put back or cut; the keys are older than the store's last commit), Corrupt (the
/// anchor: unreadable, missing, or of another commit than the store's last), Unavailable (the store
/// cannot be read, the lines cannot be written).
Result<void> Reconcile(const storage::Store& store, const crypto::Keyring& keyring,
                       audit::Trail& trail);

}  // namespace oauthvault::upkeep
