#include "storage/engine.h"

#include <algorithm>

namespace oauthvault::storage {

Result<void> CheckBatch(std::span<const Change> changes) {
  if (changes.empty() || changes.size() > kMaxBatchChanges) {
    return Fail(Code::kInvalid, "a batch holds 1 to 1000 changes");
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
