#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/decide.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// `#data` has 1 byte to 64 KiB of valid UTF-8.
inline constexpr std::size_t kMaxDataSize = 64 * 1024;

/// Credentials as a caller brings them.
struct NewCredentials {
  OauthId id;
  std::string authorized_for;
  std::string creator_description;
  crypto::CredentialsData data;
  std::string app_key;           ///< their own OAuth client; with app_secret, or both empty
  crypto::AppSecret app_secret;
  /// Set: authorized for this OAuth client, which is nobody's here (Rivery's own); may be unknown.
  std::optional<std::string> foreign_client_id;
};

enum class IfThere : std::uint8_t { kReplace, kRefuse };

/// How many former versions are kept beside the present one: at most so many ever are.
inline constexpr std::uint32_t kMaxKeptVersions = 100;

/// The setting `custody.kept_versions`, 0 to kMaxKeptVersions.
struct KeptVersions {
  std::uint32_t most = 10;
};

/// Errors: Denied (a permit for another right), Invalid (not for a pair).
Result<access::PairIds> PairToStore(const access::Permit& permit);

/// Writes into `act` which credentials it is about.
void NameIn(storage::Act& act, const access::PairIds& pair, const OauthId& id);

/// Adds the change to `batch`, so that it can be committed with others (an attempt's state); the
/// act of the batch gets what it is about.
/// `permit` is for store on the pair. The component and the project must be registered. `#data` is
/// kept byte for byte; creator and time are set here; the endpoint and client that they were
/// granted through are copied from the component. What is replaced stays as a former version, and
/// those beyond `kept` go. Credentials that do not open are there, too: they are replaced at a
/// version above any that they may have had, and all former versions go with them.
/// Errors: Invalid (sizes, UTF-8, app key without secret, or beside a foreign client), Denied (a
/// permit for another right), NotFound, Conflict, Corrupt (the project's row or the component's),
/// Unavailable.
Result<void> AddToBatch(storage::Batch& batch, const access::Permit& permit,
                        NewCredentials credentials, IfThere if_there, KeptVersions kept,
                        const storage::Store& store, std::int64_t now_s);

/// Stores at once; `act` says who and why, what it is about is added. Errors: as AddToBatch, and
/// Exhausted. After Unavailable they may be stored.
Result<storage::Stored<storage::Credentials>> Put(const access::Permit& permit,
                                                  NewCredentials credentials, IfThere if_there,
                                                  KeptVersions kept, storage::Act act,
                                                  storage::Store& store, std::int64_t now_s);

/// Removes them, whether or not they open, with all former versions that do; `act` as with Put.
/// Errors: NotFound, Conflict, Unavailable.
Result<void> Delete(const access::Permit& permit, const OauthId& id, storage::Act act,
                    storage::Store& store);

}  // namespace oauthvault::custody
