#pragma once

#include <grpcpp/support/server_interceptor.h>

#include "daemon/metrics/calls.h"

namespace oauthvault::rpc {

/// Counts every call that gRPC answers, streams and refusals too, in one place that no service can
/// forget: before the status leaves. Threads: any.
class CallCounter final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallCounter(metrics::Calls& calls) : calls_(calls) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  metrics::Calls& calls_;
};

}  // namespace oauthvault::rpc
