#include "daemon/upkeep/anchor.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "crypto/sabotage.h"

namespace oauthvault::upkeep {
namespace {

// A crash may have let some of the lines through; those are not written again.
Result<void> TellMissing(const storage::Anchor& anchor, audit::Trail& trail) {
  Result<std::vector<storage::Committed>> commits = storage::CommitsOf(anchor);
  if (!commits) return Fail(std::move(commits));
  return trail.RecordCommits(anchor.position.epoch, *commits);
}

}  // namespace

Result<void> Reconcile(const storage::Store& store, const crypto::Keyring& keyring,
                       audit::Trail& trail) {
  const storage::Position head = trail.Head();
  const std::uint64_t generation = store.GetEngine().Generation();
  Result<storage::Anchor> anchor = store.GetAnchor();
  if (!anchor && anchor.error().GetCode() == Code::kNotFound) {
    // Right in a store into which nothing was ever committed, and in no other.
    anchor = storage::Anchor{};
  }
  if (!anchor) return Fail(std::move(anchor));
  if (anchor->position.generation != generation) {
    return Fail(Code::kCorrupt, "the anchor and the store's own generation differ");
  }
  if (keyring.Changes() < anchor->key_changes) {
    return Fail(Code::kStale, "the keys are older than the store: an older file was put back");
  }
  if (head == anchor->position || crypto::IsSabotaged(crypto::Sabotage::kSkipAnchor)) return {};
  if (head >= anchor->previous && head < anchor->position) {
    return TellMissing(*anchor, trail);
  }
  if (head > anchor->position) {
    return Fail(Code::kStale, "the store is older than the audit trail: it was put back");
  }
  return Fail(Code::kStale, "the audit trail ends before the store does: it was cut or put back");
}

}  // namespace oauthvault::upkeep
