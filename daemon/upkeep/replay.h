#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "storage/tables/store.h"

namespace oauthvault::upkeep {

struct Restored;

/// What the trail says came after a position, as far as a restore does it again.
struct Since {
  using GrantNames = std::array<std::string, 3>;       ///< principal, project, component
  std::map<GrantNames, std::set<std::string>> grants;  ///< the rights that are left
  std::map<std::string, std::string> identities;       ///< serial -> principal
  std::set<std::string> anchors;                       ///< ids, removed and not added again
  std::set<std::string> keys;                          ///< hashes of those that were revoked
  std::set<std::string> projects;                      ///< shredded or removed
  std::map<std::string, storage::Backup> backups;      ///< by folder
};

/// Reads it from the trail in the folder `audit`, which is verified first. Errors: Corrupt (it does
/// not verify, or begins later than `after`), Unavailable.
Result<Since> ReadSince(const std::filesystem::path& audit, const crypto::Keyring& keyring,
                        storage::Position after);

/// Does it once more, each change with its line, and counts in `restored` what changed. All tokens
/// are revoked. Errors: those of the store.
Result<void> Replay(const Since& since, storage::Store& store, crypto::Keyring& keyring,
                    const storage::Act& act, std::int64_t now_s, Restored& restored);

}  // namespace oauthvault::upkeep
