#include "daemon/rpc/sealed_service.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

#include "daemon/access/principal.h"
#include "daemon/rpc/status.h"

namespace oauthvault::rpc {
namespace {

constexpr std::size_t kMaxUnsealText = 4096;

Error SealedError() { return Error(Code::kSealed, "the vault is sealed"); }

class Refusing final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusing(grpc::GenericCallbackServerContext& call) {
    Finish(StatusOf(SealedError(), call));
  }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerUnaryReactor* SealedService::Status(grpc::CallbackServerContext* call,
                                                const v1::StatusRequest*,
                                                v1::StatusResponse* response) {
  response->set_version(facts_.version);
  response->set_sealed(true);
  response->set_principal(access::Principal::LocalAdmin().Str());
  response->set_trust_domain(facts_.trust_domain);
  response->set_address(facts_.address);
  response->set_started_at_s(facts_.started_at_s);
  Write(counters_, *response->mutable_edge());
  {
    const std::lock_guard lock(guard_);
    response->set_shares_given(progress_.shares_given);
    response->set_shares_needed(progress_.shares_needed);
  }
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

Result<crypto::Unlocker::Progress> SealedService::Give(const std::string& text) {
  if (text.empty() || text.size() > kMaxUnsealText) {
    return Fail(Code::kInvalid, "a secret that opens the vault has 1 to 4,096 bytes");
  }
  const std::lock_guard one_at_a_time(giving_);
  if (opened_) return Fail(Code::kConflict, "the vault was opened a moment ago");
  Result<crypto::Unlocker::Progress> progress =
      unlocker_.Give(crypto::SecretBytes::CopyOf(text));
  if (!progress) {
    ++refused_;
    spdlog::warn("a secret to unseal was refused code={} refused={}",
                 NameOf(progress.error().GetCode()), refused_);
    return progress;
  }
  {
    const std::lock_guard lock(guard_);
    progress_ = *progress;
  }
  if (!progress->open) return progress;
  Result<std::unique_ptr<crypto::Keyring>> keyring = unlocker_.Take();
  if (!keyring) return Fail(std::move(keyring));
  opened_ = true;
  on_open_({std::move(*keyring), refused_});
  return progress;
}

grpc::ServerUnaryReactor* SealedService::Unseal(grpc::CallbackServerContext* call,
                                                const v1::UnsealRequest* request,
                                                v1::UnsealResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  Workers::Work work = [this, call, reactor, request, response] {
    Result<crypto::Unlocker::Progress> progress = Give(request->text());
    if (!progress) return reactor->Finish(StatusOf(progress.error(), *call));
    response->set_open(progress->open);
    response->set_shares_given(progress->shares_given);
    response->set_shares_needed(progress->shares_needed);
    reactor->Finish(grpc::Status::OK);
  };
  if (!workers_.Post(work)) {
    reactor->Finish(StatusOf(Error(Code::kExhausted, "too many secrets wait to be tried"), *call));
  }
  return reactor;
}

grpc::ServerGenericBidiReactor* SealedRest::CreateReactor(
    grpc::GenericCallbackServerContext* call) {
  return new Refusing(*call);
}

}  // namespace oauthvault::rpc
