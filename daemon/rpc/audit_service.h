#pragma once

#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/audit.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// audit.proto: reading the trail, searching and verifying it, and what an outsider needs.
class AuditService final : public v1::Audit::CallbackService {
 public:
  AuditService(const Edge& edge, Workers& workers, const storage::Store& store)
      : edge_(edge), workers_(workers), store_(store) {}

  grpc::ServerUnaryReactor* Show(grpc::CallbackServerContext*, const v1::ShowAuditRequest*,
                                 v1::ShowAuditResponse*) override;
  grpc::ServerUnaryReactor* Verify(grpc::CallbackServerContext*, const v1::VerifyAuditRequest*,
                                   v1::VerifyAuditResponse*) override;
  grpc::ServerUnaryReactor* Find(grpc::CallbackServerContext*, const v1::FindAuditRequest*,
                                 v1::FindAuditResponse*) override;
  grpc::ServerUnaryReactor* Checkpoint(grpc::CallbackServerContext*, const v1::CheckpointRequest*,
                                       v1::CheckpointResponse*) override;
  grpc::ServerUnaryReactor* Extract(grpc::CallbackServerContext*, const v1::ExtractAuditRequest*,
                                    v1::ExtractAuditResponse*) override;

 private:
  const Edge& edge_;
  Workers& workers_;
  const storage::Store& store_;
};

}  // namespace oauthvault::rpc
