#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "daemon/rivery/client.h"

namespace oauthvault::rivery {

/// Where an address leads.
enum class AddressKind : std::uint8_t {
  kPublic,    ///< the internet
  kLoopback,  ///< 127.0.0.0/8, ::1
  kPrivate,   ///< RFC 1918, RFC 6598 (carrier NAT), RFC 4193 (unique local)
  kNever,     ///< link-local, metadata services, multicast, reserved, IPv4 in IPv6, no IP
};

/// The kind of a resolved address. `size_bytes`: of the structure; too small a one is `kNever`.
AddressKind KindOf(const sockaddr* address, std::size_t size_bytes);

/// May a connection to an address of this kind be opened? `plain`: without TLS, which is for
/// loopback alone.
bool MayConnect(AddressKind kind, const Reach& reach, bool plain);

}  // namespace oauthvault::rivery
