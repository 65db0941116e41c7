#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "client/failure.h"
#include "crypto/secret.h"

namespace oauthvault::client {

/// `#data` has at most this many bytes.
inline constexpr std::size_t kMaxDataSize = 64 * 1024;
/// An app secret, an API token, or what opens the vault has at most this many bytes.
inline constexpr std::size_t kMaxSecretLineSize = 4 * 1024;
/// A passphrase that opens the vault.
inline constexpr std::size_t kMinPassphraseSize = 12;
inline constexpr std::size_t kMaxPassphraseSize = 1024;

/// What a secret is read for: named in messages and in the prompt.
struct Wanted {
  std::string_view what;    ///< `app secret`
  std::string_view option;  ///< `--app-secret-file`
  std::size_t limit_bytes;
};

/// Reads a file, or standard input for `-`, of at most the limit. Errors: kInvalid with what to do.
Outcome<crypto::SecretBytes> ReadBounded(const std::string& file, const Wanted& wanted);

/// A secret of one line from a file or standard input (one line's end is taken off), or, when
/// `file` is empty and a terminal is there, from a prompt without echo, which takes less than
/// 4 KiB. Errors: kInvalid: nothing to read from, empty, more than one line, not UTF-8, too long.
Outcome<crypto::SecretBytes> ReadSecretLine(const std::string& file, const Wanted& wanted);

/// Secrets of one line each, one after another: from a file, from standard input, or, when that is
/// a terminal, from a person. The terminal's echo is off as long as this lives, so that lines which
/// were pasted at once are not shown between two questions; what was typed and not asked for is
/// dropped at the end. Threads: one.
class SecretLines {
 public:
  /// An empty `file` and `-` are standard input. Errors: kInvalid: not readable, a folder.
  static Outcome<SecretLines> Open(const std::string& file, const Wanted& wanted);
  SecretLines(SecretLines&&) noexcept;
  SecretLines& operator=(SecretLines&&) noexcept;
  ~SecretLines();

  /// Whether a person is asked.
  bool AtPrompt() const;

  /// The next line that is not empty, without its end; nothing when the input has ended. `question`
  /// is what a person is asked. Errors: kInvalid: longer than the limit, not UTF-8, control
  /// characters, not readable. After an error there may be more lines: go on until nothing comes.
  Outcome<std::optional<crypto::SecretBytes>> Next(std::string_view question);

 private:
  struct Source;
  explicit SecretLines(std::unique_ptr<Source> source);
  std::unique_ptr<Source> source_;
};

/// A new passphrase of 12 to 1,024 bytes: once from a file or standard input, or, when `file` is
/// empty, twice from a person. Errors: kInvalid: as ReadSecretLine, the wrong size, or the two
/// differ.
Outcome<crypto::SecretBytes> ReadNewPassphrase(const std::string& file);

/// One line from the terminal, with echo: what people confirm. Without its end; empty at the
/// input's end. Errors: kInvalid when standard input is no terminal; `option` is named instead.
Outcome<std::string> AskToType(std::string_view question, std::string_view option);

/// `#data`: byte for byte, 1 byte to 64 KiB, valid UTF-8. An empty `file` asks at the terminal.
Outcome<crypto::SecretBytes> ReadData(const std::string& file);

/// Whether the bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
bool IsUtf8(std::span<const std::uint8_t> bytes);

/// `90`, `90s`, `15m`, `24h`, `30d`. Errors: kInvalid; `option` is named.
Outcome<std::chrono::seconds> ParseDuration(std::string_view text, std::string_view option);

}  // namespace oauthvault::client
