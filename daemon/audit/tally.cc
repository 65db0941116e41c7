#include "daemon/audit/tally.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>

#include "daemon/audit/sha256.h"

namespace oauthvault::audit {
namespace {

// The first byte of what is hashed says what it is.
constexpr std::uint8_t kSlot = 0x00;
constexpr std::uint8_t kNode = 0x01;
constexpr std::uint8_t kEntry = 0x02;
constexpr std::uint8_t kTag = 0x03;
constexpr std::uint8_t kChained = 0x04;
constexpr unsigned kLevels = 32;
constexpr TreeHash kNothing{};  // no project below

using Bytes = std::span<const std::uint8_t>;

Bytes BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

TreeHash Joined(const TreeHash& left, const TreeHash& right) {
  if (left == kNothing && right == kNothing) return kNothing;
  return Sha256(kNode, {left, right});
}

TreeHash TagOf(std::string_view project) { return Sha256(kTag, {BytesOf(project)}); }

std::uint32_t SlotOf(const TreeHash& tag) {
  return (std::uint32_t{tag[0]} << 24) | (std::uint32_t{tag[1]} << 16) |
         (std::uint32_t{tag[2]} << 8) | tag[3];
}

TallyEntry EntryFor(const TreeHash& tag, const ProjectLines& lines) {
  std::array<std::uint8_t, 8> count{};
  for (std::size_t i = 0; i < count.size(); ++i) {
    count[i] = static_cast<std::uint8_t>(lines.count >> (8 * (count.size() - 1 - i)));
  }
  return {tag, Sha256(kEntry, {tag, count, lines.chained})};
}

// The entries of one slot, ascending.
TreeHash SlotHash(std::span<const TallyEntry> entries) {
  if (entries.empty()) return kNothing;
  std::vector<std::uint8_t> bytes;
  for (const TallyEntry& entry : entries) {
    bytes.insert(bytes.end(), entry.tag.begin(), entry.tag.end());
    bytes.insert(bytes.end(), entry.digest.begin(), entry.digest.end());
  }
  return Sha256(kSlot, {bytes});
}

// How many of them are on the left below a node that has so many levels under it, at least one.
std::size_t LeftSize(std::span<const TallyEntry> entries, unsigned level) {
  const auto right = std::ranges::find_if(entries, [level](const TallyEntry& entry) {
    return ((SlotOf(entry.tag) >> (level - 1)) & 1) != 0;
  });
  return static_cast<std::size_t>(right - entries.begin());
}

// The root of what is below a node that has so many levels under it.
TreeHash Below(std::span<const TallyEntry> entries, unsigned level) {
  if (entries.empty()) return kNothing;
  if (level == 0) return SlotHash(entries);
  const std::size_t left_size = LeftSize(entries, level);
  return Joined(Below(entries.first(left_size), level - 1),
                Below(entries.subspan(left_size), level - 1));
}

}  // namespace

void ProjectLines::Add(const TreeHash& leaf) {
  chained = Sha256(kChained, {chained, leaf});
  ++count;
}

void Tally::Add(std::string_view project, const TreeHash& leaf) {
  if (project.empty()) return;
  auto found = projects_.find(project);
  if (found == projects_.end()) found = projects_.emplace(project, ProjectLines{}).first;
  found->second.Add(leaf);
}

std::vector<TallyEntry> Tally::Entries() const {
  std::vector<TallyEntry> entries;
  for (const auto& [project, lines] : projects_) {
    entries.push_back(EntryFor(TagOf(project), lines));
  }
  std::ranges::sort(entries);
  return entries;
}

TreeHash Tally::Root() const { return Below(Entries(), kLevels); }

TallyProof Tally::ProofOf(std::string_view project) const {
  const std::vector<TallyEntry> entries = Entries();
  const TreeHash tag = TagOf(project);
  const std::uint32_t slot = SlotOf(tag);
  TallyProof proof;
  std::span<const TallyEntry> here = entries;
  for (unsigned level = kLevels; level > 0; --level) {
    const std::size_t left_size = LeftSize(here, level);
    const bool goes_right = ((slot >> (level - 1)) & 1) != 0;
    const TreeHash sibling =
        Below(goes_right ? here.first(left_size) : here.subspan(left_size), level - 1);
    here = goes_right ? here.subspan(left_size) : here.first(left_size);
    if (sibling == kNothing) continue;
    proof.siblings_there |= std::uint32_t{1} << (level - 1);
    proof.siblings.push_back(sibling);
  }
  std::ranges::reverse(proof.siblings);
  for (const TallyEntry& entry : here) {
    if (entry.tag != tag) proof.others.push_back(entry);
  }
  return proof;
}

std::optional<TreeHash> RootFrom(std::string_view project, const ProjectLines& lines,
                                 const TallyProof& proof) {
  const TreeHash tag = TagOf(project);
  std::vector<TallyEntry> slot = proof.others;
  // Else a project that has lines could stand among the others while it is told that it has none.
  for (const TallyEntry& other : slot) {
    if (other.tag == tag) return std::nullopt;
  }
  if (std::popcount(proof.siblings_there) != static_cast<int>(proof.siblings.size())) {
    return std::nullopt;
  }
  if (lines.count != 0) slot.push_back(EntryFor(tag, lines));
  std::ranges::sort(slot);
  TreeHash hash = SlotHash(slot);
  auto next = proof.siblings.begin();
  for (unsigned level = 0; level < kLevels; ++level) {
    const TreeHash sibling = ((proof.siblings_there >> level) & 1) != 0 ? *next++ : kNothing;
    hash = ((SlotOf(tag) >> level) & 1) != 0 ? Joined(sibling, hash) : Joined(hash, sibling);
  }
  return hash;
}

}  // namespace oauthvault::audit
