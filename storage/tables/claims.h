#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "crypto/error.h"

namespace oauthvault::storage {

/// Who adds rows to a project, from the look whether it is there to their commit, and who removes
/// an empty one, from the look whether it is empty: never both at one time. Neither batch changes a
/// row that the other could expect anything of. In memory alone: what is not committed when the
/// process ends never is. Nobody waits here. Threads: any.
class ProjectClaims {
 public:
  /// Lasts until it is destroyed, from any thread. It does not outlive this.
  using Claim = std::shared_ptr<void>;

  /// To add to it, beside others who do. `project`: any text; it need not be there. Errors:
  /// Conflict (it is being removed just now).
  [[nodiscard]] Result<Claim> ToAdd(const std::string& project);
  /// To remove it, alone. Errors: Conflict (it is being added to, or removed, just now).
  [[nodiscard]] Result<Claim> ToRemove(const std::string& project);

 private:
  static constexpr int kRemoving = -1;

  std::mutex guard_;
  std::map<std::string, int> claims_;  // how many add to each, or kRemoving; never 0
};

}  // namespace oauthvault::storage
