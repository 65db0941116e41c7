#include "daemon/owner.h"

#include <sys/stat.h>

namespace oauthvault {

Result<void> ExpectOwner(const Config& config, uid_t user) {
  if (user != 0) return {};
  for (const auto& folder : {config.state, config.audit}) {
    struct stat status {};
    if (stat(folder.c_str(), &status) != 0 || status.st_uid == user) continue;
    return Fail(Code::kDenied, "root would leave files that the owner of this folder cannot open",
                Subject::Path(folder.string()));
  }
  return {};
}

}  // namespace oauthvault
