#include "tests/client/fake_vault.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

/// LeakSanitizer asks for this: c-ares 1.18, which gRPC resolves names with, leaks 10 bytes for
/// each channel.
extern "C" const char* __lsan_default_suppressions() { return "leak:libcares"; }

namespace oauthvault::client {
namespace {

std::string TextOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  (void)buffer.Dump(&slices);
  std::string text;
  for (const auto& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

/// One slice for every 7 bytes, so that what is read is always split.
grpc::ByteBuffer BufferOf(const std::string& text) {
  constexpr std::size_t kSliceSize = 7;
  std::vector<grpc::Slice> slices;
  for (std::size_t at = 0; at < text.size(); at += kSliceSize) {
    slices.emplace_back(text.substr(at, kSliceSize));
  }
  return {slices.data(), slices.size()};
}

std::string FileText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

struct FakeVault::Server {
  std::string address;
  std::shared_ptr<grpc::ServerCredentials> credentials;
  /// gRPC takes a service once only, so every start makes one.
  std::unique_ptr<grpc::CallbackGenericService> service;
  std::unique_ptr<grpc::Server> running;
  int port = 0;
  mutable std::mutex mutex;
  std::map<std::string, std::deque<Answer>> answers;
  std::map<std::string, std::vector<std::string>> requests;
  std::string request_id;
  std::chrono::seconds timeout{0};

  class Call : public grpc::ServerGenericBidiReactor {
   public:
    Call(Server& server, grpc::GenericCallbackServerContext& context)
        : server_(server), context_(context) {
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status(grpc::StatusCode::INTERNAL, "no request"));
      answer_ = server_.Take(context_, TextOf(request_));
      if (answer_.delay.count() > 0) std::this_thread::sleep_for(answer_.delay);
      Next();
    }
    void OnWriteDone(bool) override { Next(); }
    void OnDone() override { delete this; }

   private:
    void Next() {
      if (written_ < answer_.messages.size()) {
        reply_ = BufferOf(answer_.messages[written_++]);
        return StartWrite(&reply_);
      }
      if (answer_.code) {
        context_.AddTrailingMetadata("oauthvault-code", std::string(NameOf(*answer_.code)));
        return Finish(grpc::Status(grpc::StatusCode::UNKNOWN, answer_.text));
      }
      Finish(grpc::Status(static_cast<grpc::StatusCode>(answer_.status), answer_.text));
    }
    Server& server_;
    grpc::GenericCallbackServerContext& context_;
    grpc::ByteBuffer request_;
    grpc::ByteBuffer reply_;
    Answer answer_;
    std::size_t written_ = 0;
  };

  Answer Take(const grpc::GenericCallbackServerContext& context, std::string request) {
    const std::scoped_lock lock(mutex);
    const std::string prefix = "/oauthvault.v1.";
    const std::string method = context.method().substr(prefix.size());
    requests[method].push_back(std::move(request));
    const auto id = context.client_metadata().find("x-request-id");
    request_id = id == context.client_metadata().end()
                     ? ""
                     : std::string(id->second.data(), id->second.size());
    timeout = std::chrono::round<std::chrono::seconds>(context.deadline() -
                                                       std::chrono::system_clock::now());
    const auto found = answers.find(method);
    if (found != answers.end()) {
      Answer answer = found->second.front();
      if (found->second.size() > 1) found->second.pop_front();
      return answer;
    }
    return {.messages = {}, .status = static_cast<int>(grpc::StatusCode::UNIMPLEMENTED)};
  }

  class Service : public grpc::CallbackGenericService {
   public:
    explicit Service(Server& server) : server_(server) {}

   private:
    grpc::ServerGenericBidiReactor* CreateReactor(
        grpc::GenericCallbackServerContext* context) override {
      return new Call(server_, *context);
    }
    Server& server_;
  };
};

FakeVault::FakeVault(std::filesystem::path socket) : server_(std::make_unique<Server>()) {
  server_->address = "unix:" + socket.string();
  server_->credentials = grpc::experimental::LocalServerCredentials(UDS);
  Start();
}

FakeVault::FakeVault(const std::filesystem::path& identity, ClientCertificate client_certificate)
    : server_(std::make_unique<Server>()) {
  server_->address = "127.0.0.1:0";
  grpc::SslServerCredentialsOptions options(
      client_certificate == ClientCertificate::kAsked
          ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
          : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  options.pem_root_certs = FileText(identity / "ca.pem");
  options.pem_key_cert_pairs.push_back(
      {FileText(identity / "key.pem"), FileText(identity / "cert.pem")});
  server_->credentials = grpc::SslServerCredentials(options);
  Start();
}

FakeVault::~FakeVault() { Stop(); }

void FakeVault::Start() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(server_->address, server_->credentials, &server_->port);
  server_->service = std::make_unique<Server::Service>(*server_);
  builder.RegisterCallbackGenericService(server_->service.get());
  server_->running = builder.BuildAndStart();
}

void FakeVault::Stop() {
  if (!server_->running) return;
  server_->running->Shutdown(std::chrono::system_clock::now());
  server_->running->Wait();
  server_->running.reset();
}

int FakeVault::Port() const { return server_->port; }

void FakeVault::Set(const std::string& method, Answer answer) {
  SetInTurn(method, {std::move(answer)});
}

void FakeVault::SetInTurn(const std::string& method, std::vector<Answer> answers) {
  const std::scoped_lock lock(server_->mutex);
  server_->answers[method] = {answers.begin(), answers.end()};
}

std::vector<std::string> FakeVault::Requests(const std::string& method) const {
  const std::scoped_lock lock(server_->mutex);
  const auto found = server_->requests.find(method);
  return found == server_->requests.end() ? std::vector<std::string>() : found->second;
}

std::string FakeVault::LastRequestId() const {
  const std::scoped_lock lock(server_->mutex);
  return server_->request_id;
}

std::chrono::seconds FakeVault::LastTimeout() const {
  const std::scoped_lock lock(server_->mutex);
  return server_->timeout;
}

void MakeIdentity(const std::filesystem::path& folder, const char* names) {
  std::filesystem::create_directories(folder);
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  const unsigned char common_name[] = "fake vault";
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  for (const auto& [nid, value] : {std::pair(NID_subject_alt_name, names),
                                   std::pair(NID_basic_constraints, "critical,CA:TRUE")}) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(certificate, key, EVP_sha256());
  for (const char* file : {"cert.pem", "ca.pem"}) {
    FILE* out = std::fopen((folder / file).c_str(), "w");
    PEM_write_X509(out, certificate);
    std::fclose(out);
  }
  FILE* out = std::fopen((folder / "key.pem").c_str(), "w");
  PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(out);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

}  // namespace oauthvault::client
