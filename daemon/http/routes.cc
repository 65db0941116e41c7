#include "daemon/http/routes.h"

#include <utility>

#include "daemon/http/stories.h"
#include "storage/names.h"

namespace oauthvault::http {
namespace {

using access::Right;
using enum Shows;

constexpr audit::LineRule kQuiet = {};
constexpr audit::LineRule kAudited = {.audited = true};
constexpr audit::LineRule kRevokes = {.audited = true, .revokes = true};

constexpr Route kRoutes[] = {
    {"GET", "/manage", kManageToken, Right::kRegister, "Registry.ListComponents", kQuiet,
     ListComponents},
    {"POST", "/manage", kManageToken, Right::kRegister, "Registry.SetComponent", kAudited,
     RegisterComponent},
    {"GET", "/manage/{component}", kManageToken, Right::kRegister, "Registry.GetComponent", kQuiet,
     ShowComponent},
    {"PATCH", "/manage/{component}", kManageToken, Right::kRegister, "Registry.SetComponent",
     kAudited, ChangeComponent},
    {"DELETE", "/manage/{component}", kManageToken, Right::kRegister, "Registry.RemoveComponent",
     kRevokes, RemoveComponent},
    {"GET", "/credentials/{component}", kProjectToken, Right::kDescribe, "Credentials.List", kQuiet,
     ListCredentials},
    {"POST", "/credentials/{component}", kProjectToken, Right::kStore, "Credentials.Store",
     kAudited, StoreCredentials},
    {"GET", "/credentials/{component}/{id}", kProjectToken, Right::kDescribe,
     "Credentials.Describe", kAudited, ShowCredentials},
    {"DELETE", "/credentials/{component}/{id}", kProjectToken, Right::kStore, "Credentials.Delete",
     kRevokes, RemoveCredentials},
    {"POST", "/encrypt", kProjectToken, Right::kEncrypt, "Credentials.Encrypt", kAudited, SealBody},
    {"POST", "/authorize/{component}", kNothing, Right::kAnyone, "http.authorize", kQuiet,
     NotOffered},
    {"GET", "/authorize/{component}/callback", kNothing, Right::kAnyone, "http.callback", kQuiet,
     NotOffered},
    {"GET", "/health", kNothing, Right::kAnyone, "http.health", kQuiet, Ready, true},
    {"GET", "/health/live", kNothing, Right::kAnyone, "http.health", kQuiet, Live, true},
    {"GET", "/health/ready", kNothing, Right::kAnyone, "http.health", kQuiet, Ready, true},
    {"GET", "/metrics", kNothing, Right::kAnyone, "http.metrics", kQuiet, Metrics, true},
    {"GET", "/openapi.json", kNothing, Right::kAnyone, "http.openapi", kQuiet, Description, true},
};

std::optional<unsigned> DigitOf(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

// Takes the first segment off a path that begins with a slash.
std::string_view TakeSegment(std::string_view& path) {
  path.remove_prefix(1);
  const std::size_t end = std::min(path.find('/'), path.size());
  const std::string_view segment = path.substr(0, end);
  path.remove_prefix(end);
  return segment;
}

struct Segments {
  std::optional<std::string_view> component;
  std::optional<std::string_view> id;
};

// The segments of `path` that stand in the pattern's places; nothing where it does not fit.
std::optional<Segments> Fit(std::string_view pattern, std::string_view path) {
  Segments segments;
  while (pattern.starts_with('/') && path.starts_with('/')) {
    const std::string_view expected = TakeSegment(pattern);
    const std::string_view segment = TakeSegment(path);
    if (expected == "{component}") {
      segments.component = segment;
    } else if (expected == "{id}") {
      segments.id = segment;
    } else if (segment != expected) {
      return std::nullopt;
    }
  }
  if (!pattern.empty() || !path.empty()) return std::nullopt;
  return segments;
}

template <class IdType>
Result<std::string> IdIn(const std::optional<std::string_view>& segment) {
  if (!segment) return std::string();
  Result<IdType> id = IdType::Parse(Decode(*segment, false).value_or(std::string()));
  if (!id) return Fail(std::move(id));
  return id->Str();
}

}  // namespace

std::span<const Route> Routes() { return kRoutes; }

std::optional<std::string> Decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += plus_is_space && text[i] == '+' ? ' ' : text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto high = DigitOf(text[i + 1]);
    const auto low = DigitOf(text[i + 2]);
    if (!high || !low) return std::nullopt;
    decoded += static_cast<char>(*high << 4U | *low);
    i += 2;
  }
  return decoded;
}

Result<Matched> Match(const Request& request) {
  Matched matched;
  std::optional<Segments> segments;
  for (const Route& route : kRoutes) {
    const std::optional<Segments> fit = Fit(route.path, request.path);
    if (!fit) continue;
    segments = fit;
    matched.allow.append(matched.allow.empty() ? "" : ", ").append(route.method);
    if (route.method == request.method) matched.route = &route;
  }
  if (matched.route == nullptr) return matched;
  auto component = IdIn<ComponentId>(segments->component);
  if (!component) return Fail(std::move(component));
  auto id = IdIn<OauthId>(segments->id);
  if (!id) return Fail(std::move(id));
  matched.component = std::move(*component);
  matched.id = std::move(*id);
  return matched;
}

}  // namespace oauthvault::http
