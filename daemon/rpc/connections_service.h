#pragma once

#include "daemon/rivery/connections.h"
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
                     const storage::Store& store, rivery::Connections& connections)
      : edge_(edge), workers_(workers), rivery_workers_(rivery_workers), store_(store),
        connections_(connections) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext*, const v1::GetConnectionRequest*,
                                v1::Connection*) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext*, const v1::ListConnectionsRequest*,
                                 v1::ListConnectionsResponse*) override;
  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext*,
                                   const v1::UpdateConnectionRequest*, v1::Connection*) override;

 private:
  Result<void> Write(const storage::Connection& row, v1::Connection& message) const;

  const Edge& edge_;
  Workers& workers_;
  Workers& rivery_workers_;
  const storage::Store& store_;
  rivery::Connections& connections_;
};

}  // namespace oauthvault::rpc
