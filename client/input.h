#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "client/failure.h"
#include "crypto/secret.h"

namespace oauthvault::client {

/// `#data` has at most this many bytes.
inline constexpr std::size_t kMaxDataSize = 64 * 1024;
/// An app secret or an API token has at most this many bytes.
inline constexpr std::size_t kMaxSecretLineSize = 4 * 1024;

/// What a secret is read for: named in messages and in the prompt.
struct Wanted {
  std::string_view what;    ///< `app secret`
  std::string_view option;  ///< `--app-secret-file`
  std::size_t limit_bytes;
};

/// Reads a file, or standard input for `-`, of at most the limit. Errors: kInvalid with what to do.
Outcome<crypto::SecretBytes> ReadBounded(const std::string& file, const Wanted& wanted);

/// A secret of one line from a file or standard input (one line's end is taken off), or, when
/// `file` is empty and a terminal is there, from a prompt without echo. Errors: kInvalid: nothing
/// to read from, empty, more than one line, not UTF-8, too long.
Outcome<crypto::SecretBytes> ReadSecretLine(const std::string& file, const Wanted& wanted);

/// `#data`: byte for byte, 1 byte to 64 KiB, valid UTF-8. An empty `file` asks at the terminal.
Outcome<crypto::SecretBytes> ReadData(const std::string& file);

/// Whether the bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
bool IsUtf8(std::span<const std::uint8_t> bytes);

/// `90`, `90s`, `15m`, `24h`, `30d`. Errors: kInvalid; `option` is named.
Outcome<std::chrono::seconds> ParseDuration(std::string_view text, std::string_view option);

}  // namespace oauthvault::client
