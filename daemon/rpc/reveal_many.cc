// Credentials.RevealMany: one decision, one group of audit lines and one buffer for up to 64
// credentials. Like Reveal it takes no worker: what is left for each credential is to read it, to
// write its line and to open it.

#include "daemon/custody/reveal_many.h"

#include <utility>

#include "daemon/rpc/credentials_service.h"
#include "daemon/rpc/oauth_ids.h"
#include "daemon/rpc/raw_call.h"
#include "daemon/rpc/secret_reply.h"

namespace oauthvault::rpc {
namespace {

Result<std::vector<OauthId>> IdsOf(const v1::RevealManyRequest& asked) {
  if (asked.ids().empty()) return Fail(Code::kInvalid, "the request names no oauth id to reveal");
  return DistinctIds(asked.ids());
}

// Before anything is recorded: what does not fit leaves no trace of a reveal that never was.
Result<void> CheckSize(std::span<const custody::Sought> items, Concurrency::Place& place) {
  const std::size_t size = RevealManyResponseSize(items);
  if (size > kMaxRevealManySize) {
    return Fail(Code::kExhausted, "these credentials are more bytes than one answer holds; ask for "
                                  "fewer", Subject::Number(kMaxRevealManySize));
  }
  return place.Hold(size);
}

}  // namespace

grpc::ServerUnaryReactor* CredentialsService::RevealMany(grpc::CallbackServerContext* call,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) noexcept {
  auto* reactor = new UnaryCall;
  const auto refuse = [call, reactor](const Error& error) {
    reactor->Finish(StatusOf(error, *call));
  };
  const Rule& rule = edge_.Rules().Of("Credentials.RevealMany");
  Result<v1::RevealManyRequest> asked = Decode<v1::RevealManyRequest>(*request);
  if (!asked) return refuse(asked.error()), reactor;
  Result<access::Scope> scope = Edge::ScopeOf(rule, *asked);
  if (!scope) return refuse(scope.error()), reactor;
  Result<std::vector<OauthId>> ids = IdsOf(*asked);
  if (!ids) return refuse(ids.error()), reactor;

  edge_.Admit(call, rule, request->Length(), *scope, {},
              [this, refuse, reactor, response, act = rule.act,
               ids = std::move(*ids)](Result<Admitted> admitted) mutable {
                if (!admitted) return refuse(admitted.error());
                reactor->Hold(std::move(admitted->place));
                auto may_leave = [reactor](std::span<const custody::Sought> items) {
                  return CheckSize(items, reactor->GetPlace());
                };
                auto answer = [refuse, reactor, response](Result<custody::Releases> releases) {
                  if (!releases) return refuse(releases.error());
                  Take(refuse, [&] {
                    *response = WriteRevealManyResponse(std::move(*releases));
                    reactor->Finish(grpc::Status::OK);
                  });
                };
                Take(refuse, [&] {
                  custody::RevealMany(std::move(admitted->permit), std::move(ids),
                                      admitted->caller, std::move(act), store_,
                                      edge_.GetTrail(), std::move(may_leave), std::move(answer));
                });
              });
  return reactor;
}

}  // namespace oauthvault::rpc
