#include "daemon/audit/merkle.h"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "crypto/hex.h"
#include "daemon/audit/sha256.h"

namespace oauthvault::audit {
namespace {

// RFC 6962, section 2.1: leaves and nodes are told apart by their first byte.
constexpr std::uint8_t kLeaf = 0x00;
constexpr std::uint8_t kNode = 0x01;

TreeHash NodeHash(const TreeHash& left, const TreeHash& right) {
  return Sha256(kNode, {left, right});
}

// "Let k be the largest power of two smaller than n."
std::uint64_t SplitOf(std::uint64_t size) { return std::bit_floor(size - 1); }

// SUBPROOF(m, D[n], b) of RFC 6962, section 2.1.2, over the leaves of `all`.
void AddSubproof(std::uint64_t older, LeafRange all, bool whole, std::vector<LeafRange>& ranges) {
  const std::uint64_t size = all.end - all.begin;
  if (older == size) {
    if (!whole) ranges.push_back(all);
    return;
  }
  const std::uint64_t middle = all.begin + SplitOf(size);
  if (older <= middle - all.begin) {
    AddSubproof(older, {all.begin, middle}, whole, ranges);
    ranges.push_back({middle, all.end});
  } else {
    AddSubproof(older - (middle - all.begin), {middle, all.end}, false, ranges);
    ranges.push_back({all.begin, middle});
  }
}

}  // namespace

std::optional<TreeHash> TreeHashOf(std::string_view hex) {
  TreeHash hash{};
  std::size_t size = 0;
  if (hex.size() != 2 * hash.size() ||
      sodium_hex2bin(hash.data(), hash.size(), hex.data(), hex.size(), nullptr, &size, nullptr) !=
          0 ||
      size != hash.size() || crypto::HexOf(hash) != hex) {
    return std::nullopt;
  }
  return hash;
}

TreeHash LeafHash(std::string_view line) {
  return Sha256(kLeaf, {{reinterpret_cast<const std::uint8_t*>(line.data()), line.size()}});
}

std::optional<MerkleTree> MerkleTree::From(std::uint64_t size, std::vector<TreeHash> peaks) {
  if (std::popcount(size) != static_cast<int>(peaks.size()) || peaks.size() > kMaxPeaks) {
    return std::nullopt;
  }
  MerkleTree tree;
  tree.size_ = size;
  tree.peaks_ = std::move(peaks);
  return tree;
}

void MerkleTree::Add(const TreeHash& leaf) {
  peaks_.push_back(leaf);
  // One carry for each bit that the new leaf clears.
  for (std::uint64_t size = size_; (size & 1) != 0; size >>= 1) {
    const TreeHash right = peaks_.back();
    peaks_.pop_back();
    peaks_.back() = NodeHash(peaks_.back(), right);
  }
  ++size_;
}

TreeHash MerkleTree::Root() const {
  if (peaks_.empty()) return Sha256(std::nullopt, {});
  TreeHash root = peaks_.back();
  for (std::size_t i = peaks_.size() - 1; i > 0; --i) root = NodeHash(peaks_[i - 1], root);
  return root;
}

std::vector<LeafRange> ConsistencyRanges(std::uint64_t older, std::uint64_t newer) {
  std::vector<LeafRange> ranges;
  if (older == 0 || older >= newer) return ranges;
  AddSubproof(older, {0, newer}, true, ranges);
  return ranges;
}

// The names and the order are those of RFC 9162, section 2.1.4.2.
bool IsConsistent(std::uint64_t older, std::uint64_t newer, const TreeHash& older_root,
                  const TreeHash& newer_root, std::span<const TreeHash> proof) {
  if (older > newer || older == 0) return false;
  if (older == newer) return proof.empty() && older_root == newer_root;
  std::vector<TreeHash> path(proof.begin(), proof.end());
  if (std::has_single_bit(older)) path.insert(path.begin(), older_root);
  if (path.empty()) return false;
  std::uint64_t fn = older - 1;
  std::uint64_t sn = newer - 1;
  while ((fn & 1) != 0) {
    fn >>= 1;
    sn >>= 1;
  }
  TreeHash fr = path.front();
  TreeHash sr = path.front();
  for (std::size_t i = 1; i < path.size(); ++i) {
    if (sn == 0) return false;
    if ((fn & 1) != 0 || fn == sn) {
      fr = NodeHash(path[i], fr);
      sr = NodeHash(path[i], sr);
      while ((fn & 1) == 0 && fn != 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else {
      sr = NodeHash(sr, path[i]);
    }
    fn >>= 1;
    sn >>= 1;
  }
  return fr == older_root && sr == newer_root && sn == 0;
}

}  // namespace oauthvault::audit
