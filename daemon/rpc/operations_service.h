#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>

#include "crypto/keyring.h"
#include "daemon/registry/grants.h"
#include "daemon/rpc/counters.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "daemon/upkeep/check.h"
#include "daemon/upkeep/rewrapper.h"
#include "oauthvault/v1/operations.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// What stays the same while a daemon runs, for `status` and for checks.
struct DaemonFacts {
  std::string version;
  std::string trust_domain;
  std::string address;  ///< ip:port of the TCP door, as bound
  std::int64_t started_at_s = 0;
  std::filesystem::path store_folder;
  std::filesystem::path keys_file;
};

/// What the doors and the edge count, for `status`.
void Write(const Counters& counters, v1::EdgeStatus& message);

/// operations.proto: the daemon itself, while its vault is open.
class OperationsService final : public v1::Operations::CallbackService {
 public:
  /// The open vault's parts that are operated on.
  struct Parts {
    crypto::Keyring& keyring;
    storage::Store& store;
    registry::Grants& grants;
    upkeep::Rewrapper& rewrapper;
    upkeep::LastCheck& last_check;
    /// Held by what must not run beside its like: a new root or a shredding under a backup or a
    /// check would show a store and keys that do not belong together.
    std::mutex& alone;
    const Counters& counters;
  };
  /// `slow_workers` run what takes minutes. `seal` starts the sealing and returns at once.
  OperationsService(const Edge& edge, Workers& workers, Workers& slow_workers, Parts parts,
                    const DaemonFacts& facts, std::function<void()> seal)
      : edge_(edge), workers_(workers), slow_workers_(slow_workers), parts_(parts), facts_(facts),
        seal_(std::move(seal)) {}

  /// Ends the checks that are under way, so that the server can stop. Threads: any.
  void BreakOff() { breaking_off_ = true; }

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext*, const v1::StatusRequest*,
                                   v1::StatusResponse*) override;
  grpc::ServerUnaryReactor* Unseal(grpc::CallbackServerContext*, const v1::UnsealRequest*,
                                   v1::UnsealResponse*) override;
  grpc::ServerUnaryReactor* Seal(grpc::CallbackServerContext*, const v1::SealRequest*,
                                 v1::SealResponse*) override;
  grpc::ServerUnaryReactor* ListSlots(grpc::CallbackServerContext*, const v1::ListSlotsRequest*,
                                      v1::ListSlotsResponse*) override;
  grpc::ServerUnaryReactor* AddSlot(grpc::CallbackServerContext*, const v1::AddSlotRequest*,
                                    v1::AddSlotResponse*) override;
  grpc::ServerUnaryReactor* ReissueSlot(grpc::CallbackServerContext*,
                                        const v1::ReissueSlotRequest*,
                                        v1::AddSlotResponse*) override;
  grpc::ServerUnaryReactor* RemoveSlot(grpc::CallbackServerContext*, const v1::RemoveSlotRequest*,
                                       v1::RemoveSlotResponse*) override;
  grpc::ServerUnaryReactor* RotateKeys(grpc::CallbackServerContext*, const v1::RotateKeysRequest*,
                                       v1::RotateKeysResponse*) override;
  grpc::ServerUnaryReactor* Rewrap(grpc::CallbackServerContext*, const v1::RewrapRequest*,
                                   v1::RewrapResponse*) override;
  grpc::ServerUnaryReactor* KeysStatus(grpc::CallbackServerContext*, const v1::KeysStatusRequest*,
                                       v1::KeysStatusResponse*) override;
  grpc::ServerUnaryReactor* Backup(grpc::CallbackServerContext*, const v1::BackupRequest*,
                                   v1::BackupInfo*) override;
  grpc::ServerUnaryReactor* ListBackups(grpc::CallbackServerContext*,
                                        const v1::ListBackupsRequest*,
                                        v1::ListBackupsResponse*) override;
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext*, const v1::CheckRequest*,
                                  v1::CheckResponse*) override;
  grpc::ServerUnaryReactor* ShredProject(grpc::CallbackServerContext*,
                                         const v1::ShredProjectRequest*,
                                         v1::ShredProjectResponse*) override;

 private:
  Result<void> WriteFacts(v1::StatusResponse& answer) const;
  Result<void> RecordFirst(const Admitted& admitted, std::string object) const;

  const Edge& edge_;
  Workers& workers_;
  Workers& slow_workers_;
  const Parts parts_;
  const DaemonFacts& facts_;
  const std::function<void()> seal_;
  std::atomic<bool> breaking_off_ = false;
};

}  // namespace oauthvault::rpc
