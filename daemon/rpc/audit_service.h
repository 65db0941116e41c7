#pragma once

#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/audit.grpc.pb.h"

namespace oauthvault::rpc {

/// audit.proto: reading and verifying the trail.
class AuditService final : public v1::Audit::CallbackService {
 public:
  AuditService(const Edge& edge, Workers& workers) : edge_(edge), workers_(workers) {}

  grpc::ServerUnaryReactor* Show(grpc::CallbackServerContext*, const v1::ShowAuditRequest*,
                                 v1::ShowAuditResponse*) override;
  grpc::ServerUnaryReactor* Verify(grpc::CallbackServerContext*, const v1::VerifyAuditRequest*,
                                   v1::VerifyAuditResponse*) override;

 private:
  const Edge& edge_;
  Workers& workers_;
};

}  // namespace oauthvault::rpc
