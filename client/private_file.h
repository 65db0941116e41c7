#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "client/failure.h"

namespace oauthvault::client {

/// Whether a file may take the place of one that exists.
enum class Existing : std::uint8_t { kReplace, kRefuse };

/// Puts a file with these bytes at `path`, mode 0600: temporary file in the same folder, sync,
/// rename, sync of the folder. Readers and a crash see the old state or the new file, whole; a
/// failure leaves nothing behind. Errors: kConflict when `path` exists under kRefuse; kInvalid when
/// the folder is missing or not writable, `path` is no regular file, or the disk is full.
Outcome<void> WritePrivateFile(const std::filesystem::path& path,
                               std::span<const std::uint8_t> bytes, Existing existing);

}  // namespace oauthvault::client
