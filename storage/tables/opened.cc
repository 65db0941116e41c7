#include "storage/tables/opened.h"

#include <utility>

namespace oauthvault::storage {

std::shared_ptr<const Stored<Component>> OpenedComponents::Find(const ComponentId& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(id);
  return found == rows_.end() ? nullptr : found->second;
}

void OpenedComponents::Keep(std::shared_ptr<const Stored<Component>> opened) {
  const std::lock_guard lock(mutex_);
  if (rows_.size() >= kMaxOpened && !rows_.contains(opened->row.id)) rows_.clear();
  const ComponentId id = opened->row.id;
  rows_.insert_or_assign(id, std::move(opened));
}

}  // namespace oauthvault::storage
