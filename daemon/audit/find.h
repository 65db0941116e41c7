#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "daemon/audit/segments.h"
#include "daemon/audit/trail.h"

namespace oauthvault::audit {

/// A search reads at most this much at one time.
inline constexpr std::uint64_t kSearchedBytes = 64 * 1024 * 1024;

/// Lines in which a value was shown or sent, and how far the search came.
struct Shown {
  std::vector<Line> lines;
  std::uint64_t searched_to = 0;  ///< the sequence of the last line that was looked at
  bool at_end = false;
};

/// The fingerprint that the value has in a project, as it stands in lines.
using FingerprintIn = std::function<std::string(std::string_view project)>;

/// Lines behind `after` that name the value's fingerprint, oldest first, at most `limit`.
/// Errors: Unavailable.
Result<Shown> FindShown(const std::vector<Segment>& segments, std::uint64_t after,
                        std::size_t limit, const FingerprintIn& fingerprint_in);

}  // namespace oauthvault::audit
