#include <algorithm>
#include <cstdlib>
#include <utility>

#include "daemon/custody/store.h"
#include "daemon/registry/projects.h"
#include "daemon/rivery/attempts_driver.h"
#include "daemon/rivery/consent_link.h"
#include "storage/free_text.h"

namespace oauthvault::rivery {

using storage::AttemptState;

namespace {

// The span before the end of a link in which its last look is due. A longer life gets a longer one,
// so that links that end together still find room for all of them.
std::chrono::seconds LastLookLead(std::int64_t validity_s) {
  return std::max<std::chrono::seconds>(kRateWindow + std::chrono::seconds(15),
                                        std::chrono::seconds(validity_s / 20));
}

}  // namespace

bool Attempts::State::HasRoomForLink(const storage::Attempt& row, std::int64_t expires_at_s) {
  const std::int64_t lead_s = LastLookLead(row.validity_s).count();
  const std::int64_t room =
      std::max<std::int64_t>(1, lead_s * rate.LastLooksPerWindow() / kRateWindow.count());
  const std::lock_guard lock(guard);
  return std::ranges::count_if(jobs, [&](const auto& entry) {
           const storage::Attempt& other = entry.second.row;
           return other.account == row.account && other.state == AttemptState::kStarted &&
                  std::abs(other.expires_at_s - expires_at_s) <= lead_s / 2;
         }) < room;
}

unsigned Attempts::State::LastLooksOwed(const AccountId& account) {
  const std::int64_t now_s = clock();
  const std::lock_guard lock(guard);
  return static_cast<unsigned>(std::ranges::count_if(jobs, [&](const auto& entry) {
    const Job& job = entry.second;
    return job.row.account == account && job.row.state == AttemptState::kStarted &&
           !job.last_looked &&
           job.row.expires_at_s - now_s <= (LastLookLead(job.row.validity_s) + kRateWindow).count();
  }));
}

void Attempts::State::Begin(const StoredAttempt& attempt, const OpenAccount& account) {
  auto component = ComponentOf(attempt.row);
  if (!component) return GiveUp(attempt, component.error(), "component_gone");
  if (!Permit(attempt.row, access::Right::kStore)) return End(attempt, "not_permitted");
  if (!HasRoomForLink(attempt.row, clock() + attempt.row.validity_s)) {
    return Wait(attempt.row.id, Steady::duration(kRateWindow) / rate.LastLooksPerWindow(),
                Waiting::kCalls);
  }
  auto turn = TakeTurn(attempt, Purpose::kPoll);
  if (!turn || !Announce(attempt.row, access::Right::kStore)) return;
  auto started = client.StartOauth(account.AsEndpoint(*turn), component->rivery_datasource_id,
                                   std::chrono::seconds(attempt.row.validity_s));
  if (!started) {
    PutOff(attempt, account, Operation::kOauthStart, started.error());
    if (IsForGood(started.error())) End(attempt, "refused");
    return;
  }
  storage::Attempt next = attempt.row;
  next.state = AttemptState::kStarted;
  next.expires_at_s = clock() + attempt.row.validity_s;
  storage::Secrets secrets;
  secrets.data = JoinLink(*started);
  storage::Batch batch(ActFor(attempt.row, ActTo(AttemptState::kStarted)));
  auto moved = Move(attempt, std::move(next), std::move(batch), std::move(secrets));
  if (!moved) return PutOff(attempt.row.id);
  AwaitConsent(*moved);
}

void Attempts::State::AwaitConsent(const StoredAttempt& attempt) {
  const storage::Attempt& row = attempt.row;
  bool last_looked = false;
  std::int64_t pending = 0;
  {
    const std::lock_guard lock(guard);
    for (const auto& [id, job] : jobs) {
      if (id == row.id) last_looked = job.last_looked;
      pending += job.row.account == row.account && job.row.state == AttemptState::kStarted;
    }
  }
  // As often as the account's calls allow when all that are pending are looked at in turn.
  Steady::duration in = std::max<Steady::duration>(
      settings.poll_interval, Steady::duration(kRateWindow) * pending / rate.PollsPerWindow());
  // Neither past the beginning of its last look's span nor past its end.
  std::chrono::seconds left(row.expires_at_s - clock());
  if (!last_looked && left > LastLookLead(row.validity_s)) left -= LastLookLead(row.validity_s);
  in = std::min<Steady::duration>(in, std::max(left, std::chrono::seconds(0)));
  Again(row.id, std::max<Steady::duration>(in, settings.poll_interval), Waiting::kConsent);
}

void Attempts::State::Fetch(const StoredAttempt& attempt, const OpenAccount& account) {
  const AttemptId& id = attempt.row.id;
  if (!Permit(attempt.row, access::Right::kStore)) return End(attempt, "not_permitted");
  auto joined = store.OpenSecret(attempt, crypto::Part::kData);
  if (!joined) return GiveUp(attempt, joined.error(), "link_unreadable");
  auto link = SplitLink(*joined);
  if (!link) return End(attempt, "link_unreadable");

  bool in_doubt = false;
  bool last_look = false;
  const std::int64_t left_s = attempt.row.expires_at_s - clock();
  WithJob(id, [&](Job& job) {
    in_doubt = job.in_doubt;
    last_look = !job.last_looked && left_s <= LastLookLead(attempt.row.validity_s).count();
  });
  auto turn = TakeTurn(attempt, last_look  ? Purpose::kLastLook
                                : in_doubt ? Purpose::kOnward
                                           : Purpose::kPoll);
  if (!turn) return;
  std::optional<StoredAttempt> marked;
  if (!attempt.row.asked) {
    auto committed = MarkAsked(attempt, std::move(*joined));
    if (!committed) return PutOff(id);
    marked = std::move(*committed);
  }
  const StoredAttempt& standing = marked ? *marked : attempt;
  WithJob(id, [](Job& job) { job.in_doubt = true; });
  auto reply = client.FetchOauth(account.AsEndpoint(*turn), link->pull_id, link->auth_uri);
  const bool pending =
      reply ? reply->pending : settings.pending_statuses.contains(reply.error().http_status);
  if (pending) {
    WithJob(id, [&](Job& job) {
      job.in_doubt = false;
      job.last_looked = job.last_looked || last_look;
    });
    return AwaitConsent(standing);
  }
  if (reply) return Keep(standing, std::move(*reply));

  const Failure& failure = reply.error();
  PutOff(standing, account, Operation::kOauthFetch, failure);
  if (!in_doubt && failure.fate != Fate::kUnclear) {
    WithJob(id, [](Job& job) { job.in_doubt = false; });
  }
  if (!IsForGood(failure)) return;
  if (clock() >= standing.row.expires_at_s) return End(standing, "expired");
  // What Rivery does not give now it may have given to a look whose answer never came here.
  in_doubt ? Lose(standing) : End(standing, "refused");
}

Result<StoredAttempt> Attempts::State::MarkAsked(const StoredAttempt& attempt,
                                                 crypto::SecretBytes link) {
  storage::Attempt next = attempt.row;
  next.asked = true;
  storage::Secrets secrets;
  secrets.data = std::move(link);
  return Move(attempt, std::move(next), storage::Batch(ActFor(attempt.row, "attempt.fetch")),
              std::move(secrets));
}

void Attempts::State::Lose(const StoredAttempt& attempt) {
  const auto open = registry::KeepOpen(attempt.row.project, store);
  auto successor = SuccessorOf(attempt.row);
  if (!open || !successor) return PutOff(attempt.row.id);
  storage::Attempt next = attempt.row;
  next.state = AttemptState::kFailed;
  next.failure = "lost_in_transit";
  next.successor = successor->id.Str();
  storage::Act act = ActFor(attempt.row, "attempt.end");
  act.code = next.failure;
  storage::Batch batch(std::move(act));
  batch.Insert(*successor);
  if (!Move(attempt, std::move(next), std::move(batch))) return PutOff(attempt.row.id);
  Schedule(*successor);
}

void Attempts::State::Keep(const StoredAttempt& attempt, FetchedOauth fetched) {
  if (StoreFetched(attempt, fetched)) return;
  PutOff(attempt.row.id);
  WithJob(attempt.row.id, [&](Job& job) { job.fetched = std::move(fetched); });
}

Result<void> Attempts::State::StoreFetched(const StoredAttempt& attempt,
                                           const FetchedOauth& fetched) {
  // Nobody gives them a second time, so a damaged row that is in their way is waited for, too: it
  // may be mended or replaced.
  const auto passes = [](const Error& error) {
    return error.GetCode() == Code::kUnavailable || error.GetCode() == Code::kExhausted ||
           error.GetCode() == Code::kConflict || error.GetCode() == Code::kCorrupt;
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
        CheckText(fetched.client_id, "client_id") ? fetched.client_id : std::string();
  }
  storage::Act act = ActFor(attempt.row, "attempt.store");
  act.right = access::NameOf(access::Right::kStore);
  storage::Batch batch(std::move(act));
  auto added = custody::AddToBatch(batch, *permit, std::move(credentials),
                                   custody::IfThere::kReplace, settings.kept_versions, store,
                                   clock());
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

}  // namespace oauthvault::rivery
