#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/audit/merkle.h"

namespace oauthvault::audit {

/// The lines of one project in one interval of the trail: how many, and a hash over all of them in
/// their order. AUDIT.md, "What a project's lines come to".
struct ProjectLines {
  std::uint64_t count = 0;
  TreeHash chained{};
  /// `leaf`: LeafHash of the next line.
  void Add(const TreeHash& leaf);
  bool operator==(const ProjectLines&) const = default;
};

/// A project of the same slot as another, in a proof: hashes only, which tell no name.
struct TallyEntry {
  TreeHash tag{};
  TreeHash digest{};
  auto operator<=>(const TallyEntry&) const = default;
};

/// Shows what the lines of one project come to under a tally's root, also that there are none.
struct TallyProof {
  std::vector<TallyEntry> others;   ///< in the project's slot; nearly always none
  std::uint32_t siblings_there = 0;  ///< bit n: `siblings` has the one of level n, 0 the slot's own
  std::vector<TreeHash> siblings;    ///< from the slot to the root; the others are empty
};

/// What the lines of each project in one interval come to: a sparse Merkle tree with 2^32 slots, a
/// project in that of the first bits of its name's hash. So a tenant can be shown its own lines and
/// that none is missing, and learns nothing of others. Threads: as std::map.
class Tally {
 public:
  /// Counts a line in by its LeafHash; one without a project is passed over.
  void Add(std::string_view project, const TreeHash& leaf);
  /// 32 zero bytes for no lines of any project.
  TreeHash Root() const;
  TallyProof ProofOf(std::string_view project) const;

 private:
  std::vector<TallyEntry> Entries() const;
  std::map<std::string, ProjectLines, std::less<>> projects_;
};

/// The root to which the project's lines and the proof come, to be compared with the one that was
/// signed for. Nothing for what is no proof; so a project cannot be hidden among the others.
std::optional<TreeHash> RootFrom(std::string_view project, const ProjectLines& lines,
                                 const TallyProof& proof);

}  // namespace oauthvault::audit
