#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/error.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/call_line.h"
#include "daemon/audit/trail.h"
#include "daemon/registry/grants.h"
#include "daemon/rpc/access_rules.h"
#include "daemon/rpc/call.h"
#include "daemon/rpc/concurrency.h"
#include "daemon/rpc/counters.h"
#include "daemon/rpc/peer.h"
#include "daemon/rpc/workers.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// One admitted call, as a story gets it.
struct Admitted {
  access::Permit permit;
  access::Caller caller;
  /// The line about this call; the story fills oauth_id, object and version.
  audit::Entry entry;
  /// Set by a story that recorded by itself, because a secret left or something was committed; a
  /// failure after that gets a line of its own.
  bool recorded = false;
  /// Kept until the answer has left.
  Concurrency::Place place;

  /// What the line about this call's commit says: the commit records it.
  storage::Act ForCommit() {
    recorded = true;
    return entry;
  }
};

/// The one place through which every call goes: its bounds, who calls, what the method asks for,
/// the decision, the line for a denial. Only then a story runs, and an audited one leaves its line
/// before the answer. Nothing throws out of here. Threads: any.
class Edge {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;

  Edge(const Peers& peers, const registry::Grants& grants, const storage::Store& store,
       audit::Trail& trail, Concurrency& concurrency, CallCounters& counters, Clock clock)
      : peers_(peers), grants_(grants), store_(store), trail_(trail), concurrency_(concurrency),
        counters_(counters), clock_(std::move(clock)) {}

  /// A request, and what it is about.
  template <class Request>
  struct Asked {
    Request request;
    access::Scope scope;
  };
  /// Errors: Invalid.
  template <class Request>
  static Result<Asked<Request>> Read(const Call& call) {
    Result<Request> request = call.Decode<Request>();
    if (!request) return Fail(std::move(request));
    Result<access::Scope> scope = ScopeOf(*call.GetMethod().rule, *request);
    if (!scope) return Fail(std::move(scope));
    return Asked<Request>{std::move(*request), std::move(*scope)};
  }

  /// Serves a method whose messages hold no outgoing secret. The story,
  /// `Result<void>(Admitted&, const Request&, Response&)`, runs on `workers`.
  template <class Request, class Response, class Story>
  void Serve(Call& call, Workers& workers, Story story) const noexcept {
    Result<Asked<Request>> asked = Read<Request>(call);
    if (!asked) return call.Refuse(asked.error());
    const Rule& rule = *call.GetMethod().rule;
    std::string oauth_id = OauthIdOf(rule, asked->request);
    Admit(call, asked->scope, std::move(oauth_id),
          [this, &call, &rule, &workers, request = std::move(asked->request),
           story = std::move(story)](Result<Admitted> admitted) mutable {
            if (!admitted) return call.Refuse(admitted.error());
            call.Hold(std::move(admitted->place));
            RunOn(workers, call, [this, &call, &rule, request = std::move(request),
                                  story = std::move(story),
                                  call_admitted = std::move(*admitted)]() mutable {
              Response response;
              Result<void> told = Tell(story, call_admitted, request, response);
              told = audit::RecordEnd(trail_, rule.lines, std::move(call_admitted.entry),
                                      call_admitted.recorded, std::move(told));
              // What was done is told in any case; such an answer is small.
              if (told && !rule.lines.audited) told = call.GetPlace().Hold(response.ByteSizeLong());
              if (!told) return call.Refuse(told.error());
              call.Answer(Call::Encode(response));
            });
          });
  }

  /// Runs a step of an admitted call on `workers`, unless nobody waits for its answer any more when
  /// its turn comes. Where too many wait, the call is refused (Exhausted).
  void RunOn(Workers& workers, Call& call, Workers::Work step) const;

  /// Checks the bounds, takes a place, decides. A denial is recorded first; then, or at once where
  /// allowed, `done` is called: from this call or from the trail's thread. `oauth_id` stands in the
  /// line; empty: there is none. A call that is out of bounds (Invalid, Exhausted) or one too many
  /// (Exhausted) leaves no line: nothing was decided.
  using Done = std::move_only_function<void(Result<Admitted>)>;
  void Admit(const Call& call, const access::Scope& scope, std::string oauth_id,
             Done done) const {
    AdmitWith(call.GetMethod().rule->right, call, scope, std::move(oauth_id), std::move(done));
  }
  /// The same where a method asks for another right than its rule says.
  void AdmitWith(access::Right right, const Call& call, const access::Scope& scope,
                 std::string oauth_id, Done done) const;

  /// A second decision for the same caller, for stories that need two rights. The call's line names
  /// the right that was missing. Errors: Denied, which the story passes on.
  Result<access::Permit> AlsoPermit(Admitted& admitted, access::Right right) const;

  /// Decides once more, for a stream that goes on. Not recorded. Errors: Denied, Unauthenticated.
  Result<void> StillPermitted(const Call& call, const access::Scope& scope) const;

  /// The pair a request names, where the rule's right is on a pair. Errors: Invalid.
  template <class Request>
  static Result<access::Scope> ScopeOf(const Rule& rule, const Request& request) {
    if (rule.right == access::Right::kAudit) {
      // A method about one project may be granted on it.
      if constexpr (requires { request.project(); }) {
        if (request.project().empty()) return access::Scope::Vault();
        Result<ProjectId> project = ProjectId::Parse(request.project());
        if (!project) return Fail(std::move(project));
        return access::Scope::Whole(*project);
      }
    }
    if (!access::IsPairRight(rule.right)) return access::Scope::Vault();
    if constexpr (requires { request.project(), request.component(); }) {
      Result<ProjectId> project = ProjectId::Parse(request.project());
      if (!project) return Fail(std::move(project));
      Result<ComponentId> component = ComponentId::Parse(request.component());
      if (!component) return Fail(std::move(component));
      return access::Scope::Pair(*project, *component);
    } else {
      return Fail(Code::kInvalid, "the method names no project and component");
    }
  }

  /// The oauth id a request names, for the line; empty where it names none, or something that is no
  /// id: a line holds no free text.
  template <class Request>
  static std::string OauthIdOf(const Rule& rule, const Request& request) {
    std::string id;
    if constexpr (requires { request.oauth_id(); }) {
      id = request.oauth_id();
    } else if constexpr (requires { { request.id() } -> std::convertible_to<std::string>; }) {
      if (rule.act.starts_with("Credentials.")) id = request.id();
    }
    return IsValidId(id) ? id : std::string();
  }

  std::int64_t NowS() const { return clock_(); }
  audit::Trail& GetTrail() const { return trail_; }

 private:
  template <class Story, class Request, class Response>
  static Result<void> Tell(Story& story, Admitted& admitted, const Request& request,
                           Response& response) noexcept {
    try {
      return story(admitted, request, response);
    } catch (...) {
      return std::unexpected(FailedInside());
    }
  }
  // Work that waited beyond its call's deadline is not begun. Errors: Unavailable.
  Result<void> StillWanted(const Call& call) const;
  Result<void> CheckBounds(const Call& call) const;

  const Peers& peers_;
  const registry::Grants& grants_;
  const storage::Store& store_;
  audit::Trail& trail_;
  Concurrency& concurrency_;
  CallCounters& counters_;
  const Clock clock_;
};

}  // namespace oauthvault::rpc
