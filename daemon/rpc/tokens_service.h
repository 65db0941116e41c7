#pragma once

#include "daemon/registry/tokens.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/tokens.pb.h"

namespace oauthvault::rpc {

/// oauthvault.v1.Tokens. Threads: any.
class TokensService final {
 public:
  TokensService(const Edge& edge, Workers& workers, storage::Store& store,
                registry::Tokens& tokens)
      : edge_(edge), workers_(workers), store_(store), tokens_(tokens) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Issue(Call& call);
  void List(Call& call);
  void Revoke(Call& call);

  const Edge& edge_;
  Workers& workers_;
  storage::Store& store_;
  registry::Tokens& tokens_;
};

}  // namespace oauthvault::rpc
