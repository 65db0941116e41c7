#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace oauthvault::audit {

/// SHA-256.
using TreeHash = std::array<std::uint8_t, 32>;

/// The hash of which crypto::HexOf gives this text; nothing for any other.
std::optional<TreeHash> TreeHashOf(std::string_view hex);

/// The hash of a leaf that holds `line`, without its end (RFC 6962, section 2.1: MTH({d(0)})).
TreeHash LeafHash(std::string_view line);

/// A tree grows to at most this many leaves, so it has at most so many peaks.
inline constexpr std::size_t kMaxPeaks = 48;

/// The append-only Merkle tree of RFC 6962, section 2.1, as far as one needs it to go on: only the
/// roots of its whole subtrees (peaks) are kept, one for each bit of the size, the largest first.
/// Threads: as std::vector.
class MerkleTree {
 public:
  MerkleTree() = default;
  /// A tree of which `peaks` are kept; nothing where a tree of this size has another number.
  static std::optional<MerkleTree> From(std::uint64_t size, std::vector<TreeHash> peaks);

  /// Appends a leaf.
  void Add(const TreeHash& leaf);
  std::uint64_t Size() const { return size_; }
  const std::vector<TreeHash>& Peaks() const { return peaks_; }
  /// MTH of all leaves; of none the hash of nothing.
  TreeHash Root() const;
  bool operator==(const MerkleTree&) const = default;

 private:
  std::uint64_t size_ = 0;
  std::vector<TreeHash> peaks_;
};

/// The leaves from `begin` to before `end`.
struct LeafRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const LeafRange&) const = default;
};

/// Whose roots, in this order, are the consistency proof between the trees of the first `older` and
/// the first `newer` leaves (RFC 6962, section 2.1.2: PROOF(m, D[n])). The ranges do not overlap.
/// None where the two are the same or `older` is 0, or more than `newer`.
std::vector<LeafRange> ConsistencyRanges(std::uint64_t older, std::uint64_t newer);

/// Whether `proof` shows that the tree with `newer_root` goes on from that with `older_root` (RFC
/// 9162, section 2.1.4.2).
bool IsConsistent(std::uint64_t older, std::uint64_t newer, const TreeHash& older_root,
                  const TreeHash& newer_root, std::span<const TreeHash> proof);

}  // namespace oauthvault::audit
