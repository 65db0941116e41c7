#include "daemon/metrics/calls.h"

#include <algorithm>

namespace oauthvault::metrics {
namespace {

constexpr std::string_view kOther = "other";

std::string_view NameOf(Door door) { return door == Door::kGrpc ? "grpc" : "http"; }

double Seconds(std::int64_t microseconds) { return static_cast<double>(microseconds) / 1e6; }

}  // namespace

void Calls::Count(Door door, std::string_view method, std::string_view outcome,
                  std::chrono::steady_clock::duration taken) {
  const auto taken_us = std::chrono::duration_cast<std::chrono::microseconds>(taken).count();
  const auto bucket = static_cast<std::size_t>(
      std::ranges::lower_bound(kLatencyBoundsUs, taken_us) - kLatencyBoundsUs.begin());
  const std::lock_guard lock(guard_);
  Method series(door, method);
  if (latencies_.size() >= kMostSeries && !latencies_.contains(series)) {
    series = {door, std::string(kOther)};
  }
  ++outcomes_[{door, std::get<1>(series), std::string(outcome)}];
  Latency& latency = latencies_[series];
  ++latency.buckets[bucket];
  ++latency.count;
  latency.sum_us += taken_us;
}

void Calls::Write(Exposition& out) const {
  const std::lock_guard lock(guard_);
  out.Begin("oauthvault_calls_total", "counter", "Calls that were answered.");
  for (const auto& [key, count] : outcomes_) {
    const auto& [door, method, outcome] = key;
    out.Sample("", {{"door", NameOf(door)}, {"method", method}, {"outcome", outcome}},
               static_cast<double>(count));
  }
  out.Begin("oauthvault_call_seconds", "histogram", "How long calls took.");
  for (const auto& [key, latency] : latencies_) {
    const auto& [door, method] = key;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < kLatencyBoundsUs.size(); ++i) {
      below += latency.buckets[i];
      out.Sample("_bucket",
                 {{"door", NameOf(door)}, {"method", method},
                  {"le", Exposition::Number(Seconds(kLatencyBoundsUs[i]))}},
                 static_cast<double>(below));
    }
    out.Sample("_bucket", {{"door", NameOf(door)}, {"method", method}, {"le", "+Inf"}},
               static_cast<double>(latency.count));
    out.Sample("_sum", {{"door", NameOf(door)}, {"method", method}}, Seconds(latency.sum_us));
    out.Sample("_count", {{"door", NameOf(door)}, {"method", method}},
               static_cast<double>(latency.count));
  }
}

}  // namespace oauthvault::metrics
