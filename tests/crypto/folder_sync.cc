#include "tests/crypto/folder_sync.h"

#include <sys/stat.h>

#include <cerrno>

namespace oauthvault::crypto {

bool refuse_folder_sync = false;

}  // namespace oauthvault::crypto

extern "C" {
int __real_fsync(int file);

int __wrap_fsync(int file) {
  struct stat status {};
  if (oauthvault::crypto::refuse_folder_sync && ::fstat(file, &status) == 0 &&
      S_ISDIR(status.st_mode)) {
    errno = EIO;
    return -1;
  }
  return __real_fsync(file);
}
}
