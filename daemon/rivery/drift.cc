#include "daemon/rivery/drift.h"

namespace oauthvault::rivery {
namespace {

bool WasChangedElsewhere(const storage::Connection& row, const RemoteConnection& remote) {
  if (remote.changed_at_ms == 0) return false;  // Rivery does not tell
  if (row.seen_changed_at_ms != 0) return remote.changed_at_ms != row.seen_changed_at_ms;
  return remote.changed_at_ms > row.updated_at_s * 1000 + kClockTolerance_ms;
}

}  // namespace

std::string_view NameOf(Drift drift) {
  switch (drift) {
    case Drift::kDeleted: return "deleted";
    case Drift::kRenamed: return "renamed";
    case Drift::kTypeChanged: return "type_changed";
    case Drift::kNoCredentials: return "no_credentials";
    case Drift::kChangedElsewhere: return "changed_elsewhere";
    case Drift::kDuplicate: return "duplicate";
  }
  __builtin_unreachable();
}

Verified Compare(const storage::Connection& row, const std::optional<RemoteConnection>& remote,
                 std::span<const RemoteConnection> listed, const std::set<std::string>& held) {
  Verified verified{.row = row};
  if (!remote) {
    verified.drift.push_back(Drift::kDeleted);
  } else {
    verified.remote_name = remote->name;
    verified.changed_at_ms = remote->changed_at_ms;
    if (remote->name != row.name) verified.drift.push_back(Drift::kRenamed);
    if (remote->connection_type != row.connection_type) {
      verified.drift.push_back(Drift::kTypeChanged);
    }
    if (remote->credentials_missing) verified.drift.push_back(Drift::kNoCredentials);
    if (WasChangedElsewhere(row, *remote)) verified.drift.push_back(Drift::kChangedElsewhere);
  }
  for (const RemoteConnection& other : listed) {
    if (other.name == row.name && other.id != row.connection_id && !held.contains(other.id)) {
      verified.duplicates.push_back(other.id);
    }
  }
  if (!verified.duplicates.empty()) verified.drift.push_back(Drift::kDuplicate);
  return verified;
}

}  // namespace oauthvault::rivery
