#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "daemon/access/decide.h"
#include "daemon/access/principal.h"
#include "storage/tables/store.h"

namespace oauthvault::registry {

/// The grants: sealed rows, opened once into an immutable table that is swapped at commit, before
/// the reply that announces the change. Deciding costs a look-up. A change that is answered
/// Unavailable, or Corrupt because the grants cannot be read back, may stand all the same: what it
/// takes away is gone at once, what it gives comes into force with the next change or start, which
/// is not before its audit line. Threads: any.
class Grants {
 public:
  /// Opens all grants. Errors: Corrupt (a grant's row; the daemon does not start on a guess),
  /// Unavailable.
  static Result<std::unique_ptr<Grants>> Load(storage::Store& store);

  /// The table in force. Decide with one table throughout a decision.
  std::shared_ptr<const access::GrantTable> InForce() const { return in_force_.load(); }

  /// Gives exactly `rights` on the pair; replaces what stood on the same three names. The project
  /// and the component must be registered, or `*`. Errors: Invalid (CheckGrant), NotFound (project,
  /// component), Conflict (also: the project is being removed), Corrupt, Unavailable.
  Result<storage::Stored<storage::Grant>> Add(const access::Principal& principal,
                                              std::string_view project, std::string_view component,
                                              const std::vector<access::Right>& rights,
                                              storage::Act act, std::int64_t now_s);

  /// Acts on the next call. Errors: NotFound, Conflict, Corrupt, Unavailable.
  Result<void> Remove(const access::Principal& principal, const std::string& project,
                      const std::string& component, storage::Act act);
  /// The same for a grant as it stands in a row.
  Result<void> RemoveExact(const storage::Grant& grant, storage::Act act);
  /// Puts a grant in the place of the one with its names. Errors: as Remove.
  Result<void> ReplaceExact(const storage::Grant& grant, storage::Act act);

 private:
  explicit Grants(storage::Store& store) : store_(store) {}
  Result<void> Swap();
  Result<void> Commit(storage::Batch batch, const storage::Grant& changed);
  void PutInForce(std::vector<access::GrantRule> rules);

  storage::Store& store_;
  std::mutex changing_;  // one change at a time: commit and swap belong together; guards rules_
  std::vector<access::GrantRule> rules_;  // those of the table in force
  std::atomic<std::shared_ptr<const access::GrantTable>> in_force_;
};

}  // namespace oauthvault::registry
