#include "daemon/rpc/server.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>

#include <utility>

namespace oauthvault::rpc {
namespace {

using Acceptor = std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>;

std::shared_ptr<grpc::ServerCredentials> MutualTls(const registry::ServerIdentity& identity,
                                                   const std::string& ca_pem) {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = ca_pem;
  options.pem_key_cert_pairs.emplace_back();
  auto& pair = options.pem_key_cert_pairs.back();
  pair.cert_chain = identity.certificate_pem;
  identity.key.Bytes().Expose([&pair](std::span<const std::uint8_t> pem) {
    pair.private_key.assign(reinterpret_cast<const char*>(pem.data()), pem.size());
  });
  auto credentials = grpc::SslServerCredentials(options);
  crypto::Wipe(pair.private_key);
  return credentials;
}

void HandOver(const Acceptor& acceptor, int fd) {
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.listener_fd = -1;
  connection.fd = fd;
  acceptor->HandleNewConnection(&connection);
}

}  // namespace

struct Server::State {
  Acceptor tcp_acceptor;
  Acceptor unix_acceptor;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Door> tcp_door;
  std::unique_ptr<Door> unix_door;
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

namespace {

void SetLimits(grpc::ServerBuilder& builder, const Server::Settings& settings) {
  grpc::EnableDefaultHealthCheckService(true);
  builder.SetMaxReceiveMessageSize(kMaxRequestSize);
  builder.SetMaxSendMessageSize(kMaxAnswerSize);
  builder.AddChannelArgument("grpc.server_handshake_timeout_ms",
                             static_cast<int>(settings.handshake_timeout.count()));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataSize);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
}

Acceptor AcceptorFor(grpc::ServerBuilder& builder,
                     std::shared_ptr<grpc::ServerCredentials> credentials) {
  using grpc::ServerBuilder;
  return builder.experimental().AddExternalConnectionAcceptor(
      ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, std::move(credentials));
}

}  // namespace

Result<void> Server::OpenUnixDoor(Descriptor unix_socket, const Settings& settings) {
  auto door = Door::Open(std::move(unix_socket),
                         {"door-unix", settings.max_connections, IsOwnUser,
                          [raw = state_.get()](int fd) { HandOver(raw->unix_acceptor, fd); }});
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
                                              const registry::ServerIdentity& identity,
                                              const std::string& ca_pem,
                                              const std::vector<grpc::Service*>& services,
                                              const Settings& settings) {
  std::unique_ptr<Server> server(new Server(std::make_unique<State>()));
  State* state = server->state_.get();
  grpc::ServerBuilder builder;
  SetLimits(builder, settings);
  state->tcp_acceptor = AcceptorFor(builder, MutualTls(identity, ca_pem));
  state->unix_acceptor =
      AcceptorFor(builder, grpc::experimental::LocalServerCredentials(UDS));
  for (grpc::Service* service : services) builder.RegisterService(service);
  state->server = builder.BuildAndStart();
  if (state->server == nullptr) return Fail(Code::kUnavailable, "gRPC cannot start");
  if (auto opened = server->OpenUnixDoor(std::move(unix_socket), settings); !opened) {
    return Fail(std::move(opened));
  }
  auto opened = server->OpenTcpDoor(
      std::move(tcp), {"door-tcp", settings.max_connections, nullptr,
                       [state](int fd) { HandOver(state->tcp_acceptor, fd); }});
  if (!opened) return Fail(std::move(opened));
  return server;
}

Result<std::unique_ptr<Server>> Server::StartSealed(Descriptor tcp, Descriptor unix_socket,
                                                    grpc::Service* service,
                                                    grpc::CallbackGenericService* rest,
                                                    const Settings& settings) {
  std::unique_ptr<Server> server(new Server(std::make_unique<State>()));
  grpc::ServerBuilder builder;
  SetLimits(builder, settings);
  server->state_->unix_acceptor =
      AcceptorFor(builder, grpc::experimental::LocalServerCredentials(UDS));
  builder.RegisterService(service);
  builder.RegisterCallbackGenericService(rest);
  server->state_->server = builder.BuildAndStart();
  if (server->state_->server == nullptr) {
    return Fail(Code::kUnavailable, "gRPC cannot start for a sealed vault");
  }
  if (auto* health = server->state_->server->GetHealthCheckService()) {
    health->SetServingStatus(false);
  }
  if (auto opened = server->OpenUnixDoor(std::move(unix_socket), settings); !opened) {
    return Fail(std::move(opened));
  }
  auto opened = server->OpenTcpDoor(std::move(tcp), {"door-tcp", settings.max_connections,
                                                     [](int) { return false; }, nullptr});
  if (!opened) return Fail(std::move(opened));
  return server;
}

Server::~Server() { Stop(std::chrono::milliseconds(0)); }

void Server::Stop(std::chrono::milliseconds patience) {
  if (state_->server == nullptr) return;
  if (auto* health = state_->server->GetHealthCheckService()) health->SetServingStatus(false);
  state_->tcp_door.reset();
  state_->unix_door.reset();
  state_->server->Shutdown(std::chrono::system_clock::now() + patience);
  state_->server->Wait();
  state_->server.reset();
}

}  // namespace oauthvault::rpc
