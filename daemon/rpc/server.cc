#include "daemon/rpc/server.h"

#include <absl/synchronization/mutex.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "crypto/sabotage.h"
#include "daemon/rpc/call_loop.h"
#include "daemon/rpc/health.h"

namespace oauthvault::rpc {
namespace {

using Acceptor = std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>;

void HandOver(const Acceptor& acceptor, int fd) {
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = -1;
  connection.fd = fd;
  acceptor->HandleNewConnection(&connection);
}

}  // namespace

struct Server::State {
  explicit State(bool serving) : health(serving) {}

  Health health;
  std::unique_ptr<CallLoop> loop;  // outlives the server
  Acceptor tcp_acceptor;
  Acceptor unix_acceptor;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Door> tcp_door;
  std::unique_ptr<Door> unix_door;
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::unique_ptr<Server> Server::Unstarted(bool serving) {
  return std::unique_ptr<Server>(new Server(std::make_unique<State>(serving)));
}

Result<void> Server::Build(grpc::ServerBuilder& builder, Methods methods,
                           metrics::Calls* counted) {
  state_->health.AddTo(methods);
  if (counted != nullptr) methods.CountIn(*counted);
  state_->loop = std::make_unique<CallLoop>(builder, std::move(methods));
  state_->server = builder.BuildAndStart();
  if (state_->server == nullptr) return Fail(Code::kUnavailable, "gRPC cannot start");
  state_->loop->Start();
  return {};
}

namespace {

// What gRPC says may hold what a client sent; where it says it does not.
void LogPlaceOnly(gpr_log_func_args* said) {
  spdlog::debug("gRPC has something to say file={} line={}", said->file, said->line);
}

int Milliseconds(std::chrono::milliseconds time) { return static_cast<int>(time.count()); }

// As many as configured, or as descriptors are left for one door.
std::uint32_t WithinDescriptors(std::uint32_t configured) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return configured;
  const std::uint64_t left =
      std::max<std::uint64_t>(limit.rlim_cur, kOwnDescriptors + 2) - kOwnDescriptors;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(configured, left / 2));
}

void SetLimits(grpc::ServerBuilder& builder, const Server::Settings& settings) {
  gpr_set_log_function(LogPlaceOnly);
  // Debian's abseil comes with its search for deadlocks on: a graph at each of gRPC's locks.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  builder.SetMaxReceiveMessageSize(kMaxRequestSize);
  builder.SetMaxSendMessageSize(kMaxAnswerSize);
  for (const auto algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  const std::size_t places = 2 * std::size_t{WithinDescriptors(settings.max_connections)};
  builder.SetResourceQuota(grpc::ResourceQuota("doors").Resize(settings.receive_memory +
                                                               places * kConnectionMemory));
  if (!crypto::IsSabotaged(crypto::Sabotage::kNoHandshakeLimit)) {
    builder.AddChannelArgument("grpc.server_handshake_timeout_ms",
                               Milliseconds(settings.handshake_timeout));
  }
  const std::pair<const char*, int> arguments[] = {
      {GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataSize},
      {GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams},
      {GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(kMaxConnectionIdle)},
      {GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(kMaxConnectionAge)},
      {GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(kMaxConnectionGrace)},
      {GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(kKeepaliveInterval)},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(kKeepaliveTimeout)},
      {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, Milliseconds(kMinPingInterval)},
      {GRPC_ARG_HTTP2_MAX_PING_STRIKES, kMaxPingStrikes},
  };
  for (const auto& [name, value] : arguments) builder.AddChannelArgument(name, value);
}

Acceptor AcceptorFor(grpc::ServerBuilder& builder,
                     std::shared_ptr<grpc::ServerCredentials> credentials) {
  using grpc::ServerBuilder;
  return builder.experimental().AddExternalConnectionAcceptor(
      ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, std::move(credentials));
}

}  // namespace

Result<void> Server::OpenUnixDoor(Descriptor unix_socket, const Settings& settings,
                                  Counters& counters) {
  auto door = Door::Open(std::move(unix_socket),
                         {"door-unix", WithinDescriptors(settings.max_connections), IsOwnUser,
                          [raw = state_.get()](int fd) { HandOver(raw->unix_acceptor, fd); },
                          &counters.unix_socket});
  if (!door) return Fail(std::move(door));
  state_->unix_door = std::move(*door);
  return {};
}

Result<void> Server::OpenTcpDoor(Descriptor tcp, Door::Settings settings) {
  auto door = Door::Open(std::move(tcp), std::move(settings));
  if (!door) return Fail(std::move(door));
  state_->tcp_door = std::move(*door);
  return {};
}

Result<std::unique_ptr<Server>> Server::Start(Descriptor tcp, Descriptor unix_socket,
                                              TlsCredentials& tls, Methods methods,
                                              const Settings& settings, Counters& counters) {
  std::unique_ptr<Server> server = Unstarted(true);
  State* state = server->state_.get();
  grpc::ServerBuilder builder;
  SetLimits(builder, settings);
  const bool stock = crypto::IsSabotaged(crypto::Sabotage::kStockListener);
  if (stock) {
    builder.AddListeningPort(BoundAddress(tcp), tls.ForDoor());
  } else {
    state->tcp_acceptor = AcceptorFor(builder, tls.ForDoor());
  }
  state->unix_acceptor =
      AcceptorFor(builder, grpc::experimental::LocalServerCredentials(UDS));
  if (auto built = server->Build(builder, std::move(methods), settings.calls); !built) {
    return Fail(std::move(built));
  }
  if (auto opened = server->OpenUnixDoor(std::move(unix_socket), settings, counters);
      !opened) {
    return Fail(std::move(opened));
  }
  if (stock) return server;
  auto opened = server->OpenTcpDoor(
      std::move(tcp), {"door-tcp", WithinDescriptors(settings.max_connections), nullptr,
                       [state, corks = settings.corks](int fd) {
                         if (corks != nullptr) corks->Add(fd);
                         HandOver(state->tcp_acceptor, fd);
                       },
                       &counters.tcp,
                       settings.max_connections_per_address, settings.max_handshakes,
                       settings.handshake_timeout});
  if (!opened) return Fail(std::move(opened));
  return server;
}

Result<std::unique_ptr<Server>> Server::StartSealed(Descriptor tcp, Descriptor unix_socket,
                                                    Methods methods, const Settings& settings,
                                                    Counters& counters) {
  std::unique_ptr<Server> server = Unstarted(false);
  grpc::ServerBuilder builder;
  SetLimits(builder, settings);
  server->state_->unix_acceptor =
      AcceptorFor(builder, grpc::experimental::LocalServerCredentials(UDS));
  if (auto built = server->Build(builder, std::move(methods), settings.calls); !built) {
    return Fail(std::move(built));
  }
  if (auto opened = server->OpenUnixDoor(std::move(unix_socket), settings, counters);
      !opened) {
    return Fail(std::move(opened));
  }
  auto opened = server->OpenTcpDoor(std::move(tcp), {"door-tcp", settings.max_connections,
                                                     [](int) { return false; }, nullptr,
                                                     &counters.tcp});
  if (!opened) return Fail(std::move(opened));
  return server;
}

Server::~Server() { Stop(std::chrono::milliseconds(0)); }

void Server::Stop(std::chrono::milliseconds patience) {
  if (state_->server == nullptr) return;
  state_->health.EndServing();
  state_->tcp_door.reset();
  state_->unix_door.reset();
  state_->loop->TakeNoMore();
  state_->server->Shutdown(std::chrono::system_clock::now() + patience);
  state_->server->Wait();
  state_->loop->End();
  state_->server.reset();
}

}  // namespace oauthvault::rpc
