#pragma once

#include <cstdint>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "daemon/registry/grants.h"
#include "storage/tables/store.h"

namespace oauthvault::upkeep {

/// What shredding a project destroyed, and what it could not reach.
struct Shredded {
  std::uint32_t keys = 0;
  std::uint64_t credentials = 0;
  std::uint64_t attempts = 0;
  std::uint64_t connections = 0;
  std::uint64_t grants = 0;
  /// Made before, not said to be gone: with their `keys` they open what stood in them.
  std::vector<storage::Backup> open_backups;
  /// What Rivery holds copies of credentials for.
  std::vector<storage::Connection> live_connections;
};

/// Destroys a project: its keys first, so that nothing of it opens from then on, then its rows. The
/// mark in its row is committed before the keys go, so a daemon that is killed finishes at its next
/// start. `act` says who and why. Errors: NotFound, Conflict (the project changed meanwhile),
/// Unavailable (the rest is done at the next start, or by another call).
Result<Shredded> ShredProject(crypto::Keyring& keyring, storage::Store& store,
                              registry::Grants& grants, const ProjectId& id,
                              storage::Act act, std::int64_t now_s);

/// Finishes what was begun, for all projects that bear the mark. Errors: Corrupt, Unavailable.
Result<void> FinishShredding(crypto::Keyring& keyring, storage::Store& store,
                             registry::Grants& grants);

}  // namespace oauthvault::upkeep
