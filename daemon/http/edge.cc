#include "daemon/http/edge.h"

#include <chrono>
#include <utility>

#include "crypto/fields.h"
#include "daemon/audit/call_line.h"
#include "daemon/http/routes.h"

namespace oauthvault::http {
namespace {

// Where the right is asked. POST /encrypt names its component and project in the query.
Result<access::Scope> ScopeOf(const Route& route, const Visit& visit,
                              const storage::Token& token) {
  if (route.shows == Shows::kManageToken) return access::Scope::Vault();
  access::Scope scope{token.project, visit.component};
  for (const auto& [name, value] : visit.request.query) {
    if (visit.component.empty() && name == "componentId") {
      auto component = ComponentId::Parse(Decode(value, true).value_or(std::string()));
      if (!component) return Fail(std::move(component));
      scope.component = component->Str();
    } else if (visit.component.empty() && name == "projectId") {
      auto project = ProjectId::Parse(Decode(value, true).value_or(std::string()));
      if (!project) return Fail(std::move(project));
      scope.project = project->Str();
    }
  }
  if (scope.component.empty()) {
    return Fail(Code::kInvalid, "the query names no componentId");
  }
  return scope;
}

}  // namespace

Reply Edge::Answer(const Request& request) const noexcept {
  const auto begun = std::chrono::steady_clock::now();
  const Route* route = nullptr;
  Reply reply;
  std::string_view outcome = "OK";
  // A connection's thread would end the process with what is thrown into microhttpd.
  try {
    Result<Reply> answer = Take(request, route);
    if (answer) {
      reply = std::move(*answer);
    } else {
      reply = ErrorReply(answer.error(), request.request_id);
      outcome = NameOf(answer.error().GetCode());
    }
    if (reply.status >= 400 && outcome == "OK") outcome = "REFUSED";
    calls_.Count(metrics::Door::kHttp, route == nullptr ? "other" : route->act, outcome,
                 std::chrono::steady_clock::now() - begun);
  } catch (...) {
    reply = {.status = 503};
  }
  return reply;
}

Result<Reply> Edge::Take(const Request& request, const Route*& route) const {
  if (request.too_large) {
    return ErrorReply(413, "the body has more than 256 KiB", request.request_id);
  }
  auto matched = Match(request);
  if (!matched) return Fail(std::move(matched));
  route = matched->route;
  if (route == nullptr) {
    if (matched->allow.empty()) return Fail(Code::kNotFound, "there is no such route");
    Reply reply = ErrorReply(405, "the route has no such method", request.request_id);
    reply.allow = matched->allow;
    return reply;
  }
  if (vault_ == nullptr && !route->while_sealed) {
    return Fail(Code::kSealed, "the vault is sealed; it answers when it has been opened");
  }
  Visit visit{request, vault_, calls_, gauges_, std::move(matched->component),
              std::move(matched->id)};
  if (route->shows == Shows::kNothing) return route->tell(visit);
  if (auto admitted = Admit(*route, visit); !admitted) return Fail(std::move(admitted));
  Result<Reply> told = route->tell(visit);
  Result<void> ended;
  if (!told) ended = std::unexpected(told.error());
  ended = audit::RecordEnd(vault_->trail, route->lines, std::move(visit.entry), visit.recorded,
                           std::move(ended));
  if (!ended) return Fail(std::move(ended));
  return told;
}

Result<void> Edge::Admit(const Route& route, Visit& visit) const {
  const Request& request = visit.request;
  visit.entry.act = route.act;
  visit.entry.right = access::NameOf(route.right);
  visit.entry.component = visit.component;
  visit.entry.oauth_id = visit.id;
  visit.entry.peer = request.peer;
  visit.entry.request_id = request.request_id;
  visit.entry.principal = "-";

  const auto& shown =
      route.shows == Shows::kManageToken ? request.manage_token : request.storage_token;
  auto holder = [&]() -> Result<registry::TokenHolder> {
    if (!shown) {
      const Text header = route.shows == Shows::kManageToken ? Text("X-KBC-ManageApiToken")
                                                             : Text("X-StorageApi-Token");
      return Fail(Code::kUnauthenticated, "the request shows no token in the header of this route",
                  Subject::Key(header));
    }
    return shown->Expose([&](std::span<const std::uint8_t> text) {
      return vault_->tokens.Recognize(crypto::AsField(text), vault_->now_s());
    });
  }();
  if (!holder) {
    if (holder.error().GetCode() == Code::kUnauthenticated) return Deny(holder.error(), visit);
    return std::unexpected(holder.error());
  }
  visit.entry.principal = holder->principal.Str();
  auto scope = ScopeOf(route, visit, holder->token);
  if (!scope) return Fail(std::move(scope));
  if (route.shows == Shows::kProjectToken) {
    visit.entry.project = scope->project;
    visit.entry.component = scope->component;
  }
  auto permit = access::Decide(holder->principal, route.right, *scope, holder->rights);
  if (!permit) return Deny(permit.error(), visit);
  if (auto room = audit::CheckRoom(vault_->trail, route.lines); !room) return room;
  visit.permit = std::move(*permit);
  visit.holder = std::move(*holder);
  return {};
}

Result<void> Edge::Deny(const Error& error, Visit& visit) const {
  visit.entry.outcome = audit::Outcome::kDenied;
  visit.entry.code = NameOf(error.GetCode());
  auto recorded = vault_->trail.RecordDenialAndWait(std::move(visit.entry));
  if (!recorded) return Fail(std::move(recorded));
  return std::unexpected(error);
}

}  // namespace oauthvault::http
