#pragma once

#include "daemon/registry/tokens.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/tokens.grpc.pb.h"

namespace oauthvault::rpc {

/// oauthvault.v1.Tokens. Threads: any.
class TokensService final : public v1::Tokens::CallbackService {
 public:
  TokensService(const Edge& edge, Workers& workers, storage::Store& store,
                registry::Tokens& tokens)
      : edge_(edge), workers_(workers), store_(store), tokens_(tokens) {}

  grpc::ServerUnaryReactor* Issue(grpc::CallbackServerContext*, const v1::IssueTokenRequest*,
                                  v1::IssueTokenResponse*) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext*, const v1::ListTokensRequest*,
                                 v1::ListTokensResponse*) override;
  grpc::ServerUnaryReactor* Revoke(grpc::CallbackServerContext*, const v1::RevokeTokenRequest*,
                                   v1::RevokeTokenResponse*) override;

 private:
  const Edge& edge_;
  Workers& workers_;
  storage::Store& store_;
  registry::Tokens& tokens_;
};

}  // namespace oauthvault::rpc
