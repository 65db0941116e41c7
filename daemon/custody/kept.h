#pragma once

#include <optional>
#include <string>

#include "crypto/error.h"
#include "daemon/custody/eight_keys.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// Credentials as the store keeps them, sealed, with the row that their app secret stands in.
struct Kept {
  storage::Stored<storage::Credentials> credentials;
  /// Only where the component's app secret goes with the credentials: they have none of their own,
  /// and were authorized for the component's present client id.
  std::optional<storage::Stored<storage::Component>> component;
};

/// Reads them. Errors: NotFound (no such credentials), Corrupt, Unavailable.
Result<Kept> ReadKept(const storage::Store& store, const ProjectId& project,
                      const ComponentId& component, const OauthId& id);

/// The app key that belongs to credentials: their own, or the one they were authorized for.
std::string AppKeyOf(const storage::Credentials& row);

/// The eight keys without their two secrets.
EightKeys PublicKeysOf(const storage::Credentials& row);

}  // namespace oauthvault::custody
