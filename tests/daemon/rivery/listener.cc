#include "tests/daemon/rivery/listener.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace oauthvault::rivery {
namespace {

constexpr int kPoll_ms = 20;

}  // namespace

Listener::Listener(std::function<void(int)> serve) : serve_(std::move(serve)) {
  // [::] also takes IPv4: whichever loopback address is tried, it is seen here.
  fd_ = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int off = 0;
  setsockopt(fd_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_any;
  socklen_t size = sizeof address;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd_, 64) != 0 ||
      getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin6_port);
  thread_ = std::thread([this] { Run(); });
}

Listener::~Listener() {
  is_stopping_ = true;
  thread_.join();
  close(fd_);
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : serving_) thread.join();
}

std::string Listener::Url(const std::string& scheme, const std::string& host) const {
  return scheme + "://" + host + ":" + std::to_string(port_) + "/api";
}

void Listener::Run() {
  while (true) {
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    // What waits at the end is still counted.
    if (poll(&waiting, 1, is_stopping_ ? 0 : kPoll_ms) <= 0) {
      if (is_stopping_) return;
      continue;
    }
    const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ++accepted_;
    {
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
    }
    serving_.emplace_back([this, fd] { Serve(fd); });
  }
}

void Listener::Serve(int fd) {
  serve_(fd);
  const std::lock_guard lock(mutex_);
  std::erase(open_, fd);
  close(fd);
}

std::string ReadRequest(int fd) {
  std::string request;
  std::array<char, 4096> block{};
  while (true) {
    const std::size_t end = request.find("\r\n\r\n");
    if (end != std::string::npos) {
      const std::size_t length = request.find("Content-Length: ");
      const std::size_t body_bytes =
          length < end ? std::strtoul(request.c_str() + length + 16, nullptr, 10) : 0;
      if (request.size() >= end + 4 + body_bytes) return request;
    }
    const ssize_t got = recv(fd, block.data(), block.size(), 0);
    if (got <= 0) return request;
    request.append(block.data(), static_cast<std::size_t>(got));
  }
}

bool WriteAll(int fd, const std::string& text) {
  std::size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t now = send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (now <= 0) return false;
    sent += static_cast<std::size_t>(now);
  }
  return true;
}

std::string HttpText(const std::string& status, const std::string& body,
                     const std::string& headers) {
  return "HTTP/1.1 " + status + "\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace oauthvault::rivery
