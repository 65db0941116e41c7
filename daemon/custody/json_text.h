#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "crypto/secret.h"

namespace oauthvault::custody {

/// Writes JSON text into memory of a known size, or only counts what it would take: a secret that
/// is written twice, counted and then for good, needs no buffer that grows and leaves copies.
/// Writing beyond the memory ends the process. Threads: one.
class JsonText {
 public:
  /// Counts only.
  JsonText() = default;
  /// Writes into `memory`, which must outlive this object.
  explicit JsonText(std::span<std::uint8_t> memory) : memory_(memory) {}

  /// Appends text as it is.
  void Raw(std::string_view text);
  /// Appends a JSON string: in quotes, with quotes, backslashes and the characters below U+0020
  /// escaped, everything else byte for byte. `text`: valid UTF-8. Source: RFC 8259, section 7.
  void String(std::string_view text);
  void String(std::span<const std::uint8_t> text);

  /// What was appended so far, in bytes.
  std::size_t Size() const { return size_; }

 private:
  std::optional<std::span<std::uint8_t>> memory_;  // none: counts only
  std::size_t size_ = 0;
};

/// Counts what `write` appends, then has it written for good into memory of just that size. `write`
/// appends the same each time.
template <class Write>
crypto::SecretBytes WriteCounted(const Write& write) {
  JsonText count;
  write(count);
  crypto::SecretBytes text(count.Size());
  text.Fill([&](std::span<std::uint8_t> memory) {
    JsonText out(memory);
    write(out);
  });
  return text;
}

}  // namespace oauthvault::custody
