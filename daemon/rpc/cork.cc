#include "daemon/rpc/cork.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <charconv>
#include <utility>

namespace oauthvault::rpc {
namespace {

thread_local Corks* batch_here = nullptr;

void SetCork(int connection, int on) {
  setsockopt(connection, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

// `ipv4:192.0.2.1:443` and `ipv6:%5B::1%5D:443`; 0: it has none.
std::uint16_t PortIn(std::string_view peer) {
  std::uint16_t port = 0;
  if (!peer.starts_with("ip")) return port;
  const std::size_t colon = peer.rfind(':');
  std::from_chars(peer.data() + colon + 1, peer.data() + peer.size(), port);
  return port;
}

}  // namespace

void Corks::Add(int connection) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getpeername(connection, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  in_port_t port = 0;
  if (address.ss_family == AF_INET) port = reinterpret_cast<sockaddr_in&>(address).sin_port;
  if (address.ss_family == AF_INET6) port = reinterpret_cast<sockaddr_in6&>(address).sin6_port;
  if (port == 0) return;
  const std::lock_guard lock(guard_);
  peers_[ntohs(port)] = {connection};
}

void Corks::Around(const std::function<void()>& answer_all) {
  ++batch_;
  batch_here = this;
  answer_all();
  batch_here = nullptr;
  for (const int connection : corked_) SetCork(connection, 0);
  corked_.clear();
}

bool Corks::IsInBatch() { return batch_here != nullptr; }

void Corks::BeforeAnswerTo(std::string_view peer) {
  const std::uint16_t port = PortIn(peer);
  if (port != 0) batch_here->BeforeAnswerFor(port);
}

void Corks::BeforeAnswerFor(std::uint16_t port) {
  const std::lock_guard lock(guard_);
  const auto found = peers_.find(port);
  if (found == peers_.end()) return;
  Peer& peer = found->second;
  ++corked_answers_;
  if (std::exchange(peer.corked_in, batch_) == batch_) return;
  corked_.push_back(peer.connection);
  SetCork(peer.connection, 1);
}

}  // namespace oauthvault::rpc
