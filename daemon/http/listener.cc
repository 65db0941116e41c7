#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "crypto/durable_file.h"
#include "crypto/fields.h"
#include "daemon/http/server.h"
#include "daemon/listen_address.h"

namespace oauthvault::http {
namespace {

constexpr std::size_t kMaxPemSize = 256 * 1024;
constexpr int kBacklog = 128;

Result<crypto::Descriptor> Bind(const ListenAddress& address) {
  crypto::Descriptor socket(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!socket ||
      setsockopt(socket.Get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(socket.Get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 ||
      listen(socket.Get(), kBacklog) != 0) {
    return Fail(Code::kUnavailable, "the HTTP interface cannot listen there");
  }
  return socket;
}

// As bound: port 0 took a free one.
std::string BoundTo(const crypto::Descriptor& socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  getsockname(socket.Get(), reinterpret_cast<sockaddr*>(&storage), &size);
  return AddressText(reinterpret_cast<const sockaddr*>(&storage));
}

// The file's text with a zero byte behind it: microhttpd takes strings.
Result<crypto::SecretBytes> ReadPem(const std::filesystem::path& path) {
  auto file = crypto::ReadFileBytes(path, kMaxPemSize, crypto::FileAccess::kAny);
  if (!file) return file;
  crypto::SecretBytes text(file->Size() + 1);
  file->Expose([&text](std::span<const std::uint8_t> bytes) {
    text.Fill([&bytes](std::span<std::uint8_t> room) { std::ranges::copy(bytes, room.begin()); });
  });
  return text;
}

std::string TextOf(const crypto::SecretBytes& pem) {
  return pem.Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(crypto::AsField(bytes.first(bytes.size() - 1)));
  });
}

gnutls_datum_t DatumOf(std::span<const std::uint8_t> bytes) {
  return {const_cast<unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())};
}

bool Fits(const std::string& certificate_pem, const crypto::SecretBytes& key_pem) {
  gnutls_certificate_credentials_t credentials = nullptr;
  if (gnutls_certificate_allocate_credentials(&credentials) != GNUTLS_E_SUCCESS) return false;
  const gnutls_datum_t certificate = DatumOf(crypto::AsBytes(certificate_pem));
  const bool fits = key_pem.Expose([&](std::span<const std::uint8_t> bytes) {
    const gnutls_datum_t key = DatumOf(bytes.first(bytes.size() - 1));
    return gnutls_certificate_set_x509_key_mem(credentials, &certificate, &key,
                                               GNUTLS_X509_FMT_PEM) >= 0;
  });
  gnutls_certificate_free_credentials(credentials);
  return fits;
}

std::optional<std::int64_t> EndOf(const std::string& certificate_pem) {
  gnutls_x509_crt_t certificate = nullptr;
  if (gnutls_x509_crt_init(&certificate) != GNUTLS_E_SUCCESS) return std::nullopt;
  const gnutls_datum_t pem = DatumOf(crypto::AsBytes(certificate_pem));
  std::optional<std::int64_t> end;
  if (gnutls_x509_crt_import(certificate, &pem, GNUTLS_X509_FMT_PEM) == GNUTLS_E_SUCCESS) {
    end = gnutls_x509_crt_get_expiration_time(certificate);
  }
  gnutls_x509_crt_deinit(certificate);
  return end;
}

}  // namespace

std::string AddressText(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address != nullptr && address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6->sin6_port));
  }
  if (address != nullptr && address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  return "?";
}

Result<void> Listener::ReadPair() {
  auto certificate = ReadPem(settings_.certificate);
  if (!certificate) return Fail(std::move(certificate));
  auto key = ReadPem(settings_.key);
  if (!key) return Fail(std::move(key));
  certificate_pem_ = TextOf(*certificate);
  key_pem_ = std::move(*key);
  const std::optional<std::int64_t> end = EndOf(certificate_pem_);
  if (!end || !Fits(certificate_pem_, key_pem_)) {
    return Fail(Code::kInvalid, "certificate and key of the HTTP interface are no pair in PEM");
  }
  certificate_expires_at_s_ = *end;
  return {};
}

Result<std::unique_ptr<Listener>> Listener::Open(const Settings& settings) {
  if (settings.listen.empty()) return nullptr;
  std::unique_ptr<Listener> listener(new Listener());
  listener->settings_ = settings;
  const std::optional<ListenAddress> address = ReadListenAddress(settings.listen);
  if (!address) {
    return Fail(Code::kInvalid, "the HTTP interface listens on a numeric address and a port");
  }
  if (settings.certificate.empty() != settings.key.empty()) {
    return Fail(Code::kInvalid, "a certificate of the HTTP interface comes with its key");
  }
  const bool plain = settings.certificate.empty();
  if (plain && !address->IsLoopback()) {
    return Fail(Code::kInvalid, "plain HTTP is served on loopback only; name certificate and key");
  }
  if (!plain) {
    if (auto read = listener->ReadPair(); !read) return Fail(std::move(read));
  }
  auto socket = Bind(*address);
  if (!socket) return Fail(std::move(socket));
  listener->socket_ = std::move(*socket);
  listener->origin_ = (plain ? "http://" : "https://") + BoundTo(listener->socket_);
  return listener;
}

}  // namespace oauthvault::http
