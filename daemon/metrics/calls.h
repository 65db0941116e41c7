#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>

#include "daemon/metrics/exposition.h"

namespace oauthvault::metrics {

/// Which door a call came by.
enum class Door : std::uint8_t { kGrpc, kHttp };

/// Upper bounds of the latencies' buckets, in microseconds.
inline constexpr std::array<std::int64_t, 12> kLatencyBoundsUs = {
    250, 500, 1'000, 2'500, 5'000, 10'000, 25'000, 50'000, 100'000, 500'000, 1'000'000, 5'000'000};

/// Counts calls by door, method and outcome, and how long they took by door and method. It lives as
/// long as the process, whether the vault is open or sealed. Threads: any.
class Calls {
 public:
  /// `method` is a name of the contract (`Credentials.Reveal`) and `outcome` `OK` or a code's name:
  /// both from a closed list of ours, never from a caller. Beyond kMostSeries further methods count
  /// as `other`.
  void Count(Door door, std::string_view method, std::string_view outcome,
             std::chrono::steady_clock::duration taken);

  /// Writes `oauthvault_calls_total` and the histogram `oauthvault_call_seconds`.
  void Write(Exposition& out) const;

  static constexpr std::size_t kMostSeries = 512;

 private:
  struct Latency {
    std::array<std::uint64_t, kLatencyBoundsUs.size() + 1> buckets{};
    std::uint64_t count = 0;
    std::int64_t sum_us = 0;
  };
  using Method = std::tuple<Door, std::string>;
  mutable std::mutex guard_;  // guards the members below
  std::map<std::tuple<Door, std::string, std::string>, std::uint64_t> outcomes_;
  std::map<Method, Latency> latencies_;
};

}  // namespace oauthvault::metrics
