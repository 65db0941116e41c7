#include "daemon/metrics/calls.h"

#include <algorithm>
#include <utility>

namespace oauthvault::metrics {
namespace {

constexpr std::string_view kOther = "other";

std::string_view NameOf(Door door) { return door == Door::kGrpc ? "grpc" : "http"; }

double Seconds(std::int64_t microseconds) { return static_cast<double>(microseconds) / 1e6; }

}  // namespace

void Calls::Series::Count(std::string_view outcome,
                          std::chrono::steady_clock::duration taken) {
  const auto taken_us = std::chrono::duration_cast<std::chrono::microseconds>(taken).count();
  const auto bucket = static_cast<std::size_t>(
      std::ranges::lower_bound(kLatencyBoundsUs, taken_us) - kLatencyBoundsUs.begin());
  const std::lock_guard lock(guard_);
  auto counted = outcomes_.find(outcome);
  if (counted == outcomes_.end()) counted = outcomes_.emplace(outcome, 0).first;
  ++counted->second;
  ++buckets_[bucket];
  sum_us_ += taken_us;
}

Calls::Series& Calls::Of(Door door, std::string_view method) {
  const std::lock_guard lock(guard_);
  std::pair<Door, std::string> key(door, method);
  if (series_.size() >= kMostSeries && !series_.contains(key)) key.second = kOther;
  return series_[std::move(key)];
}

// A method that nobody called has no sample.
void Calls::Write(Exposition& out) const {
  const std::lock_guard lock(guard_);
  out.Begin("oauthvault_calls_total", "counter", "Calls that were answered.");
  for (const auto& [key, series] : series_) {
    const auto& [door, method] = key;
    const std::lock_guard series_lock(series.guard_);
    for (const auto& [outcome, count] : series.outcomes_) {
      out.Sample("", {{"door", NameOf(door)}, {"method", method}, {"outcome", outcome}},
                 static_cast<double>(count));
    }
  }
  out.Begin("oauthvault_call_seconds", "histogram", "How long calls took.");
  for (const auto& [key, series] : series_) {
    const auto& [door, method] = key;
    const std::lock_guard series_lock(series.guard_);
    if (series.outcomes_.empty()) continue;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < kLatencyBoundsUs.size(); ++i) {
      below += series.buckets_[i];
      out.Sample("_bucket",
                 {{"door", NameOf(door)}, {"method", method},
                  {"le", Exposition::Number(Seconds(kLatencyBoundsUs[i]))}},
                 static_cast<double>(below));
    }
    const auto count = static_cast<double>(below + series.buckets_.back());
    out.Sample("_bucket", {{"door", NameOf(door)}, {"method", method}, {"le", "+Inf"}}, count);
    out.Sample("_sum", {{"door", NameOf(door)}, {"method", method}}, Seconds(series.sum_us_));
    out.Sample("_count", {{"door", NameOf(door)}, {"method", method}}, count);
  }
}

}  // namespace oauthvault::metrics
