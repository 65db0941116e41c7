#pragma once

#include "daemon/rivery/connections.h"
#include "daemon/rivery/propagation.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/connections.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// connections.proto: what stored authorizations became in Rivery.
class ConnectionsService final {
 public:
  /// `rivery_workers` run what waits for Rivery.
  ConnectionsService(const Edge& edge, Workers& workers, Workers& rivery_workers,
                     const storage::Store& store, rivery::Connections& connections,
                     const rivery::Propagation& propagation)
      : edge_(edge), workers_(workers), rivery_workers_(rivery_workers), store_(store),
        connections_(connections), propagation_(propagation) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Get(Call& call);
  void List(Call& call);
  void Update(Call& call);
  void Verify(Call& call);
  void Adopt(Call& call);
  void Delete(Call& call);

  Result<void> Write(const storage::Connection& row, v1::Connection& message) const;

  const Edge& edge_;
  Workers& workers_;
  Workers& rivery_workers_;
  const storage::Store& store_;
  rivery::Connections& connections_;
  const rivery::Propagation& propagation_;
};

}  // namespace oauthvault::rpc
