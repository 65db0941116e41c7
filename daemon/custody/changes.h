#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "crypto/error.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// Tells whoever watches a pair which of its credentials were written or removed, by whichever way
/// that came about. What they are now is read from the store: news that come late, or twice, do no
/// harm. Threads: any.
class Changes {
 public:
  /// Both are called from the thread that committed, or that ended the watching; they must be
  /// short, not commit, and not call back into this object.
  struct Watcher {
    /// The credentials of this id were written or removed, or may have been.
    std::function<void(const std::string& oauth_id)> changed;
    /// Nothing more will be told. NotFound: the project was shredded; Unavailable: End.
    std::function<void(const Error& why)> ended;
  };

  /// Listens to the store from here on until it ends: made and destroyed while nobody commits.
  explicit Changes(storage::Store& store);
  ~Changes();
  Changes(const Changes&) = delete;
  Changes& operator=(const Changes&) = delete;

  /// Tells of each commit that returns after this does, until the returned token ends; that waits
  /// for a call that is under way. The token does not outlive this.
  using Token = std::shared_ptr<void>;
  [[nodiscard]] Token Watch(const ProjectId& project, const ComponentId& component,
                            Watcher watcher);

  /// Ends every watching, and each one that is still to begin: the vault stops or is sealed.
  void End();

 private:
  using Pair = std::pair<std::string, std::string>;  // project, component

  void Changed(const crypto::RowNames& names);

  storage::Store& store_;
  std::mutex guard_;  // guards all below; held while watchers are told
  std::multimap<Pair, Watcher> watchers_;
  bool ended_ = false;
};

}  // namespace oauthvault::custody
