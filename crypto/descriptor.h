#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <span>
#include <unistd.h>
#include <utility>

namespace oauthvault::crypto {

/// A file descriptor that is closed with its scope.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : number_(other.Release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      number_ = other.Release();
    }
    return *this;
  }

  int Get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }
  /// Gives the descriptor away: the caller closes it. -1 is left.
  int Release() { return std::exchange(number_, -1); }
  /// Closes it now; nothing when there is none.
  void Close() {
    if (number_ >= 0) ::close(Release());
  }

 private:
  int number_;
};

/// Writes all of it to a blocking descriptor, whatever interrupts. False: errno says why, and a
/// part may be written.
inline bool WriteAll(int file, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

/// Reads from a blocking descriptor until `bytes` is full or the input ends, whatever interrupts.
/// Gives the number of bytes; -1: errno says why, and a part may be read.
inline ssize_t ReadAll(int file, std::span<std::uint8_t> bytes) {
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = ::read(file, bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  return static_cast<ssize_t>(filled);
}

/// Makes the names of what is in a folder durable. False: errno says why.
inline bool SyncFolder(const char* folder) {
  const Descriptor opened(::open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return opened && ::fsync(opened.Get()) == 0;
}

}  // namespace oauthvault::crypto
