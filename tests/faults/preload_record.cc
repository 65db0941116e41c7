// Loaded into the daemon: writes every call that changes or syncs a file of the vault, with its
// data and times, to the file that FAULTS_LOG names. replay.cc reads it.
#include <sys/uio.h>
#include <time.h>

#include <cerrno>
#include <cstdio>

#include "tests/faults/open_calls.h"
#include "tests/faults/recording.h"
#include "tests/faults/vault_files.h"

using namespace oauthvault::faults;

namespace {

std::uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// One record is one append, so that processes that share the log do not mix theirs.
void Tell(Record record, const iovec* data, int count, std::size_t data_size,
          const char* first = "", const char* second = nullptr) {
  static const char* const path = std::getenv("FAULTS_LOG");
  static const int log =
      path == nullptr ? -1
                      : static_cast<int>(syscall(SYS_openat, AT_FDCWD, path,
                                                 O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  const int error = errno;
  constexpr int kMostParts = 70;
  iovec parts[kMostParts + 3];
  record.data_size = static_cast<std::uint32_t>(data_size);
  record.names_size = static_cast<std::uint32_t>(std::strlen(first) + 1 +
                                                 (second ? std::strlen(second) + 1 : 0));
  int at = 0;
  parts[at++] = {&record, sizeof record};
  for (int i = 0; i < count && i < kMostParts && data_size > 0; ++i) {
    const std::size_t size = data[i].iov_len < data_size ? data[i].iov_len : data_size;
    parts[at++] = {data[i].iov_base, size};
    data_size -= size;
  }
  parts[at++] = {const_cast<char*>(first), std::strlen(first) + 1};
  if (second) parts[at++] = {const_cast<char*>(second), std::strlen(second) + 1};
  // An incomplete recording would show a broken vault where there is none.
  const long whole = static_cast<long>(sizeof record + record.data_size + record.names_size);
  if (log < 0 || data_size > 0 || syscall(SYS_writev, log, parts, at) != whole) abort();
  errno = error;
}

Record About(Act act, std::uint64_t inode, std::uint64_t began_ns) {
  Record record{};
  record.act = act;
  record.inode = inode;
  record.began_ns = began_ns;
  record.ended_ns = NowNs();
  return record;
}

void TellWrite(const VaultFile& file, int descriptor, const iovec* data, int count, ssize_t written,
               off_t offset, std::uint64_t began_ns) {
  Record record = About(Act::kWrite, file.inode, began_ns);
  if ((file.flags & O_APPEND) != 0) record.flags |= kAppend;
  if ((file.flags & O_DSYNC) != 0) record.flags |= kDurableWrite;
  if (offset < 0) offset = syscall(SYS_lseek, descriptor, 0, SEEK_CUR) - written;
  record.offset = static_cast<std::uint64_t>(offset);
  Tell(record, data, count, static_cast<std::size_t>(written));
}

template <class Call>
int Sync(int descriptor, Call call) {
  const std::uint64_t began_ns = NowNs();
  const int result = call(descriptor);
  const VaultFile* file = FileOf(descriptor);
  if (result == 0 && file) Tell(About(Act::kSync, file->inode, began_ns), nullptr, 0, 0);
  return result;
}

// A name that goes to another, or is one more for the same file.
template <class Call>
int Move(Act act, int from_folder, const char* from, int to_folder, const char* to, Call call) {
  char full_from[PATH_MAX];
  char full_to[PATH_MAX];
  const bool ours = InVault(from_folder, from, full_from) && InVault(to_folder, to, full_to);
  const std::uint64_t began_ns = NowNs();
  const int result = call();
  if (result == 0 && ours) {
    Record record = About(act, ParentOf(full_from), began_ns);
    record.other = ParentOf(full_to);
    Tell(record, nullptr, 0, 0, LastPart(full_from), LastPart(full_to));
  }
  return result;
}

template <class Call>
int Remove(int folder, const char* path, Call call) {
  char full[PATH_MAX];
  const bool ours = InVault(folder, path, full);
  const std::uint64_t began_ns = NowNs();
  const int result = call();
  if (result == 0 && ours) {
    Tell(About(Act::kUnlink, ParentOf(full), began_ns), nullptr, 0, 0, LastPart(full));
  }
  return result;
}

template <class Call>
int Resize(Act act, int descriptor, off_t size, Call call) {
  const std::uint64_t began_ns = NowNs();
  const int result = call();
  const VaultFile* file = FileOf(descriptor);
  if (result == 0 && file) {
    Record record = About(act, file->inode, began_ns);
    record.offset = static_cast<std::uint64_t>(size);
    Tell(record, nullptr, 0, 0);
  }
  return result;
}

}  // namespace

int oauthvault::faults::OpenInstead(int folder, const char* path, int flags, mode_t mode) {
  char full[PATH_MAX];
  if (!InVault(folder, path, full)) {
    return static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
  }
  const bool was_there = InodeOf(full) != 0;
  const std::uint64_t began_ns = NowNs();
  const int opened = static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
  if (opened < 0) return opened;
  Remember(opened, full, flags);
  const VaultFile* file = FileOf(opened);
  if (file == nullptr) abort();
  if (!was_there && (flags & O_CREAT) != 0) {
    Record record = About(Act::kCreate, ParentOf(full), began_ns);
    record.other = file->inode;
    Tell(record, nullptr, 0, 0, LastPart(full));
  } else if ((flags & O_TRUNC) != 0) {
    Tell(About(Act::kTruncate, file->inode, began_ns), nullptr, 0, 0);
  }
  return opened;
}

extern "C" {

int close(int descriptor) {
  static const auto next = Next<int (*)(int)>("close");
  Forget(descriptor);
  return next(descriptor);
}

ssize_t write(int descriptor, const void* bytes, size_t size) {
  static const auto next = Next<ssize_t (*)(int, const void*, size_t)>("write");
  const VaultFile* file = FileOf(descriptor);
  if (file == nullptr) return next(descriptor, bytes, size);
  const std::uint64_t began_ns = NowNs();
  const ssize_t written = next(descriptor, bytes, size);
  const iovec data{const_cast<void*>(bytes), size};
  if (written > 0) TellWrite(*file, descriptor, &data, 1, written, -1, began_ns);
  return written;
}
ssize_t writev(int descriptor, const iovec* data, int count) {
  static const auto next = Next<ssize_t (*)(int, const iovec*, int)>("writev");
  const VaultFile* file = FileOf(descriptor);
  if (file == nullptr) return next(descriptor, data, count);
  const std::uint64_t began_ns = NowNs();
  const ssize_t written = next(descriptor, data, count);
  if (written > 0) TellWrite(*file, descriptor, data, count, written, -1, began_ns);
  return written;
}
ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset) {
  static const auto next = Next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  const VaultFile* file = FileOf(descriptor);
  if (file == nullptr) return next(descriptor, bytes, size, offset);
  const std::uint64_t began_ns = NowNs();
  const ssize_t written = next(descriptor, bytes, size, offset);
  const iovec data{const_cast<void*>(bytes), size};
  if (written > 0) TellWrite(*file, descriptor, &data, 1, written, offset, began_ns);
  return written;
}
ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off_t offset) {
  return pwrite(descriptor, bytes, size, offset);
}
ssize_t pwritev(int descriptor, const iovec* data, int count, off_t offset) {
  static const auto next = Next<ssize_t (*)(int, const iovec*, int, off_t)>("pwritev");
  const VaultFile* file = FileOf(descriptor);
  if (file == nullptr) return next(descriptor, data, count, offset);
  const std::uint64_t began_ns = NowNs();
  const ssize_t written = next(descriptor, data, count, offset);
  if (written > 0) TellWrite(*file, descriptor, data, count, written, offset, began_ns);
  return written;
}
ssize_t pwritev64(int descriptor, const iovec* data, int count, off_t offset) {
  return pwritev(descriptor, data, count, offset);
}

int fdatasync(int descriptor) {
  static const auto next = Next<int (*)(int)>("fdatasync");
  return Sync(descriptor, next);
}
int fsync(int descriptor) {
  static const auto next = Next<int (*)(int)>("fsync");
  return Sync(descriptor, next);
}

int ftruncate(int descriptor, off_t size) {
  static const auto next = Next<int (*)(int, off_t)>("ftruncate");
  return Resize(Act::kTruncate, descriptor, size, [&] { return next(descriptor, size); });
}
int ftruncate64(int descriptor, off_t size) { return ftruncate(descriptor, size); }
int fallocate(int descriptor, int mode, off_t offset, off_t size) {
  static const auto next = Next<int (*)(int, int, off_t, off_t)>("fallocate");
  // Space is put aside behind the end; what a reader sees does not change.
  if ((mode & FALLOC_FL_KEEP_SIZE) != 0) return next(descriptor, mode, offset, size);
  return Resize(Act::kGrow, descriptor, offset + size,
                [&] { return next(descriptor, mode, offset, size); });
}
int fallocate64(int descriptor, int mode, off_t offset, off_t size) {
  return fallocate(descriptor, mode, offset, size);
}
int posix_fallocate(int descriptor, off_t offset, off_t size) {
  static const auto next = Next<int (*)(int, off_t, off_t)>("posix_fallocate");
  return Resize(Act::kGrow, descriptor, offset + size,
                [&] { return next(descriptor, offset, size); });
}
int posix_fallocate64(int descriptor, off_t offset, off_t size) {
  return posix_fallocate(descriptor, offset, size);
}

int rename(const char* from, const char* to) {
  static const auto next = Next<int (*)(const char*, const char*)>("rename");
  return Move(Act::kRename, AT_FDCWD, from, AT_FDCWD, to, [&] { return next(from, to); });
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) {
  static const auto next = Next<int (*)(int, const char*, int, const char*)>("renameat");
  return Move(Act::kRename, from_folder, from, to_folder, to,
              [&] { return next(from_folder, from, to_folder, to); });
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  static const auto next =
      Next<int (*)(int, const char*, int, const char*, unsigned)>("renameat2");
  return Move(Act::kRename, from_folder, from, to_folder, to,
              [&] { return next(from_folder, from, to_folder, to, flags); });
}
int link(const char* from, const char* to) {
  static const auto next = Next<int (*)(const char*, const char*)>("link");
  return Move(Act::kLink, AT_FDCWD, from, AT_FDCWD, to, [&] { return next(from, to); });
}
int unlink(const char* path) {
  static const auto next = Next<int (*)(const char*)>("unlink");
  return Remove(AT_FDCWD, path, [&] { return next(path); });
}
int unlinkat(int folder, const char* path, int flags) {
  static const auto next = Next<int (*)(int, const char*, int)>("unlinkat");
  return Remove(folder, path, [&] { return next(folder, path, flags); });
}
int remove(const char* path) {
  static const auto next = Next<int (*)(const char*)>("remove");
  return Remove(AT_FDCWD, path, [&] { return next(path); });
}
int mkdir(const char* path, mode_t mode) {
  static const auto next = Next<int (*)(const char*, mode_t)>("mkdir");
  char full[PATH_MAX];
  const bool ours = InVault(AT_FDCWD, path, full);
  const std::uint64_t began_ns = NowNs();
  const int result = next(path, mode);
  if (result == 0 && ours) {
    Record record = About(Act::kCreate, ParentOf(full), began_ns);
    record.other = InodeOf(full);
    record.flags = kFolder;
    Tell(record, nullptr, 0, 0, LastPart(full));
  }
  return result;
}

}  // extern "C"
