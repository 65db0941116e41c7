#pragma once

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/rivery/client.h"

namespace oauthvault::rivery {

/// What a started authorization is kept by, as one secret: pull_id, a line feed, auth_uri.
crypto::SecretBytes JoinLink(const StartedOauth& started);

/// The two parts, each a bearer secret until the credentials were fetched.
struct LinkParts {
  crypto::SecretBytes pull_id;
  crypto::SecretBytes auth_uri;
};
/// Errors: Corrupt.
Result<LinkParts> SplitLink(const crypto::SecretBytes& joined);

}  // namespace oauthvault::rivery
