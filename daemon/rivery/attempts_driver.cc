#include "daemon/rivery/attempts_driver.h"

#include <sodium.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>

namespace oauthvault::rivery {

using storage::AttemptState;

namespace {

constexpr int kUnauthorized = 401;

}  // namespace

void Attempts::State::Job::See(const storage::Attempt& seen) {
  row = seen;
  row.known_ids.clear();  // may be thousands, and nobody asks for them here
}

Result<StoredAttempt> Attempts::State::Move(const StoredAttempt& standing, storage::Attempt next,
                                            storage::Batch batch, storage::Secrets secrets) {
  if (next.state != standing.row.state && !MayBe(standing.row.state, next.state)) std::abort();
  const std::lock_guard one_at_a_time(moving);
  next.updated_at_s = clock();
  batch.Replace(next, standing.version, std::move(secrets));
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    if (committed.error().GetCode() == Code::kUnavailable) {
      WithJob(next.id, [&](Job& job) { job.doubted_version = standing.version; });
    }
    return Fail(std::move(committed));
  }
  if (IsFinal(next)) {
    Forget(next.id);
  } else {
    WithJob(next.id, [&](Job& job) { job.See(next); });
  }
  TellWatchers(next);
  return store.Get<storage::Attempt>(next.Names());
}

void Attempts::State::TellWatchers(const storage::Attempt& row) {
  const std::lock_guard lock(watch_guard);
  const auto [begin, end] = watchers.equal_range(row.id);
  for (auto watcher = begin; watcher != end; ++watcher) watcher->second.second(row);
}

Result<StoredAttempt> Attempts::State::Look(const AttemptId& id, const crypto::RowNames& names) {
  const std::lock_guard one_at_a_time(moving);
  auto attempt = store.Get<storage::Attempt>(names);
  if (!attempt) return attempt;
  bool untold = false;
  WithJob(id, [&](Job& job) {
    const auto doubted = std::exchange(job.doubted_version, std::nullopt);
    untold = doubted && attempt->version > *doubted;
    job.See(attempt->row);
    if (attempt->row.state != AttemptState::kStarted) job.fetched.reset();
  });
  if (untold) TellWatchers(attempt->row);
  return attempt;
}

Result<StoredAttempt> Attempts::State::MoveTo(const StoredAttempt& standing, AttemptState state) {
  storage::Attempt next = standing.row;
  next.state = state;
  return Move(standing, std::move(next), storage::Batch(ActFor(standing.row, ActTo(state))));
}

void Attempts::State::End(const StoredAttempt& standing, std::string_view reason) {
  storage::Attempt next = standing.row;
  next.state = AttemptState::kFailed;
  next.failure = reason;
  storage::Act act = ActFor(standing.row, "attempt.end");
  act.code = reason;
  auto moved = Move(standing, std::move(next), storage::Batch(std::move(act)));
  if (!moved) PutOff(standing.row.id);
}

void Attempts::State::GiveUp(const StoredAttempt& standing, const Error& error,
                             std::string_view reason) {
  if (error.GetCode() == Code::kUnavailable || error.GetCode() == Code::kExhausted) {
    return PutOff(standing.row.id);
  }
  End(standing, reason);
}

storage::Act Attempts::State::ActFor(const storage::Attempt& row, std::string_view act) {
  return {.act = std::string(act),
          .principal = row.principal,
          .project = row.project.Str(),
          .component = row.component.Str(),
          .oauth_id = row.oauth_id.Str(),
          .object = row.id.Str(),
          .peer = "rivery",
          .request_id = row.id.Str()};
}

std::string Attempts::State::ActTo(AttemptState state) {
  return "attempt." + std::string(NameOf(state));
}

bool Attempts::State::Announce(const storage::Attempt& row, access::Right right) {
  audit::Entry entry{ActFor(row, "attempt.start")};
  entry.outcome = audit::Outcome::kAllowed;
  entry.right = access::NameOf(right);
  if (trail.RecordAndWait(std::move(entry))) return true;
  PutOff(row.id);
  return false;
}

void Attempts::State::Schedule(const storage::Attempt& row) {
  Job job{row, Steady::now()};
  job.See(row);
  job.in_doubt = row.state == AttemptState::kStarted && row.asked;
  {
    const std::lock_guard lock(guard);
    jobs.insert_or_assign(row.id, std::move(job));
  }
  wake.notify_all();
}

void Attempts::State::Forget(const AttemptId& id) {
  const std::lock_guard lock(guard);
  jobs.erase(id);
}

void Attempts::State::Again(const AttemptId& id, Steady::duration in, Waiting waiting) {
  WithJob(id, [](Job& job) { job.failures = 0; });
  Wait(id, in, waiting);
}

void Attempts::State::Wait(const AttemptId& id, Steady::duration in, Waiting waiting) {
  // Jitter, so that attempts that began together do not stay together.
  in += std::chrono::duration_cast<Steady::duration>(in * (randombytes_uniform(256) / 2048.0));
  WithJob(id, [&](Job& job) { job.due = Steady::now() + in; });
  Note(id, waiting);
}

void Attempts::State::Note(const AttemptId& id, Waiting waiting) {
  std::optional<storage::Attempt> changed;
  WithJob(id, [&](Job& job) {
    if (std::exchange(job.waiting, waiting) != waiting) changed = job.row;
  });
  if (changed) TellWatchers(*changed);
}

void Attempts::State::PutOff(const AttemptId& id, std::chrono::seconds at_least) {
  WithJob(id, [&](Job& job) {
    const unsigned doublings = std::min(job.failures++, 4u);
    const Steady::duration in = settings.retry_interval * (1u << doublings);
    job.due = Steady::now() + std::max<Steady::duration>(in, at_least);
  });
  Note(id, Waiting::kRivery);
}

void Attempts::State::PutOff(const StoredAttempt& attempt, const OpenAccount& account,
                             Operation operation, const Failure& failure) {
  spdlog::warn("rivery call failed operation={} attempt={} http={} body={} code={}: {}",
               NameOf(operation), attempt.row.id.Str(), failure.http_status, failure.body_code,
               NameOf(failure.error.GetCode()), failure.error.GetText());
  if (failure.http_status == kUnauthorized || failure.body_code == kUnauthorized) {
    storage::Act act = ActFor(attempt.row, "account.refused");
    act.object = attempt.row.account.Str();
    auto marked =
        MarkRefused(store, attempt.row.account, account.version, std::move(act), clock());
    if (marked) return Again(attempt.row.id, settings.retry_interval, Waiting::kAccount);
  }
  PutOff(attempt.row.id, failure.retry_after);
}

void Attempts::State::Run() {
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
    const crypto::RowNames names = next->second.row.Names();
    lock.unlock();
    Step(id, names);
    lock.lock();
  }
}

void Attempts::State::Step(const AttemptId& id, const crypto::RowNames& names) {
  auto attempt = Look(id, names);
  if (!attempt) {
    spdlog::error("an attempt cannot be read attempt={} code={}", id.Str(),
                  NameOf(attempt.error().GetCode()));
    if (attempt.error().GetCode() == Code::kUnavailable) return PutOff(id);
    return Forget(id);
  }
  if (IsFinal(attempt->row)) {  // cancelled, or ended by a commit that was doubted
    Forget(id);
    return attempt->row.successor.empty() ? void() : FollowSuccessor(attempt->row);
  }
  if (attempt->row.state == AttemptState::kCreating) return Doubt(*attempt);
  std::optional<FetchedOauth> fetched;
  WithJob(id, [&](Job& job) { fetched = std::exchange(job.fetched, std::nullopt); });
  if (fetched) return Keep(*attempt, *std::move(fetched));
  if (EndIfLate(*attempt)) return;
  auto account = OpenAccountFor(store, attempt->row.account, attempt->row.project);
  if (!account) {
    // Not while a create may be out there: what it left behind must be found first.
    if (attempt->row.state == AttemptState::kUnclear) return PutOff(id);
    return GiveUp(*attempt, account.error(), "no_account");
  }
  if (account->refused_at_s != 0) return Wait(id, settings.retry_interval, Waiting::kAccount);
  switch (attempt->row.state) {
    case AttemptState::kNew: return Begin(*attempt, *account);
    case AttemptState::kStarted: return Fetch(*attempt, *account);
    case AttemptState::kStored: return Create(*attempt, *account);
    case AttemptState::kUnclear: return LookFor(*attempt, *account);
    case AttemptState::kCreating:
    case AttemptState::kCreated:
    case AttemptState::kFailed: return;  // before
  }
}

void Attempts::State::FollowSuccessor(const storage::Attempt& ended) {
  auto id = AttemptId::Parse(ended.successor);
  if (!id) return;
  auto successor = store.Get<storage::Attempt>(
      storage::Attempt::Names(ended.project, ended.component, *id));
  if (successor && !IsFinal(successor->row)) Schedule(successor->row);
}

std::optional<Turn> Attempts::State::TakeTurn(const StoredAttempt& attempt, Purpose purpose,
                                              unsigned calls) {
  rate.KeepForLastLooks(attempt.row.account, LastLooksOwed(attempt.row.account));
  auto turn = rate.Take(attempt.row.account, purpose, calls);
  if (turn) return std::move(*turn);
  Wait(attempt.row.id, turn.error(), Waiting::kCalls);
  return std::nullopt;
}

bool Attempts::State::EndIfLate(const StoredAttempt& attempt) {
  const storage::Attempt& row = attempt.row;
  if (row.state == AttemptState::kUnclear) return false;
  const std::int64_t now_s = clock();
  if (row.deadline_s != 0 && now_s >= row.deadline_s) return End(attempt, "timed_out"), true;
  bool in_doubt = false;
  WithJob(row.id, [&](Job& job) { in_doubt = job.in_doubt; });
  if (row.state == AttemptState::kStarted && now_s >= row.expires_at_s && !in_doubt) {
    return End(attempt, "expired"), true;
  }
  return false;
}

Result<storage::Component> Attempts::State::ComponentOf(const storage::Attempt& row) const {
  auto component = store.Get<storage::Component>(storage::Component::Names(row.component));
  if (!component) return Fail(std::move(component));
  return std::move(component->row);
}

Result<access::Permit> Attempts::State::Permit(const storage::Attempt& row,
                                               access::Right right) const {
  auto who = read_principal(row.principal);
  if (!who) return Fail(std::move(who));
  return access::Decide(*who, right, access::Scope::Pair(row.project, row.component),
                        *grants.InForce());
}

bool Attempts::State::IsPassing(const Failure& failure) {
  const int status = failure.http_status >= 300 ? failure.http_status : failure.body_code;
  return status == 401 || status == 403 || status >= 500 ||
         failure.error.GetCode() == Code::kExhausted;
}

bool Attempts::State::IsForGood(const Failure& failure) {
  switch (failure.fate) {
    case Fate::kNeverSent: return failure.error.GetCode() == Code::kInvalid;
    case Fate::kRefused: return !IsPassing(failure);
    case Fate::kUnclear: return false;
  }
  __builtin_unreachable();
}

}  // namespace oauthvault::rivery
