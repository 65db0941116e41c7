#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/store.h"
#include "daemon/registry/grants.h"
#include "daemon/rivery/client.h"
#include "daemon/rivery/rate.h"
#include "daemon/rivery/transitions.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// A consent link lives this long (Rivery's own bounds of `validity_duration`, in seconds).
inline constexpr std::int64_t kMinValidityS = 300;
inline constexpr std::int64_t kMaxValidityS = 43'200;
inline constexpr std::int64_t kDefaultValidityS = 3'600;
/// An attempt ends by itself so long after it was ordered, where no create is out: as long as its
/// link lives, and a day. Orders may name 60 s to 30 days.
inline constexpr std::int64_t kDefaultDeadlineS = 86'400;
inline constexpr std::int64_t kMinDeadlineS = 60;
inline constexpr std::int64_t kMaxDeadlineS = 2'592'000;
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
  /// Former versions of the credentials that a consent replaces.
  custody::KeptVersions kept_versions;
};

/// What `Authorize` and `Connect` are asked for.
struct Order {
  AccountId account;
  OauthId oauth_id;
  std::string authorized_for;
  std::int64_t validity_s = 0;  ///< 0: kDefaultValidityS
  std::string connection_name;  ///< Authorize: empty means no connection; Connect: not empty
  std::int64_t deadline_s = 0;  ///< from now on; 0: kDefaultDeadlineS, and the link's life
};

/// What an unfinished attempt waits for.
enum class Waiting : std::uint8_t {
  kNothing,  ///< it goes on at once, or has ended
  kConsent,  ///< a person
  kCalls,    ///< the account's budget of calls
  kAccount,  ///< the account: Rivery does not know its API token
  kRivery,   ///< Rivery or the vault fails; it is tried again
  kName,     ///< another attempt that makes a connection of the same name
  kSettling, ///< a create whose reply was lost to show
};
/// `consent`, `calls`, ..; empty: nothing.
std::string_view NameOf(Waiting waiting);

/// Durable runs of the Rivery flow, each a row whose every change of state is committed before the
/// next call leaves:
///
///   new -> started -> stored -> creating -> created        (failed and unclear beside them)
///
/// The transitions that may be are a table, and a test walks it. One driver thread
/// does the calls, as the account's budget allows; it finds all unfinished attempts when it starts,
/// so that a daemon that was killed goes on by itself. Each pending attempt is owed one look before
/// its link ends, and a link is asked for only where that look will find room. On an account
/// that Rivery refuses they wait. Credentials that may have been read and lost end an attempt as
/// failed(lost_in_transit), and another one with a new link goes on. Rights are decided again, with
/// the grants then in force, before credentials are stored and before they are sent; what is sent
/// has its audit line first.
/// Threads: all members from any thread.
class Attempts {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;

  Attempts(const Client& client, Rate& rate, storage::Store& store, const registry::Grants& grants,
           audit::Trail& trail, access::ReadPrincipal read_principal, AttemptSettings settings,
           Clock clock);
  ~Attempts();

  /// Reads the unfinished attempts of all projects and starts the driver. Those of projects that
  /// are being shredded do not go on, nor do those whose rows do not open, which is logged.
  /// Errors: Unavailable: nothing was started.
  Result<void> Start();
  /// Ends the driver after the call that is under way; idempotent.
  void Stop();

  /// `to_store`: for store on the pair. `to_connect`: for connect on the same pair, exactly where
  /// the order names a connection. The component must have its Rivery names, the account must be
  /// the project's to use. Errors: Invalid, NotFound, Denied, Conflict (the project is being
  /// removed), Exhausted, Unavailable.
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

  /// Calls `changed` after each commit of the attempt, from the thread that committed, and when it
  /// waits for another thing than before, until the returned token ends. `changed` must not block.
  /// The token may outlive the attempt, not this.
  using Watch = std::shared_ptr<void>;
  Watch Subscribe(const AttemptId& id, std::function<void(const storage::Attempt&)> changed);

  /// Goes on with an attempt. One that is unfinished is answered as it stands. One that failed
  /// before anything was stored, and may be had again (`IsResumable`), gets a successor with a new
  /// link, once: later calls answer that. `to_connect`: where the attempt makes a connection.
  /// Errors: NotFound, Denied (to_connect is missing), Stale (it ended otherwise), Conflict (it
  /// was resumed meanwhile, or the project is being removed), Exhausted, Unavailable.
  Result<storage::Stored<storage::Attempt>> Resume(const access::Permit& to_store,
                                                   const std::optional<access::Permit>& to_connect,
                                                   const AttemptId& id, storage::Act act);

  /// What the driver found an attempt to wait for when it looked last.
  Waiting WaitingFor(const AttemptId& id) const;

  /// How many attempts are unfinished.
  std::size_t OpenCount() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::rivery
