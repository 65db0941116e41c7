#pragma once

#include <atomic>
#include <expected>
#include <mutex>
#include <thread>

#include "crypto/keyring.h"
#include "daemon/config.h"
#include "daemon/refusal.h"
#include "daemon/upkeep/check.h"

namespace oauthvault {

/// Checks the store before it is opened. Rows that are damaged keep the daemon from serving, unless
/// it is told to check behind. The result shows in `last_check`.
std::expected<void, Refusal> CheckBefore(const Config& config, const crypto::Keyring& keyring,
                                         upkeep::LastCheck& last_check);

/// The same behind what is served: its result shows in `last_check` and in the log. `alone` is held
/// meanwhile. Its end breaks off a check that is under way.
class CheckBehind {
 public:
  CheckBehind(const Config& config, const crypto::Keyring& keyring, std::mutex& alone,
              upkeep::LastCheck& last_check);
  ~CheckBehind();
  CheckBehind(const CheckBehind&) = delete;
  CheckBehind& operator=(const CheckBehind&) = delete;

 private:
  std::atomic<bool> stopping_ = false;
  std::thread thread_;  // the last member: it uses the other
};

}  // namespace oauthvault
