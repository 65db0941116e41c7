#include "daemon/access/principal.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace oauthvault::access {
namespace {

constexpr std::string_view kScheme = "spiffe://";
constexpr std::string_view kLocalAdmin = "local/admin";
constexpr std::size_t kMaxTrustDomainSize = 255;

/// `/<word>/<name>`: the kinds whose path is one word and one name.
struct NamedKind {
  std::string_view word;
  Kind kind;
};
constexpr std::array<NamedKind, 3> kNamedKinds = {{
    {"admin", Kind::kAdmin},
    {"auditor", Kind::kAuditor},
    {"runner", Kind::kRunner},
}};

/// Longest path: project, its id, component, its id.
constexpr std::size_t kMaxSegments = 4;
struct Segments {
  std::array<std::string_view, kMaxSegments> text;
  std::size_t count = 0;
};

/// Splits a path without its leading slash. Every segment has to be an id: that alone refuses empty
/// segments, `.` and `..`, a trailing slash, `%`, `?`, `#` and every byte outside of ASCII.
std::optional<Segments> Split(std::string_view path) {
  Segments segments;
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view segment = path.substr(0, slash);
    if (segments.count == kMaxSegments || !IsValidId(segment)) return std::nullopt;
    segments.text[segments.count++] = segment;
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

/// The path behind `spiffe://<trust domain>/`, in its segments.
std::optional<Segments> ReadPath(std::string_view spiffe_id, std::string_view trust_domain) {
  if (spiffe_id.size() > kMaxSpiffeIdSize || !IsValidTrustDomain(trust_domain)) return std::nullopt;
  if (!spiffe_id.starts_with(kScheme)) return std::nullopt;
  spiffe_id.remove_prefix(kScheme.size());
  // Byte for byte. SPIFFE-ID 2.4 would fold the case; an id of ours is always written lower-case,
  // and one spelling per principal keeps grants, deny list and trail from disagreeing.
  if (!spiffe_id.starts_with(trust_domain)) return std::nullopt;
  spiffe_id.remove_prefix(trust_domain.size());
  if (!spiffe_id.starts_with('/')) return std::nullopt;
  return Split(spiffe_id.substr(1));
}

}  // namespace

Principal Principal::LocalAdmin() {
  return Principal(Kind::kLocalAdmin, std::string(kLocalAdmin));
}

Principal Principal::OfToken(const TokenId& id, Kind kind) {
  return Principal(kind, "token/" + id.Str());
}

Result<Principal> Principal::FromSpiffeId(std::string_view spiffe_id,
                                          std::string_view trust_domain) {
  const std::optional<Segments> path = ReadPath(spiffe_id, trust_domain);
  if (path && path->count == 2) {
    for (const NamedKind& named : kNamedKinds) {
      if (path->text[0] == named.word) return Principal(named.kind, std::string(spiffe_id));
    }
  }
  if (path && path->count == 4 && path->text[0] == "project" && path->text[2] == "component") {
    Principal principal(Kind::kComponent, std::string(spiffe_id));
    principal.project_ = path->text[1];
    principal.component_ = path->text[3];
    return principal;
  }
  return Fail(Code::kUnauthenticated, "the SPIFFE id names no principal of this trust domain");
}

Result<Principal> Principal::Parse(std::string_view text, std::string_view trust_domain) {
  if (text == kLocalAdmin) return LocalAdmin();
  Result<Principal> principal = FromSpiffeId(text, trust_domain);
  if (!principal) {
    return Fail(Code::kInvalid,
                "a principal is local/admin or spiffe://<trust domain> with "
                "/project/<p>/component/<c>, /runner/<n>, /admin/<n> or /auditor/<n>");
  }
  return principal;
}

std::string_view TrustDomainIn(std::string_view spiffe_id) {
  if (!spiffe_id.starts_with(kScheme)) return {};
  spiffe_id.remove_prefix(kScheme.size());
  const std::size_t slash = spiffe_id.find('/');
  if (slash == std::string_view::npos) return {};
  const std::string_view trust_domain = spiffe_id.substr(0, slash);
  return IsValidTrustDomain(trust_domain) ? trust_domain : std::string_view();
}

std::string_view NameOf(Kind kind) {
  switch (kind) {
    case Kind::kLocalAdmin: return "local";
    case Kind::kAdmin: return "admin";
    case Kind::kAuditor: return "auditor";
    case Kind::kRunner: return "runner";
    case Kind::kComponent: return "component";
    case Kind::kToken:
    case Kind::kManageToken: return "token";
  }
  __builtin_unreachable();
}

bool IsValidTrustDomain(std::string_view text) {
  if (text.empty() || text.size() > kMaxTrustDomainSize) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
}

}  // namespace oauthvault::access
