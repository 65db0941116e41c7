#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>

#include "crypto/sealed.h"
#include "storage/tables/rows.h"

namespace oauthvault::storage {

/// So many rows of a table are kept opened.
inline constexpr std::size_t kMaxOpened = 256;

/// Rows of one table that were opened before. Whoever reads the very same sealed bytes again has
/// their fields without opening them once more; nothing has to be told of changes, as the bytes are
/// read from the store each time. For a table that has few rows and that every call reads. Secrets
/// are not among the fields. Threads: any.
template <Row R>
class Opened {
 public:
  /// The fields of these sealed bytes under this key, where they were opened before.
  std::optional<R> Find(const crypto::RowKey& key, const crypto::SealedRow& sealed) const {
    const std::lock_guard lock(mutex_);
    const auto found = rows_.find(key);
    if (found == rows_.end()) return std::nullopt;
    if (!std::ranges::equal(found->second.sealed.Bytes(), sealed.Bytes())) return std::nullopt;
    return found->second.row;
  }

  /// `row` is what `sealed` opened to.
  void Keep(const crypto::RowKey& key, const crypto::SealedRow& sealed, const R& row) {
    const std::lock_guard lock(mutex_);
    if (rows_.size() >= kMaxOpened && !rows_.contains(key)) rows_.clear();
    rows_.insert_or_assign(key, Kept{row, sealed});
  }

 private:
  struct Kept {
    R row;
    crypto::SealedRow sealed;
  };
  mutable std::mutex mutex_;  // guards rows_
  std::map<crypto::RowKey, Kept> rows_;
};

}  // namespace oauthvault::storage
