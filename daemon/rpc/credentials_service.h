#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/credentials.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// The contract's methods, with the two whose answers hold secrets as raw bytes.
using CredentialsMethods = v1::Credentials::WithCallbackMethod_Store<
    v1::Credentials::WithCallbackMethod_Describe<v1::Credentials::WithRawCallbackMethod_Reveal<
        v1::Credentials::WithRawCallbackMethod_Inject<v1::Credentials::WithCallbackMethod_List<
            v1::Credentials::WithCallbackMethod_Delete<v1::Credentials::Service>>>>>>;

/// credentials.proto. Reveal and Inject write their answer's bytes once, into memory that wipes
/// itself when gRPC lets go of it; they are exactly those of the message.
class CredentialsService final : public CredentialsMethods {
 public:
  CredentialsService(const Edge& edge, Workers& workers, storage::Store& store)
      : edge_(edge), workers_(workers), store_(store) {}

  grpc::ServerUnaryReactor* Store(grpc::CallbackServerContext*, const v1::StoreRequest*,
                                  v1::CredentialsInfo*) override;
  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext*, const v1::DescribeRequest*,
                                     v1::CredentialsInfo*) override;
  grpc::ServerUnaryReactor* Reveal(grpc::CallbackServerContext*, const grpc::ByteBuffer*,
                                   grpc::ByteBuffer*) noexcept override;
  grpc::ServerUnaryReactor* Inject(grpc::CallbackServerContext*, const grpc::ByteBuffer*,
                                   grpc::ByteBuffer*) noexcept override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext*, const v1::ListRequest*,
                                 v1::ListResponse*) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext*, const v1::DeleteRequest*,
                                   v1::DeleteResponse*) override;

 private:
  const Edge& edge_;
  Workers& workers_;
  storage::Store& store_;
};

}  // namespace oauthvault::rpc
