#include "daemon/custody/changes.h"

namespace oauthvault::custody {
namespace {

Error Ending() {
  return Error(Code::kUnavailable, "the watch ended, as the vault stops or is sealed");
}

}  // namespace

Changes::Changes(storage::Store& store) : store_(store) {
  store_.Listen(storage::TableId::kCredentials, this,
                [this](const crypto::RowNames& names) { Changed(names); });
}

Changes::~Changes() { store_.StopListening(this); }

Changes::Token Changes::Watch(const ProjectId& project, const ComponentId& component,
                              Watcher watcher) {
  const std::lock_guard lock(guard_);
  if (ended_) watcher.ended(Ending());
  const auto at = watchers_.emplace(Pair(project.Str(), component.Str()), std::move(watcher));
  return Token(this, [this, at](void*) {
    const std::lock_guard ending(guard_);
    watchers_.erase(at);
  });
}

void Changes::End() {
  const std::lock_guard lock(guard_);
  ended_ = true;
  for (const auto& [pair, watcher] : watchers_) watcher.ended(Ending());
}

void Changes::Changed(const crypto::RowNames& names) {
  const std::lock_guard lock(guard_);
  if (!names.component.empty()) {
    const auto [first, last] = watchers_.equal_range(Pair(names.project, names.component));
    for (auto at = first; at != last; ++at) at->second.changed(names.rest.front());
    return;
  }
  // Removed unopened: nobody knows which they were, and all of the project go.
  for (auto at = watchers_.lower_bound(Pair(names.project, std::string()));
       at != watchers_.end() && at->first.first == names.project; ++at) {
    at->second.ended(Error(Code::kNotFound, "the project that was watched was shredded"));
  }
}

}  // namespace oauthvault::custody
