#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace oauthvault::rivery {

/// A server below HTTP, for what a well-behaved one cannot do: it gives each connection that it
/// accepts, on every address of one free port, to a function on a thread of its own.
class Listener {
 public:
  /// `serve` may read and write; the connection is closed after it. At the end of the listener,
  /// what still runs sees its connection shut down.
  explicit Listener(std::function<void(int fd)> serve);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  std::uint16_t Port() const { return port_; }
  /// `<scheme>://<host>:PORT/api`.
  std::string Url(const std::string& scheme, const std::string& host) const;
  int Accepted() const { return accepted_; }

 private:
  void Run();
  void Serve(int fd);

  const std::function<void(int)> serve_;
  int fd_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> accepted_ = 0;
  std::atomic<bool> is_stopping_ = false;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<int> open_;            ///< guarded by mutex_
  std::vector<std::thread> serving_;  ///< of `thread_` until that ended
};

/// One request, head and body, or what came of it before the end. Empty: the peer closed.
std::string ReadRequest(int fd);

/// Sends all. False: the peer is gone.
bool WriteAll(int fd, const std::string& text);

/// A complete answer.
std::string HttpText(const std::string& status, const std::string& body,
                     const std::string& headers = {});

}  // namespace oauthvault::rivery
