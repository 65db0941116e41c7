#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "crypto/secret.h"

namespace oauthvault::http {

/// How deep a body may be nested.
inline constexpr std::size_t kMaxBodyDepth = 64;

/// A body that is one JSON object with members of known names. Strings of its top level are decoded
/// straight into memory that wipes itself; an object stays the bytes that came. Threads: one.
class Body {
 public:
  /// `known`: the names that a member may have. Errors: Invalid (no JSON object in UTF-8, deeper
  /// than kMaxBodyDepth, a name twice in one object, a member of another name). No error holds
  /// anything of the text.
  static Result<Body> Parse(const crypto::SecretBytes& text,
                            std::span<const std::string_view> known);

  /// Whether there is a member of this name that is not null.
  bool Has(std::string_view name) const;

  /// The text of a string; nothing where there is no such member. `name` is a literal of ours.
  /// Errors: Invalid (it is no string).
  Result<std::optional<std::string>> TakeText(std::string_view name);
  /// The same for a secret.
  Result<std::optional<crypto::SecretBytes>> TakeSecret(std::string_view name);
  /// The bytes of an object or an array, as they came. Errors: Invalid (it is neither).
  Result<std::optional<crypto::SecretBytes>> TakeRaw(std::string_view name);

 private:
  friend class BodyReader;
  enum class Kind : std::uint8_t { kNull, kString, kOtherScalar, kContainer };
  struct Member {
    Kind kind = Kind::kNull;
    crypto::SecretBytes bytes;
  };
  std::map<std::string, Member, std::less<>> members_;
};

}  // namespace oauthvault::http
