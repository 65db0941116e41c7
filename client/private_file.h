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

/// Whether WritePrivateFile with kRefuse would find its place now: nothing is at `path`, and its
/// folder can be written to. For secrets that must not come into being without a place to go.
/// Errors: as WritePrivateFile.
Outcome<void> ExpectRoomFor(const std::filesystem::path& path);

/// Makes a new folder of mode 0700, durable. Errors: kConflict when `path` exists; kInvalid when
/// it cannot be made.
Outcome<void> MakePrivateFolder(const std::filesystem::path& path);

}  // namespace oauthvault::client
