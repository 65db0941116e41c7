#include "daemon/rpc/credentials_info.h"

#include "daemon/custody/eight_keys.h"
#include "daemon/custody/kept.h"

namespace oauthvault::rpc {
namespace {

void Write(const storage::Credentials& row, std::uint64_t version,
           const crypto::SealedRow& sealed, v1::CredentialsInfo& message) {
  message.set_project(row.project.Str());
  message.set_component(row.component.Str());
  message.set_id(row.id.Str());
  message.set_authorized_for(row.authorized_for);
  message.mutable_creator()->set_id(row.creator_id);
  message.mutable_creator()->set_description(row.creator_description);
  message.set_created(custody::CreatedText(row.created_at_s));
  message.set_oauth_version(row.oauth_version);
  message.set_app_key(custody::AppKeyOf(row));
  message.set_version(version);
  message.set_data_size_bytes(static_cast<std::uint32_t>(sealed.PlainSize(crypto::Part::kData)));
  message.set_foreign_client(row.foreign_client);
}

}  // namespace

void Write(const custody::StoredCredentials& stored, v1::CredentialsInfo& message) {
  Write(stored.row, stored.version, stored.sealed, message);
}

void Write(const storage::Stored<storage::CredentialsVersion>& former,
           v1::CredentialsInfo& message) {
  Write(former.row.credentials, former.row.version, former.sealed, message);
}

}  // namespace oauthvault::rpc
