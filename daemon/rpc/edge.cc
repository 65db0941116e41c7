#include "daemon/rpc/edge.h"

#include <chrono>

#include "crypto/sabotage.h"

namespace oauthvault::rpc {
namespace {

// gRPC rounds a deadline up on its way: 1,800.001 s go as 1,810.
std::chrono::seconds SlackOf(std::chrono::seconds deadline) {
  return std::chrono::seconds(1) + deadline / 100;
}

audit::Entry EntryFor(const Rule& rule, access::Right right, const access::Scope& scope) {
  audit::Entry entry;
  entry.act = rule.act;
  entry.right = access::NameOf(right);
  entry.project = scope.project;
  entry.component = scope.component;
  return entry;
}

}  // namespace

Result<void> Edge::CheckBounds(const Call& call) const {
  const Rule& rule = *call.GetMethod().rule;
  if (call.Request().Length() > rule.max_request_bytes) {
    ++counters_.out_of_bounds;
    return Fail(Code::kExhausted, "the request is larger than its method takes");
  }
  if (!rule.needs_deadline || crypto::IsSabotaged(crypto::Sabotage::kNoDeadlineCheck)) return {};
  const auto deadline = call.Grpc().deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) {
    ++counters_.out_of_bounds;
    return Fail(Code::kInvalid, "the call has no deadline: set one, of at most a minute");
  }
  const auto farthest = rule.max_deadline + SlackOf(rule.max_deadline);
  if (deadline - std::chrono::system_clock::now() > farthest) {
    ++counters_.out_of_bounds;
    return Fail(Code::kInvalid, "the call's deadline is further ahead than its method allows");
  }
  return {};
}

Result<void> Edge::StillWanted(const Call& call) const {
  if (crypto::IsSabotaged(crypto::Sabotage::kNoDeadlineCheck)) return {};
  if (call.IsCancelled() || call.Grpc().deadline() <= std::chrono::system_clock::now()) {
    ++counters_.too_late;
    return Fail(Code::kUnavailable, "the call's time was over before its turn came");
  }
  return {};
}

void Edge::RunOn(Workers& workers, Call& call, Workers::Work step) const {
  Workers::Work work = [this, &call, step = std::move(step)]() mutable {
    if (auto wanted = StillWanted(call); !wanted) return call.Refuse(wanted.error());
    step();
  };
  if (workers.Post(work)) return;
  call.Refuse(Error(Code::kExhausted, "too many calls are waiting; try again later"));
}

void Edge::AdmitWith(access::Right right, const Call& call, const access::Scope& scope,
                     std::string oauth_id, Done done) const {
  if (auto within = CheckBounds(call); !within) return done(Fail(std::move(within)));
  const Rule& rule = *call.GetMethod().rule;
  audit::Entry entry = EntryFor(rule, right, scope);
  entry.oauth_id = std::move(oauth_id);
  Result<access::Caller> caller = peers_.Identify(call.Grpc());
  // Strangers share one place; the trail bounds what their denials write.
  Result<Concurrency::Place> place =
      concurrency_.Take(caller ? std::string_view(caller->who.Str()) : std::string_view("-"));
  if (!place) return done(Fail(std::move(place)));
  Result<access::Permit> permit = [&]() -> Result<access::Permit> {
    if (!caller) return std::unexpected(caller.error());
    return access::Decide(caller->who, right, scope, *grants_.InForce());
  }();
  entry.principal = caller ? caller->who.Str() : "-";
  entry.peer = caller ? caller->peer : call.Grpc().peer();
  if (caller) entry.request_id = caller->request_id;
  if (permit) {
    auto room = audit::CheckRoom(trail_, rule.lines);
    if (!room) return done(Fail(std::move(room)));
    entry.revokes = rule.lines.revokes;
    return done(Admitted{std::move(*permit), std::move(*caller), std::move(entry), false,
                         std::move(*place)});
  }
  entry.outcome = audit::Outcome::kDenied;
  entry.code = NameOf(permit.error().GetCode());
  trail_.RecordDenial(std::move(entry), [denied = std::move(permit.error()),
                                         done = std::move(done), place = std::move(*place)](
                                            Result<void> recorded) mutable {
    // Before the answer: with the last call what it is a place of may end, too.
    place = {};
    if (!recorded) return done(Fail(std::move(recorded)));
    done(std::unexpected(std::move(denied)));
  });
}

Result<access::Permit> Edge::AlsoPermit(Admitted& admitted, access::Right right) const {
  Result<access::Permit> permit = access::Decide(
      admitted.caller.who, right, admitted.permit.Where(), *grants_.InForce());
  if (!permit) admitted.entry.right = access::NameOf(right);
  return permit;
}

Result<void> Edge::StillPermitted(const Call& call, const access::Scope& scope) const {
  Result<access::Caller> caller = peers_.Identify(call.Grpc());
  if (!caller) return Fail(std::move(caller));
  Result<access::Permit> permit =
      access::Decide(caller->who, call.GetMethod().rule->right, scope, *grants_.InForce());
  if (!permit) return Fail(std::move(permit));
  return {};
}

}  // namespace oauthvault::rpc
