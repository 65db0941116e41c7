#include "daemon/custody/store.h"

#include <algorithm>
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

// What a line says of credentials that could not be read when they were replaced or removed. An
// act that is about an object of its own, as an attempt's, keeps that.
void SayDamaged(storage::Act& act) {
  if (act.object.empty()) act.object = "damaged";
}

// What a change of credentials that do not open expects. Nobody knows their version, and of two who
// change them at one time only one may succeed: the other would take what was just stored.
Result<storage::Expect> ExpectDamaged(const crypto::RowNames& names, const OauthId& id,
                                      const storage::Store& store) {
  auto as_it_stands = store.AsItStands<storage::Credentials>(names);
  if (!as_it_stands) return as_it_stands;
  auto still = store.Find<storage::Credentials>(names);
  if (still) return Fail(Code::kConflict, "the damaged credentials were replaced meanwhile", id);
  if (still.error().GetCode() != Code::kCorrupt) return Fail(std::move(still));
  return as_it_stands;
}

// Adds `row` in the place of one that does not open.
Result<void> ReplaceDamaged(storage::Batch& batch, const storage::Credentials& row,
                            storage::Secrets secrets, const storage::Store& store,
                            std::int64_t now_s) {
  auto as_it_stands = ExpectDamaged(row.Names(), row.id, store);
  if (!as_it_stands) return Fail(std::move(as_it_stands));
  auto highest = RemoveFormerOfDamaged(batch, {row.project, row.component}, row.id, store);
  if (!highest) return Fail(std::move(highest));
  // What was written from them remembers a version, and must see a higher one. Nobody knows which
  // they had; it counted writes, so the seconds since 1970 are more.
  const std::uint64_t version =
      std::max(*highest + 2, static_cast<std::uint64_t>(std::max<std::int64_t>(now_s, 1)));
  SayDamaged(batch.GetAct());
  batch.GetAct().version = version;
  batch.ReplaceDamaged(row, *as_it_stands, version, std::move(secrets));
  return {};
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
  const bool is_damaged = !standing && standing.error().GetCode() == Code::kCorrupt;
  if (!standing && !is_damaged) return Fail(std::move(standing));
  if ((is_damaged || *standing) && if_there == IfThere::kRefuse) {
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
  if (is_damaged) return ReplaceDamaged(batch, row, std::move(secrets), store, now_s);
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
  const crypto::RowNames names =
      storage::Credentials::Names(pair->project, pair->component, id);
  auto standing = store.Get<storage::Credentials>(names);
  if (!standing && standing.error().GetCode() != Code::kCorrupt) return Fail(std::move(standing));
  NameIn(act, *pair, id);
  storage::Batch batch(std::move(act));
  if (standing) {
    batch.GetAct().version = standing->version;
    auto former = RemoveFormer(batch, *standing, 0, store);
    if (!former) return Fail(std::move(former));
    batch.Remove(standing->row, standing->version);
  } else {
    SayDamaged(batch.GetAct());
    auto as_it_stands = ExpectDamaged(names, id, store);
    if (!as_it_stands) return Fail(std::move(as_it_stands));
    auto former = RemoveFormerOfDamaged(batch, *pair, id, store);
    if (!former) return Fail(std::move(former));
    batch.RemoveDamaged<storage::Credentials>(names, *as_it_stands);
  }
  if (auto committed = store.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

}  // namespace oauthvault::custody
