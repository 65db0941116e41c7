#include "daemon/rivery/attempts.h"

#include <pthread.h>
#include <sodium.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/custody/reveal.h"
#include "daemon/custody/store.h"
#include "daemon/registry/projects.h"
#include "daemon/rivery/accounts.h"
#include "daemon/rivery/connections.h"

namespace oauthvault::rivery {
namespace {

using storage::AttemptState;
using Steady = std::chrono::steady_clock;
using StoredAttempt = storage::Stored<storage::Attempt>;

constexpr std::array<Transition, 13> kTransitions = {{
    {AttemptState::kNew, AttemptState::kStarted},       // Rivery gave a link
    {AttemptState::kNew, AttemptState::kFailed},        // refused, cancelled
    {AttemptState::kStarted, AttemptState::kStored},    // consent; one commit with the credentials
    {AttemptState::kStarted, AttemptState::kFailed},    // expired, refused, cancelled, denied
    {AttemptState::kStored, AttemptState::kCreating},   // before the create leaves
    {AttemptState::kStored, AttemptState::kFailed},     // cancelled, denied, credentials gone
    {AttemptState::kCreating, AttemptState::kCreated},  // Rivery's reply
    {AttemptState::kCreating, AttemptState::kStored},   // the create provably never left
    {AttemptState::kCreating, AttemptState::kFailed},   // refused
    {AttemptState::kCreating, AttemptState::kUnclear},  // no reply, or killed on the way
    {AttemptState::kUnclear, AttemptState::kCreated},   // found, and adopted
    {AttemptState::kUnclear, AttemptState::kStored},    // looked for after the settle time: none
    {AttemptState::kUnclear, AttemptState::kFailed},    // several found
}};

// A cancel that meets the driver's own change looks again, so often at most.
constexpr int kMaxCancelTries = 8;

bool MayBe(AttemptState from, AttemptState to) {
  return std::ranges::any_of(
      kTransitions, [&](const Transition& row) { return row.from == from && row.to == to; });
}

// A hundred and twenty-eight random bits in hex.
Result<AttemptId> NewAttemptId() {
  std::array<unsigned char, 16> random;
  randombytes_buf(random.data(), random.size());
  std::array<char, 33> hex;
  sodium_bin2hex(hex.data(), hex.size(), random.data(), random.size());
  return AttemptId::Parse(hex.data());
}

// pull_id, a line feed, auth_uri: neither has a line feed, Rivery's are a JWS and a URL.
crypto::SecretBytes JoinLink(const StartedOauth& started) {
  crypto::SecretBytes joined(started.pull_id.Size() + 1 + started.auth_uri.Size());
  joined.Fill([&](std::span<std::uint8_t> to) {
    started.pull_id.Expose([&](std::span<const std::uint8_t> from) {
      std::ranges::copy(from, to.begin());
      to[from.size()] = '\n';
      to = to.subspan(from.size() + 1);
    });
    started.auth_uri.Expose(
        [&](std::span<const std::uint8_t> from) { std::ranges::copy(from, to.begin()); });
  });
  return joined;
}

struct LinkParts {
  crypto::SecretBytes pull_id;
  crypto::SecretBytes auth_uri;
};

Result<LinkParts> SplitLink(const crypto::SecretBytes& joined) {
  return joined.Expose([](std::span<const std::uint8_t> bytes) -> Result<LinkParts> {
    const auto end = std::ranges::find(bytes, '\n');
    if (end == bytes.end()) return Fail(Code::kCorrupt, "an attempt's link has no two parts");
    const auto size = static_cast<std::size_t>(end - bytes.begin());
    return LinkParts{crypto::SecretBytes::CopyOf(bytes.first(size)),
                     crypto::SecretBytes::CopyOf(bytes.subspan(size + 1))};
  });
}

}  // namespace

std::span<const Transition> Transitions() { return kTransitions; }

bool IsFinal(const storage::Attempt& attempt) {
  switch (attempt.state) {
    case AttemptState::kCreated:
    case AttemptState::kFailed: return true;
    case AttemptState::kStored: return !attempt.connect;
    case AttemptState::kNew:
    case AttemptState::kStarted:
    case AttemptState::kCreating:
    case AttemptState::kUnclear: return false;
  }
  __builtin_unreachable();
}

std::string_view NameOf(AttemptState state) {
  switch (state) {
    case AttemptState::kNew: return "new";
    case AttemptState::kStarted: return "started";
    case AttemptState::kStored: return "stored";
    case AttemptState::kCreating: return "creating";
    case AttemptState::kCreated: return "created";
    case AttemptState::kFailed: return "failed";
    case AttemptState::kUnclear: return "unclear";
  }
  __builtin_unreachable();
}

struct Attempts::State {
  State(const Client& client_, storage::Store& store_, const registry::Grants& grants_,
        audit::Trail& trail_, std::string trust_domain_, AttemptSettings settings_, Clock clock_)
      : client(client_),
        store(store_),
        grants(grants_),
        trail(trail_),
        trust_domain(std::move(trust_domain_)),
        settings(std::move(settings_)),
        clock(std::move(clock_)) {}

  const Client& client;
  storage::Store& store;
  const registry::Grants& grants;
  audit::Trail& trail;
  const std::string trust_domain;
  const AttemptSettings settings;
  const Clock clock;

  // An unfinished attempt, and when the driver looks at it next.
  struct Job {
    crypto::RowNames names;
    Steady::time_point due;
    unsigned failures = 0;  // in a row; what is waited grows with them
    // Credentials that could not be committed yet: Rivery may give them once only.
    std::optional<FetchedOauth> fetched = {};
    bool announced = false;  // its first line stands in the trail since this start
    // Since when the create of an unclear attempt is looked for. Not by the wall clock: a jump of
    // it would cut the settle time short.
    std::optional<Steady::time_point> unclear_since = {};
    bool sent_before = false;  // a create left already, and was not found
    // A change of state over this version was answered Unavailable, and may stand: nobody was told.
    std::optional<std::uint64_t> doubted_version = {};
  };
  std::mutex moving;  // one change of state at a time, so that watchers hear of them in order
  std::mutex guard;   // guards jobs and stopping
  std::condition_variable wake;
  std::map<AttemptId, Job> jobs;
  bool stopping = false;
  std::thread driver;

  std::mutex watch_guard;  // guards watchers; held while they are called
  std::multimap<AttemptId, std::pair<const void*, std::function<void(const storage::Attempt&)>>>
      watchers;

  // --- changes of state -------------------------------------------------------------------------

  // Commits `next` over `standing`, with whatever `batch` holds beside it, and tells the watchers.
  Result<StoredAttempt> Move(const StoredAttempt& standing, storage::Attempt next,
                             storage::Batch batch, storage::Secrets secrets = {}) {
    if (!MayBe(standing.row.state, next.state)) std::abort();
    const std::lock_guard one_at_a_time(moving);
    next.updated_at_s = clock();
    batch.Replace(next, standing.version, std::move(secrets));
    if (auto committed = store.Commit(std::move(batch)); !committed) {
      if (committed.error().GetCode() == Code::kUnavailable) {
        WithJob(next.id, [&](Job& job) { job.doubted_version = standing.version; });
      }
      return Fail(std::move(committed));
    }
    TellWatchers(next);
    if (IsFinal(next)) {
      const std::lock_guard lock(guard);
      jobs.erase(next.id);
    }
    return store.Get<storage::Attempt>(next.Names());
  }

  void TellWatchers(const storage::Attempt& row) {
    const std::lock_guard lock(watch_guard);
    const auto [begin, end] = watchers.equal_range(row.id);
    for (auto watcher = begin; watcher != end; ++watcher) watcher->second.second(row);
  }

  // Where an attempt stands. A change of its state that was doubted and did come about is told now.
  Result<StoredAttempt> Look(const AttemptId& id, const crypto::RowNames& names) {
    const std::lock_guard one_at_a_time(moving);
    auto attempt = store.Get<storage::Attempt>(names);
    if (!attempt) return attempt;
    bool untold = false;
    WithJob(id, [&](Job& job) {
      const auto doubted = std::exchange(job.doubted_version, std::nullopt);
      untold = doubted && attempt->version > *doubted;
      if (attempt->row.state != AttemptState::kStarted) job.fetched.reset();
    });
    if (untold) TellWatchers(attempt->row);
    return attempt;
  }

  Result<StoredAttempt> MoveTo(const StoredAttempt& standing, AttemptState state) {
    storage::Attempt next = standing.row;
    next.state = state;
    return Move(standing, std::move(next), storage::Batch(ActFor(standing.row, ActTo(state))));
  }

  // Ends an attempt. `reason` is one of the words that the contract lists. The link goes with it.
  void End(const StoredAttempt& standing, std::string_view reason) {
    storage::Attempt next = standing.row;
    next.state = AttemptState::kFailed;
    next.failure = reason;
    storage::Act act = ActFor(standing.row, "attempt.end");
    act.code = reason;
    auto moved = Move(standing, std::move(next), storage::Batch(std::move(act)));
    if (!moved) PutOff(standing.row.id);
  }

  // Ends an attempt whose next step `error` forbids; an outage here is waited for.
  void GiveUp(const StoredAttempt& standing, const Error& error, std::string_view reason) {
    if (error.GetCode() == Code::kUnavailable || error.GetCode() == Code::kExhausted) {
      return PutOff(standing.row.id);
    }
    End(standing, reason);
  }

  // --- the trail --------------------------------------------------------------------------------

  static storage::Act ActFor(const storage::Attempt& row, std::string_view act) {
    return {.act = std::string(act),
            .principal = row.principal,
            .project = row.project.Str(),
            .component = row.component.Str(),
            .oauth_id = row.oauth_id.Str(),
            .object = row.id.Str(),
            .peer = "rivery",
            .request_id = row.id.Str()};
  }

  // A change of state that is not told by another line.
  static std::string ActTo(AttemptState state) { return "attempt." + std::string(NameOf(state)); }

  // The line before the first call of an attempt: its calls send the API token, and later the
  // link's parts back to where they came from. False: put off.
  bool Announce(const storage::Attempt& row, access::Right right) {
    audit::Entry entry{ActFor(row, "attempt.start")};
    entry.outcome = audit::Outcome::kAllowed;
    entry.right = access::NameOf(right);
    if (trail.RecordAndWait(std::move(entry))) return true;
    PutOff(row.id);
    return false;
  }

  // --- the driver -------------------------------------------------------------------------------

  void Schedule(const AttemptId& id, crypto::RowNames names, Steady::duration in) {
    {
      const std::lock_guard lock(guard);
      jobs.insert_or_assign(id, Job{std::move(names), Steady::now() + in});
    }
    wake.notify_all();
  }

  // What is kept in mind about an unfinished attempt; `change` is not called for one that ended.
  template <class F>
  void WithJob(const AttemptId& id, F&& change) {
    const std::lock_guard lock(guard);
    if (const auto job = jobs.find(id); job != jobs.end()) change(job->second);
  }

  void Forget(const AttemptId& id) {
    const std::lock_guard lock(guard);
    jobs.erase(id);
  }

  // Looks again after `in`: nothing went wrong.
  void Again(const AttemptId& id, Steady::duration in) {
    // Jitter, so that attempts that began together do not stay together.
    in += std::chrono::duration_cast<Steady::duration>(in * (randombytes_uniform(256) / 2048.0));
    WithJob(id, [&](Job& job) {
      job.due = Steady::now() + in;
      job.failures = 0;
    });
  }

  // Looks again after an outage, each time later, and not before `at_least`.
  void PutOff(const AttemptId& id, std::chrono::seconds at_least = std::chrono::seconds(0)) {
    WithJob(id, [&](Job& job) {
      const unsigned doublings = std::min(job.failures++, 4u);
      const Steady::duration in = settings.retry_interval * (1u << doublings);
      job.due = Steady::now() + std::max<Steady::duration>(in, at_least);
    });
  }

  void PutOff(const StoredAttempt& attempt, Operation operation, const Failure& failure) {
    spdlog::warn("rivery call failed operation={} attempt={} http={} body={} code={}: {}",
                 NameOf(operation), attempt.row.id.Str(), failure.http_status, failure.body_code,
                 NameOf(failure.error.GetCode()), failure.error.GetText());
    PutOff(attempt.row.id, failure.retry_after);
  }

  void Run() {
    std::unique_lock lock(guard);
    while (!stopping) {
      const auto next = std::ranges::min_element(
          jobs, {}, [](const auto& job) { return job.second.due; });
      if (next == jobs.end()) {
        wake.wait(lock);
        continue;
      }
      const Steady::time_point due = next->second.due;
      if (due > Steady::now()) {
        wake.wait_until(lock, due);
        continue;
      }
      const AttemptId id = next->first;
      const crypto::RowNames names = next->second.names;
      lock.unlock();
      Step(id, names);
      lock.lock();
    }
  }

  void Step(const AttemptId& id, const crypto::RowNames& names) {
    auto attempt = Look(id, names);
    if (!attempt) {
      spdlog::error("an attempt cannot be read attempt={} code={}", id.Str(),
                    NameOf(attempt.error().GetCode()));
      if (attempt.error().GetCode() == Code::kUnavailable) return PutOff(id);
      return Forget(id);
    }
    if (IsFinal(attempt->row)) return Forget(id);  // cancelled between the commit and this look
    auto account = OpenAccountFor(store, attempt->row.account, attempt->row.project);
    if (!account) {
      // Not while a create may be out there: what it left behind must be found first.
      if (attempt->row.state == AttemptState::kUnclear) return PutOff(id);
      if (attempt->row.state != AttemptState::kCreating) {
        return GiveUp(*attempt, account.error(), "no_account");
      }
    }
    switch (attempt->row.state) {
      case AttemptState::kNew: return Begin(*attempt, account->AsEndpoint());
      case AttemptState::kStarted: return Fetch(*attempt, account->AsEndpoint());
      case AttemptState::kStored: return Create(*attempt, account->AsEndpoint());
      case AttemptState::kCreating: return Doubt(*attempt);
      case AttemptState::kUnclear: return LookFor(*attempt, account->AsEndpoint());
      case AttemptState::kCreated:
      case AttemptState::kFailed: return Forget(id);
    }
  }

  Result<storage::Component> ComponentOf(const storage::Attempt& row) const {
    auto component = store.Get<storage::Component>(storage::Component::Names(row.component));
    if (!component) return Fail(std::move(component));
    return std::move(component->row);
  }

  // Whether who asked may still do so, by the grants in force now.
  Result<access::Permit> Permit(const storage::Attempt& row, access::Right right) const {
    auto who = access::Principal::Parse(row.principal, trust_domain);
    if (!who) return Fail(std::move(who));
    return access::Decide(*who, right, access::Scope::Pair(row.project, row.component),
                          *grants.InForce());
  }

  // new -> started: asks Rivery for a link. Asking twice does no harm: a link that nobody opens
  // expires.
  void Begin(const StoredAttempt& attempt, const Endpoint& endpoint) {
    auto component = ComponentOf(attempt.row);
    if (!component) return GiveUp(attempt, component.error(), "component_gone");
    if (!Permit(attempt.row, access::Right::kStore)) return End(attempt, "not_permitted");
    if (!Announce(attempt.row, access::Right::kStore)) return;
    auto started = client.StartOauth(endpoint, component->rivery_datasource_id,
                                     std::chrono::seconds(attempt.row.validity_s));
    if (!started) {
      PutOff(attempt, Operation::kOauthStart, started.error());
      if (IsForGood(started.error())) End(attempt, "refused");
      return;
    }
    storage::Attempt next = attempt.row;
    next.state = AttemptState::kStarted;
    next.expires_at_s = clock() + attempt.row.validity_s;
    storage::Secrets secrets;
    secrets.data = JoinLink(*started);
    storage::Batch batch(ActFor(attempt.row, ActTo(AttemptState::kStarted)));
    if (!Move(attempt, std::move(next), std::move(batch), std::move(secrets))) {
      return PutOff(attempt.row.id);
    }
    Again(attempt.row.id, settings.poll_interval);
  }

  // Refusals that may end without anybody changing the request: a rate limit, a token that is
  // being replaced.
  static bool IsPassing(const Failure& failure) {
    const int status = failure.http_status >= 300 ? failure.http_status : failure.body_code;
    return status == 401 || status == 403 || status >= 500 ||
           failure.error.GetCode() == Code::kExhausted;
  }

  // Whether the same call would be refused again: by Rivery, or by the client before it left.
  static bool IsForGood(const Failure& failure) {
    switch (failure.fate) {
      case Fate::kNeverSent: return failure.error.GetCode() == Code::kInvalid;
      case Fate::kRefused: return !IsPassing(failure);
      case Fate::kUnclear: return false;
    }
    __builtin_unreachable();
  }

  // started -> stored: the credentials are committed together with the state, and the link's parts
  // are erased in that commit. What was fetched and cannot be committed is kept for the next look.
  void Fetch(const StoredAttempt& attempt, const Endpoint& endpoint) {
    std::optional<FetchedOauth> fetched;
    WithJob(attempt.row.id, [&](Job& job) { fetched = std::exchange(job.fetched, std::nullopt); });
    if (!fetched) {
      if (clock() >= attempt.row.expires_at_s) return End(attempt, "expired");
      if (!Permit(attempt.row, access::Right::kStore)) return End(attempt, "not_permitted");
      auto joined = store.OpenSecret(attempt, crypto::Part::kData);
      if (!joined) return GiveUp(attempt, joined.error(), "link_unreadable");
      auto link = SplitLink(*joined);
      if (!link) return End(attempt, "link_unreadable");
      auto reply = client.FetchOauth(endpoint, link->pull_id, link->auth_uri);
      if (!reply) {
        const Failure& failure = reply.error();
        if (settings.pending_statuses.contains(failure.http_status)) {
          return Again(attempt.row.id, settings.poll_interval);
        }
        PutOff(attempt, Operation::kOauthFetch, failure);
        if (IsForGood(failure)) End(attempt, "refused");
        return;
      }
      if (reply->pending) return Again(attempt.row.id, settings.poll_interval);
      fetched = std::move(*reply);
    }
    if (auto stored = StoreFetched(attempt, *fetched); !stored) {
      PutOff(attempt.row.id);
      WithJob(attempt.row.id, [&](Job& job) { job.fetched = std::move(fetched); });
    }
  }

  // Error: not now, and nothing was done.
  Result<void> StoreFetched(const StoredAttempt& attempt, const FetchedOauth& fetched) {
    const auto passes = [](const Error& error) {
      return error.GetCode() == Code::kUnavailable || error.GetCode() == Code::kExhausted ||
             error.GetCode() == Code::kConflict;
    };
    // Once more: the call may have taken a minute.
    auto permit = Permit(attempt.row, access::Right::kStore);
    if (!permit) return End(attempt, "not_permitted"), Result<void>();
    auto component = ComponentOf(attempt.row);
    if (!component) {
      if (passes(component.error())) return Fail(std::move(component));
      return End(attempt, "component_gone"), Result<void>();
    }
    custody::NewCredentials credentials{.id = attempt.row.oauth_id};
    credentials.authorized_for = attempt.row.authorized_for;
    credentials.creator_description = "consent through Rivery";
    credentials.data = crypto::CredentialsData(fetched.data.Bytes().Clone());
    // Rivery's authorizations belong to Rivery's own OAuth client, unless it says otherwise. A
    // client id that is no text for people is not kept; that is no reason to lose the credentials.
    if (fetched.client_id.empty() || fetched.client_id != component->app_key) {
      credentials.foreign_client_id =
          registry::CheckText(fetched.client_id, "client_id") ? fetched.client_id : std::string();
    }
    storage::Act act = ActFor(attempt.row, "attempt.store");
    act.right = access::NameOf(access::Right::kStore);
    storage::Batch batch(std::move(act));
    auto added = custody::AddToBatch(batch, *permit, std::move(credentials),
                                     custody::IfThere::kReplace, store, clock());
    if (!added) {
      if (passes(added.error())) return added;
      return End(attempt, "credentials_refused"), Result<void>();
    }
    storage::Attempt next = attempt.row;
    next.state = AttemptState::kStored;
    next.expires_at_s = 0;
    auto moved = Move(attempt, std::move(next), std::move(batch));
    if (!moved) {
      if (passes(moved.error())) return Fail(std::move(moved));
      return End(attempt, "credentials_refused"), Result<void>();
    }
    if (!IsFinal(moved->row)) Again(attempt.row.id, Steady::duration(0));
    return {};
  }

  // Another attempt whose create of the same name may be out there.
  bool AnotherIsCreating(const storage::Attempt& row, const std::string& connection_type) {
    std::vector<crypto::RowNames> others;
    {
      const std::lock_guard lock(guard);
      for (const auto& [id, job] : jobs) {
        if (id != row.id) others.push_back(job.names);
      }
    }
    return std::ranges::any_of(others, [&](const crypto::RowNames& names) {
      auto other = store.Get<storage::Attempt>(names);
      if (!other || other->row.account != row.account ||
          other->row.connection_name != row.connection_name ||
          (other->row.state != AttemptState::kCreating &&
           other->row.state != AttemptState::kUnclear)) {
        return false;
      }
      auto component = ComponentOf(other->row);
      return !component || component->rivery_connection_type == connection_type;
    });
  }

  // stored -> creating -> created. The ids that bear this name already are committed before the
  // create leaves: only an id that is not among them can be this create's.
  void Create(const StoredAttempt& stored, const Endpoint& endpoint) {
    auto component = ComponentOf(stored.row);
    if (!component) return GiveUp(stored, component.error(), "component_gone");
    const std::string& type = component->rivery_connection_type;
    if (AnotherIsCreating(stored.row, type)) {
      return Again(stored.row.id, settings.poll_interval);
    }
    auto permit = Permit(stored.row, access::Right::kConnect);
    if (!permit) return End(stored, "not_permitted");
    bool announced = stored.row.authorize;  // its start was
    bool sent_before = false;
    WithJob(stored.row.id, [&](Job& job) {
      announced = announced || std::exchange(job.announced, true);
      sent_before = job.sent_before;
    });
    if (!announced && !Announce(stored.row, access::Right::kConnect)) {
      return WithJob(stored.row.id, [](Job& job) { job.announced = false; });
    }
    auto listed = client.List(endpoint, type);
    if (!listed) {
      PutOff(stored, Operation::kList, listed.error());
      if (IsForGood(listed.error())) End(stored, "refused");
      return;
    }
    if (sent_before) {
      // It may have been made since it was looked for: then it is this create's, not one more
      // that was there before.
      auto found = Candidates(stored.row, *listed);
      if (!found) return PutOff(stored.row.id);
      if (!found->empty()) {
        auto creating = MoveTo(stored, AttemptState::kCreating);
        return creating ? Doubt(*creating) : PutOff(stored.row.id);
      }
    }
    const access::Caller caller{permit->Who(), "rivery", stored.row.id.Str()};
    auto release = custody::RevealAndWait(std::move(*permit), stored.row.oauth_id, caller,
                                          "attempt.create", store, trail);
    if (!release) {
      return GiveUp(stored, release.error(),
                    release.error().GetCode() == Code::kNotFound ? "credentials_gone"
                                                                 : "credentials_unreadable");
    }
    const std::uint64_t version = release->Version();
    auto keys = std::move(*release).Open();
    if (!keys) return End(stored, "credentials_unreadable");
    auto body = BodyOf(keys->data);
    if (!body) return End(stored, "credentials_no_object");

    storage::Attempt next = stored.row;
    next.state = AttemptState::kCreating;
    next.known_ids.clear();
    for (const RemoteConnection& remote : *listed) {
      if (remote.name == stored.row.connection_name) next.known_ids.push_back(remote.id);
    }
    auto creating = Move(stored, std::move(next),
                         storage::Batch(ActFor(stored.row, ActTo(AttemptState::kCreating))));
    if (!creating) return PutOff(stored.row.id);

    auto created = client.Create(endpoint, type, stored.row.connection_name, *body);
    if (created) return Finish(*creating, *created, type, version);
    PutOff(*creating, Operation::kCreate, created.error());
    if (created.error().fate == Fate::kUnclear) return Doubt(*creating);
    if (IsForGood(created.error())) return End(*creating, "refused");
    // Should this fail, the attempt is looked for as after a kill, which does no harm.
    if (!MoveTo(*creating, AttemptState::kStored)) PutOff(creating->row.id);
  }

  // creating -> unclear: it may have been made. Also where a killed daemon's attempts go on.
  void Doubt(const StoredAttempt& creating) {
    if (!MoveTo(creating, AttemptState::kUnclear)) return PutOff(creating.row.id);
    WithJob(creating.row.id, [](Job& job) { job.unclear_since = Steady::now(); });
    Again(creating.row.id, Steady::duration(0));
  }

  // Whether a connection of the vault is this one already.
  Result<bool> IsHeld(const AccountId& account, const std::string& connection_id) const {
    std::string projects_token;
    do {
      auto projects =
          store.List<storage::Project>("", "", projects_token, storage::kMaxPageSize);
      if (!projects) return Fail(std::move(projects));
      for (const auto& project : projects->rows) {
        std::string token;
        do {
          auto page = store.List<storage::Connection>(project.row.id.Str(), "", token,
                                                      storage::kMaxPageSize);
          if (!page) return Fail(std::move(page));
          for (const auto& connection : page->rows) {
            if (connection.row.account == account &&
                connection.row.connection_id == connection_id) {
              return true;
            }
          }
          token = page->next;
        } while (!token.empty());
      }
      projects_token = projects->next;
    } while (!projects_token.empty());
    return false;
  }

  // What of a listing may be the create of `row`: its name, not there before, held by nobody.
  Result<std::vector<RemoteConnection>> Candidates(
      const storage::Attempt& row, const std::vector<RemoteConnection>& listed) const {
    std::vector<RemoteConnection> found;
    for (const RemoteConnection& remote : listed) {
      if (remote.name != row.connection_name ||
          std::ranges::find(row.known_ids, remote.id) != row.known_ids.end()) {
        continue;
      }
      auto held = IsHeld(row.account, remote.id);
      if (!held) return Fail(std::move(held));
      if (!*held) found.push_back(remote);
    }
    return found;
  }

  // unclear -> created, stored or failed: by looking, never by sending again. "None" counts only
  // after the settle time.
  void LookFor(const StoredAttempt& unclear, const Endpoint& endpoint) {
    auto component = ComponentOf(unclear.row);
    if (!component) return PutOff(unclear.row.id);
    const std::string& type = component->rivery_connection_type;
    const Steady::time_point asked_at = Steady::now();
    auto listed = client.List(endpoint, type);
    if (!listed) return PutOff(unclear, Operation::kList, listed.error());
    auto found = Candidates(unclear.row, *listed);
    if (!found) return PutOff(unclear.row.id);
    if (found->size() > 1) return End(unclear, "several_found");
    if (found->size() == 1) {
      // What it holds is what the create carried: the version then. It is not known any more
      // after a restart, and 0 says so: not in step until an update.
      return Finish(unclear, found->front(), type, 0);
    }
    bool settled = false;
    WithJob(unclear.row.id, [&](Job& job) {
      // Found unclear at the start: nothing says when the daemon before this one sent it.
      if (!job.unclear_since) job.unclear_since = asked_at;
      settled = asked_at - *job.unclear_since >= settings.settle_time;
    });
    if (!settled) return Again(unclear.row.id, settings.poll_interval);
    if (!MoveTo(unclear, AttemptState::kStored)) return PutOff(unclear.row.id);
    WithJob(unclear.row.id, [](Job& job) { job.sent_before = true; });
    Again(unclear.row.id, Steady::duration(0));
  }

  // -> created, in one commit with the connection.
  void Finish(const StoredAttempt& attempt, const RemoteConnection& remote,
              const std::string& connection_type, std::uint64_t written_version) {
    storage::Connection connection{.project = attempt.row.project,
                                   .component = attempt.row.component,
                                   .account = attempt.row.account,
                                   .oauth_id = attempt.row.oauth_id};
    connection.connection_id = remote.id;
    connection.cross_id = remote.cross_id;
    connection.name = attempt.row.connection_name;
    connection.connection_type = connection_type;
    connection.written_version = written_version;
    connection.created_at_s = connection.updated_at_s = clock();
    const bool adopted = attempt.row.state == AttemptState::kUnclear;
    storage::Act act = ActFor(attempt.row, adopted ? "attempt.adopted" : "attempt.created");
    act.right = access::NameOf(access::Right::kConnect);
    act.object = remote.id;
    act.version = written_version;
    storage::Batch batch(std::move(act));
    batch.Insert(connection);
    storage::Attempt next = attempt.row;
    next.state = AttemptState::kCreated;
    next.connection_id = remote.id;
    if (!Move(attempt, std::move(next), std::move(batch))) PutOff(attempt.row.id);
  }

  // --- orders -----------------------------------------------------------------------------------

  Result<StoredAttempt> Order(const access::Permit& permit, const rivery::Order& order,
                              bool authorize, bool connect, storage::Act act) {
    auto project = ProjectId::Parse(permit.Where().project);
    if (!project) return Fail(std::move(project));
    auto component_id = ComponentId::Parse(permit.Where().component);
    if (!component_id) return Fail(std::move(component_id));
    auto registered = store.Get<storage::Project>(storage::Project::Names(*project));
    if (!registered) return Fail(std::move(registered));
    if (registered->row.shredding_at_s != 0) {
      return Fail(Code::kNotFound, "the attempt's project is being shredded", *project);
    }
    auto component = store.Get<storage::Component>(storage::Component::Names(*component_id));
    if (!component) return Fail(std::move(component));
    if (component->row.rivery_datasource_id.empty() ||
        component->row.rivery_connection_type.empty()) {
      return Fail(Code::kInvalid,
                  "the component has no Rivery names; give it --datasource and --connection-type",
                  *component_id);
    }
    if (auto account = OpenAccountFor(store, order.account, *project); !account) {
      return Fail(std::move(account));
    }
    if (connect) {
      if (auto ok = CheckConnectionName(order.connection_name); !ok) return Fail(std::move(ok));
    }
    if (auto ok = registry::CheckText(order.authorized_for, "authorized_for"); !ok) {
      return Fail(std::move(ok));
    }
    const std::int64_t validity_s =
        order.validity_s == 0 ? kDefaultValidityS : order.validity_s;
    if (validity_s < kMinValidityS || validity_s > kMaxValidityS) {
      return Fail(Code::kInvalid, "a consent link lives 300 to 43,200 seconds");
    }
    if (!authorize) {
      auto credentials = store.Get<storage::Credentials>(
          storage::Credentials::Names(*project, *component_id, order.oauth_id));
      if (!credentials) return Fail(std::move(credentials));
    }
    auto id = NewAttemptId();
    if (!id) return Fail(std::move(id));
    storage::Attempt attempt{*project, *component_id, *id, order.account, order.oauth_id};
    attempt.state = authorize ? AttemptState::kNew : AttemptState::kStored;
    attempt.authorize = authorize;
    attempt.connect = connect;
    attempt.connection_name = order.connection_name;
    attempt.authorized_for = order.authorized_for;
    attempt.principal = permit.Who().Str();
    attempt.validity_s = validity_s;
    attempt.created_at_s = attempt.updated_at_s = clock();
    {
      const std::lock_guard lock(guard);
      if (jobs.size() >= kMaxOpenAttempts) {
        return Fail(Code::kExhausted, "too many attempts are unfinished; cancel some");
      }
    }
    act.object = attempt.id.Str();
    storage::Batch batch(std::move(act));
    batch.Insert(attempt);
    auto committed = store.Commit(std::move(batch));
    // One that is Unavailable may stand, and then goes on as it would at the next start.
    if (committed || committed.error().GetCode() == Code::kUnavailable) {
      Schedule(*id, attempt.Names(), Steady::duration(0));
    }
    if (!committed) return Fail(std::move(committed));
    return store.Get<storage::Attempt>(attempt.Names());
  }

  Result<StoredAttempt> Find(const access::Permit& permit, const AttemptId& id) const {
    auto project = ProjectId::Parse(permit.Where().project);
    if (!project) return Fail(std::move(project));
    auto component = ComponentId::Parse(permit.Where().component);
    if (!component) return Fail(std::move(component));
    return store.Get<storage::Attempt>(storage::Attempt::Names(*project, *component, id));
  }
};

Attempts::Attempts(const Client& client, storage::Store& store, const registry::Grants& grants,
                   audit::Trail& trail, std::string trust_domain, AttemptSettings settings,
                   Clock clock)
    : state_(std::make_unique<State>(client, store, grants, trail, std::move(trust_domain),
                                     std::move(settings), std::move(clock))) {}

Attempts::~Attempts() { Stop(); }

Result<void> Attempts::Start() {
  std::string projects_token;
  do {
    auto projects =
        state_->store.List<storage::Project>("", "", projects_token, storage::kMaxPageSize);
    if (!projects) return Fail(std::move(projects));
    for (const auto& project : projects->rows) {
      std::string token;
      do {
        auto page = state_->store.List<storage::Attempt>(project.row.id.Str(), "", token,
                                                         storage::kMaxPageSize);
        if (!page) return Fail(std::move(page));
        for (const auto& attempt : page->rows) {
          if (IsFinal(attempt.row)) continue;
          state_->Schedule(attempt.row.id, attempt.row.Names(), Steady::duration(0));
        }
        token = page->next;
      } while (!token.empty());
    }
    projects_token = projects->next;
  } while (!projects_token.empty());
  state_->driver = std::thread([state = state_.get()] { state->Run(); });
  pthread_setname_np(state_->driver.native_handle(), "attempts");
  return {};
}

void Attempts::Stop() {
  {
    const std::lock_guard lock(state_->guard);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  if (state_->driver.joinable()) state_->driver.join();
}

Result<StoredAttempt> Attempts::Authorize(const access::Permit& to_store,
                                          const std::optional<access::Permit>& to_connect,
                                          const Order& order, storage::Act act) {
  return state_->Order(to_store, order, true, to_connect.has_value(), std::move(act));
}

Result<StoredAttempt> Attempts::Connect(const access::Permit& to_connect, const Order& order,
                                        storage::Act act) {
  return state_->Order(to_connect, order, false, true, std::move(act));
}

Result<Attempts::Link> Attempts::GetLink(const access::Permit& permit, const AttemptId& id) const {
  auto attempt = state_->Find(permit, id);
  if (!attempt) return Fail(std::move(attempt));
  if (attempt->row.state != AttemptState::kStarted) {
    return Fail(Code::kStale, "the attempt has no link to show, now or any more", id);
  }
  auto joined = state_->store.OpenSecret(*attempt, crypto::Part::kData);
  if (!joined) return Fail(std::move(joined));
  auto parts = SplitLink(*joined);
  if (!parts) return Fail(std::move(parts));
  return Link{std::move(parts->auth_uri), attempt->row.expires_at_s};
}

Result<StoredAttempt> Attempts::Cancel(const access::Permit& permit, const AttemptId& id,
                                       storage::Act act) {
  for (int tries = 0; tries < kMaxCancelTries; ++tries) {
    auto attempt = state_->Find(permit, id);
    if (!attempt) return Fail(std::move(attempt));
    if (IsFinal(attempt->row) || attempt->row.state == AttemptState::kCreating ||
        attempt->row.state == AttemptState::kUnclear) {
      return Fail(Code::kStale, "the attempt has ended, or a create is on its way", id);
    }
    storage::Attempt next = attempt->row;
    next.state = AttemptState::kFailed;
    next.failure = "cancelled";
    auto cancelled = state_->Move(*attempt, std::move(next), storage::Batch(act));
    // The driver came first: what may be done now, its new state says.
    if (cancelled || cancelled.error().GetCode() != Code::kConflict) return cancelled;
  }
  return Fail(Code::kUnavailable, "the attempt changes too fast to be cancelled; try again", id);
}

Attempts::Watch Attempts::Subscribe(const AttemptId& id,
                                    std::function<void(const storage::Attempt&)> changed) {
  State* state = state_.get();
  auto token = std::make_unique<char>();
  const void* who = token.get();
  {
    const std::lock_guard lock(state->watch_guard);
    state->watchers.emplace(id, std::make_pair(who, std::move(changed)));
  }
  return Watch(token.release(), [state](char* ended) {
    {
      const std::lock_guard lock(state->watch_guard);
      std::erase_if(state->watchers,
                    [ended](const auto& watcher) { return watcher.second.first == ended; });
    }
    delete ended;
  });
}

std::size_t Attempts::OpenCount() const {
  const std::lock_guard lock(state_->guard);
  return state_->jobs.size();
}

}  // namespace oauthvault::rivery
