#pragma once

#include <string>
#include <string_view>

#include "crypto/error.h"
#include "daemon/rivery/client.h"

namespace oauthvault::rivery {

/// The URL to which `reference` (a `Location` header, a `next_page`; absolute or relative) leads
/// from `url`, when it has the same scheme, host and port. Errors: Invalid for another origin, for
/// a user in it, for more than 4 KiB, and for what is no URL.
Result<std::string> ResolveOnOrigin(const std::string& url, std::string_view reference);

}  // namespace oauthvault::rivery
