#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace oauthvault::bench {

/// The pair that the credentials of the benchmark are stored for; the same as in vault.py.
inline constexpr char kProject[] = "acme";
inline constexpr char kComponent[] = "ex-drive";

/// The id of the credentials of this number: `credentials-0000042`.
inline std::string IdOf(std::size_t number) {
  std::array<char, 40> text;
  std::snprintf(text.data(), text.size(), "credentials-%07zu", number);
  return text.data();
}

/// What a provider answered, of exactly `size_bytes` (at least 300) bytes of JSON: tokens of usual
/// lengths, all of them its own, and an id token that fills the rest.
inline std::string DataOf(std::size_t number, std::size_t size_bytes) {
  std::uint64_t state = number * 2 + 1;
  const auto token = [&state](std::size_t size) {
    static constexpr char kDigits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string text(size, ' ');
    for (char& digit : text) {
      // Knuth's MMIX generator; the high bits are the good ones.
      state = state * 6364136223846793005 + 1442695040888963407;
      digit = kDigits[state >> 58];
    }
    return text;
  };
  std::string data = R"({"access_token":")" + token(160) + R"(","refresh_token":")" + token(64) +
                     R"(","token_type":"Bearer","expires_in":3599,"id_token":")";
  const std::string end = R"("})";
  data += token(size_bytes - data.size() - end.size());
  return data + end;
}

}  // namespace oauthvault::bench
