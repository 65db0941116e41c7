#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/custody/json_text.h"
#include "storage/names.h"

namespace oauthvault::custody {

/// A document has at most this many bytes and this depth.
inline constexpr std::size_t kMaxDocumentSize = 240 * 1024;
inline constexpr std::size_t kMaxDocumentDepth = 64;

/// Offsets in a text: from the first byte to the one behind the last.
struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// What a document has to be.
enum class Rules : std::uint8_t {
  kAny,            ///< a JSON object or array
  kConfiguration,  ///< a component's configuration: an object whose `authorization` is one we know
};

/// A JSON document as text: without white space, the order of keys and the spelling of numbers as
/// they came, and no tree, which would copy secrets into strings.
struct Document {
  crypto::SecretBytes text;
  /// The scalars that stand under a `#` key or in a list under one, in their order; of a string
  /// with its quotes.
  std::vector<Range> hash_values;

  // With kConfiguration, all in `authorization`:
  std::optional<Result<OauthId>> id;  ///< of `oauth_api`; absent: none stands there, or null
  Range oauth_api;                    ///< its members, between its braces
  std::optional<Range> credentials;   ///< the member of `oauth_api`, key and value

  /// Errors: Invalid (not JSON in UTF-8, too large, too deep, a duplicate key, an integer beyond 64
  /// bits or another number beyond a double, not what `rules` ask for; with kConfiguration an
  /// unknown key under `authorization` or its `oauth_api`). No error holds a key or value of it.
  static Result<Document> Parse(const crypto::SecretBytes& json, Rules rules);
};

/// JSON text that takes the place of a value.
struct Replacement {
  Range where;
  crypto::SecretBytes json;
};

/// Appends a range of a document's text with what replaces its values. `replacements` ascend; those
/// that are not within the range are left out.
void WriteReplaced(JsonText& out, std::string_view text, Range range,
                   std::span<const Replacement> replacements);

/// Bytes as text; refers to them.
std::string_view AsText(std::span<const std::uint8_t> bytes);

}  // namespace oauthvault::custody
