#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/registry/grants.h"
#include "daemon/rivery/client.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// A consent link lives this long (Rivery's own bounds of `validity_duration`, in seconds).
inline constexpr std::int64_t kMinValidityS = 300;
inline constexpr std::int64_t kMaxValidityS = 43'200;
inline constexpr std::int64_t kDefaultValidityS = 3'600;
/// So many attempts may be unfinished at one time; more are Exhausted.
inline constexpr std::size_t kMaxOpenAttempts = 10'000;

/// Times of the driver. Tests make them short.
struct AttemptSettings {
  std::chrono::milliseconds poll_interval{4'000};   ///< between fetches of one pending attempt
  std::chrono::milliseconds retry_interval{5'000};  ///< after an outage; grows to 16 times
  /// How long "none" does not count after an unclear create.
  std::chrono::milliseconds settle_time{20'000};
  /// HTTP statuses that mean "no consent yet", beside 2xx: nothing public says which ones do.
  std::set<int> pending_statuses;
};

/// What `Authorize` and `Connect` are asked for.
struct Order {
  AccountId account;
  OauthId oauth_id;
  std::string authorized_for;
  std::int64_t validity_s = 0;  ///< 0: kDefaultValidityS
  std::string connection_name;  ///< Authorize: empty means no connection; Connect: not empty
};

/// A change of state that may be. The whole table; everything else ends the process.
struct Transition {
  storage::AttemptState from;
  storage::AttemptState to;
};
std::span<const Transition> Transitions();

/// Whether a state is final: created; failed; stored where no connection was asked for.
bool IsFinal(const storage::Attempt& attempt);
/// `new`, `started`, ..
std::string_view NameOf(storage::AttemptState state);

/// Durable runs of the Rivery flow, each a row whose every change of state is committed before the
/// next call leaves:
///
///   new -> started -> stored -> creating -> created        (failed and unclear beside them)
///
/// The transitions that may be are a table, and a test walks it. One driver thread
/// does the calls; it finds all unfinished attempts when it starts, so that a daemon that was
/// killed goes on by itself. Rights are decided again, with the grants then in force, before
/// credentials are stored and before they are sent; what is sent has its audit line first.
/// Threads: all members from any thread.
class Attempts {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;

  Attempts(const Client& client, storage::Store& store, const registry::Grants& grants,
           audit::Trail& trail, std::string trust_domain, AttemptSettings settings, Clock clock);
  ~Attempts();

  /// Reads the unfinished attempts of all projects and starts the driver. Errors: Corrupt,
  /// Unavailable.
  Result<void> Start();
  /// Ends the driver after the call that is under way; idempotent.
  void Stop();

  /// `to_store`: for store on the pair. `to_connect`: for connect on the same pair, exactly where
  /// the order names a connection. The component must have its Rivery names, the account must be
  /// the project's to use. Errors: Invalid, NotFound, Denied, Exhausted, Unavailable.
  Result<storage::Stored<storage::Attempt>> Authorize(
      const access::Permit& to_store, const std::optional<access::Permit>& to_connect,
      const Order& order, storage::Act act);
  /// The credentials must be stored. Errors: as Authorize.
  Result<storage::Stored<storage::Attempt>> Connect(const access::Permit& to_connect,
                                                    const Order& order, storage::Act act);

  /// Where a person consents; whoever has it can do so.
  struct Link {
    crypto::SecretBytes auth_uri;
    std::int64_t expires_at_s = 0;
  };
  /// The consent link of an attempt that is `started`. The caller has recorded it.
  /// Errors: NotFound, Stale (not started, or not any more), Corrupt.
  Result<Link> GetLink(const access::Permit& permit, const AttemptId& id) const;

  /// Ends an attempt that is new, started, or stored before its create, as failed(cancelled).
  /// Errors: NotFound, Stale (ended, or a create is on its way), Unavailable.
  Result<storage::Stored<storage::Attempt>> Cancel(const access::Permit& permit,
                                                   const AttemptId& id, storage::Act act);

  /// Calls `changed` after each commit of the attempt, from the thread that committed, until the
  /// returned token ends. `changed` must not block. The token may outlive the attempt, not this.
  using Watch = std::shared_ptr<void>;
  Watch Subscribe(const AttemptId& id, std::function<void(const storage::Attempt&)> changed);

  /// How many attempts are unfinished.
  std::size_t OpenCount() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::rivery
