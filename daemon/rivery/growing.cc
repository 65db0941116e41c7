#include "daemon/rivery/growing.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace oauthvault::rivery {
namespace {

constexpr std::size_t kFirstBytes = 4096;

}  // namespace

bool GrowingSecret::Append(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return true;
  if (bytes.size() > max_bytes_ - used_) return false;
  if (used_ + bytes.size() > memory_.Size()) {
    const std::size_t wanted = std::max({kFirstBytes, 2 * memory_.Size(), used_ + bytes.size()});
    crypto::SecretBytes larger(wanted);
    memory_.Expose([&](std::span<const std::uint8_t> held) {
      if (used_ == 0) return;
      larger.Fill([&](std::span<std::uint8_t> room) {
        std::memcpy(room.data(), held.data(), used_);
      });
    });
    memory_ = std::move(larger);
  }
  memory_.Fill([&](std::span<std::uint8_t> room) {
    std::memcpy(room.data() + used_, bytes.data(), bytes.size());
  });
  used_ += bytes.size();
  return true;
}

bool GrowingSecret::Append(std::string_view text) {
  return Append(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

bool GrowingSecret::AppendQuoted(std::span<const std::uint8_t> ascii) {
  if (!Append("\"")) return false;
  for (const std::uint8_t& byte : ascii) {
    if (byte < 0x20 || byte > 0x7e) return false;
    if ((byte == '"' || byte == '\\') && !Append("\\")) return false;
    if (!Append(std::span(&byte, 1))) return false;
  }
  return Append("\"");
}

crypto::SecretBytes GrowingSecret::Take() {
  memory_.Truncate(used_);
  used_ = 0;
  return std::exchange(memory_, crypto::SecretBytes());
}

}  // namespace oauthvault::rivery
