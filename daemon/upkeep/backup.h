#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "daemon/upkeep/check.h"
#include "storage/tables/store.h"

namespace oauthvault::upkeep {

/// A backup's folder holds `store/data.mdb`, `keys`, and `backup.json`, which says for people what
/// is in it. It is opened by the slots that were there when it was made.
inline constexpr const char* kBackupStore = "store";
inline constexpr const char* kBackupKeys = "keys";
inline constexpr const char* kBackupNote = "backup.json";
/// What the folder's name ends in until the backup counts. Nothing restores such a folder, however
/// much of it is there.
inline constexpr const char* kUnfinishedBackup = ".part";

/// A backup's folder has a path of at most this many bytes: it stands in a row and in the trail.
inline constexpr std::size_t kMaxBackupFolderSize = 900;

/// Writes a hot, compact copy of store and keys, checks it in a child process, and only then gives
/// it its name: an interrupted one keeps the name `folder`.part, which nothing restores and the
/// next one removes. The keys are copied after the store, so that they open all of it. `folder` is
/// absolute, does not end in `.part` and is not there yet. `act` says who and why. A backup of
/// which nobody is told, because the change that notes it fails, is removed again. Errors: Invalid
/// (the path), Conflict (it, or something else of the name `folder`.part, is there), Corrupt (the
/// copy does not verify, and is removed), Exhausted (no room), Unavailable.
Result<storage::Backup> MakeBackup(const std::filesystem::path& folder, storage::Store& store,
                                   const crypto::Keyring& keyring, storage::Act act,
                                   std::int64_t now_s, const BreakOff& break_off = {});

/// What the audit line about a backup has as its object: where the store in it stands, and where it
/// lies.
std::string ObjectOf(const storage::Backup& backup);
/// Reads such an object: the position and the folder, nothing else. Nothing for another text.
std::optional<storage::Backup> BackupIn(const std::string& object);

/// Makes a folder of mode 0700. Errors: Conflict (something is there), Unavailable.
Result<void> MakeFolder(const std::filesystem::path& folder);
/// Makes what happened to a folder's entries durable. Errors: Unavailable.
Result<void> SyncFolder(const std::filesystem::path& folder);

}  // namespace oauthvault::upkeep
