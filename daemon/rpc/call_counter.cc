#include "daemon/rpc/call_counter.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/rpc/status.h"

namespace oauthvault::rpc {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;

// `/oauthvault.v1.Credentials/Reveal` is `Credentials.Reveal`. Another's method is `other`: a label
// must not hold what a caller sent.
std::string ActOf(std::string_view method) {
  constexpr std::string_view kOurs = "/oauthvault.v1.";
  std::string name(method.substr(method.empty() ? 0 : 1));
  std::ranges::replace(name, '/', '.');
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  if (!method.starts_with(kOurs) || pool->FindMethodByName(name) == nullptr) return "other";
  return name.substr(kOurs.size() - 1);
}

class Counting final : public grpc::experimental::Interceptor {
 public:
  Counting(metrics::Calls& calls, std::string act) : calls_(calls), act_(std::move(act)) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      calls_.Count(metrics::Door::kGrpc, act_, OutcomeOf(*methods),
                   std::chrono::steady_clock::now() - begun_);
    }
    methods->Proceed();
  }

 private:
  static std::string OutcomeOf(InterceptorBatchMethods& methods) {
    if (methods.GetSendStatus().ok()) return "OK";
    const auto* trailing = methods.GetSendTrailingMetadata();
    if (trailing != nullptr) {
      const auto code = trailing->find(kCodeKey);
      if (code != trailing->end()) return code->second;
    }
    return "REFUSED";  // by gRPC itself: cancelled, too late, no message of the method
  }

  metrics::Calls& calls_;
  const std::string act_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace

grpc::experimental::Interceptor* CallCounter::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* info) {
  return new Counting(calls_, ActOf(info->method()));
}

}  // namespace oauthvault::rpc
