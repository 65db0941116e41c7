#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "crypto/error.h"
#include "daemon/metrics/calls.h"
#include "daemon/rpc/cork.h"
#include "daemon/rpc/counters.h"
#include "daemon/rpc/door.h"
#include "daemon/rpc/methods.h"
#include "daemon/rpc/tls_credentials.h"

namespace grpc {
class ServerBuilder;
}

namespace oauthvault::rpc {

/// A request has at most this many bytes; its method may take less (access_rules.h).
inline constexpr int kMaxRequestSize = 256 * 1024;
/// An answer may be larger: a page of a list, the trail.
inline constexpr int kMaxAnswerSize = 4 * 1024 * 1024;
/// Metadata of one call.
inline constexpr int kMaxMetadataSize = 8 * 1024;
/// Calls at one time on one connection.
inline constexpr int kMaxStreams = 128;
/// What gRPC may hold for calls that have not come in whole.
inline constexpr std::size_t kReceiveMemory = 64 * 1024 * 1024;
/// And for each connection that the doors have a place for: an idle one with TLS takes 31.2 KiB of
/// gRPC's account (and 120 kB of the process). When the account is used up, gRPC sends idle
/// connections away, however many places are left (GOAWAY, "Buffers full").
inline constexpr std::size_t kConnectionMemory = 32 * 1024;
/// A connection without calls is closed after so long, and any is told to go after the second; its
/// calls may finish (none takes longer than the third: the contract's longest deadline).
inline constexpr std::chrono::minutes kMaxConnectionIdle{5};
inline constexpr std::chrono::minutes kMaxConnectionAge{30};
inline constexpr std::chrono::minutes kMaxConnectionGrace{30};
/// A peer that says nothing is asked; without an answer in time the connection is closed.
inline constexpr std::chrono::seconds kKeepaliveInterval{60};
inline constexpr std::chrono::seconds kKeepaliveTimeout{20};
/// A peer may ask so often while nothing is called; the third time sooner, it is sent away.
inline constexpr std::chrono::seconds kMinPingInterval{30};
inline constexpr int kMaxPingStrikes = 2;
/// Descriptors that connections leave for the daemon itself.
inline constexpr std::uint64_t kOwnDescriptors = 64;

/// The two doors and gRPC behind them: a unix socket for the local admin, TCP with mutual TLS for
/// everybody else. Serves gRPC's health service beside the contract; no reflection. Nothing is
/// compressed: the size of what was compressed together with a secret tells about it.
class Server {
 public:
  /// Bounds of the doors; of the unix socket max_connections only.
  struct Settings {
    std::uint32_t max_connections;
    std::chrono::milliseconds handshake_timeout;
    std::uint32_t max_connections_per_address;
    std::uint32_t max_handshakes;
    metrics::Calls* calls = nullptr;  ///< where calls are counted; null: nowhere
    Corks* corks = nullptr;  ///< for TCP's connections; outlives the server; null: none
    std::size_t receive_memory = kReceiveMemory;  ///< less is for tests
  };
  /// Whom `methods` call, and `tls`, live as long as the server. Errors: Unavailable.
  static Result<std::unique_ptr<Server>> Start(Descriptor tcp, Descriptor unix_socket,
                                               TlsCredentials& tls, Methods methods,
                                               const Settings& settings, Counters& counters);

  /// The doors of a sealed vault: TCP closes every connection at once, as the certificate is
  /// sealed, too; the unix socket has `methods`. Health says NOT_SERVING. Errors: Unavailable.
  static Result<std::unique_ptr<Server>> StartSealed(Descriptor tcp, Descriptor unix_socket,
                                                     Methods methods, const Settings& settings,
                                                     Counters& counters);
  ~Server();

  /// Health says NOT_SERVING, the doors close, calls under way finish within `patience`.
  void Stop(std::chrono::milliseconds patience);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  static std::unique_ptr<Server> Unstarted(bool serving);
  Result<void> Build(grpc::ServerBuilder& builder, Methods methods, metrics::Calls* counted);
  Result<void> OpenUnixDoor(Descriptor unix_socket, const Settings& settings, Counters& counters);
  Result<void> OpenTcpDoor(Descriptor tcp, Door::Settings settings);
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::rpc
