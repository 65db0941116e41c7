#pragma once

#include "daemon/custody/versions.h"
#include "oauthvault/v1/credentials.pb.h"
#include "storage/tables/rows.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// What may be known of credentials without opening them.
void Write(const custody::StoredCredentials& stored, v1::CredentialsInfo& message);
/// The same of a former version.
void Write(const storage::Stored<storage::CredentialsVersion>& former,
           v1::CredentialsInfo& message);

}  // namespace oauthvault::rpc
