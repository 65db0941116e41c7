#include "storage/tables/claims.h"

namespace oauthvault::storage {

Result<ProjectClaims::Claim> ProjectClaims::ToAdd(const std::string& project) {
  const std::lock_guard lock(guard_);
  const auto [claims, first] = claims_.try_emplace(project, 0);
  if (claims->second == kRemoving) {
    return Fail(Code::kConflict, "the project is being removed");
  }
  ++claims->second;
  return Claim(this, [this, claims](void*) {
    const std::lock_guard ending(guard_);
    if (--claims->second == 0) claims_.erase(claims);
  });
}

Result<ProjectClaims::Claim> ProjectClaims::ToRemove(const std::string& project) {
  const std::lock_guard lock(guard_);
  const auto [claims, first] = claims_.try_emplace(project, kRemoving);
  if (!first) {
    return Fail(Code::kConflict, "the project is being added to, or removed, just now");
  }
  return Claim(this, [this, claims](void*) {
    const std::lock_guard ending(guard_);
    claims_.erase(claims);
  });
}

}  // namespace oauthvault::storage
