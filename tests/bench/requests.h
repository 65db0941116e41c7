#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace oauthvault::bench {

/// What is asked, prepared: gRPC frames (a flag, the size in four bytes, a message).
class Requests {
 public:
  /// Of a file that holds them one behind the other. Throws where there is none, or a cut one.
  explicit Requests(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    const std::span<const std::uint8_t> all(bytes_);
    for (std::size_t at = 0; at < all.size();) {
      if (all.size() - at < kFrameHead) throw std::runtime_error("a cut frame in --requests");
      std::size_t size = 0;
      for (const std::uint8_t byte : all.subspan(at + 1, 4)) size = size << 8 | byte;
      if (all.size() - at - kFrameHead < size) {
        throw std::runtime_error("a cut message in --requests");
      }
      frames_.push_back(all.subspan(at, kFrameHead + size));
      at += kFrameHead + size;
    }
    if (frames_.empty()) throw std::runtime_error("no frame in --requests");
  }
  /// One without a body, for GET.
  Requests() : frames_(1) {}
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  /// Lives as long as this.
  std::span<const std::uint8_t> At(std::size_t index) const { return frames_[index]; }
  std::size_t Count() const { return frames_.size(); }

 private:
  static constexpr std::size_t kFrameHead = 5;
  std::vector<std::uint8_t> bytes_;
  std::vector<std::span<const std::uint8_t>> frames_;
};

}  // namespace oauthvault::bench
