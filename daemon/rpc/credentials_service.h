#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "crypto/keyring.h"
#include "daemon/custody/changes.h"
#include "daemon/custody/store.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/ticker.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/credentials.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// The contract's methods, with the three whose answers hold secrets as raw bytes.
using CredentialsMethods = v1::Credentials::WithCallbackMethod_Store<
    v1::Credentials::WithCallbackMethod_Describe<v1::Credentials::WithRawCallbackMethod_Reveal<
        v1::Credentials::WithRawCallbackMethod_RevealMany<v1::Credentials::WithCallbackMethod_Watch<
            v1::Credentials::WithRawCallbackMethod_Inject<
                v1::Credentials::WithCallbackMethod_Encrypt<
                    v1::Credentials::WithCallbackMethod_List<
                        v1::Credentials::WithCallbackMethod_Delete<
                            v1::Credentials::WithCallbackMethod_ListVersions<
                                v1::Credentials::WithCallbackMethod_RollBack<
                                    v1::Credentials::WithCallbackMethod_Prune<
                                        v1::Credentials::Service>>>>>>>>>>>>;

/// credentials.proto. Reveal, RevealMany and Inject write their answer's bytes once, into memory
/// that wipes itself when gRPC lets go of it; they are exactly those of the message. RevealMany
/// stands in reveal_many.cc, Watch in watch_credentials.cc.
class CredentialsService final : public CredentialsMethods {
 public:
  CredentialsService(const Edge& edge, Workers& workers, crypto::Keyring& keyring,
                     storage::Store& store, custody::KeptVersions kept_versions,
                     custody::Changes& changes, Ticker& ticker)
      : edge_(edge), workers_(workers), keyring_(keyring), store_(store),
        kept_versions_(kept_versions), changes_(changes), ticker_(ticker) {}

  grpc::ServerUnaryReactor* Store(grpc::CallbackServerContext*, const v1::StoreRequest*,
                                  v1::CredentialsInfo*) override;
  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext*, const v1::DescribeRequest*,
                                     v1::CredentialsInfo*) override;
  grpc::ServerUnaryReactor* Reveal(grpc::CallbackServerContext*, const grpc::ByteBuffer*,
                                   grpc::ByteBuffer*) noexcept override;
  grpc::ServerUnaryReactor* RevealMany(grpc::CallbackServerContext*, const grpc::ByteBuffer*,
                                       grpc::ByteBuffer*) noexcept override;
  grpc::ServerWriteReactor<v1::CredentialsEvent>* Watch(
      grpc::CallbackServerContext*, const v1::WatchCredentialsRequest*) noexcept override;
  grpc::ServerUnaryReactor* Inject(grpc::CallbackServerContext*, const grpc::ByteBuffer*,
                                   grpc::ByteBuffer*) noexcept override;
  grpc::ServerUnaryReactor* Encrypt(grpc::CallbackServerContext*, const v1::EncryptRequest*,
                                    v1::EncryptResponse*) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext*, const v1::ListRequest*,
                                 v1::ListResponse*) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext*, const v1::DeleteRequest*,
                                   v1::DeleteResponse*) override;
  grpc::ServerUnaryReactor* ListVersions(grpc::CallbackServerContext*,
                                         const v1::ListVersionsRequest*,
                                         v1::ListVersionsResponse*) override;
  grpc::ServerUnaryReactor* RollBack(grpc::CallbackServerContext*, const v1::RollBackRequest*,
                                     v1::CredentialsInfo*) override;
  grpc::ServerUnaryReactor* Prune(grpc::CallbackServerContext*, const v1::PruneRequest*,
                                  v1::PruneResponse*) override;

 private:
  const Edge& edge_;
  Workers& workers_;
  crypto::Keyring& keyring_;
  storage::Store& store_;
  const custody::KeptVersions kept_versions_;
  custody::Changes& changes_;
  Ticker& ticker_;
};

}  // namespace oauthvault::rpc
