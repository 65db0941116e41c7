#pragma once

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace oauthvault::bench {

/// Nanoseconds of the clock that nobody sets.
std::int64_t NowNs();

/// Whom to call, and how every call begins.
struct Target {
  sockaddr_storage address{};
  socklen_t address_size = 0;
  std::string name;        ///< in the server's certificate
  SSL_CTX* tls = nullptr;  ///< null: plain HTTP/2, for a unix socket
  /// The head of each request, in order; pseudo-headers first.
  std::vector<std::pair<std::string, std::string>> head;
  bool expects_grpc_status = true;
};

/// How one call ended.
struct Answer {
  std::int64_t began_ns = 0;       ///< as it was given
  int http_status = 0;             ///< 0: none came
  int grpc_status = -1;            ///< -1: none came
  std::uint32_t reset_code = 0;    ///< of HTTP/2; 0: the stream ended as it should
  std::size_t bytes = 0;           ///< of the body
};

/// One HTTP/2 connection that never waits: its owner asks epoll and tells it. Windows are so large
/// that flow control takes no part. Threads: one.
class Connection {
 public:
  /// Called with each answer, from within OnEvents; it may call again.
  using OnAnswer = std::function<void(Connection&, const Answer&)>;

  /// Connects, and is watched by `epoll` under its own address. `session`: of TLS, to go on with;
  /// null: a whole handshake. `target` lives as long.
  Connection(const Target& target, int epoll, OnAnswer on_answer, SSL_SESSION* session = nullptr);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Sends a request with this body; it goes out with the next Flush or OnEvents. `body` lives
  /// until the answer. Before the connection is open it waits.
  void Call(std::span<const std::uint8_t> body, std::int64_t began_ns);
  /// What is epoll's to tell.
  void OnEvents();
  /// Writes what is to be written, as far as the socket takes it.
  void Flush();

  bool IsOpen() const { return session_ != nullptr && failure_.empty(); }
  /// Why it ended; empty: it did not.
  const std::string& Failure() const { return failure_; }
  std::size_t Outstanding() const { return outstanding_; }
  /// Version and cipher, once it is open; empty without TLS.
  std::string TlsText() const;
  bool WasResumed() const { return tls_ != nullptr && SSL_session_reused(tls_) == 1; }

 private:
  struct Stream;
  void Handshake();
  void Start();
  void Read();
  void Fail(std::string why);
  void Watch(bool also_writing);
  bool WriteSome();

  const Target& target_;
  const int epoll_;
  OnAnswer on_answer_;
  std::vector<nghttp2_nv> head_;
  int socket_ = -1;
  SSL* tls_ = nullptr;
  nghttp2_session* session_ = nullptr;
  bool watches_writing_ = false;
  std::vector<std::uint8_t> out_;  // what the socket has not taken yet, from out_at_ on
  std::size_t out_at_ = 0;
  std::size_t outstanding_ = 0;
  std::vector<std::pair<std::span<const std::uint8_t>, std::int64_t>> early_;
  std::vector<std::unique_ptr<Stream>> streams_;  // nghttp2 points to those that are not spare
  std::vector<Stream*> spare_;
  std::string failure_;
};

}  // namespace oauthvault::bench
