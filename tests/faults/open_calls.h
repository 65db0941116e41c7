#pragma once

#include <fcntl.h>

#include <cstdarg>

/// Every way in which a program opens a file, for the preload libraries: each ends in OpenInstead,
/// which the library defines. One translation unit each.
namespace oauthvault::faults {

/// What openat(2) does, as the library wants it.
int OpenInstead(int folder, const char* path, int flags, mode_t mode);

inline int OpenWith(int folder, const char* path, int flags, va_list words) {
  const bool has_mode = (flags & (O_CREAT | O_TMPFILE)) != 0;
  return OpenInstead(folder, path, flags, has_mode ? va_arg(words, mode_t) : 0);
}

}  // namespace oauthvault::faults

extern "C" {

int open(const char* path, int flags, ...) {
  va_list words;
  va_start(words, flags);
  const int opened = oauthvault::faults::OpenWith(AT_FDCWD, path, flags, words);
  va_end(words);
  return opened;
}
int open64(const char* path, int flags, ...) {
  va_list words;
  va_start(words, flags);
  const int opened = oauthvault::faults::OpenWith(AT_FDCWD, path, flags, words);
  va_end(words);
  return opened;
}
int openat(int folder, const char* path, int flags, ...) {
  va_list words;
  va_start(words, flags);
  const int opened = oauthvault::faults::OpenWith(folder, path, flags, words);
  va_end(words);
  return opened;
}
int openat64(int folder, const char* path, int flags, ...) {
  va_list words;
  va_start(words, flags);
  const int opened = oauthvault::faults::OpenWith(folder, path, flags, words);
  va_end(words);
  return opened;
}
int __open_2(const char* path, int flags) {
  return oauthvault::faults::OpenInstead(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char* path, int flags) {
  return oauthvault::faults::OpenInstead(AT_FDCWD, path, flags, 0);
}
int __openat_2(int folder, const char* path, int flags) {
  return oauthvault::faults::OpenInstead(folder, path, flags, 0);
}
int __openat64_2(int folder, const char* path, int flags) {
  return oauthvault::faults::OpenInstead(folder, path, flags, 0);
}

}  // extern "C"
