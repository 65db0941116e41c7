#include "crypto/hex.h"
#include "daemon/audit/merkle.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/audit/tally.h"

namespace oauthvault::audit {
namespace {

using namespace std::string_view_literals;

// The leaves and roots with which Certificate Transparency's own tests check RFC 6962.
const std::vector<std::string_view> kLeaves = {
    ""sv,         "\x00"sv,           "\x10"sv,
    "\x20\x21"sv, "\x30\x31"sv,       "\x40\x41\x42\x43"sv,
    "\x50\x51\x52\x53\x54\x55\x56\x57"sv,
    "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f"sv};
const std::vector<std::string_view> kRoots = {
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

MerkleTree TreeOf(std::uint64_t begin, std::uint64_t end) {
  MerkleTree tree;
  for (std::uint64_t i = begin; i < end; ++i) tree.Add(LeafHash("line " + std::to_string(i)));
  return tree;
}

TEST(Merkle, TheRootsAreThoseOfCertificateTransparencysVectors) {
  MerkleTree tree;
  EXPECT_EQ(crypto::HexOf(tree.Root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (std::size_t i = 0; i < kLeaves.size(); ++i) {
    tree.Add(LeafHash(kLeaves[i]));
    EXPECT_EQ(crypto::HexOf(tree.Root()), kRoots[i]) << i;
  }
}

TEST(Merkle, ATreeGoesOnFromItsPeaks) {
  MerkleTree tree = TreeOf(0, 21);
  auto again = MerkleTree::From(tree.Size(), tree.Peaks());
  ASSERT_TRUE(again);
  again->Add(LeafHash("x"));
  tree.Add(LeafHash("x"));
  EXPECT_EQ(*again, tree);
  EXPECT_FALSE(MerkleTree::From(22, TreeOf(0, 21).Peaks().empty() ? std::vector<TreeHash>{}
                                                                : std::vector<TreeHash>(1)));
}

TEST(Merkle, EachConsistencyProofHolds_AndOneWithAnyOtherHashDoesNot) {
  for (std::uint64_t newer = 1; newer <= 33; ++newer) {
    for (std::uint64_t older = 1; older <= newer; ++older) {
      std::vector<TreeHash> proof;
      for (const LeafRange& range : ConsistencyRanges(older, newer)) {
        proof.push_back(TreeOf(range.begin, range.end).Root());
      }
      const TreeHash old_root = TreeOf(0, older).Root();
      const TreeHash new_root = TreeOf(0, newer).Root();
      ASSERT_TRUE(IsConsistent(older, newer, old_root, new_root, proof)) << older << " " << newer;
      for (TreeHash& hash : proof) {
        hash[7] ^= 1;
        ASSERT_FALSE(IsConsistent(older, newer, old_root, new_root, proof));
        hash[7] ^= 1;
      }
      TreeHash other = old_root;
      other[0] ^= 1;
      ASSERT_FALSE(IsConsistent(older, newer, other, new_root, proof));
    }
  }
}

TEST(Tally, ShowsWhatEachProjectsLinesComeTo_AlsoThatThereAreNone) {
  Tally tally;
  std::map<std::string, ProjectLines> lines;
  for (int i = 0; i < 300; ++i) {
    const std::string project = "p" + std::to_string(i % 60);
    const std::string line = "line " + std::to_string(i);
    tally.Add(project, LeafHash(line));
    lines[project].Add(LeafHash(line));
  }
  tally.Add("", LeafHash("a line of the trail itself"));
  for (int i = 0; i < 70; ++i) {
    const std::string project = "p" + std::to_string(i);
    const TallyProof proof = tally.ProofOf(project);
    EXPECT_EQ(RootFrom(project, lines[project], proof), tally.Root()) << project;
    ProjectLines fewer;
    fewer.Add(LeafHash("line " + std::to_string(i)));
    EXPECT_NE(RootFrom(project, fewer, proof), tally.Root());
    // A project that has lines cannot be shown to have none.
    if (i < 60) { EXPECT_NE(RootFrom(project, {}, proof), tally.Root()); }
  }
  EXPECT_EQ(Tally().Root(), TreeHash{});
}

TEST(Tally, AProjectCannotBeHiddenAmongTheOthersOfItsSlot) {
  Tally tally;
  tally.Add("p", LeafHash("line"));
  TallyProof proof = tally.ProofOf("q");
  proof = tally.ProofOf("p");
  proof.others.push_back({.tag = {}, .digest = {}});
  EXPECT_NE(RootFrom("p", {}, proof), tally.Root());
  proof.others.clear();
  proof.siblings.push_back({});
  EXPECT_FALSE(RootFrom("p", {}, proof));
}

}  // namespace
}  // namespace oauthvault::audit
