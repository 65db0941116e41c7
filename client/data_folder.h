#pragma once

#include <filesystem>
#include <string>

#include "client/failure.h"

namespace oauthvault::client {

/// Where private data folders are made: XDG_RUNTIME_DIR, /dev/shm, TMPDIR or /tmp, the first that
/// is a folder to write in. The first two are memory, so that nothing reaches a disk.
std::filesystem::path PlaceForDataFolders();

/// Makes a new data folder as Keboola's runner does, mode 0700, in `place`: `in/` and `out/`, each
/// with `tables/` and `files/`, and `in/user/`. Where `source` (the folder of the configuration;
/// empty: none) has an `in` or `out` folder, that one is linked instead: inputs are not copied, and
/// results stay when the data folder goes. Errors: kInvalid when it cannot be made.
Outcome<std::filesystem::path> MakeDataFolder(const std::filesystem::path& place,
                                              const std::filesystem::path& source);

/// Removes it with all that is in it; links are not followed, folders that cannot be written to are
/// made so. Whether it is gone.
bool RemoveDataFolder(const std::filesystem::path& folder);

}  // namespace oauthvault::client
