#include "daemon/custody/json_text.h"

#include <array>
#include <cstdlib>
#include <cstring>

namespace oauthvault::custody {

namespace {

/// The escaped form of a character below U+0020, a quote or a backslash, in at most 6 bytes.
struct Escape {
  std::array<char, 6> bytes{};
  std::size_t size = 0;

  explicit Escape(unsigned char c) {
    constexpr std::string_view kNamed = "\"\"\\\\b\bf\fn\nr\rt\t";  // pairs: letter, character
    constexpr std::string_view kHex = "0123456789abcdef";
    bytes[0] = '\\';
    for (std::size_t i = 0; i < kNamed.size(); i += 2) {
      if (static_cast<unsigned char>(kNamed[i + 1]) != c) continue;
      bytes[1] = kNamed[i];
      size = 2;
      return;
    }
    bytes = {'\\', 'u', '0', '0', kHex[c >> 4U], kHex[c & 0xFU]};
    size = 6;
  }
};

bool NeedsEscape(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\';
}

}  // namespace

void JsonText::Raw(std::string_view text) {
  if (memory_ && !text.empty()) {
    if (text.size() > memory_->size() - size_) std::abort();
    std::memcpy(memory_->data() + size_, text.data(), text.size());
  }
  size_ += text.size();
}

void JsonText::String(std::string_view text) {
  Raw("\"");
  std::size_t begin = 0;  // of the run that goes as it is
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!NeedsEscape(text[i])) continue;
    Raw(text.substr(begin, i - begin));
    const Escape escape(static_cast<unsigned char>(text[i]));
    Raw({escape.bytes.data(), escape.size});
    begin = i + 1;
  }
  Raw(text.substr(begin));
  Raw("\"");
}

void JsonText::String(std::span<const std::uint8_t> text) {
  String(std::string_view(reinterpret_cast<const char*>(text.data()), text.size()));
}

}  // namespace oauthvault::custody
