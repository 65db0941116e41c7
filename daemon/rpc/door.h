#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include "crypto/descriptor.h"
#include "crypto/error.h"

namespace oauthvault::rpc {

using crypto::Descriptor;

/// Listens on `address:port` (IPv4, or IPv6 in brackets). Port 0 takes a free one.
/// Errors: Invalid (the address), Unavailable (it cannot be bound).
Result<Descriptor> ListenTcp(const std::string& listen);
/// A second descriptor of the same listener, for one who takes it along. Errors: Unavailable.
Result<Descriptor> Duplicate(const Descriptor& listener);
/// `ip:port` as bound.
std::string BoundAddress(const Descriptor& listener);
/// Listens on a unix socket of mode 0600. A socket that nobody answers on is replaced.
/// Errors: Conflict (somebody answers there), Invalid (the path), Unavailable.
Result<Descriptor> ListenUnix(const std::filesystem::path& path);

/// Who opened a unix socket: true for root and for the daemon's own user (SO_PEERCRED).
bool IsOwnUser(int connection);

/// Our own accept loop in front of gRPC: Debian's gRPC 1.51 goes deaf for ever once it has run out
/// of descriptors. Counts the connections that are open, refuses beyond a cap, and keeps one
/// descriptor in reserve so that it can still accept and close when there are none left. One
/// thread.
class Door {
 public:
  /// What one door is like.
  struct Settings {
    std::string thread_name;          ///< at most 15 characters
    std::uint32_t max_connections;    ///< open at one time, beyond it one is closed at once
    std::function<bool(int)> let_in;  ///< looks at the connection; absent: everybody
    std::function<void(int)> hand_over;  ///< takes the descriptor
  };
  /// Errors: Unavailable (no descriptors).
  static Result<std::unique_ptr<Door>> Open(Descriptor listener, Settings settings);
  /// Accepts no more; connections that were handed over go on.
  ~Door();

 private:
  Door(Descriptor listener, Settings settings)
      : listener_(std::move(listener)), settings_(std::move(settings)) {}
  void Run();
  void AcceptOne();
  void ForgetClosed();

  Descriptor listener_;
  const Settings settings_;
  Descriptor stop_;     // an eventfd
  Descriptor reserve_;  // given up for a moment when there are no descriptors left
  // Descriptors that gRPC took, with the socket's inode: when it closes one, the number is free and
  // may come back as another socket.
  std::unordered_map<int, std::uint64_t> handed_over_;
  std::thread thread_;
};

}  // namespace oauthvault::rpc
