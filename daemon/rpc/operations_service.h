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
#include "oauthvault/v1/operations.pb.h"
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
class OperationsService final {
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

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Status(Call& call);
  void Unseal(Call& call);
  void Seal(Call& call);
  void ListSlots(Call& call);
  void AddSlot(Call& call);
  void ReissueSlot(Call& call);
  void RemoveSlot(Call& call);
  void RotateKeys(Call& call);
  void Rewrap(Call& call);
  void KeysStatus(Call& call);
  void Backup(Call& call);
  void ListBackups(Call& call);
  void Check(Call& call);
  void ShredProject(Call& call);

  Result<void> WriteFacts(v1::StatusResponse& answer) const;
  Result<void> RecordFirst(const Admitted& admitted, std::string object) const;
  void RecordNewSlot(Admitted& admitted, std::string object) const;

  const Edge& edge_;
  Workers& workers_;
  Workers& slow_workers_;
  const Parts parts_;
  const DaemonFacts& facts_;
  const std::function<void()> seal_;
  std::atomic<bool> breaking_off_ = false;
};

}  // namespace oauthvault::rpc
