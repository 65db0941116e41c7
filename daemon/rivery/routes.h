#pragma once

#include <string>
#include <string_view>

#include "crypto/error.h"
#include "daemon/rivery/client.h"

namespace oauthvault::rivery {

/// What stands for the placeholders of a route; empty: not known in this call.
struct RouteNames {
  std::string_view id;
  std::string_view cross_id;
  std::string_view type;
};

/// The route's path with its placeholders replaced, each value URL-encoded. Errors: Invalid when
/// the verb or the path cannot be sent, for a placeholder that is not `{id}`, `{cross_id}` or
/// `{type}`, and for one whose value is empty, longer than 128 bytes, `.` or `..`.
Result<std::string> FillPath(const Route& route, const RouteNames& names);

}  // namespace oauthvault::rivery
