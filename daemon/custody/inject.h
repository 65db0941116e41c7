#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "crypto/secret.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/configuration.h"
#include "daemon/custody/sealed_value.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// Whether anything is opened.
enum class Secrets : std::uint8_t {
  kOpen,    ///< stored credentials and sealed values in clear, for reveal
  kSealed,  ///< a sandbox: sealed copies of stored credentials, sealed values as they are
};

/// What is asked for, beside the pair of the permit.
struct Injection {
  crypto::SecretBytes document;
  IdBeside id_beside = IdBeside::kKeep;
  Secrets secrets = Secrets::kOpen;
  /// Whose values may open, beside those of the pair.
  std::optional<ConfigurationId> configuration;
  std::optional<BranchType> branch_type;
};

using InjectDone = std::move_only_function<void(Result<crypto::SecretBytes>)>;

/// Inject: a component's configuration in, the same with the credentials that it names and with its
/// sealed values opened out. `authorization.oauth_api.id` leads to a look-up, and that is a reveal:
/// same permit, same line in the trail. Where values are opened the line says how many
/// (`values:3`); where nothing leaves that the caller did not bring in clear there is none. A value
/// that does not open leaves a second line, `failed`. A sandbox's permit is for describe, and its
/// line, where it looks up, says `sandbox`. `done` is called once, as with Reveal.
/// Errors: Invalid (the configuration, a sealed value), NotFound (no such credentials), Denied (a
/// permit for another right), Corrupt, Unavailable.
void Inject(access::Permit permit, Injection asked, const access::Caller& caller,
            const storage::Store& store, const crypto::Keyring& keys, audit::Trail& trail,
            InjectDone done);

}  // namespace oauthvault::custody
