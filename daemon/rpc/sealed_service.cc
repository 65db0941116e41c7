#include "daemon/rpc/sealed_service.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

#include "daemon/access/principal.h"

namespace oauthvault::rpc {
namespace {

constexpr std::size_t kMaxUnsealText = 4096;

}  // namespace

void SealedService::AddTo(Methods& methods) {
  methods.Add("Operations.Status", *this, &SealedService::Status);
  methods.Add("Operations.Unseal", *this, &SealedService::Unseal);
  methods.AddOtherwise([](Call& call) {
    call.Refuse(Error(Code::kSealed, "the vault is sealed"));
  });
}

void SealedService::Status(Call& call) {
  v1::StatusResponse response;
  response.set_version(facts_.version);
  response.set_sealed(true);
  response.set_principal(access::Principal::LocalAdmin().Str());
  response.set_trust_domain(facts_.trust_domain);
  response.set_address(facts_.address);
  response.set_started_at_s(facts_.started_at_s);
  Write(counters_, *response.mutable_edge());
  {
    const std::lock_guard lock(guard_);
    response.set_shares_given(progress_.shares_given);
    response.set_shares_needed(progress_.shares_needed);
  }
  call.Answer(Call::Encode(response));
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

void SealedService::Unseal(Call& call) {
  Result<v1::UnsealRequest> asked = call.Decode<v1::UnsealRequest>();
  if (!asked) return call.Refuse(asked.error());
  Workers::Work work = [this, &call, request = std::move(*asked)] {
    Result<crypto::Unlocker::Progress> progress = Give(request.text());
    if (!progress) return call.Refuse(progress.error());
    v1::UnsealResponse response;
    response.set_open(progress->open);
    response.set_shares_given(progress->shares_given);
    response.set_shares_needed(progress->shares_needed);
    call.Answer(Call::Encode(response));
  };
  if (!workers_.Post(work)) {
    call.Refuse(Error(Code::kExhausted, "too many secrets wait to be tried"));
  }
}

}  // namespace oauthvault::rpc
