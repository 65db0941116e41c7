#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/bench/connection.h"
#include "tests/bench/histogram.h"

namespace oauthvault::bench {

/// Counts and times of a window.
class Record {
 public:
  /// An answer that came at `now_ns`, good or not.
  void Note(const Answer& answer, const Target& target, std::int64_t now_ns) {
    std::string wrong;
    if (answer.reset_code != 0) {
      wrong = "reset " + std::to_string(answer.reset_code);
    } else if (answer.http_status != 200) {
      wrong = "http " + std::to_string(answer.http_status);
    } else if (target.expects_grpc_status && answer.grpc_status != 0) {
      wrong = "grpc " + std::to_string(answer.grpc_status);
    }
    if (!wrong.empty()) {
      longest_error_ns_ = std::max(longest_error_ns_, now_ns - answer.began_ns);
      return ++errors_[wrong], void();
    }
    times_.Count(now_ns - answer.began_ns);
    bytes_ += answer.bytes;
  }
  /// Calls that were never answered.
  void NoteLost(std::uint64_t calls) {
    if (calls > 0) errors_["lost"] += calls;
  }
  std::uint64_t Good() const { return times_.Count(); }
  std::uint64_t Errors() const {
    std::uint64_t sum = 0;
    for (const auto& [wrong, count] : errors_) sum += count;
    return sum;
  }

  /// All of it, over a window of so many seconds.
  nlohmann::json InJson(double seconds) const {
    const double good = static_cast<double>(std::max<std::uint64_t>(1, Good()));
    const auto us = [this](double share) {
      return static_cast<double>(times_.Quantile(share)) / 1000;
    };
    return {{"calls", Good()},
            {"seconds", seconds},
            {"rate", static_cast<double>(Good()) / seconds},
            {"p50_us", us(0.5)},
            {"p99_us", us(0.99)},
            {"p999_us", us(0.999)},
            {"max_us", us(1)},
            {"reply_bytes", static_cast<double>(bytes_) / good},
            {"errors", Errors()},
            {"longest_error_us", static_cast<double>(longest_error_ns_) / 1000},
            {"errors_by_kind", errors_}};
  }

 private:
  Histogram times_;
  std::uint64_t bytes_ = 0;
  std::map<std::string, std::uint64_t> errors_;
  std::int64_t longest_error_ns_ = 0;
};

/// The window in slices, for what happens while it runs.
class Timeline {
 public:
  /// 0: no slices.
  explicit Timeline(int slice_ms) : slice_ns_(std::int64_t{slice_ms} * 1'000'000) {}
  /// An answer that came at `now_ns` and counts so long after the window's beginning.
  void Note(const Answer& answer, const Target& target, std::int64_t after_ns,
            std::int64_t now_ns) {
    if (slice_ns_ == 0) return;
    const auto at = static_cast<std::size_t>(after_ns / slice_ns_);
    if (slices_.size() <= at) slices_.resize(at + 1);
    slices_[at].Note(answer, target, now_ns);
  }
  /// Of each: answers, errors, the middle and the longest time.
  nlohmann::json InJson() const {
    nlohmann::json all = nlohmann::json::array();
    const double seconds = static_cast<double>(std::max<std::int64_t>(1, slice_ns_)) / 1e9;
    for (const Record& slice : slices_) {
      const nlohmann::json one = slice.InJson(seconds);
      all.push_back({one["calls"], one["errors"], one["p50_us"], one["max_us"]});
    }
    return all;
  }

 private:
  const std::int64_t slice_ns_;
  std::vector<Record> slices_;
};

}  // namespace oauthvault::bench
