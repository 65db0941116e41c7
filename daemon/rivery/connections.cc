#include "daemon/rivery/connections.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <tuple>
#include <utility>

#include "crypto/fields.h"
#include "crypto/hex.h"
#include "crypto/sealed.h"
#include "daemon/custody/fingerprints.h"
#include "daemon/custody/reveal.h"
#include "daemon/registry/projects.h"
#include "daemon/rivery/accounts.h"
#include "daemon/rivery/failure.h"
#include "storage/utf8.h"

namespace oauthvault::rivery {
namespace {

constexpr std::size_t kMaxConnectionNameSize = 200;

constexpr std::size_t kFingerprintSize = 16;
constexpr std::string_view kFingerprintLabel = "oauthvault/rivery/written";

storage::Act ActOn(const storage::Connection& row, std::string act, const access::Caller& caller) {
  return {.act = std::move(act),
          .principal = caller.who.Str(),
          .right = std::string(access::NameOf(access::Right::kConnect)),
          .project = row.project.Str(),
          .component = row.component.Str(),
          .oauth_id = row.oauth_id.Str(),
          .object = row.connection_id,
          .peer = caller.peer,
          .request_id = caller.request_id};
}

std::unexpected<Failure> NothingSent(Error error) {
  return std::unexpected(NotSent(std::move(error)));
}

Error IsBusy() {
  return {Code::kConflict, "another change of the connection is on its way"};
}

// Whether credentials of the version that was written are those that were.
bool AreThoseWritten(const storage::Credentials& credentials, const storage::Connection& row) {
  if (row.written_data.empty() || credentials.fingerprints.empty()) {
    return credentials.created_at_s <= row.updated_at_s;
  }
  return credentials.fingerprints.front() == row.written_data;
}

}  // namespace

Result<void> CheckConnectionName(const std::string& name) {
  const bool printable = std::ranges::all_of(
      name, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
  if (name.empty() || name.size() > kMaxConnectionNameSize || !printable || !IsValidUtf8(name)) {
    return Fail(Code::kInvalid, "a connection's name has 1 to 200 bytes of printable UTF-8");
  }
  return {};
}

Result<crypto::SecretBytes> BodyOf(const crypto::CredentialsData& data) {
  const bool is_object = data.Bytes().Expose([](std::span<const std::uint8_t> bytes) {
    const auto first = std::ranges::find_if(bytes, [](std::uint8_t c) {
      return c != ' ' && c != '\t' && c != '\r' && c != '\n';
    });
    return first != bytes.end() && *first == '{' &&
           nlohmann::json::accept(bytes.begin(), bytes.end());
  });
  if (!is_object) {
    return Fail(Code::kInvalid, "#data must be a JSON object to become a Rivery connection");
  }
  return data.Bytes().Clone();
}

std::string FingerprintOf(const crypto::Keyring& keyring, const ProjectId& project,
                          const crypto::SecretBytes& body) {
  return body.Expose([&](std::span<const std::uint8_t> bytes) {
    const std::array<std::string_view, 3> fields = {kFingerprintLabel, project.Str(),
                                                    crypto::AsField(bytes)};
    return crypto::HexOf(crypto::KeyedHash(keyring.FingerprintKey(), fields, kFingerprintSize));
  });
}

Held HeldOf(const storage::Store& store, const ProjectId& project, std::uint64_t version,
            const crypto::SecretBytes& body) {
  return {version, FingerprintOf(store.GetKeyring(), project, body),
          custody::FingerprintOf(store.FingerprintKey(), project.Str(), body)};
}

void SayHeld(Held held, storage::Connection& row) {
  row.written_version = held.version;
  row.written_fingerprint = std::move(held.fingerprint);
  row.written_data = std::move(held.data);
}

Standing StandingOf(const storage::Connection& row,
                    const std::optional<storage::Stored<storage::Credentials>>& credentials) {
  if (!credentials) return {Step::kRefused, std::string(kCredentialsGone)};
  if (!row.refusal.empty() && row.refused_version == credentials->version) {
    return {Step::kRefused, row.refusal};
  }
  const bool holds_it = row.written_version == credentials->version &&
                        AreThoseWritten(credentials->row, row);
  return {holds_it ? Step::kInStep : Step::kBehind};
}

Result<std::set<std::string>> HeldIds(const storage::Store& store, const AccountId& account) {
  std::set<std::string> held;
  auto read = store.ForEach<storage::Project>("", "", [&](const auto& project) {
    return store.ForEach<storage::Connection>(
        project.row.id.Str(), "", [&](const auto& connection) {
          if (connection.row.account == account) held.insert(connection.row.connection_id);
        });
  });
  if (!read) return Fail(std::move(read));
  return held;
}

// Marks a connection as being changed for as long as it lives.
class Connections::Alone {
 public:
  Alone(Connections& of, const AccountId& account, const std::string& id)
      : of_(of), name_(account.Str() + "/" + id) {
    const std::lock_guard lock(of_.guard_);
    is_ = of_.busy_.insert(name_).second;
  }
  ~Alone() {
    if (!is_) return;
    const std::lock_guard lock(of_.guard_);
    of_.busy_.erase(name_);
  }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;
  explicit operator bool() const { return is_; }

 private:
  Connections& of_;
  const std::string name_;
  bool is_;
};

// The line before the API token leaves, where no credentials do.
Result<void> Connections::Announce(const access::Permit& permit, std::string act,
                                   const std::string& object, const access::Caller& caller) {
  audit::Entry entry{storage::Act{.act = std::move(act),
                                  .principal = caller.who.Str(),
                                  .right = std::string(access::NameOf(permit.What())),
                                  .project = permit.Where().project,
                                  .component = permit.Where().component,
                                  .object = object,
                                  .peer = caller.peer,
                                  .request_id = caller.request_id}};
  entry.outcome = audit::Outcome::kAllowed;
  auto recorded = trail_.RecordAndWait(std::move(entry));
  if (!recorded) return Fail(std::move(recorded));
  return {};
}

// A failure of Rivery, after what it says of the account was written down.
Failure Connections::Noted(Failure failure, const AccountId& account,
                           std::uint64_t account_version, const access::Caller& caller,
                           std::int64_t now_s) {
  if (failure.error.GetCode() != Code::kUnauthenticated) return failure;
  auto marked = MarkRefused(store_, account, account_version,
                            storage::Act{.act = "account.refused",
                                         .principal = caller.who.Str(),
                                         .peer = caller.peer,
                                         .request_id = caller.request_id},
                            now_s);
  if (!marked) {
    spdlog::warn("an account cannot be marked as refused account={} code={}", account.Str(),
                 NameOf(marked.error().GetCode()));
  }
  return failure;
}

Result<storage::Stored<storage::Connection>> Connections::Update(access::Permit permit,
                                                                 const UpdateOrder& order,
                                                                 const access::Caller& caller,
                                                                 std::int64_t now_s) {
  auto written = Write(std::move(permit), order, "Connections.Update", caller, now_s);
  if (!written) return std::unexpected(std::move(written.error().error));
  return std::move(*written);
}

Reply<storage::Stored<storage::Connection>> Connections::Write(access::Permit permit,
                                                               const UpdateOrder& order,
                                                               std::string act,
                                                               const access::Caller& caller,
                                                               std::int64_t now_s) {
  const AccountId& account = order.name.account;
  if (!order.new_name.empty()) {
    if (auto ok = CheckConnectionName(order.new_name); !ok) return NothingSent(ok.error());
  }
  auto pair = permit.Where().AsPair();
  if (!pair) return NothingSent(pair.error());
  const Alone alone(*this, account, order.name.id);
  if (!alone) return NothingSent(IsBusy());
  auto standing = store_.Get<storage::Connection>(
      storage::Connection::Names(pair->project, pair->component, account, order.name.id));
  if (!standing) return NothingSent(standing.error());
  auto open_account = OpenAccountFor(store_, account, pair->project);
  if (!open_account) return NothingSent(open_account.error());
  auto component =
      store_.Get<storage::Component>(storage::Component::Names(pair->component));
  if (!component) return NothingSent(component.error());
  auto credentials = store_.Find<storage::Credentials>(storage::Credentials::Names(
      pair->project, pair->component, standing->row.oauth_id));
  if (!credentials) return NothingSent(credentials.error());
  const auto is_too_old = [&](std::uint64_t version) {
    return component->row.rotating && order.older == Older::kRefuse &&
           version < standing->row.written_version;
  };
  const Error too_old(Code::kStale,
                      "the stored credentials are older than what the connection holds, and their "
                      "tokens rotate; allow it where you know that they still work",
                      standing->row.oauth_id);
  // Before a line says that they are sent.
  if (*credentials && is_too_old((*credentials)->version)) return NothingSent(too_old);
  auto turn = rate_.TakeNow(account, Purpose::kOnward);
  if (!turn) return NothingSent(turn.error());

  auto release = custody::RevealAndWait(std::move(permit), standing->row.oauth_id, caller,
                                        std::move(act), store_, trail_);
  if (!release) return NothingSent(release.error());
  const std::uint64_t version = release->Version();
  if (is_too_old(version)) return NothingSent(too_old);
  auto keys = std::move(*release).Open();
  if (!keys) return NothingSent(keys.error());
  auto body = BodyOf(keys->data);
  if (!body) return NothingSent(body.error());

  storage::Connection updated = standing->row;
  if (!order.new_name.empty()) updated.name = order.new_name;
  const RemoteConnection remote{.id = updated.connection_id,
                                .cross_id = updated.cross_id,
                                .name = standing->row.name,
                                .connection_type = updated.connection_type,
                                .credentials_exist = true,
                                .properties = updated.properties};
  auto reply = client_.Update(open_account->AsEndpoint(*turn), remote, updated.name, *body);
  if (!reply) {
    return std::unexpected(
        Noted(std::move(reply.error()), account, open_account->version, caller, now_s));
  }

  SayHeld(HeldOf(store_, pair->project, version, *body), updated);
  updated.updated_at_s = now_s;
  updated.principal = caller.who.Str();
  updated.refusal.clear();
  updated.refused_version = 0;
  updated.seen_changed_at_ms = 0;
  storage::Act done = ActOn(updated, "connection.updated", caller);
  done.version = version;
  storage::Batch batch(std::move(done));
  batch.Replace(updated, standing->version);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    // It was written all the same, and will be once more.
    return std::unexpected(Failure{.error = std::move(committed.error()), .fate = Fate::kUnclear});
  }
  auto now = store_.Get<storage::Connection>(updated.Names());
  if (!now) return std::unexpected(Failure{.error = now.error(), .fate = Fate::kUnclear});
  return std::move(*now);
}

Result<void> Connections::Refuse(const storage::Stored<storage::Connection>& row,
                                 std::uint64_t version, std::string_view why,
                                 const access::Caller& caller) {
  const Alone alone(*this, row.row.account, row.row.connection_id);
  if (!alone) return std::unexpected(IsBusy());
  storage::Connection refused = row.row;
  refused.refusal = why;
  refused.refused_version = version;
  storage::Act act = ActOn(refused, "connection.refused", caller);
  act.version = version;
  act.code = why;
  storage::Batch batch(std::move(act));
  batch.Replace(refused, row.version);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

// What Rivery says of its age, where nothing is wrong with it: later looks compare with that.
void Connections::KeepSight(const Verified& verified, const access::Caller& caller) {
  if (!verified.drift.empty() || verified.changed_at_ms == 0 ||
      verified.changed_at_ms == verified.row.seen_changed_at_ms) {
    return;
  }
  const Alone alone(*this, verified.row.account, verified.row.connection_id);
  if (!alone) return;
  auto standing = store_.Get<storage::Connection>(verified.row.Names());
  // Written meanwhile: what was seen is not about what it holds now.
  if (!standing || standing->row != verified.row) return;
  storage::Connection seen = verified.row;
  seen.seen_changed_at_ms = verified.changed_at_ms;
  storage::Batch batch(ActOn(seen, "connection.verified", caller));
  batch.Replace(seen, standing->version);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    spdlog::warn("what was seen of a connection is not kept code={}",
                 NameOf(committed.error().GetCode()));
  }
}

Result<Connections::VerifiedPage> Connections::Verify(const access::Permit& permit,
                                                      const VerifyOrder& order,
                                                      const access::Caller& caller,
                                                      std::int64_t now_s) {
  auto pair = permit.Where().AsPair();
  if (!pair) return Fail(std::move(pair));
  auto account = OpenAccountFor(store_, order.account, pair->project);
  if (!account) return Fail(std::move(account));
  VerifiedPage page;
  std::vector<storage::Connection> rows;
  if (!order.id.empty()) {
    auto row = store_.Get<storage::Connection>(
        storage::Connection::Names(pair->project, pair->component, order.account, order.id));
    if (!row) return Fail(std::move(row));
    rows.push_back(std::move(row->row));
  } else {
    auto listed = store_.List<storage::Connection>(pair->project.Str(), pair->component.Str(),
                                                   order.page_token, order.page_size);
    if (!listed) return Fail(std::move(listed));
    for (auto& row : listed->rows) {
      if (row.row.account == order.account) rows.push_back(std::move(row.row));
    }
    page.next = std::move(listed->next);
  }
  auto held = HeldIds(store_, order.account);
  if (!held) return Fail(std::move(held));
  auto turn = rate_.TakeNow(order.account, Purpose::kOnward);
  if (!turn) return Fail(std::move(turn));
  if (auto told = Announce(permit, "Connections.Verify", order.id, caller); !told) {
    return Fail(std::move(told));
  }
  const Endpoint endpoint = account->AsEndpoint(*turn);
  std::map<std::string, std::vector<RemoteConnection>> by_type;
  for (const storage::Connection& row : rows) {
    auto listed = by_type.find(row.connection_type);
    if (listed == by_type.end()) {
      auto reply = client_.List(endpoint, row.connection_type);
      if (!reply) {
        return std::unexpected(Noted(std::move(reply.error()), order.account, account->version,
                                     caller, now_s)
                                   .error);
      }
      listed = by_type.emplace(row.connection_type, std::move(*reply)).first;
    }
    const auto in_list =
        std::ranges::find(listed->second, row.connection_id, &RemoteConnection::id);
    std::optional<RemoteConnection> remote;
    if (in_list != listed->second.end()) {
      remote = *in_list;
    } else {
      // Deleted, or of another type now, or passed over by the list.
      auto reply = client_.Get(endpoint, row.connection_id, {});
      if (reply) {
        remote = std::move(*reply);
      } else if (reply.error().error.GetCode() != Code::kNotFound) {
        return std::unexpected(Noted(std::move(reply.error()), order.account, account->version,
                                     caller, now_s)
                                   .error);
      }
    }
    page.connections.push_back(Compare(row, remote, listed->second, *held));
    KeepSight(page.connections.back(), caller);
  }
  return page;
}

Result<storage::Stored<storage::Connection>> Connections::Adopt(access::Permit permit,
                                                                const AdoptOrder& order,
                                                                const access::Caller& caller,
                                                                std::int64_t now_s) {
  const AccountId& account = order.name.account;
  auto pair = permit.Where().AsPair();
  if (!pair) return Fail(std::move(pair));
  auto component =
      store_.Get<storage::Component>(storage::Component::Names(pair->component));
  if (!component) return Fail(std::move(component));
  const std::string& type = component->row.rivery_connection_type;
  if (type.empty()) {
    return Fail(Code::kInvalid,
                "a component without a connection type can adopt nothing; give it its Rivery names",
                pair->component);
  }
  auto credentials = store_.Get<storage::Credentials>(
      storage::Credentials::Names(pair->project, pair->component, order.oauth_id));
  if (!credentials) return Fail(std::move(credentials));
  auto open_account = OpenAccountFor(store_, account, pair->project);
  if (!open_account) return Fail(std::move(open_account));
  storage::Connection row{.project = pair->project,
                          .component = pair->component,
                          .account = account,
                          .oauth_id = order.oauth_id};
  {
    const Alone alone(*this, account, order.name.id);
    if (!alone) return std::unexpected(IsBusy());
    auto held = HeldIds(store_, account);
    if (!held) return Fail(std::move(held));
    if (held->contains(order.name.id)) {
      return Fail(Code::kConflict, "a project of the vault has this connection already");
    }
    auto turn = rate_.TakeNow(account, Purpose::kOnward, 2);  // its properties, itself
    if (!turn) return Fail(std::move(turn));
    if (auto told = Announce(permit, "Connections.Adopt", order.name.id, caller); !told) {
      return Fail(std::move(told));
    }
    const Endpoint endpoint = open_account->AsEndpoint(*turn);
    const auto refuse = [&](Failure failure) {
      return std::unexpected(
          Noted(std::move(failure), account, open_account->version, caller, now_s).error);
    };
    auto properties = client_.Properties(endpoint, type);
    if (!properties) return refuse(std::move(properties.error()));
    auto remote = client_.Get(endpoint, order.name.id, *properties);
    if (!remote) return refuse(std::move(remote.error()));
    if (remote->connection_type != type) {
      return Fail(Code::kInvalid,
                  "the connection is of another type than the component's; adopt it for another "
                  "component",
                  pair->component);
    }
    if (!remote->hidden.empty()) {
      return Fail(Code::kConflict,
                  "the connection holds secrets beside its credentials, which nobody can read and "
                  "every write would wipe; make a new one instead");
    }
    if (auto ok = CheckConnectionName(remote->name); !ok) return Fail(std::move(ok));
    row.connection_id = remote->id;
    row.cross_id = remote->cross_id;
    row.name = remote->name;
    row.connection_type = type;
    row.properties = remote->properties;
    row.seen_changed_at_ms = remote->changed_at_ms;
    row.principal = caller.who.Str();
    row.created_at_s = row.updated_at_s = now_s;
    // Until it is written; so the propagation does not do so at the same time.
    row.refusal = kAdopted;
    row.refused_version = credentials->version;
    auto open = registry::KeepOpen(pair->project, store_);
    if (!open) return Fail(std::move(open));
    storage::Batch batch(ActOn(row, "connection.adopted", caller));
    batch.Hold(std::move(*open));
    batch.Insert(row);
    if (auto committed = store_.Commit(std::move(batch)); !committed) {
      return Fail(std::move(committed));
    }
  }
  if (!order.write) return store_.Get<storage::Connection>(row.Names());
  return Update(std::move(permit), {.name = order.name, .new_name = {}}, caller, now_s);
}

Result<void> Connections::Delete(const access::Permit& permit, const ConnectionName& name,
                                 const access::Caller& caller, std::int64_t now_s) {
  auto pair = permit.Where().AsPair();
  if (!pair) return Fail(std::move(pair));
  const Alone alone(*this, name.account, name.id);
  if (!alone) return std::unexpected(IsBusy());
  auto standing = store_.Get<storage::Connection>(
      storage::Connection::Names(pair->project, pair->component, name.account, name.id));
  if (!standing) return Fail(std::move(standing));
  auto account = OpenAccountFor(store_, name.account, pair->project);
  if (!account) return Fail(std::move(account));
  auto turn = rate_.TakeNow(name.account, Purpose::kOnward);
  if (!turn) return Fail(std::move(turn));
  if (auto told = Announce(permit, "Connections.Delete", name.id, caller); !told) return told;
  auto deleted = client_.Delete(account->AsEndpoint(*turn), name.id);
  if (!deleted) {
    if (deleted.error().error.GetCode() != Code::kNotFound) {
      return std::unexpected(
          Noted(std::move(deleted.error()), name.account, account->version, caller, now_s)
              .error);
    }
    // There is none, or the route is wrong: only the first is a reason to forget it.
    auto still = client_.Get(account->AsEndpoint(*turn), name.id, {});
    if (still) {
      return Fail(Code::kUnavailable,
                  "Rivery knows no such connection to delete and yet has it; check the route "
                  "delete");
    }
    if (still.error().error.GetCode() != Code::kNotFound) {
      return std::unexpected(
          Noted(std::move(still.error()), name.account, account->version, caller, now_s).error);
    }
  }
  storage::Batch batch(ActOn(standing->row, "connection.deleted", caller));
  batch.Remove(standing->row, standing->version);
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

}  // namespace oauthvault::rivery
