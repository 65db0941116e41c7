// Credentials.RevealMany: one decision, one group of audit lines and one buffer for up to 64
// credentials. Like Reveal it takes no worker: what is left for each credential is to read it, to
// write its line and to open it.

#include "daemon/custody/reveal_many.h"

#include <utility>

#include "daemon/rpc/credentials_service.h"
#include "daemon/rpc/oauth_ids.h"
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

void CredentialsService::RevealMany(Call& call) {
  auto asked = Edge::Read<v1::RevealManyRequest>(call);
  if (!asked) return call.Refuse(asked.error());
  Result<std::vector<OauthId>> ids = IdsOf(asked->request);
  if (!ids) return call.Refuse(ids.error());

  edge_.Admit(call, asked->scope, {},
              [this, &call, ids = std::move(*ids)](Result<Admitted> admitted) mutable {
                if (!admitted) return call.Refuse(admitted.error());
                call.Hold(std::move(admitted->place));
                auto may_leave = [&call](std::span<const custody::Sought> items) {
                  return CheckSize(items, call.GetPlace());
                };
                auto answer = [&call](Result<custody::Releases> releases) {
                  if (!releases) return call.Refuse(releases.error());
                  Take(call, [&] { call.Answer(WriteRevealManyResponse(std::move(*releases))); });
                };
                Take(call, [&] {
                  custody::RevealMany(std::move(admitted->permit), std::move(ids),
                                      admitted->caller, call.GetMethod().rule->act, store_,
                                      edge_.GetTrail(), std::move(may_leave), std::move(answer));
                });
              });
}

}  // namespace oauthvault::rpc
