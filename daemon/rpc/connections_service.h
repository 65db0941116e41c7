#pragma once

#include "daemon/rivery/connections.h"
#include "daemon/rivery/propagation.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/connections.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// connections.proto: what stored authorizations became in Rivery.
class ConnectionsService final : public v1::Connections::CallbackService {
 public:
  /// `rivery_workers` run what waits for Rivery.
  ConnectionsService(const Edge& edge, Workers& workers, Workers& rivery_workers,
                     const storage::Store& store, rivery::Connections& connections,
                     const rivery::Propagation& propagation)
      : edge_(edge), workers_(workers), rivery_workers_(rivery_workers), store_(store),
        connections_(connections), propagation_(propagation) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext*, const v1::GetConnectionRequest*,
                                v1::Connection*) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext*, const v1::ListConnectionsRequest*,
                                 v1::ListConnectionsResponse*) override;
  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext*,
                                   const v1::UpdateConnectionRequest*, v1::Connection*) override;
  grpc::ServerUnaryReactor* Verify(grpc::CallbackServerContext*,
                                   const v1::VerifyConnectionsRequest*,
                                   v1::VerifyConnectionsResponse*) override;
  grpc::ServerUnaryReactor* Adopt(grpc::CallbackServerContext*, const v1::AdoptConnectionRequest*,
                                  v1::Connection*) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext*,
                                   const v1::DeleteConnectionRequest*,
                                   v1::DeleteConnectionResponse*) override;

 private:
  Result<void> Write(const storage::Connection& row, v1::Connection& message) const;

  const Edge& edge_;
  Workers& workers_;
  Workers& rivery_workers_;
  const storage::Store& store_;
  rivery::Connections& connections_;
  const rivery::Propagation& propagation_;
};

}  // namespace oauthvault::rpc
