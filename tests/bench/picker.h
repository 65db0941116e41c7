#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace oauthvault::bench {

/// Which of `count` requests comes next: each alike, or a few often (Zipf: the n-th most wanted one
/// is wanted as often as 1 / n^exponent says). Threads: one.
/// Source: Gray et al., "Quickly generating billion-record synthetic databases", section 3.2, which
/// YCSB takes, too.
class Picker {
 public:
  /// `exponent` 0: each alike; else above 0 and below 1.
  Picker(std::size_t count, double exponent, std::uint64_t seed)
      : count_(count), exponent_(exponent), state_(seed * 2 + 1) {
    if (exponent_ <= 0) return;
    for (std::size_t n = 1; n <= count; ++n) zeta_ += 1 / std::pow(n, exponent_);
    const double zeta_of_two = 1 + std::pow(0.5, exponent_);
    alpha_ = 1 / (1 - exponent_);
    eta_ = (1 - std::pow(2.0 / static_cast<double>(count), 1 - exponent_)) /
           (1 - zeta_of_two / zeta_);
  }

  /// Below `count`.
  std::size_t Next() {
    // xorshift64*
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    const std::uint64_t bits = state_ * 0x2545F4914F6CDD1D;
    const double unit = static_cast<double>(bits >> 11) * 0x1p-53;
    if (exponent_ <= 0) return Bounded(unit);
    const double scaled = unit * zeta_;
    if (scaled < 1) return 0;
    if (scaled < 1 + std::pow(0.5, exponent_)) return 1 % count_;
    return Bounded(std::pow(eta_ * unit - eta_ + 1, alpha_));
  }

 private:
  std::size_t Bounded(double unit) const {
    const auto at = static_cast<std::size_t>(unit * static_cast<double>(count_));
    return at < count_ ? at : count_ - 1;
  }

  const std::size_t count_;
  const double exponent_;
  std::uint64_t state_;
  double zeta_ = 0;
  double alpha_ = 0;
  double eta_ = 0;
};

}  // namespace oauthvault::bench
