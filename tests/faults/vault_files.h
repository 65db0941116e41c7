#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

/// Which descriptors of a process are files of the vault: below the folder that FAULTS_ROOT names,
/// and no locks, sockets or logs. For the preload libraries, one translation unit each; allocates
/// nothing. Threads: any.
namespace oauthvault::faults {

inline constexpr int kMostDescriptors = 4096;
inline constexpr int kNameSize = 64;

/// A descriptor of a vault file; `inode` 0: of another.
struct VaultFile {
  std::uint64_t inode;
  int flags;  ///< that it was opened with
  char name[kNameSize];
};

inline VaultFile vault_files[kMostDescriptors];

/// The next definition of a libc function.
template <class Function>
Function Next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

inline const char* LastPart(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

/// Makes `path` absolute in `full`. False: it is no file of the vault.
inline bool InVault(int folder, const char* path, char (&full)[PATH_MAX]) {
  static const char* const root = std::getenv("FAULTS_ROOT");
  if (root == nullptr || path == nullptr) return false;
  if (path[0] == '/') {
    if (std::strlen(path) >= sizeof full) return false;
    std::strcpy(full, path);
  } else if (folder == AT_FDCWD) {
    if (getcwd(full, sizeof full) == nullptr) return false;
    if (std::strlen(full) + std::strlen(path) + 2 > sizeof full) return false;
    std::strcat(full, "/");
    std::strcat(full, path);
  } else {
    return false;  // the vault opens nothing so
  }
  const std::size_t size = std::strlen(root);
  if (std::strncmp(full, root, size) != 0 || (full[size] != '/' && full[size] != 0)) return false;
  for (const char* other : {"lock.mdb", "vault.lock", "socket", "log", "oauthvaultd.toml"}) {
    if (std::strcmp(LastPart(full), other) == 0) return false;
  }
  return true;
}

inline std::uint64_t InodeOf(const char* path) {
  struct stat status;
  return stat(path, &status) == 0 ? status.st_ino : 0;
}

/// The inode of the folder that `path` is a name in.
inline std::uint64_t ParentOf(const char* path) {
  char parent[PATH_MAX];
  std::strcpy(parent, path);
  char* slash = std::strrchr(parent, '/');
  if (slash == nullptr) return 0;
  *slash = 0;
  return InodeOf(parent);
}

inline void Remember(int descriptor, const char* full, int flags) {
  if (descriptor < 0 || descriptor >= kMostDescriptors) return;
  struct stat status;
  if (fstat(descriptor, &status) != 0) return;
  VaultFile& file = vault_files[descriptor];
  file.flags = flags;
  const std::size_t size = strnlen(LastPart(full), kNameSize - 1);
  std::memcpy(file.name, LastPart(full), size);
  file.name[size] = 0;
  __atomic_store_n(&file.inode, status.st_ino, __ATOMIC_RELEASE);
}

/// The vault file behind a descriptor, or null.
inline const VaultFile* FileOf(int descriptor) {
  if (descriptor < 0 || descriptor >= kMostDescriptors) return nullptr;
  VaultFile& file = vault_files[descriptor];
  return __atomic_load_n(&file.inode, __ATOMIC_ACQUIRE) == 0 ? nullptr : &file;
}

inline void Forget(int descriptor) {
  if (descriptor < 0 || descriptor >= kMostDescriptors) return;
  __atomic_store_n(&vault_files[descriptor].inode, 0, __ATOMIC_RELEASE);
}

}  // namespace oauthvault::faults
