#pragma once

#include <cstdint>
#include <string>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "daemon/access/principal.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::registry {

/// Registers a tenant: its own key first, then its row. `title`: UTF-8, at most kMaxTextSize.
/// Errors: Conflict (the id is taken, also by one that is being shredded: no key is made), Invalid
/// (title), Corrupt, Exhausted, Unavailable.
Result<storage::Stored<storage::Project>> AddProject(crypto::Keyring& keyring,
                                                     storage::Store& store, const ProjectId& id,
                                                     std::string title,
                                                     storage::Act act, std::int64_t now_s);

/// Attempts that have ended go along, in commits before its own. Errors: NotFound; Conflict while
/// it holds credentials, unfinished attempts, connections, grants or tokens, or something is being
/// put under it; Corrupt, Unavailable.
Result<void> RemoveProject(storage::Store& store, const ProjectId& id, storage::Act act);

/// For whoever adds something to a project: it is there and stays, until the claim ends, which is
/// behind the commit. Errors: as ExpectOpenProject, and Conflict (it is being removed just now).
[[nodiscard]] Result<storage::ProjectClaims::Claim> KeepOpen(const ProjectId& id,
                                                             const storage::Store& store);

/// Whether anything new may be put under a project. Errors: NotFound (not registered, or being
/// shredded), Corrupt, Unavailable.
Result<void> ExpectOpenProject(const ProjectId& id, const storage::Store& store);

}  // namespace oauthvault::registry
