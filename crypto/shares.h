#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"

namespace oauthvault::crypto {

// How many shares a secret is split into, and how many of them give it back.
inline constexpr std::uint8_t kLeastThreshold = 2;
inline constexpr std::uint8_t kMostShares = 16;
/// The size of a share's line, without the end of the line: 81 to 84.
inline constexpr std::size_t kMostShareText = 84;

/// Tells the shares of one splitting from all others; random, not secret.
using ShareSetId = std::array<std::uint8_t, 5>;

/// k of n, 2 <= k <= n <= 16.
struct ShareParameters {
  ShareSetId set{};
  std::uint8_t threshold = 0;  ///< k: so many shares give the secret
  std::uint8_t total = 0;      ///< n: so many there are
  bool operator==(const ShareParameters&) const = default;
};

/// Which share an error is about: its number and its set, "3 of set mzxw6ytb". Only a share whose
/// check was right has one.
class ShareName {
 public:
  static constexpr bool kPublicName = true;
  ShareName(const ShareSetId& set, std::uint8_t index);
  const std::string& Str() const { return text_; }
  /// The share's number in its set, from 1.
  std::uint8_t Index() const { return index_; }

 private:
  std::uint8_t index_;
  std::string text_;
};

/// One share: the values at x = `index` of polynomials over GF(2^8) whose values at 0 are the
/// secret's bytes. ENVELOPE.md, "Share".
struct Share {
  ShareParameters parameters;
  std::uint8_t index = 0;  ///< 1 to n
  SecretBytes payload;     ///< 32 bytes
  ShareName Name() const { return {parameters.set, index}; }
};

/// Whether `parameters` lie in the bounds of k and n.
bool AreShareParameters(const ShareParameters& parameters);

/// Splits 32 bytes with fresh randomness into shares 1 to n. Fewer than k of them say nothing about
/// the secret. Other sizes, or parameters out of bounds, end the process. Time does not depend on
/// the secret.
std::vector<Share> SplitSecret(const SecretBytes& secret, const ShareParameters& parameters);

/// What k or more shares gave.
struct JoinedShares {
  SecretBytes secret;
  /// Shares that do not belong to it, though their checks are right. Several that were forged to
  /// fit each other can put the blame on others; the secret is right in any case.
  std::vector<ShareName> wrong;
};

/// Finds the secret among shares of one set, all with the same parameters and up to 16: tries k of
/// them after k (at most 12,870 tries) until `is_secret` says yes. None when no k fit. The payloads
/// are not told apart by time.
std::optional<JoinedShares> JoinShares(
    std::span<const Share> shares, const std::function<bool(const SecretBytes&)>& is_secret);

/// The line that a person keeps, without its end:
/// `ov1-<set>-<k>of<n>-<index>-<payload>-<check>`.
SecretBytes TextOf(const Share& share);

/// Whether a text is meant as a share: begins as one, or has a share's length and dashes. It is
/// so for every share in which one character was changed, left out or added.
bool LooksLikeShare(std::string_view text);

/// Reads a share's line, without its end. Nothing but the exact spelling is taken, so that its
/// check of 40 bits finds every other one. Errors: Invalid when it is damaged; the subject is the
/// share's number where that can be read, else `position`, which counts the texts as they were
/// given; Exhausted when there is no memory for keys.
Result<Share> ParseShare(std::string_view text, unsigned position);

}  // namespace oauthvault::crypto
