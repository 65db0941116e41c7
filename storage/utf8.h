#pragma once

#include <string_view>

#include "crypto/secret.h"

namespace oauthvault {

/// Whether `text` is well-formed UTF-8: shortest forms only, no surrogates, up to U+10FFFF.
/// Source: RFC 3629, section 4.
bool IsValidUtf8(std::string_view text);
/// The same for bytes that are secret.
bool IsValidUtf8(const crypto::SecretBytes& text);

}  // namespace oauthvault
