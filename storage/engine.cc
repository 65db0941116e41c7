#include "storage/engine.h"

#include <algorithm>

namespace oauthvault::storage {

Expect Expect::Write(const crypto::SealedRow& row) {
  Expect expect{Kind::kWrite, 0, {}};
  std::ranges::copy(row.Commitment(), expect.commitment.begin());
  return expect;
}

bool Expect::HoldsFor(const std::optional<crypto::SealedRow>& present) const {
  switch (kind) {
    case Kind::kAnything: return true;
    case Kind::kAbsent: return !present;
    case Kind::kVersion: return present && present->RecordVersion() == record_version;
    case Kind::kDamaged: return false;
    case Kind::kWrite: return present && std::ranges::equal(present->Commitment(), commitment);
  }
  __builtin_unreachable();
}

std::uint64_t CreateLimit(std::uint64_t capacity_bytes) {
  return std::min(capacity_bytes / 100 * kCreateLimitPercent,
                  capacity_bytes - std::min(capacity_bytes, 2 * kLeastReserveBytes));
}

std::uint64_t ReplaceLimit(std::uint64_t capacity_bytes) {
  return std::min(capacity_bytes / 100 * kReplaceLimitPercent,
                  capacity_bytes - std::min(capacity_bytes, kLeastReserveBytes));
}

bool HardlyGrows(const crypto::SealedRow& before, const crypto::SealedRow& after) {
  return after.Bytes().size() <= kSmallRowBytes &&
         after.Bytes().size() <= before.Bytes().size() + kSlightGrowthBytes;
}

Result<void> CheckBatch(std::span<const Change> changes, std::string_view act) {
  if (changes.empty() || changes.size() > kMaxBatchChanges) {
    return Fail(Code::kInvalid, "a batch holds 1 to 1000 changes");
  }
  if (act.size() > kMaxActBytes) {
    return Fail(Code::kInvalid, "the act of a batch has at most 16,384 bytes");
  }
  std::vector<crypto::RowKey> keys;
  keys.reserve(changes.size());
  for (const Change& change : changes) keys.push_back(change.key);
  std::sort(keys.begin(), keys.end());
  if (std::adjacent_find(keys.begin(), keys.end()) != keys.end()) {
    return Fail(Code::kInvalid, "a batch changes one row twice");
  }
  return {};
}

Result<void> CheckScan(std::span<const std::uint8_t> prefix, std::size_t limit) {
  if (prefix.size() > crypto::kRowKeySize) {
    return Fail(Code::kInvalid, "the prefix of a scan is longer than a key");
  }
  if (limit == 0 || limit > kMaxScanRows) {
    return Fail(Code::kInvalid, "a scan asks for 1 to 1000 rows");
  }
  return {};
}

}  // namespace oauthvault::storage
