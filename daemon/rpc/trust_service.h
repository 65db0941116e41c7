#pragma once

#include "daemon/registry/trust.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/trust.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// trust.proto: CAs outside of the vault whose certificates are believed, and revoked keys.
class TrustService final : public v1::Trust::CallbackService {
 public:
  TrustService(const Edge& edge, Workers& workers, storage::Store& store,
               registry::Trusts& trusts)
      : edge_(edge), workers_(workers), store_(store), trusts_(trusts) {}

  grpc::ServerUnaryReactor* Add(grpc::CallbackServerContext*, const v1::AddTrustRequest*,
                                v1::TrustAnchor*) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext*, const v1::ListTrustRequest*,
                                 v1::ListTrustResponse*) override;
  grpc::ServerUnaryReactor* Remove(grpc::CallbackServerContext*, const v1::RemoveTrustRequest*,
                                   v1::RemoveTrustResponse*) override;
  grpc::ServerUnaryReactor* RevokeKey(grpc::CallbackServerContext*, const v1::RevokeKeyRequest*,
                                      v1::RevokedKey*) override;
  grpc::ServerUnaryReactor* ListRevokedKeys(grpc::CallbackServerContext*,
                                            const v1::ListRevokedKeysRequest*,
                                            v1::ListRevokedKeysResponse*) override;

 private:
  const Edge& edge_;
  Workers& workers_;
  storage::Store& store_;
  registry::Trusts& trusts_;
};

}  // namespace oauthvault::rpc
