// Loaded into the daemon: lets the n-th call of some kinds on a file of the vault fail. It is told
// what to do, and tells what it did, in the file that FAULTS_CONTROL names, which both sides map
// (io_harness.py, class Control). The file can be rearmed while the daemon runs.
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tests/faults/open_calls.h"
#include "tests/faults/vault_files.h"

using namespace oauthvault::faults;

namespace {

// Kinds of calls, one bit each.
constexpr std::uint64_t kWrite = 1;    // write, writev, pwrite, pwritev
constexpr std::uint64_t kMeta = 2;     // the same through a descriptor with O_DSYNC
constexpr std::uint64_t kSync = 4;     // fdatasync, fsync
constexpr std::uint64_t kRename = 8;   // rename, link
constexpr std::uint64_t kResize = 16;  // ftruncate, fallocate
constexpr std::uint64_t kOpen = 32;

// What happens instead of the call, beside an errno.
constexpr std::int64_t kShort = -1;  // half of it is written
constexpr std::int64_t kLie = -2;    // nothing is done, and success is told: the control
constexpr std::int64_t kLate = -3;   // a sync is done, 250 ms later
constexpr useconds_t kLateUs = 250'000;
constexpr std::int64_t kHang = -4;   // it comes back when this is disarmed, and then it is done

struct Control {
  std::uint64_t armed;
  std::uint64_t kinds;
  std::uint64_t at;       // the n-th call, from 1
  std::uint64_t sticky;   // and each one after it
  std::int64_t what;      // an errno, or one of the above
  char only[kNameSize];   // files of this name; empty: of any
  std::uint64_t seen;
  std::uint64_t injected;
  char hit[kNameSize];    // the file of the last injection
  std::uint64_t durable;  // bytes of the trail's open segment that a sync which came back covers
};

constexpr const char* kTrail = "audit.jsonl";

Control* Shared() {
  static Control* const control = [] {
    const char* path = std::getenv("FAULTS_CONTROL");
    if (path == nullptr) abort();
    const int file = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC));
    void* mapped = mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || mapped == MAP_FAILED) abort();
    syscall(SYS_close, file);
    return static_cast<Control*>(mapped);
  }();
  return control;
}

// 0: the call goes on; else what happens instead.
std::int64_t Instead(std::uint64_t kind, const char* name) {
  Control* control = Shared();
  if (__atomic_load_n(&control->armed, __ATOMIC_ACQUIRE) == 0) return 0;
  if ((control->kinds & kind) == 0) return 0;
  if (control->only[0] != 0 && std::strcmp(control->only, name) != 0) return 0;
  const std::uint64_t number = __atomic_add_fetch(&control->seen, 1, __ATOMIC_ACQ_REL);
  if (number != control->at && !(control->sticky != 0 && number > control->at)) return 0;
  __atomic_add_fetch(&control->injected, 1, __ATOMIC_ACQ_REL);
  std::memcpy(control->hit, name, strnlen(name, kNameSize - 1) + 1);
  if (control->what != kHang) return control->what;
  while (__atomic_load_n(&control->armed, __ATOMIC_ACQUIRE) != 0) usleep(1000);
  return 0;
}

// True: `result` is the answer instead of the call's.
bool Refused(std::int64_t what, int& result) {
  if (what == 0) return false;
  result = 0;
  if (what > 0) {
    errno = static_cast<int>(what);
    result = -1;
  }
  return true;
}

template <class Whole, class Part>
ssize_t Write(int descriptor, std::size_t size, Whole whole, Part part) {
  const VaultFile* file = FileOf(descriptor);
  if (file == nullptr) return whole();
  const std::int64_t what = Instead((file->flags & O_DSYNC) != 0 ? kMeta : kWrite, file->name);
  if (what == 0) return whole();
  if (what == kShort) return part((size + 1) / 2);
  if (what == kLie) return static_cast<ssize_t>(size);
  errno = static_cast<int>(what);
  return -1;
}

std::size_t SizeOf(const iovec* data, int count) {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += data[i].iov_len;
  return size;
}

template <class Call>
int OnDescriptor(std::uint64_t kind, int descriptor, Call call) {
  const VaultFile* file = FileOf(descriptor);
  int result = 0;
  const std::int64_t what = file == nullptr ? 0 : Instead(kind, file->name);
  if (what == kLate) {
    usleep(kLateUs);
    return call();
  }
  if (Refused(what, result)) return result;
  return call();
}

// A sync of the trail is told of: what it covers is what stood there when it began.
template <class Call>
int OnSync(int descriptor, Call call) {
  struct stat status;
  const VaultFile* file = FileOf(descriptor);
  const bool told = file != nullptr && std::strcmp(file->name, kTrail) == 0 &&
                    fstat(descriptor, &status) == 0;
  const int result = call();
  if (told && result == 0) {
    __atomic_store_n(&Shared()->durable, status.st_size, __ATOMIC_RELEASE);
  }
  return result;
}

template <class Call>
int OnPath(const char* path, Call call) {
  char full[PATH_MAX];
  int result = 0;
  if (InVault(AT_FDCWD, path, full) && Refused(Instead(kRename, LastPart(full)), result)) {
    return result;
  }
  return call();
}

}  // namespace

int oauthvault::faults::OpenInstead(int folder, const char* path, int flags, mode_t mode) {
  char full[PATH_MAX];
  if (!InVault(folder, path, full)) {
    return static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
  }
  int result = 0;
  const std::int64_t what = Instead(kOpen, LastPart(full));
  if (what > 0 && Refused(what, result)) return result;
  const int opened = static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
  if (opened >= 0) Remember(opened, full, flags);
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
  return Write(descriptor, size, [&] { return next(descriptor, bytes, size); },
               [&](std::size_t part) { return next(descriptor, bytes, part); });
}
ssize_t writev(int descriptor, const iovec* data, int count) {
  static const auto next = Next<ssize_t (*)(int, const iovec*, int)>("writev");
  static const auto next_write = Next<ssize_t (*)(int, const void*, size_t)>("write");
  return Write(descriptor, SizeOf(data, count), [&] { return next(descriptor, data, count); },
               [&](std::size_t) {
                 return next_write(descriptor, data[0].iov_base, data[0].iov_len / 2);
               });
}
ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset) {
  static const auto next = Next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  return Write(descriptor, size, [&] { return next(descriptor, bytes, size, offset); },
               [&](std::size_t part) { return next(descriptor, bytes, part, offset); });
}
ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off_t offset) {
  return pwrite(descriptor, bytes, size, offset);
}
ssize_t pwritev(int descriptor, const iovec* data, int count, off_t offset) {
  static const auto next = Next<ssize_t (*)(int, const iovec*, int, off_t)>("pwritev");
  static const auto next_write = Next<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  return Write(descriptor, SizeOf(data, count),
               [&] { return next(descriptor, data, count, offset); },
               [&](std::size_t) {
                 return next_write(descriptor, data[0].iov_base, data[0].iov_len / 2, offset);
               });
}
ssize_t pwritev64(int descriptor, const iovec* data, int count, off_t offset) {
  return pwritev(descriptor, data, count, offset);
}

int fdatasync(int descriptor) {
  static const auto next = Next<int (*)(int)>("fdatasync");
  return OnDescriptor(kSync, descriptor,
                      [&] { return OnSync(descriptor, [&] { return next(descriptor); }); });
}
int fsync(int descriptor) {
  static const auto next = Next<int (*)(int)>("fsync");
  return OnDescriptor(kSync, descriptor,
                      [&] { return OnSync(descriptor, [&] { return next(descriptor); }); });
}

int ftruncate(int descriptor, off_t size) {
  static const auto next = Next<int (*)(int, off_t)>("ftruncate");
  return OnDescriptor(kResize, descriptor, [&] { return next(descriptor, size); });
}
int ftruncate64(int descriptor, off_t size) { return ftruncate(descriptor, size); }
int fallocate(int descriptor, int mode, off_t offset, off_t size) {
  static const auto next = Next<int (*)(int, int, off_t, off_t)>("fallocate");
  return OnDescriptor(kResize, descriptor, [&] { return next(descriptor, mode, offset, size); });
}
int fallocate64(int descriptor, int mode, off_t offset, off_t size) {
  return fallocate(descriptor, mode, offset, size);
}
int posix_fallocate(int descriptor, off_t offset, off_t size) {
  static const auto next = Next<int (*)(int, off_t, off_t)>("posix_fallocate");
  // This one gives the error as its result.
  const int result =
      OnDescriptor(kResize, descriptor, [&] { return next(descriptor, offset, size); });
  return result < 0 ? errno : result;
}
int posix_fallocate64(int descriptor, off_t offset, off_t size) {
  return posix_fallocate(descriptor, offset, size);
}

int rename(const char* from, const char* to) {
  static const auto next = Next<int (*)(const char*, const char*)>("rename");
  return OnPath(to, [&] { return next(from, to); });
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  static const auto next =
      Next<int (*)(int, const char*, int, const char*, unsigned)>("renameat2");
  return OnPath(to, [&] { return next(from_folder, from, to_folder, to, flags); });
}
int link(const char* from, const char* to) {
  static const auto next = Next<int (*)(const char*, const char*)>("link");
  return OnPath(to, [&] { return next(from, to); });
}

}  // extern "C"
