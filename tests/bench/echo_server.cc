// The stock echo: a typed service of grpc++'s callback interface, over mutual TLS or a unix socket,
// built the ordinary way. It is what the vault's figures are compared with.
//   echo_server REPLY_BYTES CERTIFICATE KEY CA [UNIX_SOCKET]
// Prints `listening PORT`, and ends with its standard input.
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "echo.grpc.pb.h"

namespace oauthvault::bench {
namespace {

class EchoService final : public Echo::CallbackService {
 public:
  explicit EchoService(std::size_t reply_bytes) : reply_(reply_bytes, 'r') {}

  grpc::ServerUnaryReactor* Say(grpc::CallbackServerContext* call, const EchoRequest*,
                                EchoReply* reply) override {
    reply->set_data(reply_);
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const std::string reply_;
};

std::string ReadAll(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int Serve(int count, char** words) {
  if (count != 5 && count != 6) return 1;
  EchoService service(std::stoul(words[1]));
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_key_cert_pairs.push_back({ReadAll(words[3]), ReadAll(words[2])});
  options.pem_root_certs = ReadAll(words[4]);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options), &port);
  if (count == 6) {
    builder.AddListeningPort(std::string("unix:") + words[5], grpc::InsecureServerCredentials());
  }
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::printf("listening %d\n", port);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  server->Shutdown();
  return 0;
}

}  // namespace
}  // namespace oauthvault::bench

int main(int count, char** words) { return oauthvault::bench::Serve(count, words); }
