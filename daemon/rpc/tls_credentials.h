#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "daemon/registry/authority.h"

namespace oauthvault::rpc {

/// What the TCP door shows to clients and whom its handshakes let in. Both may change while it
/// serves: each handshake takes what stands then, those under way and open connections go on, and
/// no file is watched. Threads: any.
class TlsCredentials {
 public:
  TlsCredentials();
  ~TlsCredentials();

  /// The certificate and key shown from the next handshake on. They must fit together
  /// (IssueServer, CheckServerPair): gRPC goes on with the old ones where they do not.
  void ShowAs(registry::ServerIdentity identity);
  /// The CAs whose client certificates are let in, in PEM, from the next handshake on.
  void LetIn(std::string roots_pem);

  /// The certificate that handshakes are shown now, the leaf first, in PEM.
  std::string ShownPem() const;

  /// Mutual TLS for one door; after both of the above. Lives no longer than this object.
  std::shared_ptr<grpc::ServerCredentials> ForDoor();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::rpc
