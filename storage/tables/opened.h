#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "storage/names.h"
#include "storage/tables/open_row.h"
#include "storage/tables/rows.h"

namespace oauthvault::storage {

/// So many components are kept opened.
inline constexpr std::size_t kMaxOpened = 256;

/// The rows of components that were opened before: they are few, and each reveal reads one. Whoever
/// reads the very same sealed bytes again has their fields, and the key of their secret, without
/// opening them once more; nothing has to be told of changes, as the bytes are read from the store
/// each time. Secrets are not among the fields, and the part key is in locked memory. Threads: any.
class OpenedComponents {
 public:
  /// What was opened last under this id, to be compared with what is read now; null: nothing was.
  std::shared_ptr<const Stored<Component>> Find(const ComponentId& id) const;

  /// Keeps it for its id, instead of what was opened before.
  void Keep(std::shared_ptr<const Stored<Component>> opened);

 private:
  mutable std::mutex mutex_;  // guards rows_
  std::map<ComponentId, std::shared_ptr<const Stored<Component>>> rows_;
};

}  // namespace oauthvault::storage
