#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/rivery/accounts.h"
#include "daemon/rivery/attempts.h"
#include "daemon/rivery/connections.h"

/// The inside of `Attempts`, for the files attempts*.cc only.
namespace oauthvault::rivery {

using Steady = std::chrono::steady_clock;
using StoredAttempt = storage::Stored<storage::Attempt>;

/// Everything that `Attempts` has, and its one driver thread. attempts_driver.cc changes states and
/// looks at what is due; attempts_authorize.cc and attempts_connect.cc have the steps;
/// attempts.cc has what callers ask for.
struct Attempts::State {
  State(const Client& client_, Rate& rate_, storage::Store& store_, const registry::Grants& grants_,
        audit::Trail& trail_, access::ReadPrincipal read_principal_, AttemptSettings settings_,
        Clock clock_)
      : client(client_),
        rate(rate_),
        store(store_),
        grants(grants_),
        trail(trail_),
        read_principal(std::move(read_principal_)),
        settings(std::move(settings_)),
        clock(std::move(clock_)) {}

  const Client& client;
  Rate& rate;
  storage::Store& store;
  const registry::Grants& grants;
  audit::Trail& trail;
  const access::ReadPrincipal read_principal;
  const AttemptSettings settings;
  const Clock clock;

  /// An unfinished attempt, and when the driver looks at it next.
  struct Job {
    storage::Attempt row;  ///< as it was seen last
    Steady::time_point due;
    Waiting waiting = Waiting::kNothing;
    unsigned failures = 0;  ///< in a row; what is waited grows with them
    /// Credentials that could not be committed yet: Rivery may give them once only.
    std::optional<FetchedOauth> fetched = {};
    /// A look for a consent left, and no answer came that says what became of it: by this daemon or
    /// by one that was killed. Credentials that can be read once may be lost.
    bool in_doubt = false;
    bool last_looked = false;  ///< it had the look that it is owed before its link ends
    bool announced = false;  ///< its first line stands in the trail since this start
    /// Since when the create of an unclear attempt is looked for. Not by the wall clock: a jump of
    /// it would cut the settle time short.
    std::optional<Steady::time_point> unclear_since = {};
    bool sent_before = false;  ///< a create left already, and was not found
    /// A change of state over this version was answered Unavailable, and may stand: nobody was
    /// told.
    std::optional<std::uint64_t> doubted_version = {};

    /// Takes a row over.
    void See(const storage::Attempt& seen);
  };
  std::mutex moving;  ///< one change of state at a time, so that watchers hear of them in order
  std::mutex guard;   ///< guards jobs and stopping
  std::condition_variable wake;
  std::map<AttemptId, Job> jobs;
  bool stopping = false;
  std::thread driver;

  std::mutex watch_guard;  ///< guards watchers; held while they are called
  std::multimap<AttemptId, std::pair<const void*, std::function<void(const storage::Attempt&)>>>
      watchers;

  // --- changes of state -------------------------------------------------------------------------

  /// Commits `next` over `standing`, in the same state or one that may follow, with whatever
  /// `batch` holds beside it, and tells the watchers.
  Result<StoredAttempt> Move(const StoredAttempt& standing, storage::Attempt next,
                             storage::Batch batch, storage::Secrets secrets = {});
  Result<StoredAttempt> MoveTo(const StoredAttempt& standing, storage::AttemptState state);
  void TellWatchers(const storage::Attempt& row);
  /// Where an attempt stands. A change of its state that was doubted and did come about is told
  /// now.
  Result<StoredAttempt> Look(const AttemptId& id, const crypto::RowNames& names);
  /// Ends an attempt. `reason` is one of the words that the contract lists. The link goes with it.
  void End(const StoredAttempt& standing, std::string_view reason);
  /// Ends an attempt whose next step `error` forbids; an outage here is waited for.
  void GiveUp(const StoredAttempt& standing, const Error& error, std::string_view reason);

  // --- the trail --------------------------------------------------------------------------------

  /// An act on an attempt by who asked for it.
  static storage::Act ActFor(const storage::Attempt& row, std::string_view act);
  /// The name of a change of state that is not told by another line.
  static std::string ActTo(storage::AttemptState state);
  /// The line before the first call of an attempt: its calls send the API token, and later the
  /// link's parts back to where they came from. False: put off.
  bool Announce(const storage::Attempt& row, access::Right right);

  // --- the driver -------------------------------------------------------------------------------

  /// The driver looks at an attempt at once.
  void Schedule(const storage::Attempt& row);
  /// What is kept in mind about an unfinished attempt; `change` is not called for one that ended.
  template <class F>
  void WithJob(const AttemptId& id, F&& change) {
    const std::lock_guard lock(guard);
    if (const auto job = jobs.find(id); job != jobs.end()) change(job->second);
  }
  void Forget(const AttemptId& id);
  /// Looks again after `in`: nothing went wrong.
  void Again(const AttemptId& id, Steady::duration in, Waiting waiting = Waiting::kNothing);
  /// The same where nothing was tried: earlier failures count on.
  void Wait(const AttemptId& id, Steady::duration in, Waiting waiting);
  /// Notes what an attempt waits for, and tells its watchers when that is another thing.
  void Note(const AttemptId& id, Waiting waiting);
  /// Looks again after an outage, each time later, and not before `at_least`.
  void PutOff(const AttemptId& id, std::chrono::seconds at_least = std::chrono::seconds(0));
  /// After a call that failed. A token that Rivery does not know marks the account.
  void PutOff(const StoredAttempt& attempt, const OpenAccount& account, Operation operation,
              const Failure& failure);
  void Run();
  void Step(const AttemptId& id, const crypto::RowNames& names);
  /// Finds the attempt that goes on for one that ended, where that commit was doubted.
  void FollowSuccessor(const storage::Attempt& ended);
  /// Leave for the calls of one step; without any, the attempt waits for it.
  std::optional<Turn> TakeTurn(const StoredAttempt& attempt, Purpose purpose, unsigned calls = 1);
  /// Ends what is over by the clock. A link that may have been read is looked at once more.
  bool EndIfLate(const StoredAttempt& attempt);
  Result<storage::Component> ComponentOf(const storage::Attempt& row) const;
  /// Whether who asked may still do so, by the grants in force now.
  Result<access::Permit> Permit(const storage::Attempt& row, access::Right right) const;
  /// Refusals that may end without anybody changing the request: a rate limit, a token that is
  /// being replaced.
  static bool IsPassing(const Failure& failure);
  /// Whether the same call would be refused again: by Rivery, or by the client before it left.
  static bool IsForGood(const Failure& failure);

  // --- authorizing ------------------------------------------------------------------------------

  /// new -> started: asks Rivery for a link. Asking twice does no harm: a link that nobody opens
  /// expires.
  void Begin(const StoredAttempt& attempt, const OpenAccount& account);
  /// Whether a link that ends then will find room for its last look, among those of the account.
  bool HasRoomForLink(const storage::Attempt& row, std::int64_t expires_at_s);
  /// How many last looks the account is owed within the next window.
  unsigned LastLooksOwed(const AccountId& account);
  /// When a pending attempt is looked at again.
  void AwaitConsent(const StoredAttempt& attempt);
  /// started -> stored: the credentials are committed together with the state, and the link's
  /// parts are erased in that commit. What was fetched and cannot be committed is kept for the
  /// next look.
  void Fetch(const StoredAttempt& attempt, const OpenAccount& account);
  /// Commits, before the first look leaves, that credentials may be on their way from here on: a
  /// daemon that is killed then knows at its next start that they may be lost.
  Result<StoredAttempt> MarkAsked(const StoredAttempt& attempt, crypto::SecretBytes link);
  /// started -> failed(lost_in_transit), in one commit with the attempt that goes on for it.
  void Lose(const StoredAttempt& attempt);
  /// Stores what was fetched, or keeps it for the next look.
  void Keep(const StoredAttempt& attempt, FetchedOauth fetched);
  /// Error: not now, and nothing was done.
  Result<void> StoreFetched(const StoredAttempt& attempt, const FetchedOauth& fetched);

  // --- connecting -------------------------------------------------------------------------------

  /// Another attempt whose create of the same name may be out there.
  bool AnotherIsCreating(const storage::Attempt& row, const std::string& connection_type);
  /// stored -> creating -> created. The ids that bear this name already are committed before the
  /// create leaves: only an id that is not among them can be this create's.
  void Create(const StoredAttempt& stored, const OpenAccount& account);
  /// creating -> unclear: it may have been made. Also where a killed daemon's attempts go on.
  void Doubt(const StoredAttempt& creating);
  /// What of a listing may be the create of `row`: its name, not there before, held by nobody.
  Result<std::vector<RemoteConnection>> Candidates(
      const storage::Attempt& row, const std::vector<RemoteConnection>& listed) const;
  /// unclear -> created, stored or failed: by looking, never by sending again. "None" counts only
  /// after the settle time.
  void LookFor(const StoredAttempt& unclear, const OpenAccount& account);
  /// -> created, in one commit with the connection.
  void Finish(const StoredAttempt& attempt, const RemoteConnection& remote,
              const std::string& connection_type, Held held);

  // --- orders -----------------------------------------------------------------------------------

  /// `Authorize` and `Connect`: checks what is asked for, and commits the attempt.
  Result<StoredAttempt> Order(const access::Permit& permit, const rivery::Order& order,
                              bool authorize, bool connect, storage::Act act);
  /// `Resume` of an attempt that ended without a successor.
  Result<StoredAttempt> Succeed(const StoredAttempt& failed, const access::Permit& to_store,
                                storage::Act act);
  /// How many attempts are unfinished.
  std::size_t OpenJobs() {
    const std::lock_guard lock(guard);
    return jobs.size();
  }
  /// A new attempt for the same, that goes on for one that failed. Errors: Invalid (never).
  Result<storage::Attempt> SuccessorOf(const storage::Attempt& failed) const;
  /// The attempt of this id on the permit's pair. Errors: NotFound, Corrupt, Unavailable.
  Result<StoredAttempt> Find(const access::Permit& permit, const AttemptId& id) const;
};

}  // namespace oauthvault::rivery
