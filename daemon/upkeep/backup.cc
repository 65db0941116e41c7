#include "daemon/upkeep/backup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "crypto/descriptor.h"
#include "crypto/durable_file.h"
#include "crypto/fields.h"
#include "crypto/hex.h"
#include "daemon/audit/object_text.h"
#include "storage/free_text.h"

namespace oauthvault::upkeep {
namespace {

constexpr mode_t kFolderMode = 0700;
constexpr const char* kDataFile = "data.mdb";
constexpr std::string_view kObjectBegin = "backup epoch:";
constexpr std::string_view kObjectMiddle = " generation:";

// Removes a backup, whole or not: what a backup consists of and nothing else, so that a folder of
// somebody else's is left alone. Errors: Conflict when it holds something else.
Result<void> RemoveBackup(const std::filesystem::path& folder) {
  std::error_code wrong;
  const auto status = std::filesystem::symlink_status(folder, wrong);
  if (status.type() == std::filesystem::file_type::not_found) return {};
  if (status.type() == std::filesystem::file_type::directory) {
    for (const std::filesystem::path& part :
         {std::filesystem::path(kBackupNote), std::filesystem::path(kBackupKeys),
          std::filesystem::path(kBackupKeys) += ".tmp",
          std::filesystem::path(kBackupStore) / kDataFile, std::filesystem::path(kBackupStore)}) {
      std::filesystem::remove(folder / part, wrong);
    }
    if (std::filesystem::remove(folder, wrong)) return {};
  }
  return Fail(Code::kConflict, "something else than an unfinished backup is there",
              Subject::Path(folder.string()));
}

// Removes the folder unless it was kept.
class Unfinished {
 public:
  explicit Unfinished(std::filesystem::path folder) : folder_(std::move(folder)) {}
  ~Unfinished() {
    if (!folder_.empty()) (void)RemoveBackup(folder_);
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  void Keep() { folder_.clear(); }

 private:
  std::filesystem::path folder_;
};

std::string NoteOf(const storage::Backup& backup, const crypto::Keyring& keyring) {
  const nlohmann::ordered_json note = {
      {"what", "oauthvault backup"},
      {"vault", crypto::HexOf(keyring.Id())},
      {"at_s", backup.at_s},
      {"restore_epoch", backup.position.epoch},
      {"generation", backup.position.generation},
      {"rows", backup.rows},
      {"root_epoch", keyring.RootEpoch()},
  };
  return note.dump(2) + "\n";
}

// The row that notes the backup, so that `backups` and shredding know of it.
Result<void> Note(const storage::Backup& backup, storage::Store& store, storage::Act act) {
  act.object = ObjectOf(backup);
  auto standing = store.Find<storage::Backup>(storage::Backup::Names(backup.folder));
  if (!standing) return Fail(std::move(standing));
  storage::Batch batch(std::move(act));
  if (*standing) {
    batch.Replace(backup, (*standing)->version);
  } else {
    batch.Insert(backup);
  }
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

}  // namespace

Result<void> MakeFolder(const std::filesystem::path& folder) {
  if (mkdir(folder.c_str(), kFolderMode) == 0) return {};
  if (errno == EEXIST) {
    return Fail(Code::kConflict, "something is at the folder's place already",
                Subject::Path(folder.string()));
  }
  return Fail(Code::kUnavailable,
              "the folder cannot be made: its parent must exist and be the daemon's to write to "
              "(under systemd see ReadWritePaths= of the unit)",
              Subject::Path(folder.string()));
}

Result<void> SyncFolder(const std::filesystem::path& folder) {
  if (crypto::SyncFolder(folder.c_str())) return {};
  return Fail(Code::kUnavailable, "the changed folder cannot be synced",
              Subject::Path(folder.string()));
}

std::string ObjectOf(const storage::Backup& backup) {
  std::string object(kObjectBegin);
  object += std::to_string(backup.position.epoch);
  object += kObjectMiddle;
  object += std::to_string(backup.position.generation);
  return object + " " + backup.folder;
}

std::optional<storage::Backup> BackupIn(const std::string& object) {
  std::string_view text = object;
  if (!audit::TakeWord(text, kObjectBegin)) return std::nullopt;
  const auto epoch = audit::TakeNumber(text);
  if (!epoch || !audit::TakeWord(text, kObjectMiddle)) return std::nullopt;
  const auto generation = audit::TakeNumber(text);
  if (!generation || !audit::TakeWord(text, " ") || !text.starts_with('/')) return std::nullopt;
  return storage::Backup{.folder = std::string(text), .position = {*epoch, *generation}};
}

Result<storage::Backup> MakeBackup(const std::filesystem::path& folder, storage::Store& store,
                                   const crypto::Keyring& keyring, storage::Act act,
                                   std::int64_t now_s, const BreakOff& break_off) {
  if (!folder.is_absolute() || folder.native().size() > kMaxBackupFolderSize ||
      !folder.has_filename()) {
    return Fail(Code::kInvalid, "a backup goes into a folder with an absolute path");
  }
  if (folder.native().ends_with(kUnfinishedBackup)) {
    return Fail(Code::kInvalid, "a folder whose name ends in .part is an unfinished backup");
  }
  if (auto ok = CheckText(folder.string(), "folder"); !ok) return Fail(std::move(ok));
  std::error_code wrong;
  if (std::filesystem::exists(std::filesystem::symlink_status(folder, wrong))) {
    return Fail(Code::kConflict, "the backup's folder is there already",
                Subject::Path(folder.string()));
  }
  std::filesystem::path part = folder;
  part += kUnfinishedBackup;
  // What an earlier one left that was interrupted.
  if (auto removed = RemoveBackup(part); !removed) return Fail(std::move(removed));
  if (auto made = MakeFolder(part); !made) return Fail(std::move(made));
  Unfinished unfinished(part);
  if (auto made = MakeFolder(part / kBackupStore); !made) return Fail(std::move(made));
  if (auto copied = store.GetEngine().CopyTo(part / kBackupStore); !copied) {
    return Fail(std::move(copied));
  }
  if (auto copied = keyring.CopyTo(part / kBackupKeys); !copied) return Fail(std::move(copied));

  const std::uint64_t size_bytes =
      std::filesystem::file_size(part / kBackupStore / kDataFile, wrong);
  if (wrong) {
    return Fail(Code::kUnavailable, "the copy of the store cannot be looked at",
                Subject::Path(part.string()));
  }
  auto checked = RunCheck(part / kBackupStore, part / kBackupKeys, keyring,
                          CheckPatience(size_bytes), break_off);
  if (!checked) return Fail(std::move(checked));
  if (checked->verdict != CheckResult::Verdict::kWhole) {
    return Fail(Code::kCorrupt, "the copy does not verify, and was not kept; check the store");
  }
  storage::Backup backup{folder.string(), now_s, checked->position, checked->rows, size_bytes};
  const std::string note = NoteOf(backup, keyring);
  if (auto written = crypto::WriteNewFile(part / kBackupNote, crypto::AsBytes(note)); !written) {
    return Fail(std::move(written));
  }
  if (auto synced = SyncFolder(part); !synced) return Fail(std::move(synced));
  if (renameat2(AT_FDCWD, part.c_str(), AT_FDCWD, folder.c_str(), RENAME_NOREPLACE) != 0) {
    return Fail(Code::kUnavailable, "the finished backup cannot be given its name",
                Subject::Path(folder.string()));
  }
  unfinished.Keep();
  Unfinished unknown(folder);
  if (auto synced = SyncFolder(folder.parent_path()); !synced) return Fail(std::move(synced));
  if (auto noted = Note(backup, store, std::move(act)); !noted) return Fail(std::move(noted));
  unknown.Keep();
  return backup;
}

}  // namespace oauthvault::upkeep
