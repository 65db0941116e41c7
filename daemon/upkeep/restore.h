#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "daemon/audit/trail.h"
#include "storage/lmdb/lmdb_engine.h"

namespace oauthvault::upkeep {

/// The places of a vault that a restore puts something into.
struct VaultPlaces {
  /// Holds `keys`, `store` and, meanwhile, `restoring`, `restored` or `replaying`.
  std::filesystem::path state;
  std::filesystem::path audit;  ///< the folder of the trail
  storage::LmdbSettings store;  ///< the settings of the store in `state`
  std::string trust_domain;
};

/// What a restore did.
struct Restored {
  storage::Position position;  ///< where the store stands now: in a new epoch
  std::uint64_t grants_revoked = 0;
  std::uint64_t identities_revoked = 0;
  std::uint64_t anchors_removed = 0;
  std::uint64_t keys_revoked = 0;
  std::uint64_t projects_shredded = 0;
  std::uint64_t tokens_revoked = 0;  ///< all that the store had
  /// Where what stood before lies; empty where nothing did, and for the store as it stands.
  std::filesystem::path aside;
};

/// Whether a restore was cut off: the vault must not be served before it is run again.
bool IsRestoring(const std::filesystem::path& state);

/// Copies a backup beside the vault, ready to be opened: gives the folder with its `keys` and
/// `store`. What an earlier restore left there that was cut off is removed, and nothing is left
/// when it fails. Errors: Invalid (no backup, or another vault's), Exhausted, Unavailable.
Result<std::filesystem::path> StageBackup(const std::filesystem::path& backup,
                                          const VaultPlaces& places);
/// Removes a staged copy that is not to be restored after all.
void DropStaged(const std::filesystem::path& state);

/// Restores the staged copy, opened by `keyring`: checks it, raises the epoch beyond the trail's
/// and the copy's, and puts it in the vault's place. Before that it does again what the trail says
/// came after the backup: takes grants away or narrows them, revokes identities and keys, removes
/// trust anchors, shreds projects, notes backups, each with its line. All tokens are revoked: which
/// of them were revoked since is not to be trusted to an older store. Without `staged` the store
/// that stands is taken as it is.
/// `reason` stands in the trail, which is verified first. Errors: Corrupt (the copy or the trail
/// does not verify), Invalid (the reason), Exhausted, Unavailable. Before the first line in the
/// trail the vault is as it was, and may be served; after it IsRestoring says so until a restore is
/// done.
Result<Restored> Restore(const std::filesystem::path& staged, const VaultPlaces& places,
                         crypto::Keyring& keyring, audit::Trail& trail, const std::string& reason,
                         std::int64_t now_s);

/// The last step of a restore, also of one that was cut off in it: gives where what stood before
/// lies (empty: nothing did), or nothing where no restore is ready. Errors: Unavailable.
Result<std::optional<std::filesystem::path>> FinishRestore(const std::filesystem::path& state);

}  // namespace oauthvault::upkeep
