#include "client/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "crypto/descriptor.h"

namespace oauthvault::client {
namespace {

std::unexpected<Failure> CannotWrite(const std::filesystem::path& path, int error) {
  return Refuse(Code::kInvalid, "cannot write " + path.string() + ": " + std::strerror(error));
}

std::filesystem::path FolderOf(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

/// 0, or errno.
int WriteAndSync(int descriptor, std::span<const std::uint8_t> bytes) {
  return crypto::WriteAll(descriptor, bytes) && ::fsync(descriptor) == 0 ? 0 : errno;
}

}  // namespace

Outcome<void> WritePrivateFile(const std::filesystem::path& path,
                               std::span<const std::uint8_t> bytes, Existing existing) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    if (existing == Existing::kRefuse) {
      return Refuse(Code::kConflict, path.string() + " exists and is not written over");
    }
    // A rename would put a file in the place of a device, a pipe or a link.
    if (!S_ISREG(status.st_mode)) {
      return Refuse(Code::kInvalid, path.string() + " is not a regular file");
    }
  }
  const std::filesystem::path folder = FolderOf(path);
  std::string temporary = (folder / ("." + path.filename().string() + ".XXXXXX")).string();
  const int descriptor = ::mkostemp(temporary.data(), O_CLOEXEC);  // mode 0600
  if (descriptor < 0) return CannotWrite(path, errno);
  int error = WriteAndSync(descriptor, bytes);
  ::close(descriptor);
  if (error == 0) {
    const unsigned flags = existing == Existing::kRefuse ? RENAME_NOREPLACE : 0U;
    if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), flags) != 0) error = errno;
  }
  if (error != 0) {
    ::unlink(temporary.c_str());
    return CannotWrite(path, error);
  }
  crypto::SyncFolder(folder.c_str());
  return {};
}

Outcome<void> ExpectRoomFor(const std::filesystem::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    return Refuse(Code::kConflict, path.string() + " exists: give the name of a new file");
  }
  const std::filesystem::path folder = FolderOf(path);
  if (!path.has_filename()) return CannotWrite(path, EISDIR);
  if (::stat(folder.c_str(), &status) != 0) return CannotWrite(path, errno);
  if (!S_ISDIR(status.st_mode)) return CannotWrite(path, ENOTDIR);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return CannotWrite(path, errno);
  return {};
}

Outcome<void> MakePrivateFolder(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0) {
    const int error = errno;
    if (error == EEXIST) {
      return Refuse(Code::kConflict, path.string() + " exists: give the name of a new folder");
    }
    return Refuse(Code::kInvalid,
                  "cannot make the folder " + path.string() + ": " + std::strerror(error));
  }
  crypto::SyncFolder(FolderOf(path).c_str());
  return {};
}

}  // namespace oauthvault::client
