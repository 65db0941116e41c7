#pragma once

#include "daemon/registry/trust.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/trust.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// trust.proto: CAs outside of the vault whose certificates are believed, and revoked keys.
class TrustService final {
 public:
  TrustService(const Edge& edge, Workers& workers, storage::Store& store,
               registry::Trusts& trusts)
      : edge_(edge), workers_(workers), store_(store), trusts_(trusts) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Add(Call& call);
  void List(Call& call);
  void Remove(Call& call);
  void RevokeKey(Call& call);
  void ListRevokedKeys(Call& call);

  const Edge& edge_;
  Workers& workers_;
  storage::Store& store_;
  registry::Trusts& trusts_;
};

}  // namespace oauthvault::rpc
