#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "daemon/access/decide.h"
#include "daemon/audit/call_line.h"
#include "daemon/http/exchange.h"
#include "daemon/http/visit.h"

namespace oauthvault::http {

/// What a caller of a route has to show.
enum class Shows : std::uint8_t {
  kNothing,       ///< everybody may ask
  kProjectToken,  ///< X-StorageApi-Token; the right is on its project and the path's component
  kManageToken,   ///< X-KBC-ManageApiToken; the right is on the vault
};

/// One route. What it does is a story in domain types; who may ask is decided before it.
struct Route {
  std::string_view method;
  std::string_view path;  ///< `{component}` and `{id}` stand for one id each
  Shows shows;
  access::Right right;   ///< not asked where nothing is shown
  std::string_view act;  ///< in audit lines and metrics, as the counterpart in gRPC is called
  audit::LineRule lines;
  Result<Reply> (*tell)(Visit&);
  bool while_sealed = false;  ///< answers also while the vault is sealed
};

/// All of them. openapi.json describes each, and a test compares the two.
std::span<const Route> Routes();

/// What a request asks for.
struct Matched {
  const Route* route = nullptr;  ///< null: no route has this path, or none with this method
  std::string allow;             ///< the methods of the path; empty: there is no such path
  std::string component;
  std::string id;
};
/// Finds the route. Errors: Invalid when the path fits but for an id that is none.
Result<Matched> Match(const Request& request);

/// Text as it stands in a path or query, decoded (RFC 3986, section 2.1); `plus` stands for a space
/// in a query. Nothing when an escape is broken.
std::optional<std::string> Decode(std::string_view text, bool plus_is_space);

}  // namespace oauthvault::http
