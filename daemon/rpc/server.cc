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

Result<std::unique_ptr<Server>> Server::Start(Descriptor tcp, Descriptor unix_socket,
                                              const registry::ServerIdentity& identity,
                                              const std::string& ca_pem,
                                              const std::vector<grpc::Service*>& services,
                                              const Settings& settings) {
  auto state = std::make_unique<State>();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxRequestSize);
  builder.SetMaxSendMessageSize(kMaxAnswerSize);
  builder.AddChannelArgument("grpc.server_handshake_timeout_ms",
                             static_cast<int>(settings.handshake_timeout.count()));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataSize);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  using grpc::ServerBuilder;
  state->tcp_acceptor = builder.experimental().AddExternalConnectionAcceptor(
      ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      MutualTls(identity, ca_pem));
  state->unix_acceptor = builder.experimental().AddExternalConnectionAcceptor(
      ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::experimental::LocalServerCredentials(UDS));
  for (grpc::Service* service : services) builder.RegisterService(service);
  state->server = builder.BuildAndStart();
  if (state->server == nullptr) return Fail(Code::kUnavailable, "gRPC cannot start");

  State* raw = state.get();
  auto unix_door = Door::Open(
      std::move(unix_socket),
      {"door-unix", settings.max_connections, IsOwnUser,
       [raw](int fd) { HandOver(raw->unix_acceptor, fd); }});
  if (!unix_door) return Fail(std::move(unix_door));
  state->unix_door = std::move(*unix_door);
  auto tcp_door = Door::Open(std::move(tcp), {"door-tcp", settings.max_connections, nullptr,
                                              [raw](int fd) { HandOver(raw->tcp_acceptor, fd); }});
  if (!tcp_door) return Fail(std::move(tcp_door));
  state->tcp_door = std::move(*tcp_door);
  return std::unique_ptr<Server>(new Server(std::move(state)));
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
