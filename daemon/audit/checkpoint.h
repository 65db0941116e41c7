#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/audit/merkle.h"

namespace oauthvault::audit {

/// What a trail had come to: its first `size` lines are the leaves of the tree with this root.
struct Checkpoint {
  std::string origin;
  std::uint64_t size = 0;
  TreeHash root{};
  bool operator==(const Checkpoint&) const = default;
};

/// A signed checkpoint has at most this many bytes.
inline constexpr std::size_t kMaxCheckpointSize = 2048;

/// The public half: who wants to check a checkpoint needs nothing else. Its text is a C2SP
/// signed-note verifier key, `origin+8 hexadecimal digits+base64`.
class CheckpointKey {
 public:
  /// Errors: Invalid when the text is no such key, or its digits are not those of the key.
  static Result<CheckpointKey> Parse(std::string_view text);
  std::string Text() const;
  const std::string& Origin() const { return origin_; }

  /// The checkpoint in a signed note (C2SP signed-note and tlog-checkpoint; AUDIT.md,
  /// "Checkpoints"). Other signatures beside the right one are passed over.
  /// Errors: Corrupt when it is no such note, is another trail's, or is not signed with this key.
  Result<Checkpoint> Open(std::string_view note) const;

 private:
  friend class CheckpointSigner;
  using PublicKey = std::array<std::uint8_t, 32>;
  using Digits = std::array<std::uint8_t, 4>;
  CheckpointKey(std::string origin, const PublicKey& key);
  std::string origin_;
  PublicKey key_;
  Digits digits_;
};

/// The secret half, made from the audit key, which survives a rotation of the root. Whoever has the
/// audit key can sign. It is made for each signature and wiped after it. Threads: any.
class CheckpointSigner {
 public:
  /// `audit_key` is 32 bytes.
  explicit CheckpointSigner(const crypto::SecretBytes& audit_key);
  const CheckpointKey& Public() const { return public_; }
  /// The signed note about a trail that has come to `tree`.
  std::string Sign(const MerkleTree& tree) const;

 private:
  const crypto::SecretBytes& audit_key_;
  CheckpointKey public_;
};

}  // namespace oauthvault::audit
