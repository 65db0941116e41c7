#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace oauthvault::audit {

// Each principal may cause so many lines about denials at once, and then one in each interval.
inline constexpr std::uint32_t kDenialBurst = 20;
inline constexpr std::chrono::seconds kDenialInterval{1};
/// So many principals have a bucket of their own; the others share one.
inline constexpr std::size_t kMaxDeniedPrincipals = 1024;
/// What the shared bucket is called where a line counts its denials.
inline constexpr std::string_view kOtherPrincipals = "*";

/// A token bucket per principal for lines about denials. What is beyond it is counted, to be told
/// in one line. Threads: one at a time.
class DenialLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit DenialLimit(std::uint32_t burst = kDenialBurst) : burst_(burst) {}

  /// Denials that got no line of their own.
  struct Count {
    std::string principal;
    std::uint64_t denials = 0;
  };

  /// Whether the denial gets a line of its own; else it is counted.
  bool Take(std::string_view principal, Time now);
  /// Whether something is counted that no line has told of.
  bool HasCounts() const { return counted_ > 0; }
  /// What was counted, at most `most` principals; it counts as told.
  std::vector<Count> TakeCounts(std::size_t most);
  /// Counts again what could not be told.
  void PutBack(const Count& count);

 private:
  struct Bucket {
    std::uint32_t tokens = 0;
    Time filled_at;
    std::uint64_t counted = 0;
  };
  Bucket& BucketOf(std::string_view principal, Time now);
  std::uint32_t burst_;
  std::map<std::string, Bucket, std::less<>> buckets_;
  std::size_t counted_ = 0;  // buckets that have counted something
};

}  // namespace oauthvault::audit
