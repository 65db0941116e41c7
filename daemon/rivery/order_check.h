#pragma once

#include "crypto/error.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/rivery/attempts.h"
#include "daemon/rivery/catalogue.h"
#include "storage/tables/act.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// Whether Rivery knows the names that the pair's component would be sent under by the order's
/// account; asked before Attempts takes the order, which reads both again: this may take a while.
/// `permit` is for store where a person will consent (the datasource counts, too), for connect
/// otherwise. `act` is the caller's; the line about the catalogue, where it is read, is made of it
/// before the API token leaves. A component without Rivery's names passes: Attempts refuses it in
/// its own words. Errors: those of Catalogue::Check; NotFound, Denied (the account), Corrupt.
Result<void> CheckOrder(const access::Permit& permit, const Order& order, storage::Act act,
                        const storage::Store& store, Catalogue& catalogue, audit::Trail& trail);

}  // namespace oauthvault::rivery
