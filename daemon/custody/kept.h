#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crypto/error.h"
#include "daemon/custody/eight_keys.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// Credentials as the store keeps them, sealed, with the row that their app secret stands in.
struct Kept {
  storage::Stored<storage::Credentials> credentials;
  /// Only where the component's app secret goes with the credentials: they have none of their own,
  /// and were authorized for the component's present client id. Else null.
  std::shared_ptr<const storage::Stored<storage::Component>> component;

  /// How large `#data` is when opened.
  std::size_t DataSize() const;
  /// Likewise `#appSecret`; 0 where the authorization is another client's.
  std::size_t AppSecretSize() const;
  /// Opens both secrets in place, each from the row that it stands in. `data` has DataSize() bytes,
  /// `app_secret` AppSecretSize(), or none where it is not wanted. Errors: Corrupt; the memory is
  /// wiped then.
  Result<void> OpenInto(const storage::Store& store, std::span<std::uint8_t> data,
                        std::span<std::uint8_t> app_secret) const;
};

/// Reads them. Errors: NotFound (no such credentials), Corrupt, Unavailable.
Result<Kept> ReadKept(const storage::Store& store, const ProjectId& project,
                      const ComponentId& component, const OauthId& id);

/// The same for each of several, in the order of `ids`: what is not found, or damaged, is the error
/// of its own place alone (NotFound, Corrupt). The component's row is read once. Errors:
/// Unavailable.
Result<std::vector<Result<Kept>>> ReadKeptEach(const storage::Store& store,
                                               const ProjectId& project,
                                               const ComponentId& component,
                                               std::span<const OauthId> ids);

/// The app key that belongs to credentials: their own, or the one they were authorized for. A view
/// of the row.
const std::string& AppKeyOf(const storage::Credentials& row);

/// The eight keys without their two secrets.
EightKeys PublicKeysOf(const storage::Credentials& row);

}  // namespace oauthvault::custody
