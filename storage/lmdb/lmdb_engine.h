#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "crypto/error.h"
#include "crypto/sealed.h"
#include "storage/engine.h"

namespace oauthvault::storage {

/// The number of the store's format; a store with another one is refused. FORMAT.md.
inline constexpr std::uint32_t kStoreFormat = 1;

/// Settings of the embedded store.
struct LmdbSettings {
  std::filesystem::path folder;                    ///< holds data.mdb, lock.mdb and vault.lock
  std::uint64_t map_size_bytes = 1ull << 30;       ///< fixed while open; 1 MiB to 1 TiB
  std::uint32_t max_readers = 254;                 ///< read transactions at one time
  std::size_t write_queue = 1024;                  ///< batches that may wait for the writer
  /// Takes the whole map's room on the disk when the store is opened, so that a full disk cannot
  /// strike a commit. A file system that cannot do that is used without.
  bool preallocate = true;
};

/// Makes a new empty store for the vault in an existing folder, durable.
/// One that was left half made is completed. Errors: Conflict when there is one already or another
/// process is at it, Invalid (the settings, no such folder, remote file system), Unavailable.
Result<void> CreateLmdbStore(const LmdbSettings& settings, const crypto::VaultId& vault);

/// Opens the store: takes the folder's lock for this process (a second daemon is refused), checks
/// format and vault id, starts the one writer thread, which groups waiting batches into one commit.
/// The thread ends with the engine, after the batches that wait. `witness` takes part in every
/// transaction. Errors: Invalid (the settings, no store, another format, another vault's, remote
/// file system), Conflict (it is open already, here or in another process), Corrupt (its first
/// pages), Exhausted (the disk has no room for the map), Unavailable.
Result<std::unique_ptr<Engine>> OpenLmdbStore(const LmdbSettings& settings,
                                              const crypto::VaultId& vault, Witness& witness);

}  // namespace oauthvault::storage
