#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "crypto/secret.h"

namespace oauthvault::rivery {

/// A secret that grows: a request's body while it is built, a reply's while it arrives. Whenever it
/// moves to larger memory, the memory that it leaves is wiped. Threads: one at a time.
class GrowingSecret {
 public:
  /// `max_bytes`: the most that it takes.
  explicit GrowingSecret(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  /// False: it would be more than `max_bytes`, and nothing was taken.
  [[nodiscard]] bool Append(std::span<const std::uint8_t> bytes);
  [[nodiscard]] bool Append(std::string_view text);

  /// Appends printable ASCII as a JSON string, in quotes. False: as above, or another character.
  [[nodiscard]] bool AppendQuoted(std::span<const std::uint8_t> ascii);

  std::size_t Size() const { return used_; }

  /// What was collected; empty afterwards.
  crypto::SecretBytes Take();

 private:
  std::size_t max_bytes_;
  std::size_t used_ = 0;
  crypto::SecretBytes memory_;
};

}  // namespace oauthvault::rivery
