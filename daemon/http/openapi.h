#pragma once

#include <string_view>

namespace oauthvault::http {

/// The text of openapi.json beside this file, as it was built: JSON.
std::string_view OpenApi();

}  // namespace oauthvault::http
