#pragma once

#include <string>

#include "crypto/error.h"

namespace oauthvault {

/// Free text from outside that stands in a row: valid UTF-8 without control characters, at most
/// storage::kMaxTextSize bytes. Errors: Invalid, with `field` as subject.
Result<void> CheckText(const std::string& text, Text field);

}  // namespace oauthvault
