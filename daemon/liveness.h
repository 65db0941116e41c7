#pragma once

#include <string_view>

#include "daemon/config.h"
#include "daemon/notify.h"
#include "daemon/rpc/probe.h"

namespace oauthvault {

/// Whether a phase is heard. It asks once before systemd is told that the daemon serves, and again
/// and again from then on; a daemon that does not hear itself is not told alive, and started again.
class Liveness {
 public:
  /// Asks; without an answer the process ends with 2, in words: a server that answers nothing does
  /// not stop either. `status`: a line for people.
  Liveness(const Config& config, const Notifier& notifier, rpc::Probe probe,
           std::string_view status);
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

 private:
  const rpc::Probe probe_;
  const rpc::Watchdog watchdog_;  // the last member: it uses the other
};

}  // namespace oauthvault
