#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace oauthvault::bench {

/// What servers cost: user and system time of all threads, also of those that have ended, to the
/// nanosecond; and memory.
class Meter {
 public:
  /// Throws where a process is not there; so do the others where one has ended.
  explicit Meter(const std::vector<pid_t>& servers) : servers_(servers) {
    for (const pid_t server : servers) {
      clockid_t clock{};
      if (clock_getcpuclockid(server, &clock) != 0) throw std::runtime_error("no such server");
      clocks_.push_back(clock);
    }
  }

  /// CPU time of all servers together.
  std::int64_t CpuNs() const {
    std::int64_t sum = 0;
    for (const clockid_t clock : clocks_) sum += Read(clock);
    return sum;
  }
  /// CPU time of this process.
  static std::int64_t OwnCpuNs() { return Read(CLOCK_PROCESS_CPUTIME_ID); }

  /// A field of /proc/PID/status, such as `RssAnon`, of all servers together.
  std::uint64_t MemoryBytes(const std::string& field) const {
    std::uint64_t sum = 0;
    for (const pid_t server : servers_) {
      std::ifstream status("/proc/" + std::to_string(server) + "/status");
      for (std::string line; std::getline(status, line);) {
        if (line.starts_with(field + ":")) sum += std::stoull(line.substr(field.size() + 1)) * 1024;
      }
    }
    return sum;
  }

 private:
  static std::int64_t Read(clockid_t clock) {
    timespec time{};
    if (clock_gettime(clock, &time) != 0) throw std::runtime_error("a server has ended");
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
  }

  const std::vector<pid_t> servers_;
  std::vector<clockid_t> clocks_;
};

}  // namespace oauthvault::bench
