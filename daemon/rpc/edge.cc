#include "daemon/rpc/edge.h"

namespace oauthvault::rpc {
namespace {

audit::Entry EntryFor(const Rule& rule, const access::Scope& scope) {
  audit::Entry entry;
  entry.act = rule.act;
  entry.right = access::NameOf(rule.right);
  entry.project = scope.project;
  entry.component = scope.component;
  return entry;
}

}  // namespace

void Edge::Admit(const grpc::CallbackServerContext* call, const Rule& rule,
                 const access::Scope& scope, std::string oauth_id, Done done) const {
  audit::Entry entry = EntryFor(rule, scope);
  entry.oauth_id = std::move(oauth_id);
  Result<access::Caller> caller = peers_.Identify(*call);
  Result<access::Permit> permit = [&]() -> Result<access::Permit> {
    if (!caller) return std::unexpected(caller.error());
    return access::Decide(caller->who, rule.right, scope, *grants_.InForce());
  }();
  entry.principal = caller ? caller->who.Str() : "-";
  entry.peer = caller ? caller->peer : call->peer();
  if (caller) entry.request_id = caller->request_id;
  if (permit) {
    return done(Admitted{std::move(*permit), std::move(*caller), std::move(entry)});
  }
  entry.outcome = audit::Outcome::kDenied;
  entry.code = NameOf(permit.error().GetCode());
  trail_.Record(std::move(entry), [denied = std::move(permit.error()), done = std::move(done)](
                                      Result<audit::Recorded> recorded) mutable {
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

Error Edge::FailedInside() {
  return Error(Code::kUnavailable, "the call failed inside the daemon");
}

Result<void> Edge::StillPermitted(const grpc::CallbackServerContext& call, const Rule& rule,
                                  const access::Scope& scope) const {
  Result<access::Caller> caller = peers_.Identify(call);
  if (!caller) return Fail(std::move(caller));
  Result<access::Permit> permit =
      access::Decide(caller->who, rule.right, scope, *grants_.InForce());
  if (!permit) return Fail(std::move(permit));
  return {};
}

Result<void> Edge::RecordAfter(const Rule& rule, Admitted& admitted, Result<void> told) const {
  // A story that recorded by itself and then failed leaves a second line that says so; one that
  // was denied on the way leaves a line whatever the method.
  const bool denied = !told && told.error().GetCode() == Code::kDenied;
  if ((!rule.audited && !denied) || (admitted.recorded && told)) return told;
  audit::Entry& entry = admitted.entry;
  entry.outcome = told     ? audit::Outcome::kAllowed
                  : denied ? audit::Outcome::kDenied
                           : audit::Outcome::kFailed;
  if (!told) entry.code = NameOf(told.error().GetCode());
  auto recorded = trail_.RecordAndWait(std::move(entry));
  if (!recorded) return Fail(std::move(recorded));
  return told;
}

}  // namespace oauthvault::rpc
