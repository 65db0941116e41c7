#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "crypto/keyring.h"
#include "crypto/unlocker.h"
#include "daemon/rpc/operations_service.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/operations.grpc.pb.h"

namespace oauthvault::rpc {

/// The methods that a sealed vault answers with SEALED go to SealedRest. A method that the contract
/// gains is added here; a test walks all of them.
template <class Answered>
using RefuseOperations = v1::Operations::WithGenericMethod_Seal<
    v1::Operations::WithGenericMethod_ListSlots<v1::Operations::WithGenericMethod_AddSlot<
        v1::Operations::WithGenericMethod_ReissueSlot<v1::Operations::WithGenericMethod_RemoveSlot<
            v1::Operations::WithGenericMethod_RotateKeys<v1::Operations::WithGenericMethod_Rewrap<
                v1::Operations::WithGenericMethod_KeysStatus<
                    v1::Operations::WithGenericMethod_Backup<
                        v1::Operations::WithGenericMethod_ListBackups<
                            v1::Operations::WithGenericMethod_Check<
                                v1::Operations::WithGenericMethod_ShredProject<Answered>>>>>>>>>>>>;
using SealedOperations = RefuseOperations<v1::Operations::WithCallbackMethod_Status<
    v1::Operations::WithCallbackMethod_Unseal<v1::Operations::Service>>>;

/// operations.proto of a sealed vault: status and unseal. It stands behind the unix socket only,
/// whose door lets in none but the local admin. Nothing can be recorded while the audit key is
/// sealed, so refused secrets are counted, for the line about the unsealing.
class SealedService final : public SealedOperations {
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

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext*, const v1::StatusRequest*,
                                   v1::StatusResponse*) override;
  grpc::ServerUnaryReactor* Unseal(grpc::CallbackServerContext*, const v1::UnsealRequest*,
                                   v1::UnsealResponse*) override;

 private:
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

/// Every other method of a sealed vault: UNAVAILABLE, with the code SEALED.
class SealedRest final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override;
};

}  // namespace oauthvault::rpc
