#include "daemon/liveness.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

namespace oauthvault {
namespace {

constexpr int kExitDeaf = 2;
constexpr char kAboutDeaf[] =
    "start it again; when that does not help, look whether threads, descriptors and memory are "
    "limited (TasksMax, LimitNOFILE, MemoryMax)";

// Often enough that systemd is told twice in the time that it waits.
std::chrono::milliseconds IntervalFor(const Notifier& notifier) {
  const auto period = notifier.WatchdogPeriod();
  if (!period) return rpc::kProbeInterval;
  return std::min<std::chrono::milliseconds>(
      rpc::kProbeInterval, std::chrono::duration_cast<std::chrono::milliseconds>(*period / 3));
}

rpc::Probe ExpectHeard(const Config& config, rpc::Probe probe) {
  const auto heard = probe.Ask(rpc::kProbePatience);
  if (!heard) {
    std::fprintf(stderr, "oauthvaultd: %s\n  %s\n", heard.error().Message().c_str(), kAboutDeaf);
    std::error_code ignored;
    std::filesystem::remove(config.socket, ignored);
    _exit(kExitDeaf);
  }
  return probe;
}

}  // namespace

Liveness::Liveness(const Config& config, const Notifier& notifier, rpc::Probe probe,
                   std::string_view status)
    : probe_(ExpectHeard(config, std::move(probe))),
      watchdog_(probe_, IntervalFor(notifier), [&notifier] { notifier.Alive(); }) {
  notifier.Ready(status);
}

}  // namespace oauthvault
