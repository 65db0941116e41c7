#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include "crypto/error.h"
#include "storage/tables/rows.h"

namespace oauthvault::http {

struct Vault;

/// What has to be counted row by row.
struct Survey {
  /// By the number of their state.
  std::array<std::uint64_t, static_cast<std::size_t>(storage::kAttemptStates.back()) + 1>
      attempts{};
  std::int64_t token_expires_at_s = 0;        ///< the soonest, 0: there is none
  std::int64_t identity_expires_at_s = 0;     ///< the same of clients' certificates
  std::int64_t last_backup_at_s = 0;          ///< 0: none was made
};

/// A survey is made anew after this time: whoever asks for the metrics more often, by mistake or on
/// purpose, does not make the store be read more often.
inline constexpr std::int64_t kSurveyIntervalS = 30;

/// Makes surveys and keeps the last one. Threads: any.
class Surveyor {
 public:
  /// Errors: Corrupt, Unavailable.
  Result<Survey> Look(const Vault& vault);

 private:
  std::mutex guard_;  // guards the members below
  std::optional<Survey> last_;
  std::int64_t looked_at_s_ = 0;
};

}  // namespace oauthvault::http
