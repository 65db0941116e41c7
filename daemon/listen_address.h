#pragma once

#include <sys/socket.h>

#include <optional>
#include <string_view>

namespace oauthvault {

/// Where a door listens, as the system takes it.
struct ListenAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  /// Whether only this machine can reach it: 127.0.0.0/8 or ::1.
  bool IsLoopback() const;
};

/// Reads `ADDRESS:PORT`: a numeric address, an IPv6 one in brackets (`[::1]:8443`, with its zone
/// where it has one), and a port from 0 to 65535. Names are not looked up. Nothing for what is
/// no such text.
std::optional<ListenAddress> ReadListenAddress(std::string_view text);

}  // namespace oauthvault
