#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace oauthvault::crypto {

/// A number as the room's formats hold it: least significant byte first.
template <std::unsigned_integral T>
constexpr std::array<std::uint8_t, sizeof(T)> LittleEndian(T number) {
  std::array<std::uint8_t, sizeof(T)> bytes{};
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(number) >> (8 * i));
  }
  return bytes;
}

/// The number in the first `sizeof(T)` of `bytes`, which must be as many at least.
template <std::unsigned_integral T>
constexpr T FromLittleEndian(std::span<const std::uint8_t> bytes) {
  std::array<std::uint8_t, sizeof(T)> number{};
  std::ranges::copy(bytes.first(sizeof(T)), number.begin());
  if constexpr (std::endian::native == std::endian::big) std::ranges::reverse(number);
  return std::bit_cast<T>(number);
}

/// Bytes as a field of a hash or of associated data; refers to `bytes`.
inline std::string_view AsField(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Text as bytes; refers to `text`.
inline std::span<const std::uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// Appends `bytes` to `out`.
inline void Append(std::vector<std::uint8_t>& out, std::span<const std::uint8_t> bytes) {
  // Not insert: g++ 12 warns of an overflow in it that cannot happen.
  const std::size_t size = out.size();
  out.resize(size + bytes.size());
  std::ranges::copy(bytes, out.begin() + static_cast<std::ptrdiff_t>(size));
}

}  // namespace oauthvault::crypto
