#pragma once

#include <functional>
#include <optional>
#include <string>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/decide.h"
#include "storage/names.h"

namespace oauthvault::http {

/// What POST /encrypt seals for, beside the pair of the permit, in the words of its query.
struct SealFor {
  bool in_project = false;  ///< else the component in every project
  std::optional<std::string> configuration;  ///< an id
  std::optional<std::string> branch_type;    ///< `default` or `dev`
  bool as_text = false;  ///< the body as a whole, else the `#` values of a JSON document
};

/// Custody's part in what leaves this interface sealed; `main.cc` binds it. Where it is not bound,
/// the routes that need it answer 501.
struct Sealing {
  /// The eight keys of stored credentials as a JSON object, with sealed copies for the secrets;
  /// nothing is opened. The permit is for describe on the pair. Errors: NotFound, Corrupt,
  /// Unavailable.
  std::function<Result<crypto::SecretBytes>(const access::Permit&, const OauthId&)> copy;
  /// The body, sealed. The permit is for encrypt on the pair. Errors: Invalid (the body, the
  /// words), NotFound, Corrupt, Unavailable, Exhausted.
  std::function<Result<crypto::SecretBytes>(const access::Permit&, const SealFor&,
                                            const crypto::SecretBytes& body)>
      seal;
};

}  // namespace oauthvault::http
