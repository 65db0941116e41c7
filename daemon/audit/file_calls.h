#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <functional>

namespace oauthvault::audit {

/// The calls through which the trail changes its file, so that a test can count them, order them,
/// let them fail or let them hang. Each has the arguments, the result and the errno of the system
/// call of its name. Threads: called from whoever opens the trail, then from its writing thread.
struct FileCalls {
  std::function<int(const char* path, int flags, mode_t mode)> open;
  std::function<ssize_t(int file, const void* bytes, std::size_t size_bytes)> write;
  std::function<int(int file)> fdatasync;
  std::function<int(int file, off_t size_bytes)> ftruncate;
  std::function<int(int file, struct stat* status)> fstat;
  std::function<int(int file, int mode, off_t begin, off_t size_bytes)> fallocate;

  /// The system's own.
  static FileCalls System();
};

}  // namespace oauthvault::audit
