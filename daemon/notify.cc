#include "daemon/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace oauthvault {
namespace {

std::string VariableOr(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

std::optional<std::int64_t> NumberIn(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (wrong != std::errc() || end != text.data() + text.size() || number <= 0) return std::nullopt;
  return number;
}

}  // namespace

Notifier Notifier::FromEnvironment() {
  Notifier notifier;
  notifier.socket_ = VariableOr("NOTIFY_SOCKET", "");
  const auto period = NumberIn(VariableOr("WATCHDOG_USEC", ""));
  // Absent: the variable is for whoever reads it.
  const auto whom = NumberIn(VariableOr("WATCHDOG_PID", std::to_string(getpid()).c_str()));
  if (period && whom == getpid()) notifier.watchdog_ = std::chrono::microseconds(*period);
  return notifier;
}

void Notifier::Send(const std::string& text) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.empty() || socket_.size() >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_.front() == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  const int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sender < 0) return;
  sendto(sender, text.data(), text.size(), MSG_NOSIGNAL,
         reinterpret_cast<const sockaddr*>(&address), size);
  close(sender);
}

void Notifier::Ready(std::string_view status) const {
  std::string text = "READY=1\nSTATUS=" + std::string(status);
  if (watchdog_) text += "\nWATCHDOG_USEC=" + std::to_string(watchdog_->count()) + "\nWATCHDOG=1";
  Send(text);
}

void Notifier::Alive() const { Send("WATCHDOG=1"); }

void Notifier::Stopping() const { Send("STOPPING=1\nSTATUS=stopping"); }

void Notifier::Reloading(std::string_view status, std::chrono::seconds patience) const {
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now().time_since_epoch());
  std::string text = "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.count()) +
                     "\nSTATUS=" + std::string(status);
  const std::chrono::microseconds silence = patience;
  if (watchdog_) {
    text += "\nWATCHDOG_USEC=" + std::to_string(silence.count()) + "\nWATCHDOG=1";
  }
  text += "\nEXTEND_TIMEOUT_USEC=" + std::to_string(silence.count());
  Send(text);
}

}  // namespace oauthvault
