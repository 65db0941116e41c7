#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"

namespace oauthvault::rivery {

/// What to take out of a reply. Every other value is passed over and copied nowhere. Arguments live
/// as long as the call.
struct Wanted {
  std::span<const std::string_view> fields;   ///< of the object at the top, and of each item
  std::span<const std::string_view> secrets;  ///< of the object at the top: texts, kept sealed off
  /// Set: each member of the object at the top that is itself an object is an item, too, with its
  /// key under this name.
  std::string_view members_by = {};
  std::size_t max_items = 10'000;
};

/// A field's value. An id may come as text or as `{"$oid": text}`: both are a text here; a date as
/// text, as a number or as `{"$date": either}`. Null, fractions, and other objects are passed
/// over.
using FieldValue = std::variant<bool, std::int64_t, std::string>;
using Fields = std::map<std::string, FieldValue, std::less<>>;

/// What was taken out.
struct Document {
  bool is_empty = false;   ///< not one character
  bool is_object = false;  ///< an object at the top
  /// An array at the top, or an object with an array `items`. Its objects are `items`.
  bool is_list = false;
  Fields fields;
  std::vector<Fields> items;
  std::map<std::string, crypto::SecretBytes, std::less<>> secrets;
  bool holds_token = false;         ///< a non-empty text somewhere under a key that ends in "token"
  bool holds_access_token = false;  ///< .. under `access_token` or `refresh_token`

  /// The text at a key of the top level; null when there is none.
  const std::string* TextAt(std::string_view key) const;
};

/// The text under a key; null when there is none.
const std::string* TextAt(const Fields& fields, std::string_view key);
/// True when there is `true` under the key.
bool IsSet(const Fields& fields, std::string_view key);

/// Reads strict JSON (RFC 8259, UTF-8) in one pass. Errors: Unavailable when it is none, is nested
/// deeper than 32, or has a key twice; Exhausted for too many items.
Result<Document> ReadDocument(const crypto::SecretBytes& text, const Wanted& wanted);

/// A JSON string with its quotes. Nothing when `text` is not UTF-8.
std::optional<std::string> Quoted(std::string_view text);

/// The time `exp` (seconds) in the header of a JWS (RFC 7515, section 7.1), unverified: a hint. 0
/// when there is none.
std::int64_t ExpiryOfJws(const crypto::SecretBytes& jws);

}  // namespace oauthvault::rivery
