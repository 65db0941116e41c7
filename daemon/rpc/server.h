#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/impl/codegen/service_type.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "crypto/error.h"
#include "daemon/registry/authority.h"
#include "daemon/rpc/door.h"

namespace oauthvault::rpc {

/// A request has at most this many bytes.
inline constexpr int kMaxRequestSize = 256 * 1024;
/// An answer may be larger: a page of a list, the trail.
inline constexpr int kMaxAnswerSize = 4 * 1024 * 1024;
/// Metadata of one call.
inline constexpr int kMaxMetadataSize = 8 * 1024;
/// Calls at one time on one connection.
inline constexpr int kMaxStreams = 128;

/// The two doors and gRPC behind them: a unix socket for the local admin, TCP with mutual TLS for
/// everybody else. Serves gRPC's health service beside the contract.
class Server {
 public:
  /// Bounds of the TCP door.
  struct Settings {
    std::uint32_t max_connections;
    std::chrono::milliseconds handshake_timeout;
  };
  /// `services` live as long as the server. `ca_pem`: whose client certificates are accepted.
  /// Errors: Unavailable.
  static Result<std::unique_ptr<Server>> Start(Descriptor tcp, Descriptor unix_socket,
                                               const registry::ServerIdentity& identity,
                                               const std::string& ca_pem,
                                               const std::vector<grpc::Service*>& services,
                                               const Settings& settings);

  /// The doors of a sealed vault: TCP closes every connection at once, as the certificate is
  /// sealed, too; the unix socket has `service`, and `rest` for every other method. Health says
  /// NOT_SERVING. Errors: Unavailable.
  static Result<std::unique_ptr<Server>> StartSealed(Descriptor tcp, Descriptor unix_socket,
                                                     grpc::Service* service,
                                                     grpc::CallbackGenericService* rest,
                                                     const Settings& settings);
  ~Server();

  /// Health says NOT_SERVING, the doors close, calls under way finish within `patience`.
  void Stop(std::chrono::milliseconds patience);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  Result<void> OpenUnixDoor(Descriptor unix_socket, const Settings& settings);
  Result<void> OpenTcpDoor(Descriptor tcp, Door::Settings settings);
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::rpc
