#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "client/failure.h"
#include "client/masker.h"
#include "crypto/secret.h"

namespace oauthvault::client {

/// A value of a `#` key with fewer bytes is not hidden: it stands in too many words.
inline constexpr std::size_t kMinHiddenSize = 4;
/// The same for what such a value is made of: the strings in its JSON, the values in its form, its
/// lines.
inline constexpr std::size_t kMinHiddenPartSize = 8;

/// All the texts by which a component may show one secret: the secret itself; as a JSON string
/// (once and twice escaped, with `/` and what is not ASCII escaped or not); base64 in both
/// alphabets and its three alignments, without the characters that depend on what stands around it;
/// URL-encoded by the rules of several libraries. Each once, none empty; the caller wipes them.
std::vector<std::string> FormsOf(std::string_view secret);

/// What to hide of a component's finished configuration: every value under a key that begins with
/// `#`, however deep, and, where such a value is itself JSON or a form (a provider's response is),
/// the strings in it. A value of several lines is hidden line by line, too.
/// Errors: kInvalid when it is not JSON.
Outcome<HiddenTexts> HideSecretsOf(const crypto::SecretBytes& configuration);

}  // namespace oauthvault::client
