#include "daemon/custody/store.h"

#include <utility>

#include "daemon/custody/fingerprints.h"
#include "daemon/custody/versions.h"
#include "daemon/registry/components.h"
#include "daemon/registry/projects.h"
#include "storage/free_text.h"
#include "storage/utf8.h"

namespace oauthvault::custody {
namespace {

Result<void> Check(const NewCredentials& credentials) {
  const crypto::SecretBytes& data = credentials.data.Bytes();
  if (data.Empty() || data.Size() > kMaxDataSize) {
    return Fail(Code::kInvalid, "#data has 1 to 65,536 bytes", credentials.id);
  }
  if (!IsValidUtf8(data)) {
    return Fail(Code::kInvalid, "#data must be valid UTF-8", credentials.id);
  }
  if (credentials.app_key.empty() != credentials.app_secret.Empty()) {
    return Fail(Code::kInvalid, "an app key and an app secret come together", credentials.id);
  }
  if (credentials.foreign_client_id) {
    if (!credentials.app_key.empty()) {
      return Fail(Code::kInvalid, "credentials of another's OAuth client have no app of their own",
                  credentials.id);
    }
    if (auto ok = CheckText(*credentials.foreign_client_id, "client_id"); !ok) return ok;
  }
  if (credentials.app_secret.Bytes().Size() > registry::kMaxAppSecretSize ||
      !IsValidUtf8(credentials.app_secret.Bytes())) {
    return Fail(Code::kInvalid, "the app secret has at most 4,096 bytes of valid UTF-8",
                credentials.id);
  }
  if (auto ok = CheckText(credentials.authorized_for, "authorized_for"); !ok) return ok;
  if (auto ok = CheckText(credentials.creator_description, "creator_description"); !ok) {
    return ok;
  }
  return CheckText(credentials.app_key, "app_key");
}

}  // namespace

Result<access::PairIds> PairToStore(const access::Permit& permit) {
  if (permit.What() != access::Right::kStore) {
    return Fail(Code::kDenied, "credentials are changed by store only");
  }
  return permit.Where().AsPair();
}

void NameIn(storage::Act& act, const access::PairIds& pair, const OauthId& id) {
  act.project = pair.project.Str();
  act.component = pair.component.Str();
  act.oauth_id = id.Str();
}

Result<void> AddToBatch(storage::Batch& batch, const access::Permit& permit,
                        NewCredentials credentials, IfThere if_there, KeptVersions kept,
                        const storage::Store& store, std::int64_t now_s) {
  if (auto ok = Check(credentials); !ok) return ok;
  auto pair = PairToStore(permit);
  if (!pair) return Fail(std::move(pair));
  auto open = registry::KeepOpen(pair->project, store);
  if (!open) return Fail(std::move(open));
  batch.Hold(std::move(*open));
  auto component = store.Get<storage::Component>(storage::Component::Names(pair->component));
  if (!component) return Fail(std::move(component));

  auto standing = store.Find<storage::Credentials>(
      storage::Credentials::Names(pair->project, pair->component, credentials.id));
  if (!standing) return Fail(std::move(standing));
  if (*standing && if_there == IfThere::kRefuse) {
    return Fail(Code::kConflict, "credentials with this id are there already", credentials.id);
  }

  storage::Credentials row{pair->project, pair->component, credentials.id};
  row.authorized_for = std::move(credentials.authorized_for);
  row.creator_id = permit.Who().Str();
  row.creator_description = std::move(credentials.creator_description);
  row.created_at_s = now_s;
  row.obtained_at_s = now_s;
  row.oauth_version = component->row.oauth_version;
  row.app_key = std::move(credentials.app_key);
  row.token_endpoint = component->row.token_url;
  row.foreign_client = credentials.foreign_client_id.has_value();
  if (row.foreign_client) {
    row.client_id = std::move(*credentials.foreign_client_id);
    row.token_endpoint.clear();
  } else {
    row.client_id = row.app_key.empty() ? component->row.app_key : row.app_key;
  }

  row.fingerprints =
      FingerprintsOf(store.FingerprintKey(), row.project.Str(), credentials.data.Bytes());

  storage::Secrets secrets;
  secrets.data = std::move(credentials.data).Take();
  if (!credentials.app_secret.Empty()) {
    secrets.app_secret = std::move(credentials.app_secret).Take();
  }
  NameIn(batch.GetAct(), *pair, row.id);
  batch.GetAct().version = *standing ? (*standing)->version + 1 : 1;
  if (*standing) {
    if (auto ok = KeepFormer(batch, **standing, kept, store); !ok) return ok;
    batch.Replace(row, (*standing)->version, std::move(secrets));
  } else {
    batch.Insert(row, std::move(secrets));
  }
  return {};
}

Result<storage::Stored<storage::Credentials>> Put(const access::Permit& permit,
                                                  NewCredentials credentials, IfThere if_there,
                                                  KeptVersions kept, storage::Act act,
                                                  storage::Store& store, std::int64_t now_s) {
  const OauthId id = credentials.id;
  storage::Batch batch(std::move(act));
  if (auto ok = AddToBatch(batch, permit, std::move(credentials), if_there, kept, store, now_s);
      !ok) {
    return Fail(std::move(ok));
  }
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  auto pair = PairToStore(permit);
  if (!pair) return Fail(std::move(pair));
  return store.Get<storage::Credentials>(
      storage::Credentials::Names(pair->project, pair->component, id));
}

Result<void> Delete(const access::Permit& permit, const OauthId& id, storage::Act act,
                    storage::Store& store) {
  auto pair = PairToStore(permit);
  if (!pair) return Fail(std::move(pair));
  auto standing = store.Get<storage::Credentials>(
      storage::Credentials::Names(pair->project, pair->component, id));
  if (!standing) return Fail(std::move(standing));
  NameIn(act, *pair, id);
  act.version = standing->version;
  storage::Batch batch(std::move(act));
  if (auto former = RemoveFormer(batch, *standing, 0, store); !former) {
    return Fail(std::move(former));
  }
  batch.Remove(standing->row, standing->version);
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

}  // namespace oauthvault::custody
