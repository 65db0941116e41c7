#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace oauthvault {

/// Tells systemd how the daemon is: datagrams to the socket that it names. Nothing where there is
/// none. Source: sd_notify(3); these few bytes need no library. Threads: any.
class Notifier {
 public:
  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Call it before the first thread.
  static Notifier FromEnvironment();

  /// The daemon serves. `status`: one line for people.
  void Ready(std::string_view status) const;
  /// The daemon answered itself.
  void Alive() const;
  /// The daemon ends.
  void Stopping() const;
  /// The daemon changes from one phase to the next, and is Ready again within `patience`, in which
  /// nothing is Alive.
  void Reloading(std::string_view status, std::chrono::seconds patience) const;

  /// How often Alive must be said; none: nobody waits for it.
  std::optional<std::chrono::microseconds> WatchdogPeriod() const { return watchdog_; }

 private:
  void Send(const std::string& text) const;

  std::string socket_;  // a path, or with a leading @ a name of the abstract space; empty: none
  std::optional<std::chrono::microseconds> watchdog_;
};

}  // namespace oauthvault
