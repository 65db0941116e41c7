#include "daemon/listen_address.h"

#include <netdb.h>
#include <netinet/in.h>

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>

namespace oauthvault {

bool ListenAddress::IsLoopback() const {
  if (storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
  }
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
  return storage.ss_family == AF_INET && (ntohl(v4->sin_addr.s_addr) >> 24U) == 127;
}

std::optional<ListenAddress> ReadListenAddress(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string port(text.substr(colon + 1));
  std::uint16_t number = 0;
  const char* const end = port.data() + port.size();
  const auto read = std::from_chars(port.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;

  std::string_view host = text.substr(0, colon);
  const bool is_v6 = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (is_v6) host = host.substr(1, host.size() - 2);
  if (host.empty() || host.contains('\0')) return std::nullopt;
  addrinfo hints{};
  hints.ai_family = is_v6 ? AF_INET6 : AF_INET;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(std::string(host).c_str(), port.c_str(), &hints, &found) != 0) {
    return std::nullopt;
  }
  ListenAddress address;
  address.size = found->ai_addrlen;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return address;
}

}  // namespace oauthvault
