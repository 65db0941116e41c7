#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "crypto/keyring.h"
#include "crypto/unlocker.h"
#include "daemon/rpc/call.h"
#include "daemon/rpc/methods.h"
#include "daemon/rpc/operations_service.h"
#include "daemon/rpc/workers.h"

namespace oauthvault::rpc {

/// operations.proto of a sealed vault: status and unseal. It stands behind the unix socket only,
/// whose door lets in none but the local admin. Nothing can be recorded while the audit key is
/// sealed, so refused secrets are counted, for the line about the unsealing. Every other method:
/// UNAVAILABLE, with the code SEALED.
class SealedService final {
 public:
  /// What the right secret gives.
  struct Opened {
    std::unique_ptr<crypto::Keyring> keyring;
    std::uint64_t refused = 0;  ///< secrets that were refused before
  };
  /// `on_open` is called once, from a worker, before the caller is answered.
  SealedService(crypto::Unlocker unlocker, Workers& workers, const DaemonFacts& facts,
                const Counters& counters, std::function<void(Opened)> on_open)
      : unlocker_(std::move(unlocker)), workers_(workers), facts_(facts), counters_(counters),
        on_open_(std::move(on_open)) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Status(Call& call);
  void Unseal(Call& call);
  Result<crypto::Unlocker::Progress> Give(const std::string& text);

  // Held while a secret is tried, which takes a second where it is a passphrase.
  std::mutex giving_;  // guards the unlocker, refused_ and opened_
  crypto::Unlocker unlocker_;
  std::uint64_t refused_ = 0;
  bool opened_ = false;
  std::mutex guard_;  // guards progress_; taken after giving_
  crypto::Unlocker::Progress progress_;

  Workers& workers_;
  const DaemonFacts& facts_;
  const Counters& counters_;
  const std::function<void(Opened)> on_open_;
};

}  // namespace oauthvault::rpc
