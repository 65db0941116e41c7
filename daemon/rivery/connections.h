#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/rivery/client.h"
#include "daemon/rivery/drift.h"
#include "daemon/rivery/rate.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// A connection's name: 1 to 200 bytes of UTF-8 without control characters. Errors: Invalid.
Result<void> CheckConnectionName(const std::string& name);

/// The body that a connection holds: what Rivery's fetch gave, which is `#data` verbatim. It must
/// be a JSON object. Errors: Invalid.
Result<crypto::SecretBytes> BodyOf(const crypto::CredentialsData& data);

/// What identifies credentials in a connection's row without telling anything about them: 32 hex
/// digits, keyed by the vault and bound to the project.
std::string FingerprintOf(const crypto::Keyring& keyring, const ProjectId& project,
                          const crypto::SecretBytes& body);

/// What a connection holds, as its row says (`written_*`); 0 and empty where that is not known.
struct Held {
  std::uint64_t version = 0;
  std::string fingerprint = {};
  std::string data = {};
};
/// Of a `body` that was written, of credentials of `version`.
Held HeldOf(const storage::Store& store, const ProjectId& project, std::uint64_t version,
            const crypto::SecretBytes& body);
/// Says it in the row.
void SayHeld(Held held, storage::Connection& row);

/// Why a connection is not brought in step with its credentials: the words of `refusal`.
inline constexpr std::string_view kNotPermitted = "not_permitted";  ///< who answers for it may not
inline constexpr std::string_view kNoAccount = "no_account";  ///< gone, or not the project's to use
inline constexpr std::string_view kCredentialsGone = "credentials_gone";
inline constexpr std::string_view kCredentialsUnreadable = "credentials_unreadable";
inline constexpr std::string_view kCredentialsOlder = "credentials_older";  ///< and they rotate
/// `#data` is no JSON object, or the account's address may not be called.
inline constexpr std::string_view kNotSendable = "not_sendable";
inline constexpr std::string_view kDeletedInRivery = "deleted_in_rivery";
inline constexpr std::string_view kRefusedByRivery = "refused_by_rivery";
inline constexpr std::string_view kAdopted = "adopted";  ///< and not written yet

/// How a connection stands to the credentials that it was made from.
enum class Step : std::uint8_t {
  kInStep,
  kBehind,   ///< will be written, again and again until it is
  kRefused,  ///< will not, until the credentials change again or somebody updates it
};
/// A step, and where it is kRefused why: a word from above.
struct Standing {
  Step step = Step::kInStep;
  std::string why = {};
};
/// Compares record versions and what `#data` holds, for credentials that were deleted and stored
/// anew count from 1 again. Where one of the rows is of before there was a fingerprint to compare,
/// it is ages, by the wall clock.
Standing StandingOf(const storage::Connection& row,
                    const std::optional<storage::Stored<storage::Credentials>>& credentials);

/// The ids of Rivery's connections at an account that some project of the vault has. Errors:
/// Corrupt, Unavailable.
Result<std::set<std::string>> HeldIds(const storage::Store& store, const AccountId& account);

/// Whether credentials may be written that are older than what the connection holds, where their
/// tokens rotate: the older ones are dead then.
enum class Older : std::uint8_t { kRefuse, kAllow };

/// Which connection.
struct ConnectionName {
  AccountId account;
  std::string id;  ///< Rivery's `_id`
};

/// The connections that the vault made or adopted. Permits are for connect on the pair; whoever
/// makes, adopts or updates a connection answers for it from then on: the vault keeps it in step
/// for as long as that principal may connect. A line in the trail is durable before the API token
/// or credentials leave. One change at a time for each connection: another one meanwhile is a
/// Conflict. Where Rivery does not take the token (401), the account is marked. Threads: any.
class Connections {
 public:
  Connections(const Client& client, Rate& rate, storage::Store& store, audit::Trail& trail)
      : client_(client), rate_(rate), store_(store), trail_(trail) {}

  /// Writes a connection anew, whole: `new_name` (empty: stays) and the credentials as they stand
  /// in the vault; an update without them would wipe them. Errors: NotFound (connection,
  /// credentials, account), Invalid (name, `#data` that is no JSON object), Denied (account),
  /// Stale (older credentials that rotate), Exhausted (the account's calls are used up), Conflict
  /// (another change is on its way, or Rivery refuses: in use), Unavailable (Rivery, with the
  /// advice of Failure).
  struct UpdateOrder {
    ConnectionName name;
    std::string new_name;
    Older older = Older::kRefuse;
  };
  Result<storage::Stored<storage::Connection>> Update(access::Permit permit,
                                                      const UpdateOrder& order,
                                                      const access::Caller& caller,
                                                      std::int64_t now_s);

  /// The same with what a failure may have done, under the name `act` in the trail.
  Reply<storage::Stored<storage::Connection>> Write(access::Permit permit,
                                                    const UpdateOrder& order, std::string act,
                                                    const access::Caller& caller,
                                                    std::int64_t now_s);

  /// Commits that `row` is not brought in step with `version` of its credentials: `why` is a word
  /// from above. Errors: Conflict (changed meanwhile), Corrupt, Unavailable.
  Result<void> Refuse(const storage::Stored<storage::Connection>& row, std::uint64_t version,
                      std::string_view why, const access::Caller& caller);

  /// Reads Rivery back and compares: one connection, or a page of those of the pair at `account`.
  /// Errors: NotFound, Denied (account), Invalid (page token), Unavailable (Rivery).
  struct VerifyOrder {
    AccountId account;
    std::string id;  ///< empty: all
    std::string page_token;
    std::uint32_t page_size = 0;
  };
  struct VerifiedPage {
    std::vector<Verified> connections;
    std::string next;
  };
  Result<VerifiedPage> Verify(const access::Permit& permit, const VerifyOrder& order,
                              const access::Caller& caller, std::int64_t now_s);

  /// Takes a connection of Rivery that the vault did not make: from now on it is kept in step with
  /// `oauth_id`, and where `write` says so it is written at once. Errors: NotFound (credentials,
  /// account, or Rivery has none), Conflict (some project has it; it holds secret properties, which
  /// every write would wipe; the project is being removed), Invalid (of another type than the
  /// component's), Denied (account), Unavailable. Adopted, but not written, is an error that Write
  /// would give.
  struct AdoptOrder {
    ConnectionName name;
    OauthId oauth_id;
    bool write = false;
  };
  Result<storage::Stored<storage::Connection>> Adopt(access::Permit permit,
                                                     const AdoptOrder& order,
                                                     const access::Caller& caller,
                                                     std::int64_t now_s);

  /// Deletes it in Rivery, and its row only once Rivery has it no more. Errors: NotFound (the
  /// vault has none), Conflict (rivers use it), Denied (account), Unavailable.
  Result<void> Delete(const access::Permit& permit, const ConnectionName& name,
                      const access::Caller& caller, std::int64_t now_s);

 private:
  class Alone;
  Result<void> Announce(const access::Permit& permit, std::string act, const std::string& object,
                        const access::Caller& caller);
  Failure Noted(Failure failure, const AccountId& account, std::uint64_t account_version,
                const access::Caller& caller, std::int64_t now_s);
  void KeepSight(const Verified& verified, const access::Caller& caller);

  const Client& client_;
  Rate& rate_;
  storage::Store& store_;
  audit::Trail& trail_;
  std::mutex guard_;            // guards busy_
  std::set<std::string> busy_;  // account and id of connections that are being changed
};

}  // namespace oauthvault::rivery
