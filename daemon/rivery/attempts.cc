#include "daemon/rivery/attempts.h"

#include <pthread.h>
#include <sodium.h>
#include <spdlog/spdlog.h>

#include <array>
#include <utility>

#include "crypto/hex.h"
#include "daemon/registry/projects.h"
#include "daemon/rivery/accounts.h"
#include "daemon/rivery/attempts_driver.h"
#include "daemon/rivery/connections.h"
#include "daemon/rivery/consent_link.h"
#include "storage/free_text.h"

namespace oauthvault::rivery {
namespace {

using storage::AttemptState;

// A cancel that meets the driver's own change looks again, so often at most.
constexpr int kMaxCancelTries = 8;
// So many attempts may go on one for the other.
constexpr int kMaxSuccessors = 100;

// A hundred and twenty-eight random bits in hex.
Result<AttemptId> NewAttemptId() {
  std::array<unsigned char, 16> random;
  randombytes_buf(random.data(), random.size());
  return AttemptId::Parse(crypto::HexOf(random));
}

}  // namespace

Result<StoredAttempt> Attempts::State::Order(const access::Permit& permit,
                                             const rivery::Order& order, bool authorize,
                                             bool connect, storage::Act act) {
  auto pair = permit.Where().AsPair();
  if (!pair) return Fail(std::move(pair));
  auto open = registry::KeepOpen(pair->project, store);
  if (!open) return Fail(std::move(open));
  auto component = store.Get<storage::Component>(storage::Component::Names(pair->component));
  if (!component) return Fail(std::move(component));
  if (component->row.rivery_datasource_id.empty() ||
      component->row.rivery_connection_type.empty()) {
    return Fail(Code::kInvalid,
                "the component has no Rivery names; give it --datasource and --connection-type",
                pair->component);
  }
  if (auto account = OpenAccountFor(store, order.account, pair->project); !account) {
    return Fail(std::move(account));
  }
  if (connect) {
    if (auto ok = CheckConnectionName(order.connection_name); !ok) return Fail(std::move(ok));
  }
  if (auto ok = CheckText(order.authorized_for, "authorized_for"); !ok) {
    return Fail(std::move(ok));
  }
  const std::int64_t validity_s =
      order.validity_s == 0 ? kDefaultValidityS : order.validity_s;
  if (validity_s < kMinValidityS || validity_s > kMaxValidityS) {
    return Fail(Code::kInvalid, "a consent link lives 300 to 43,200 seconds");
  }
  const std::int64_t deadline_s =
      order.deadline_s == 0 ? kDefaultDeadlineS + (authorize ? validity_s : 0) : order.deadline_s;
  if (deadline_s < kMinDeadlineS || deadline_s > kMaxDeadlineS) {
    return Fail(Code::kInvalid, "an attempt's deadline is 60 to 2,592,000 seconds away");
  }
  if (!authorize) {
    auto credentials = store.Get<storage::Credentials>(
        storage::Credentials::Names(pair->project, pair->component, order.oauth_id));
    if (!credentials) return Fail(std::move(credentials));
  }
  auto id = NewAttemptId();
  if (!id) return Fail(std::move(id));
  storage::Attempt attempt{pair->project, pair->component, *id, order.account, order.oauth_id};
  attempt.state = authorize ? AttemptState::kNew : AttemptState::kStored;
  attempt.authorize = authorize;
  attempt.connect = connect;
  attempt.connection_name = order.connection_name;
  attempt.authorized_for = order.authorized_for;
  attempt.principal = permit.Who().Str();
  attempt.validity_s = validity_s;
  attempt.created_at_s = attempt.updated_at_s = clock();
  attempt.deadline_s = attempt.created_at_s + deadline_s;
  if (OpenJobs() >= kMaxOpenAttempts) {
    return Fail(Code::kExhausted, "too many attempts are unfinished; cancel some");
  }
  act.object = attempt.id.Str();
  storage::Batch batch(std::move(act));
  batch.Insert(attempt);
  auto committed = store.Commit(std::move(batch));
  // One that is Unavailable may stand, and then goes on as it would at the next start.
  if (committed || committed.error().GetCode() == Code::kUnavailable) {
    Schedule(attempt);
  }
  if (!committed) return Fail(std::move(committed));
  return store.Get<storage::Attempt>(attempt.Names());
}

Result<StoredAttempt> Attempts::State::Find(const access::Permit& permit,
                                            const AttemptId& id) const {
  auto pair = permit.Where().AsPair();
  if (!pair) return Fail(std::move(pair));
  return store.Get<storage::Attempt>(storage::Attempt::Names(pair->project, pair->component, id));
}

Attempts::Attempts(const Client& client, Rate& rate, storage::Store& store,
                   const registry::Grants& grants, audit::Trail& trail,
                   access::ReadPrincipal read_principal, AttemptSettings settings, Clock clock)
    : state_(std::make_unique<State>(client, rate, store, grants, trail, std::move(read_principal),
                                     std::move(settings), std::move(clock))) {}

Attempts::~Attempts() { Stop(); }

Result<void> Attempts::Start() {
  const storage::Store& store = state_->store;
  const auto schedule = [&](const StoredAttempt& attempt) {
    if (!IsFinal(attempt.row)) state_->Schedule(attempt.row);
  };
  std::uint64_t damaged = 0;
  auto read = store.ForEach<storage::Project>(
      "", "",
      [&](const auto& project) -> Result<void> {
        if (project.row.shredding_at_s != 0) return {};  // its keys are gone
        return store.ForEach<storage::Attempt>(project.row.id.Str(), "", schedule, &damaged);
      },
      &damaged);
  if (!read) return read;
  if (damaged != 0) {
    spdlog::error("attempts do not go on, as rows of projects or attempts are damaged rows={}",
                  damaged);
  }
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

Result<StoredAttempt> Attempts::Resume(const access::Permit& to_store,
                                       const std::optional<access::Permit>& to_connect,
                                       const AttemptId& id, storage::Act act) {
  AttemptId at = id;
  for (int followed = 0; followed < kMaxSuccessors; ++followed) {
    auto attempt = state_->Find(to_store, at);
    if (!attempt) return attempt;
    if (!attempt->row.successor.empty()) {
      auto next = AttemptId::Parse(attempt->row.successor);
      if (!next) return Fail(std::move(next));
      at = *next;
      continue;
    }
    if (!IsFinal(attempt->row)) return attempt;
    if (attempt->row.connect && !to_connect) {
      return Fail(Code::kDenied, "going on with this attempt needs the right to connect", id);
    }
    return state_->Succeed(*attempt, to_store, std::move(act));
  }
  return Fail(Code::kStale, "the attempt was resumed too often; order another", id);
}

Result<StoredAttempt> Attempts::State::Succeed(const StoredAttempt& failed,
                                               const access::Permit& to_store, storage::Act act) {
  if (failed.row.state != AttemptState::kFailed || !failed.row.authorize ||
      !IsResumable(failed.row.failure)) {
    return Fail(Code::kStale, "the attempt has ended, and cannot be resumed", failed.row.id);
  }
  auto open = registry::KeepOpen(failed.row.project, store);
  if (!open) return Fail(std::move(open));
  auto successor = SuccessorOf(failed.row);
  if (!successor) return Fail(std::move(successor));
  successor->principal = to_store.Who().Str();
  if (OpenJobs() >= kMaxOpenAttempts) {
    return Fail(Code::kExhausted, "too many attempts are unfinished to resume one; cancel some");
  }
  storage::Attempt next = failed.row;
  next.successor = successor->id.Str();
  next.updated_at_s = clock();
  act.object = successor->id.Str();
  storage::Batch batch(std::move(act));
  batch.Replace(next, failed.version);
  batch.Insert(*successor);
  auto committed = store.Commit(std::move(batch));
  // As in Order: one that is Unavailable may stand.
  if (committed || committed.error().GetCode() == Code::kUnavailable) Schedule(*successor);
  if (!committed) return Fail(std::move(committed));
  TellWatchers(next);
  return store.Get<storage::Attempt>(successor->Names());
}

Result<storage::Attempt> Attempts::State::SuccessorOf(const storage::Attempt& failed) const {
  auto id = NewAttemptId();
  if (!id) return Fail(std::move(id));
  storage::Attempt attempt{failed.project, failed.component, *id, failed.account, failed.oauth_id};
  attempt.authorize = true;
  attempt.connect = failed.connect;
  attempt.connection_name = failed.connection_name;
  attempt.authorized_for = failed.authorized_for;
  attempt.principal = failed.principal;
  attempt.validity_s = failed.validity_s;
  attempt.created_at_s = attempt.updated_at_s = clock();
  // As long as the failed one had, where it had a deadline at all.
  attempt.deadline_s =
      attempt.created_at_s + (failed.deadline_s != 0 ? failed.deadline_s - failed.created_at_s
                                                     : kDefaultDeadlineS + failed.validity_s);
  attempt.predecessor = failed.id.Str();
  return attempt;
}

Waiting Attempts::WaitingFor(const AttemptId& id) const {
  Waiting waiting = Waiting::kNothing;
  state_->WithJob(id, [&](const State::Job& job) { waiting = job.waiting; });
  return waiting;
}

std::string_view NameOf(Waiting waiting) {
  switch (waiting) {
    case Waiting::kNothing: return "";
    case Waiting::kConsent: return "consent";
    case Waiting::kCalls: return "calls";
    case Waiting::kAccount: return "account";
    case Waiting::kRivery: return "rivery";
    case Waiting::kName: return "name";
    case Waiting::kSettling: return "settling";
  }
  __builtin_unreachable();
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
  return state_->OpenJobs();
}

}  // namespace oauthvault::rivery
