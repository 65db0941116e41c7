#pragma once

#include <chrono>
#include <cstdint>

namespace oauthvault {

/// Wall clock, since 1970.
inline std::int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}
inline std::int64_t NowS() { return NowUs() / 1'000'000; }

}  // namespace oauthvault
