#include "daemon/custody/kept.h"

#include <optional>
#include <utility>

namespace oauthvault::custody {

namespace {

using SharedComponent = std::shared_ptr<const storage::Stored<storage::Component>>;

// Whether their app secret, if they have any, is the component's.
bool LookToTheComponent(const storage::Stored<storage::Credentials>& credentials) {
  return !credentials.row.foreign_client && !credentials.sealed.Has(crypto::Part::kAppSecret);
}

// `registered` is null where the component is not registered any more.
void AddComponent(Kept& kept, const SharedComponent& registered) {
  // The component's secret never stands beside a client id that is not the component's.
  if (registered && registered->row.app_key == kept.credentials.row.client_id) {
    kept.component = registered;
  }
}

}  // namespace

std::size_t Kept::DataSize() const { return credentials.sealed.PlainSize(crypto::Part::kData); }

std::size_t Kept::AppSecretSize() const {
  const std::size_t own = credentials.sealed.PlainSize(crypto::Part::kAppSecret);
  if (own != 0) return own;
  return component ? component->sealed.PlainSize(crypto::Part::kAppSecret) : 0;
}

Result<void> Kept::OpenInto(const storage::Store& store, std::span<std::uint8_t> data,
                            std::span<std::uint8_t> app_secret) const {
  auto opened = store.OpenSecretInto(credentials, crypto::Part::kData, data);
  if (!opened || app_secret.empty()) return opened;
  opened = credentials.sealed.Has(crypto::Part::kAppSecret)
               ? store.OpenSecretInto(credentials, crypto::Part::kAppSecret, app_secret)
               : store.OpenSecretInto(*component, crypto::Part::kAppSecret, app_secret);
  if (!opened) crypto::Wipe(data);
  return opened;
}

Result<Kept> ReadKept(const storage::Store& store, const ProjectId& project,
                      const ComponentId& component, const OauthId& id) {
  auto credentials =
      store.Get<storage::Credentials>(storage::Credentials::Names(project, component, id));
  if (!credentials) return Fail(std::move(credentials));
  Kept kept{std::move(*credentials), nullptr};
  if (LookToTheComponent(kept.credentials)) {
    auto registered = store.FindComponent(component);
    if (!registered) return Fail(std::move(registered));
    AddComponent(kept, *registered);
  }
  return kept;
}

Result<std::vector<Result<Kept>>> ReadKeptEach(const storage::Store& store,
                                               const ProjectId& project,
                                               const ComponentId& component,
                                               std::span<const OauthId> ids) {
  std::vector<crypto::RowNames> names;
  names.reserve(ids.size());
  for (const OauthId& id : ids) {
    names.push_back(storage::Credentials::Names(project, component, id));
  }
  auto found = store.FindEach<storage::Credentials>(names);
  if (!found) return Fail(std::move(found));
  std::optional<Result<SharedComponent>> registered;  // read when the first of them needs it
  std::vector<Result<Kept>> each;
  each.reserve(ids.size());
  for (Result<std::optional<storage::Stored<storage::Credentials>>>& one : *found) {
    if (!one) {
      each.push_back(Fail(std::move(one)));
    } else if (!*one) {
      each.push_back(Fail(Code::kNotFound, storage::Credentials::kNotFound));
    } else if (!LookToTheComponent(**one)) {
      each.push_back(Kept{std::move(**one), nullptr});
    } else {
      if (!registered) registered = store.FindComponent(component);
      if (*registered) {
        each.push_back(Kept{std::move(**one), nullptr});
        AddComponent(*each.back(), **registered);
      } else if (registered->error().GetCode() == Code::kCorrupt) {
        each.push_back(std::unexpected(registered->error()));
      } else {
        return Fail(std::move(*registered));
      }
    }
  }
  return each;
}

const std::string& AppKeyOf(const storage::Credentials& row) {
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
