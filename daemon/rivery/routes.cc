#include "daemon/rivery/routes.h"

#include <algorithm>
#include <array>

namespace oauthvault::rivery {
namespace {

constexpr std::size_t kMaxPathBytes = 256;
constexpr std::size_t kMaxNameBytes = 128;
constexpr std::array<std::string_view, 5> kVerbs = {"GET", "POST", "PUT", "PATCH", "DELETE"};

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// RFC 3986, section 2.3: the unreserved characters stand for themselves.
std::string Encode(std::string_view value) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : value) {
    if (IsAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      encoded += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    encoded += '%';
    encoded += kDigits[byte >> 4U];
    encoded += kDigits[byte & 0xfU];
  }
  return encoded;
}

}  // namespace

std::string_view NameOf(Operation operation) {
  switch (operation) {
    case Operation::kTypes: return "types";
    case Operation::kOauthStart: return "oauth_start";
    case Operation::kOauthFetch: return "oauth_fetch";
    case Operation::kCreate: return "create";
    case Operation::kUpdate: return "update";
    case Operation::kList: return "list";
    case Operation::kGet: return "get";
    case Operation::kDelete: return "delete";
    case Operation::kProperties: return "properties";
    case Operation::kMe: return "me";
  }
  __builtin_unreachable();
}

Routes DefaultRoutes() {
  return {
      {Operation::kTypes, {"GET", "/connection_types"}},
      {Operation::kOauthStart, {"POST", "/oauth2"}},
      {Operation::kOauthFetch, {"POST", "/oauth2/credentials"}},
      {Operation::kCreate, {"PUT", "/connections"}},
      {Operation::kUpdate, {"PUT", "/connections/{id}"}},
      {Operation::kList, {"GET", "/connections?connection_type={type}"}},
      {Operation::kGet, {"GET", "/connections/{id}"}},
      {Operation::kDelete, {"DELETE", "/connections?_id={id}"}},
      {Operation::kProperties, {"GET", "/connections/properties/{type}"}},
      {Operation::kMe, {"GET", "/me"}},
  };
}

Result<std::string> FillPath(const Route& route, const RouteNames& names) {
  if (std::ranges::find(kVerbs, route.verb) == kVerbs.end()) {
    return Fail(Code::kInvalid,
                "the verb of a Rivery route must be GET, POST, PUT, PATCH or DELETE");
  }
  const bool is_plain = std::ranges::all_of(route.path, [](char c) {
    return IsAlphanumeric(c) || std::string_view("/-._~?=&{}").contains(c);
  });
  if (!is_plain || !route.path.starts_with('/') || route.path.size() > kMaxPathBytes ||
      route.path.contains("..") || route.path.contains("//")) {
    return Fail(Code::kInvalid,
                "the path of a Rivery route must begin with / and hold plain characters only");
  }
  std::string filled;
  std::string_view rest = route.path;
  while (!rest.empty()) {
    const std::size_t open = rest.find('{');
    filled += rest.substr(0, open);
    if (open == std::string_view::npos) break;
    rest.remove_prefix(open);
    const std::size_t close = rest.find('}');
    const std::string_view placeholder = rest.substr(0, close + (close != std::string_view::npos));
    std::string_view value;
    if (placeholder == "{id}") {
      value = names.id;
    } else if (placeholder == "{cross_id}") {
      value = names.cross_id;
    } else if (placeholder == "{type}") {
      value = names.type;
    } else {
      return Fail(Code::kInvalid,
                  "a Rivery route may hold the placeholders {id}, {cross_id} and {type} only");
    }
    if (value.empty() || value.size() > kMaxNameBytes || value == "." || value == "..") {
      return Fail(Code::kInvalid, "this call has no usable value for a placeholder of its route");
    }
    filled += Encode(value);
    rest.remove_prefix(placeholder.size());
  }
  return filled;
}

}  // namespace oauthvault::rivery
