#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/eight_keys.h"
#include "daemon/custody/kept.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// Credentials on their way out: read, decided, recorded, and not yet opened. Whoever holds one may
/// open it once, into memory of its own. There is no other way to the plaintext of credentials:
/// making one takes a Permit and a Recorded.
class Release {
 public:
  const storage::Credentials& Row() const { return kept_.credentials.row; }
  std::uint64_t Version() const { return kept_.credentials.version; }
  /// The app key that belongs to them: their own, or the one they were authorized for.
  std::string AppKey() const;
  std::size_t DataSize() const;
  /// 0 where the authorization is another client's.
  std::size_t AppSecretSize() const;

  /// Opens both secrets in place. `data` has DataSize() bytes, `app_secret` AppSecretSize().
  /// Errors: Corrupt; the memory is wiped then.
  Result<void> OpenInto(std::span<std::uint8_t> data, std::span<std::uint8_t> app_secret) &&;

  /// Opens them as the eight keys. Errors: Corrupt.
  Result<EightKeys> Open() &&;

 private:
  friend class Releaser;
  Release(const storage::Store& store, Kept kept, audit::Recorded recorded)
      : store_(&store), kept_(std::move(kept)), recorded_(std::move(recorded)) {}

  const storage::Store* store_;
  Kept kept_;
  audit::Recorded recorded_;
};

using RevealDone = std::move_only_function<void(Result<Release>)>;

/// Reveal: reads the sealed row, records, and hands over what may then be opened. `done` is called
/// once, from this call (nothing was read) or from the trail's thread, after the line is durable.
/// `permit` is for reveal or connect on the pair; `act` names the method or step in the line, and
/// `object` what else leaves with it, if anything.
/// Errors: NotFound and Corrupt (recorded, too), Denied (a permit for another right), Invalid (not
/// for a pair), Unavailable.
void Reveal(access::Permit permit, const OauthId& id, const access::Caller& caller,
            std::string act, const storage::Store& store, audit::Trail& trail, RevealDone done,
            std::string object = {});

/// The same for callers that may wait.
Result<Release> RevealAndWait(access::Permit permit, const OauthId& id,
                              const access::Caller& caller, std::string act,
                              const storage::Store& store, audit::Trail& trail);

}  // namespace oauthvault::custody
