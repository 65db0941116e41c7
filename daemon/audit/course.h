#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/audit/merkle.h"
#include "daemon/audit/tally.h"

namespace oauthvault::audit {

/// What lines come to as they are read or written one after the other: the tree over all of them,
/// and the tally of the interval that is open. The daemon keeps one for the trail that it writes, a
/// verifier makes one of the lines that it reads, and both must say the same. AUDIT.md, "The tree"
/// and "Intervals". Threads: as MerkleTree.
class Course {
 public:
  /// Takes the next line in, whole and without its end. A `begin` line that is not in its place
  /// (its lines before are missing) is believed.
  void Take(std::string_view line);

  const MerkleTree& Tree() const { return tree_; }
  const Tally& OpenTally() const { return tally_; }
  /// What the field `tree` of a `begin` line says here.
  std::string TreeText() const;
  /// What the field `closes` of a line that ends the open interval says here.
  std::string ClosesText() const;

 private:
  MerkleTree tree_;
  std::uint64_t first_ = 1;
  std::string before_;  // the hash of the line that closed the interval before; empty: none did
  Tally tally_;
};

/// What the field `closes` of a line says.
struct Closes {
  std::uint64_t first = 0;  ///< the interval's first line; its last is the one before this line
  TreeHash projects{};      ///< the root of its tally
  std::string before;       ///< the hash of the line that closed the interval before, or 64 zeros
};
/// Nothing for another text.
std::optional<Closes> ParseCloses(std::string_view text);

}  // namespace oauthvault::audit
