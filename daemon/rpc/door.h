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
#include <thread>
#include <unordered_map>

#include "crypto/descriptor.h"
#include "crypto/error.h"
#include "daemon/rpc/counters.h"

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

/// Where connections come from, as far as they are counted together: an IPv4 address (also one
/// mapped into IPv6), or the first 64 bits of an IPv6 address, which are one customer's. A unix
/// socket has none.
class Origin {
 public:
  /// Of a peer's address, as accept gives it.
  static Origin Of(const sockaddr_storage& address);
  bool IsKnown() const { return family_ != 0; }
  bool operator==(const Origin&) const = default;
  /// For a hash table.
  struct Hash {
    std::size_t operator()(const Origin& origin) const {
      return std::hash<std::uint64_t>()(origin.prefix_ * 2 + origin.family_ % 2);
    }
  };

 private:
  std::uint64_t prefix_ = 0;
  std::uint32_t family_ = 0;  // AF_INET, AF_INET6, or 0
};

/// Our own accept loop in front of gRPC: Debian's gRPC 1.51 goes deaf for ever once it has run out
/// of descriptors. It closes at once what is too much: in all, of one origin, or at the handshake;
/// of those, one origin has at most half, so that a flood from one place leaves room for others.
/// It keeps one descriptor in reserve so that it can still accept and close when there are none
/// left. One thread.
///
/// Nobody tells it when a handshake is done. One takes at most `handshake_timeout`, so connections
/// that are open and younger than that are counted instead.
class Door {
 public:
  /// What one door is like.
  struct Settings {
    std::string thread_name;          ///< at most 15 characters
    std::uint32_t max_connections;    ///< open at one time
    std::function<bool(int)> let_in;  ///< looks at the connection; absent: everybody
    std::function<void(int)> hand_over;  ///< takes the descriptor
    DoorCounters* counters;              ///< outlives the door
    std::uint32_t max_per_origin = kNoCap;
    std::uint32_t max_handshakes = kNoCap;
    std::chrono::milliseconds handshake_timeout{0};
  };
  static constexpr std::uint32_t kNoCap = 0xffffffff;

  /// Errors: Unavailable (no descriptors).
  static Result<std::unique_ptr<Door>> Open(Descriptor listener, Settings settings);
  /// Accepts no more; connections that were handed over go on.
  ~Door();

 private:
  using Clock = std::chrono::steady_clock;
  // What gRPC took. When it closes one, the number is free and may come back as another socket,
  // which the inode tells.
  struct Connection {
    std::uint64_t inode;
    Origin origin;
    Clock::time_point since;
    bool young;
  };
  struct Count {
    std::uint32_t open = 0;
    std::uint32_t young = 0;
  };

  Door(Descriptor listener, Settings settings)
      : listener_(std::move(listener)), settings_(std::move(settings)) {}
  void Run();
  void AcceptOne();
  std::atomic<std::uint64_t>* Excess(const Origin& origin);
  void Add(int fd, const Origin& origin);
  void Remove(int fd);
  void GrowUp(Connection& connection);
  void Sweep(Clock::time_point now);
  void Publish();

  Descriptor listener_;
  const Settings settings_;
  Descriptor stop_;     // an eventfd
  Descriptor reserve_;  // given up for a moment when there are no descriptors left
  std::unordered_map<int, Connection> handed_over_;
  std::unordered_map<Origin, Count, Origin::Hash> origins_;  // of handed_over_
  std::uint32_t young_ = 0;
  Clock::time_point swept_{};  // when a place was wanted
  std::thread thread_;
};

}  // namespace oauthvault::rpc
