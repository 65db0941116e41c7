#include "daemon/rivery/consent_link.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace oauthvault::rivery {

// Neither has a line feed, Rivery's are a JWS and a URL.
crypto::SecretBytes JoinLink(const StartedOauth& started) {
  crypto::SecretBytes joined(started.pull_id.Size() + 1 + started.auth_uri.Size());
  joined.Fill([&](std::span<std::uint8_t> to) {
    started.pull_id.Expose([&](std::span<const std::uint8_t> from) {
      std::ranges::copy(from, to.begin());
      to[from.size()] = '\n';
      to = to.subspan(from.size() + 1);
    });
    started.auth_uri.Expose(
        [&](std::span<const std::uint8_t> from) { std::ranges::copy(from, to.begin()); });
  });
  return joined;
}

Result<LinkParts> SplitLink(const crypto::SecretBytes& joined) {
  return joined.Expose([](std::span<const std::uint8_t> bytes) -> Result<LinkParts> {
    const auto end = std::ranges::find(bytes, '\n');
    if (end == bytes.end()) return Fail(Code::kCorrupt, "an attempt's link has no two parts");
    const auto size = static_cast<std::size_t>(end - bytes.begin());
    return LinkParts{crypto::SecretBytes::CopyOf(bytes.first(size)),
                     crypto::SecretBytes::CopyOf(bytes.subspan(size + 1))};
  });
}

}  // namespace oauthvault::rivery
