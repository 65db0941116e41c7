#pragma once

#include <cstdint>
#include <string>

#include "crypto/keyring.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/operations.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// What stays the same while a daemon runs, for `status`.
struct DaemonFacts {
  std::string version;
  std::string trust_domain;
  std::string address;  ///< ip:port of the TCP door, as bound
  std::int64_t started_at_s = 0;
};

/// operations.proto: the daemon itself.
class OperationsService final : public v1::Operations::CallbackService {
 public:
  OperationsService(const Edge& edge, Workers& workers, const crypto::Keyring& keyring,
                    const storage::Store& store, const registry::Grants& grants,
                    const DaemonFacts& facts)
      : edge_(edge), workers_(workers), keyring_(keyring), store_(store), grants_(grants),
        facts_(facts) {}

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext*, const v1::StatusRequest*,
                                   v1::StatusResponse*) override;

 private:
  const Edge& edge_;
  Workers& workers_;
  const crypto::Keyring& keyring_;
  const storage::Store& store_;
  const registry::Grants& grants_;
  const DaemonFacts& facts_;
};

}  // namespace oauthvault::rpc
