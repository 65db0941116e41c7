#pragma once

namespace oauthvault::crypto {

/// While it is true, a sync of a folder fails as on a broken disk, and what was put into it stands;
/// syncs of files go on. The linker leads the room's calls of fsync to a check of it.
extern bool refuse_folder_sync;

}  // namespace oauthvault::crypto
