#include "storage/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace oauthvault {
namespace {

using namespace std::string_view_literals;

TEST(Utf8, IsValidUtf8_TakesEveryCodePointInItsShortestForm) {
  const auto encode = [](char32_t c) {
    std::string text;
    const auto add = [&text](char32_t byte) { text += static_cast<char>(byte); };
    if (c < 0x80) {
      add(c);
    } else if (c < 0x800) {
      add(0xC0 | (c >> 6)), add(0x80 | (c & 63));
    } else if (c < 0x10000) {
      add(0xE0 | (c >> 12)), add(0x80 | ((c >> 6) & 63)), add(0x80 | (c & 63));
    } else {
      add(0xF0 | (c >> 18)), add(0x80 | ((c >> 12) & 63));
      add(0x80 | ((c >> 6) & 63)), add(0x80 | (c & 63));
    }
    return text;
  };
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(IsValidUtf8(encode(c)), !surrogate) << std::hex << static_cast<unsigned>(c);
  }
  EXPECT_FALSE(IsValidUtf8(encode(0x110000)));
}

TEST(Utf8, IsValidUtf8_RefusesLongFormsStrayBytesAndCutCharacters) {
  for (const std::string_view bad :
       {"\xC0\x80"sv, "\xC1\xBF"sv, "\xE0\x80\x80"sv, "\xE0\x9F\xBF"sv, "\xF0\x80\x80\x80"sv,
        "\xF0\x8F\xBF\xBF"sv, "\x80"sv, "\xBF"sv, "\xFE"sv, "\xFF"sv, "\xF5\x80\x80\x80"sv,
        "\xC3"sv, "\xE2\x82"sv, "\xF0\x9F\x98"sv, "a\xC3("sv, "\xE2(\xA1"sv, "\xF0\x9F(\x80"sv,
        "\xED\xA0\x80"sv}) {
    EXPECT_FALSE(IsValidUtf8(bad));
    EXPECT_FALSE(IsValidUtf8(crypto::SecretBytes::CopyOf(bad)));
    EXPECT_FALSE(IsValidUtf8("before " + std::string(bad) + " behind"));
  }
  EXPECT_TRUE(IsValidUtf8(""sv));
  EXPECT_TRUE(IsValidUtf8("\0 \x7f"sv));
}

}  // namespace
}  // namespace oauthvault
