#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

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
  /// The calls of one method by one door.
  class Series {
   public:
    /// `outcome`: `OK` or a code's name, from a closed list of ours.
    void Count(std::string_view outcome, std::chrono::steady_clock::duration taken);

   private:
    friend class Calls;
    mutable std::mutex guard_;  // guards the members below
    std::map<std::string, std::uint64_t, std::less<>> outcomes_;
    std::array<std::uint64_t, kLatencyBoundsUs.size() + 1> buckets_{};
    std::int64_t sum_us_ = 0;
  };

  /// Where the calls of `method` are counted, as long as this object lives. `method` is a name of
  /// the contract (`Credentials.Reveal`), never a caller's text. Beyond kMostSeries further methods
  /// count as `other`.
  Series& Of(Door door, std::string_view method);
  void Count(Door door, std::string_view method, std::string_view outcome,
             std::chrono::steady_clock::duration taken) {
    Of(door, method).Count(outcome, taken);
  }

  /// Writes `oauthvault_calls_total` and the histogram `oauthvault_call_seconds`.
  void Write(Exposition& out) const;

  static constexpr std::size_t kMostSeries = 512;

 private:
  mutable std::mutex guard_;  // guards series_; taken before a series' own
  std::map<std::pair<Door, std::string>, Series> series_;
};

}  // namespace oauthvault::metrics
