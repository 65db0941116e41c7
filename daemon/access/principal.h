#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "storage/names.h"

namespace oauthvault::access {

/// What kind of caller a principal is. Closed: the permission table has a column for each.
enum class Kind : std::uint8_t {
  kLocalAdmin,  ///< whoever opened the unix socket: root, or the daemon's own user
  kAdmin,       ///< spiffe://<trust domain>/admin/<name>
  kAuditor,     ///< spiffe://<trust domain>/auditor/<name>
  kRunner,      ///< spiffe://<trust domain>/runner/<name>
  kComponent,   ///< spiffe://<trust domain>/project/<p>/component/<c>
  kToken,        ///< token/<id>: an opaque token of a project, at the HTTP interface
  kManageToken,  ///< token/<id>: one of no project, which registers components
};

/// A SPIFFE id has at most this many bytes (SPIFFE-ID, section 2.3).
inline constexpr std::size_t kMaxSpiffeIdSize = 2048;

/// Who calls. The text is canonical: equal principals have equal texts.
class Principal {
 public:
  static constexpr bool kPublicName = true;

  /// The principal of the unix socket: `local/admin`.
  static Principal LocalAdmin();

  /// Parses a SPIFFE id strictly: lower-case trust domain equal to `trust_domain`, one of the four
  /// paths above, segments are ids, nothing percent-encoded, no query, no fragment, no trailing
  /// slash. Errors: Unauthenticated. Source: SPIFFE-ID sections 2.1 to 2.4.
  static Result<Principal> FromSpiffeId(std::string_view spiffe_id, std::string_view trust_domain);

  /// The holder of an opaque token: `token/<id>`. `kind` is kToken or kManageToken.
  static Principal OfToken(const TokenId& id, Kind kind);

  /// Parses what `Str()` gives: `local/admin` or a SPIFFE id of `trust_domain`. For grants that an
  /// admin types; a token carries its rights and is given none. Errors: Invalid.
  static Result<Principal> Parse(std::string_view text, std::string_view trust_domain);

  Kind GetKind() const { return kind_; }
  const std::string& Str() const { return text_; }
  /// For kComponent, else empty.
  const std::string& Project() const { return project_; }
  /// For kComponent, else empty.
  const std::string& Component() const { return component_; }

  bool operator==(const Principal& other) const { return text_ == other.text_; }

 private:
  Principal(Kind kind, std::string text) : kind_(kind), text_(std::move(text)) {}
  Kind kind_;
  std::string text_;
  std::string project_;
  std::string component_;
};

/// Reads the text of a principal of whom something is decided anew, after they called: an error
/// where nobody vouches for such a principal any more.
using ReadPrincipal = std::function<Result<Principal>(std::string_view text)>;

/// The trust domain that a SPIFFE id names, up to the slash behind it; empty where it names none.
/// Says nothing about who may vouch for it.
std::string_view TrustDomainIn(std::string_view spiffe_id);

/// `component`, `runner`, `admin`, `auditor`; `local` for the local admin; `token` for both kinds.
std::string_view NameOf(Kind kind);

/// A trust domain: 1 to 255 characters of a-z 0-9 . - _ (SPIFFE-ID, section 2.1).
bool IsValidTrustDomain(std::string_view text);

}  // namespace oauthvault::access
