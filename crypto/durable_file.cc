#include "crypto/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "crypto/descriptor.h"

namespace oauthvault::crypto {
namespace {

constexpr mode_t kOwnerOnlyMode = S_IRUSR | S_IWUSR;

bool SyncFolderOf(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return SyncFolder(parent.empty() ? "." : parent.c_str());
}

enum class Created : std::uint8_t { kYes, kExists, kFailed };

// A new file with these bytes, synced; its name in the folder is not yet durable.
Created CreateSynced(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                               kOwnerOnlyMode));
  if (!file) return errno == EEXIST ? Created::kExists : Created::kFailed;
  // The mode that open was given is narrowed by the umask; this one is not.
  const bool complete = ::fchmod(file.Get(), kOwnerOnlyMode) == 0 &&
                        WriteAll(file.Get(), bytes) && ::fsync(file.Get()) == 0;
  if (complete) return Created::kYes;
  ::unlink(path.c_str());
  return Created::kFailed;
}

// Overwrites what a file holds, in place; not when it has another name, which may be a backup.
bool EraseContent(const Descriptor& file) {
  struct stat status {};
  if (!file || ::fstat(file.Get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_nlink > 1) {
    return false;
  }
  constexpr std::array<std::uint8_t, 4096> kZeros{};
  for (off_t at = 0; at < status.st_size;) {
    const auto size = std::min<std::size_t>(kZeros.size(),
                                            static_cast<std::size_t>(status.st_size - at));
    const ssize_t written = ::pwrite(file.Get(), kZeros.data(), size, at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
  }
  return ::fsync(file.Get()) == 0;
}

// A file without a name: nobody but who holds it open can read it.
bool IsNameless(const Descriptor& file) {
  struct stat status {};
  return ::fstat(file.Get(), &status) == 0 && status.st_nlink == 0;
}

// Whether the file has lost its name to another one: its content may be overwritten by now. A file
// that never had a name (one that /proc/self/fd leads to) is as it is.
bool WasReplaced(const Descriptor& file, const std::filesystem::path& path) {
  struct stat held {};
  struct stat named {};
  if (!IsNameless(file) || ::fstat(file.Get(), &held) != 0) return false;
  return ::stat(path.c_str(), &named) != 0 || named.st_ino != held.st_ino ||
         named.st_dev != held.st_dev;
}

// The content of an open file.
Result<SecretBytes> ReadOpen(const Descriptor& file, const std::filesystem::path& path,
                             std::size_t limit_bytes, FileAccess access) {
  const auto invalid = [&](Text text) {
    return Fail(Code::kInvalid, text, Subject::Path(path.string()));
  };
  struct stat status {};
  if (::fstat(file.Get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return invalid("not a regular file");
  }
  if (access == FileAccess::kOwnerOnly && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return invalid("the file is open to group or others");
  }
  if (std::cmp_greater(status.st_size, limit_bytes)) return invalid("the file is too large");
  SecretBytes bytes(static_cast<std::size_t>(status.st_size));
  const bool complete = bytes.Fill([&](std::span<std::uint8_t> room) {
    return std::cmp_equal(ReadAll(file.Get(), room), room.size());
  });
  if (!complete) return invalid("the file cannot be read");
  return bytes;
}

}  // namespace

Result<void> WriteNewFile(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  switch (CreateSynced(path, bytes)) {
    case Created::kExists:
      return Fail(Code::kConflict, "the file exists already", Subject::Path(path.string()));
    case Created::kFailed:
      return Fail(Code::kUnavailable, "the file cannot be written", Subject::Path(path.string()));
    case Created::kYes: break;
  }
  if (!SyncFolderOf(path)) {
    ::unlink(path.c_str());
    return Fail(Code::kUnavailable, "the folder of the new file cannot be synced",
                Subject::Path(path.string()));
  }
  return {};
}

Result<OldContent> PlaceFile(const std::filesystem::path& path,
                             std::span<const std::uint8_t> bytes, Existing existing) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  // A crash may have left one, with any content and mode.
  if (existing == Existing::kErase) {
    EraseContent(Descriptor(::open(temporary.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK |
                                                          O_CLOEXEC)));
  }
  ::unlink(temporary.c_str());
  if (CreateSynced(temporary, bytes) != Created::kYes) {
    return Fail(Code::kUnavailable, "the temporary file cannot be written",
                Subject::Path(temporary.string()));
  }
  const Descriptor old(existing == Existing::kErase
                           ? ::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                           : -1);
  const bool had_old = existing != Existing::kRefuse && ::access(path.c_str(), F_OK) == 0;
  // A link, unlike a rename, does not take the place of another file.
  const bool placed = existing == Existing::kRefuse
                          ? ::link(temporary.c_str(), path.c_str()) == 0
                          : ::rename(temporary.c_str(), path.c_str()) == 0;
  const bool taken = !placed && errno == EEXIST;
  if (!placed || existing == Existing::kRefuse) ::unlink(temporary.c_str());
  if (taken) {
    return Fail(Code::kConflict, "another file is in the place", Subject::Path(path.string()));
  }
  if (!placed) {
    return Fail(Code::kUnavailable, "the file cannot be put in its place",
                Subject::Path(path.string()));
  }
  if (!SyncFolderOf(path)) {
    return Fail(Code::kUnavailable, "the folder of the replaced file cannot be synced",
                Subject::Path(path.string()));
  }
  // Not sooner: until the folder is synced, a crash may bring the old name back.
  if (old && IsNameless(old) && EraseContent(old)) return OldContent::kErased;
  return had_old ? OldContent::kLetGo : OldContent::kNone;
}

Result<SecretBytes> ReadFileBytes(const std::filesystem::path& path, std::size_t limit_bytes,
                                  FileAccess access) {
  constexpr int kAttempts = 100;
  for (int attempt = 1;; ++attempt) {
    // O_NONBLOCK: opening a pipe must not wait for its writer.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!file) {
      return Fail(Code::kInvalid,
                  errno == ENOENT ? Text("there is no such file")
                                  : Text("the file cannot be opened"),
                  Subject::Path(path.string()));
    }
    Result<SecretBytes> bytes = ReadOpen(file, path, limit_bytes, access);
    if (attempt == kAttempts || !WasReplaced(file, path)) return bytes;
  }
}

}  // namespace oauthvault::crypto
