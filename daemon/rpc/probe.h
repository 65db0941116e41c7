#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "crypto/error.h"
#include "daemon/registry/authority.h"
#include "daemon/rpc/counters.h"

namespace oauthvault::rpc {

/// Who the probe is on the TCP door: a path below the trust domain. It needs no grant.
inline constexpr char kProbePrincipal[] = "runner/self-probe";
/// It shows a new certificate with each call, which lives so long.
inline constexpr std::int64_t kProbeIdentityTtlS = 600;
/// A call of the probe must be answered within this time.
inline constexpr std::chrono::seconds kProbePatience{5};
/// Between two rounds, at most.
inline constexpr std::chrono::seconds kProbeInterval{5};

/// Calls the daemon as its clients do, over a new connection through each door. A daemon that runs
/// and is deaf looks healthy from everywhere else. Threads: one.
class Probe {
 public:
  /// The TCP door, and what the probe shows there.
  struct Tcp {
    std::string address;  ///< as bound; where that is every address, the loopback one is called
    std::string name;     ///< in the daemon's certificate
    /// The certificate that the door shows now, in PEM: its leaf is believed, and nothing else,
    /// whichever CA signed it.
    std::function<std::string()> shown_pem;
    /// A new certificate and key for one call.
    std::function<Result<registry::ClientKeyPair>()> identity;
  };
  /// Without `tcp` (a sealed vault) only the unix socket is called.
  Probe(std::filesystem::path socket, std::optional<Tcp> tcp, const DoorCounters& tcp_door)
      : socket_(std::move(socket)), tcp_(std::move(tcp)), tcp_door_(tcp_door) {}

  /// One call through each door. A TCP door that is full and turns connections away has heard:
  /// under a flood the daemon must not be restarted, too. A door that changed its certificate
  /// meanwhile is called once more.
  /// Errors: Unavailable, with the door that is deaf; what the identity fails with.
  Result<void> Ask(std::chrono::milliseconds patience) const;

 private:
  Result<bool> IsTcpHeard(std::chrono::milliseconds patience) const;

  std::filesystem::path socket_;
  std::optional<Tcp> tcp_;
  const DoorCounters& tcp_door_;
};

/// Asks again and again, and says so while the daemon is heard: whoever waits for that, restarts a
/// deaf one. One thread (`probe`).
class Watchdog {
 public:
  /// `alive` is called after each round that was answered. `interval`: between two.
  Watchdog(const Probe& probe, std::chrono::milliseconds interval, std::function<void()> alive);
  /// Waits for a round that is under way, at most twice kProbePatience.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void Run();

  const Probe& probe_;
  const std::chrono::milliseconds interval_;
  const std::function<void()> alive_;
  std::mutex guard_;  // guards stopping_
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // the last member: it uses the others
};

}  // namespace oauthvault::rpc
