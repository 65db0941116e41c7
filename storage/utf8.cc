#include "storage/utf8.h"

#include <cstdint>
#include <span>

namespace oauthvault {
namespace {

// The rows of the grammar in RFC 3629, section 4: a first byte, the range of the second, and how
// many bytes of 80..BF follow behind it.
struct Form {
  std::uint8_t first_low, first_high, second_low, second_high;
  std::size_t tails;
};
constexpr Form kForms[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1}, {0xE1, 0xEC, 0x80, 0xBF, 1},
    {0xED, 0xED, 0x80, 0x9F, 1}, {0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2},
    {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2},
};

// The length of the character at the front of `rest`, 0 when it is malformed.
std::size_t CharacterSize(std::span<const std::uint8_t> rest) {
  if (rest[0] < 0x80) return 1;
  for (const Form& form : kForms) {
    if (rest[0] < form.first_low || rest[0] > form.first_high) continue;
    const std::size_t size = 2 + form.tails;
    if (rest.size() < size) return 0;
    if (rest[1] < form.second_low || rest[1] > form.second_high) return 0;
    for (std::size_t i = 2; i < size; ++i) {
      if (rest[i] < 0x80 || rest[i] > 0xBF) return 0;
    }
    return size;
  }
  return 0;
}

bool IsValid(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const std::size_t size = CharacterSize(bytes);
    if (size == 0) return false;
    bytes = bytes.subspan(size);
  }
  return true;
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  return IsValid(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

bool IsValidUtf8(const crypto::SecretBytes& text) {
  return text.Expose([](std::span<const std::uint8_t> bytes) { return IsValid(bytes); });
}

}  // namespace oauthvault
