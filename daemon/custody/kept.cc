#include "daemon/custody/kept.h"

#include <utility>

namespace oauthvault::custody {

Result<Kept> ReadKept(const storage::Store& store, const ProjectId& project,
                      const ComponentId& component, const OauthId& id) {
  auto credentials =
      store.Get<storage::Credentials>(storage::Credentials::Names(project, component, id));
  if (!credentials) return Fail(std::move(credentials));
  Kept kept{std::move(*credentials), std::nullopt};
  const storage::Credentials& row = kept.credentials.row;
  if (row.foreign_client || kept.credentials.sealed.Has(crypto::Part::kAppSecret)) return kept;
  auto registered = store.Find<storage::Component>(storage::Component::Names(component));
  if (!registered) return Fail(std::move(registered));
  // The component's secret never stands beside a client id that is not the component's.
  if (*registered && (*registered)->row.app_key == row.client_id) {
    kept.component = std::move(**registered);
  }
  return kept;
}

std::string AppKeyOf(const storage::Credentials& row) {
  return row.app_key.empty() ? row.client_id : row.app_key;
}

EightKeys PublicKeysOf(const storage::Credentials& row) {
  EightKeys keys;
  keys.id = row.id.Str();
  keys.authorized_for = row.authorized_for;
  keys.creator_id = row.creator_id;
  keys.creator_description = row.creator_description;
  keys.created = CreatedText(row.created_at_s);
  keys.oauth_version = row.oauth_version;
  keys.app_key = AppKeyOf(row);
  return keys;
}

}  // namespace oauthvault::custody
