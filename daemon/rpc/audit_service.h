#pragma once

#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/audit.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// audit.proto: reading the trail, searching and verifying it, and what an outsider needs.
class AuditService final {
 public:
  AuditService(const Edge& edge, Workers& workers, const storage::Store& store)
      : edge_(edge), workers_(workers), store_(store) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Show(Call& call);
  void Verify(Call& call);
  void Find(Call& call);
  void Checkpoint(Call& call);
  void Extract(Call& call);

  const Edge& edge_;
  Workers& workers_;
  const storage::Store& store_;
};

}  // namespace oauthvault::rpc
