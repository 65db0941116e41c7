#include <algorithm>
#include <optional>
#include <utility>

#include "crypto/sabotage.h"
#include "daemon/custody/reveal.h"
#include "daemon/rivery/attempts_driver.h"
#include "daemon/rivery/connections.h"

namespace oauthvault::rivery {

using storage::AttemptState;

bool Attempts::State::AnotherIsCreating(const storage::Attempt& row,
                                        const std::string& connection_type) {
  std::vector<storage::Attempt> others;
  {
    const std::lock_guard lock(guard);
    for (const auto& [id, job] : jobs) {
      if (id != row.id && job.row.account == row.account &&
          job.row.connection_name == row.connection_name &&
          (job.row.state == AttemptState::kCreating || job.row.state == AttemptState::kUnclear)) {
        others.push_back(job.row);
      }
    }
  }
  return std::ranges::any_of(others, [&](const storage::Attempt& other) {
    auto component = ComponentOf(other);
    return !component || component->rivery_connection_type == connection_type;
  });
}

void Attempts::State::Create(const StoredAttempt& stored, const OpenAccount& account) {
  auto component = ComponentOf(stored.row);
  if (!component) return GiveUp(stored, component.error(), "component_gone");
  const std::string& type = component->rivery_connection_type;
  if (AnotherIsCreating(stored.row, type)) {
    return Again(stored.row.id, settings.poll_interval, Waiting::kName);
  }
  auto permit = Permit(stored.row, access::Right::kConnect);
  if (!permit) return End(stored, "not_permitted");
  auto turn = TakeTurn(stored, Purpose::kOnward, 2);  // the list, the create
  if (!turn) return;
  const Endpoint endpoint = account.AsEndpoint(*turn);
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
    PutOff(stored, account, Operation::kList, listed.error());
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
  std::optional<Reply<RemoteConnection>> too_early;
  if (crypto::IsSabotaged(crypto::Sabotage::kCommitAfterCall)) {
    too_early = client.Create(endpoint, type, stored.row.connection_name, *body);
  }
  auto creating = Move(stored, std::move(next),
                       storage::Batch(ActFor(stored.row, ActTo(AttemptState::kCreating))));
  if (!creating) return PutOff(stored.row.id);

  auto created = too_early ? *std::move(too_early)
                           : client.Create(endpoint, type, stored.row.connection_name, *body);
  if (created) {
    return Finish(*creating, *created, type,
                  HeldOf(store, stored.row.project, version, *body));
  }
  PutOff(*creating, account, Operation::kCreate, created.error());
  if (created.error().fate == Fate::kUnclear) return Doubt(*creating);
  if (IsForGood(created.error())) return End(*creating, "refused");
  // Should this fail, the attempt is looked for as after a kill, which does no harm.
  if (!MoveTo(*creating, AttemptState::kStored)) PutOff(creating->row.id);
}

void Attempts::State::Doubt(const StoredAttempt& creating) {
  if (!MoveTo(creating, AttemptState::kUnclear)) return PutOff(creating.row.id);
  WithJob(creating.row.id, [](Job& job) { job.unclear_since = Steady::now(); });
  Again(creating.row.id, Steady::duration(0));
}

Result<std::vector<RemoteConnection>> Attempts::State::Candidates(
    const storage::Attempt& row, const std::vector<RemoteConnection>& listed) const {
  const bool name_is_enough = crypto::IsSabotaged(crypto::Sabotage::kAdoptByName);
  std::vector<RemoteConnection> found;
  for (const RemoteConnection& remote : listed) {
    if (remote.name != row.connection_name) continue;
    const bool was_known =
        std::ranges::find(row.known_ids, remote.id) != row.known_ids.end();
    if (!was_known || name_is_enough) found.push_back(remote);
  }
  if (found.empty() || name_is_enough) return found;
  auto held = HeldIds(store, row.account);
  if (!held) return Fail(std::move(held));
  std::erase_if(found, [&](const RemoteConnection& remote) { return held->contains(remote.id); });
  return found;
}

void Attempts::State::LookFor(const StoredAttempt& unclear, const OpenAccount& account) {
  if (crypto::IsSabotaged(crypto::Sabotage::kSendBlindly)) {
    if (!MoveTo(unclear, AttemptState::kStored)) PutOff(unclear.row.id);
    return Again(unclear.row.id, Steady::duration(0));
  }
  auto component = ComponentOf(unclear.row);
  if (!component) return PutOff(unclear.row.id);
  const std::string& type = component->rivery_connection_type;
  auto turn = TakeTurn(unclear, Purpose::kOnward);
  if (!turn) return;
  const Steady::time_point asked_at = Steady::now();
  auto listed = client.List(account.AsEndpoint(*turn), type);
  if (!listed) return PutOff(unclear, account, Operation::kList, listed.error());
  auto found = Candidates(unclear.row, *listed);
  if (!found) return PutOff(unclear.row.id);
  if (found->size() > 1) return End(unclear, "several_found");
  if (found->size() == 1) {
    // What it holds is what the create carried: the version then. It is not known any more
    // after a restart, and 0 says so: not in step until an update.
    return Finish(unclear, found->front(), type, {});
  }
  bool settled = false;
  WithJob(unclear.row.id, [&](Job& job) {
    // Found unclear at the start: nothing says when the daemon before this one sent it.
    if (!job.unclear_since) job.unclear_since = asked_at;
    settled = asked_at - *job.unclear_since >= settings.settle_time;
  });
  if (!settled) return Again(unclear.row.id, settings.poll_interval, Waiting::kSettling);
  if (!MoveTo(unclear, AttemptState::kStored)) return PutOff(unclear.row.id);
  WithJob(unclear.row.id, [](Job& job) { job.sent_before = true; });
  Again(unclear.row.id, Steady::duration(0));
}

void Attempts::State::Finish(const StoredAttempt& attempt, const RemoteConnection& remote,
                             const std::string& connection_type, Held held) {
  storage::Connection connection{.project = attempt.row.project,
                                 .component = attempt.row.component,
                                 .account = attempt.row.account,
                                 .oauth_id = attempt.row.oauth_id};
  connection.connection_id = remote.id;
  connection.cross_id = remote.cross_id;
  connection.name = attempt.row.connection_name;
  connection.connection_type = connection_type;
  connection.principal = attempt.row.principal;
  connection.created_at_s = connection.updated_at_s = clock();
  const bool adopted = attempt.row.state == AttemptState::kUnclear;
  storage::Act act = ActFor(attempt.row, adopted ? "attempt.adopted" : "attempt.created");
  act.right = access::NameOf(access::Right::kConnect);
  act.object = remote.id;
  act.version = held.version;
  SayHeld(std::move(held), connection);
  storage::Batch batch(std::move(act));
  batch.Insert(connection);
  storage::Attempt next = attempt.row;
  next.state = AttemptState::kCreated;
  next.connection_id = remote.id;
  if (!Move(attempt, std::move(next), std::move(batch))) PutOff(attempt.row.id);
}

}  // namespace oauthvault::rivery
