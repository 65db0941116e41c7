#include "daemon/rivery/address.h"

#include <netinet/in.h>

#include <array>
#include <cstring>
#include <span>

namespace oauthvault::rivery {
namespace {

struct V4Block {
  std::uint32_t prefix;
  unsigned bits;
  AddressKind kind;
};

constexpr std::uint32_t V4(unsigned a, unsigned b, unsigned c, unsigned d) {
  return (a << 24U) | (b << 16U) | (c << 8U) | d;
}

// IANA's special-purpose registry for IPv4, and two metadata services that stand outside of
// link-local. The first match counts.
constexpr std::array kV4Blocks = std::to_array<V4Block>({
    {V4(0, 0, 0, 0), 8, AddressKind::kNever},
    {V4(10, 0, 0, 0), 8, AddressKind::kPrivate},
    {V4(100, 100, 100, 200), 32, AddressKind::kNever},
    {V4(100, 64, 0, 0), 10, AddressKind::kPrivate},
    {V4(127, 0, 0, 0), 8, AddressKind::kLoopback},
    {V4(168, 63, 129, 16), 32, AddressKind::kNever},
    {V4(169, 254, 0, 0), 16, AddressKind::kNever},
    {V4(172, 16, 0, 0), 12, AddressKind::kPrivate},
    {V4(192, 0, 0, 0), 24, AddressKind::kNever},
    {V4(192, 0, 2, 0), 24, AddressKind::kNever},
    {V4(192, 88, 99, 0), 24, AddressKind::kNever},
    {V4(192, 168, 0, 0), 16, AddressKind::kPrivate},
    {V4(198, 18, 0, 0), 15, AddressKind::kNever},
    {V4(198, 51, 100, 0), 24, AddressKind::kNever},
    {V4(203, 0, 113, 0), 24, AddressKind::kNever},
    {V4(224, 0, 0, 0), 3, AddressKind::kNever},
});

struct V6Block {
  std::array<std::uint8_t, 16> prefix;
  unsigned bits;
  AddressKind kind;
};

// What is not global unicast (2000::/3) is refused as a whole, and with it the mapped and the
// translated forms of IPv4 (::ffff:0:0/96, 64:ff9b::/96). Inside it, the forms that carry an IPv4
// address (Teredo, 6to4) and the blocks for documentation. The first match counts.
constexpr std::array kV6Blocks = std::to_array<V6Block>({
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, AddressKind::kLoopback},
    {{0xfd, 0x00, 0x0e, 0xc2}, 32, AddressKind::kNever},
    {{0xfc}, 7, AddressKind::kPrivate},
    {{0x20, 0x01, 0x00, 0x00}, 23, AddressKind::kNever},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, AddressKind::kNever},
    {{0x20, 0x02}, 16, AddressKind::kNever},
    {{0x3f, 0xff, 0x00}, 20, AddressKind::kNever},
    {{0x20}, 3, AddressKind::kPublic},
});

AddressKind KindOfV4(std::uint32_t address) {
  for (const V4Block& block : kV4Blocks) {
    const std::uint32_t mask = ~std::uint32_t{0} << (32 - block.bits);
    if ((address & mask) == block.prefix) return block.kind;
  }
  return AddressKind::kPublic;
}

bool HasPrefix(std::span<const std::uint8_t, 16> address, const V6Block& block) {
  for (unsigned bit = 0; bit < block.bits; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80U >> (bit % 8));
    if ((address[bit / 8] & mask) != (block.prefix[bit / 8] & mask)) return false;
  }
  return true;
}

AddressKind KindOfV6(std::span<const std::uint8_t, 16> address) {
  for (const V6Block& block : kV6Blocks) {
    if (HasPrefix(address, block)) return block.kind;
  }
  return AddressKind::kNever;
}

}  // namespace

AddressKind KindOf(const sockaddr* address, std::size_t size_bytes) {
  // Copies, because the caller's bytes need not be aligned for the types that they hold.
  if (size_bytes >= sizeof(sockaddr_in) && address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    return KindOfV4(ntohl(v4.sin_addr.s_addr));
  }
  if (size_bytes >= sizeof(sockaddr_in6) && address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    return KindOfV6(std::span<const std::uint8_t, 16>(v6.sin6_addr.s6_addr));
  }
  return AddressKind::kNever;
}

bool MayConnect(AddressKind kind, const Reach& reach, bool plain) {
  switch (kind) {
    case AddressKind::kPublic: return !plain;
    case AddressKind::kLoopback: return reach.allow_loopback;
    case AddressKind::kPrivate: return reach.allow_private && !plain;
    case AddressKind::kNever: return false;
  }
  __builtin_unreachable();
}

}  // namespace oauthvault::rivery
