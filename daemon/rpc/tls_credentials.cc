#include "daemon/rpc/tls_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <cstdint>
#include <mutex>
#include <span>
#include <utility>

namespace oauthvault::rpc {

struct TlsCredentials::State {
  std::mutex guard;  // guards all members
  registry::ServerIdentity identity;
  std::string roots_pem;
  std::uint64_t generation = 0;
  std::uint64_t fetched = 0;  // the generation that gRPC has
};

namespace {

// gRPC's C interface takes a function that it asks at each handshake; the C++ one has only files
// that it watches, and an empty one of those ends the process.
class FetchedCredentials final : public grpc::ServerCredentials {
 public:
  // Takes the options.
  explicit FetchedCredentials(grpc_ssl_server_credentials_options* options)
      : credentials_(grpc_ssl_server_credentials_create_with_options(options)) {}
  ~FetchedCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  grpc_server_credentials* const credentials_;
};

}  // namespace

TlsCredentials::TlsCredentials() : state_(std::make_unique<State>()) {}
TlsCredentials::~TlsCredentials() = default;

void TlsCredentials::ShowAs(registry::ServerIdentity identity) {
  const std::lock_guard lock(state_->guard);
  state_->identity = std::move(identity);
  ++state_->generation;
}

void TlsCredentials::LetIn(std::string roots_pem) {
  const std::lock_guard lock(state_->guard);
  state_->roots_pem = std::move(roots_pem);
  ++state_->generation;
}

std::string TlsCredentials::ShownPem() const {
  const std::lock_guard lock(state_->guard);
  return state_->identity.certificate_pem;
}

std::shared_ptr<grpc::ServerCredentials> TlsCredentials::ForDoor() {
  const auto fetch = [](void* data, grpc_ssl_server_certificate_config** config)
      -> grpc_ssl_certificate_config_reload_status {
    State& state = *static_cast<State*>(data);
    const std::lock_guard lock(state.guard);
    if (state.fetched == state.generation) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    std::string key_pem;
    state.identity.key.Bytes().Expose([&key_pem](std::span<const std::uint8_t> pem) {
      key_pem.assign(reinterpret_cast<const char*>(pem.data()), pem.size());
    });
    const grpc_ssl_pem_key_cert_pair pair{key_pem.c_str(),
                                          state.identity.certificate_pem.c_str()};
    *config = grpc_ssl_server_certificate_config_create(state.roots_pem.c_str(), &pair, 1);
    crypto::Wipe(key_pem);
    state.fetched = state.generation;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  };
  {
    const std::lock_guard lock(state_->guard);
    state_->fetched = 0;  // a new door has nothing yet
  }
  grpc_ssl_server_credentials_options* options =
      grpc_ssl_server_credentials_create_options_using_config_fetcher(
          GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, fetch, state_.get());
  return std::make_shared<FetchedCredentials>(options);
}

}  // namespace oauthvault::rpc
