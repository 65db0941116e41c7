#pragma once

#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "crypto/descriptor.h"
#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/http/exchange.h"

namespace oauthvault::http {

/// What a connection is given for each stage. One that takes longer is shut.
struct Timeouts {
  std::chrono::milliseconds headers{5'000};  ///< from accept, or from the answer before
  std::chrono::milliseconds body{10'000};    ///< from the headers to the end of the body
  std::chrono::milliseconds answer{20'000};  ///< from the answer until the client took it
};

/// How the interface is reached.
struct Settings {
  std::string listen;                 ///< address:port; empty: there is no interface
  std::filesystem::path certificate;  ///< PEM, the leaf first; empty: plain HTTP, on loopback only
  std::filesystem::path key;          ///< PEM, mode 0600
  std::uint32_t max_connections = 256;
  std::uint32_t max_connections_per_address = 32;
  Timeouts timeouts;
};

/// `address:port`, an IPv6 address in brackets; `?` for what is neither that nor IPv4.
std::string AddressText(const sockaddr* address);

/// Headers, with the request's line and query, have at most this many bytes.
inline constexpr std::size_t kMaxHeadersSize = 16 * 1024;
/// So much of a body that is too large is read and dropped, so that the client sees the answer.
inline constexpr std::size_t kMaxDroppedSize = 4 * 1024 * 1024;
/// A connection takes so many requests, then it is closed.
inline constexpr std::uint32_t kMaxRequestsPerConnection = 100;

/// Answers a request. Called from the thread of its connection; throws nothing.
using Answer = std::function<Reply(const Request&)>;

/// Serves HTTP over a listener: libmicrohttpd, a thread for each connection, and a reaper for those
/// that are slow, as the library's own time-out is one of idleness. Threads: as many as
/// connections, two of its own.
class Server {
 public:
  /// Ends the connections; waits for answers under way.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  friend class Listener;
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The listening socket and the TLS pair. It stays while the vault is sealed and opened: the
/// servers of both phases take connections from it in turn.
class Listener {
 public:
  /// Nothing where `settings.listen` is empty. Errors: Invalid (the address; a certificate without
  /// a key; plain HTTP elsewhere than on loopback; files that cannot be read, or do not fit each
  /// other), Unavailable (it cannot be bound).
  static Result<std::unique_ptr<Listener>> Open(const Settings& settings);

  /// Begins to serve. Errors: Unavailable.
  Result<std::unique_ptr<Server>> Serve(Answer answer) const;

  /// `http://address:port` or `https://..`, as bound.
  const std::string& Origin() const { return origin_; }
  /// When the certificate ends, 0 for plain HTTP.
  std::int64_t CertificateExpiresAtS() const { return certificate_expires_at_s_; }
  /// Connections that are open, of whichever server.
  std::uint64_t Connections() const { return connections_; }

 private:
  Listener() = default;
  Result<void> ReadPair();

  Settings settings_;
  crypto::Descriptor socket_;
  std::string origin_;
  std::string certificate_pem_;
  crypto::SecretBytes key_pem_;  // ends in a zero byte
  std::int64_t certificate_expires_at_s_ = 0;
  mutable std::atomic<std::uint64_t> connections_ = 0;
};

}  // namespace oauthvault::http
