#include "crypto/secret.h"

#include <sodium.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "crypto/locked_memory.h"

namespace oauthvault::crypto {

SecretBytes::SecretBytes(std::size_t size_bytes) {
  if (size_bytes == 0) return;
  bytes_ = static_cast<std::uint8_t*>(std::calloc(1, size_bytes));
  if (bytes_ == nullptr) std::abort();
  size_ = capacity_ = size_bytes;
}

Result<SecretBytes> SecretBytes::Key() {
  Result<std::uint8_t*> slot = LockedMemory::OfProcess().Take();
  if (!slot) return Fail(std::move(slot));
  SecretBytes key;
  key.bytes_ = *slot;
  key.size_ = key.capacity_ = LockedMemory::kSlotSize;
  key.locked_ = true;
  return key;
}

SecretBytes::~SecretBytes() {
  if (bytes_ == nullptr) return;
  if (locked_) {
    LockedMemory::OfProcess().GiveBack(bytes_);
    return;
  }
  sodium_memzero(bytes_, capacity_);
  std::free(bytes_);
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : bytes_(std::exchange(other.bytes_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      locked_(std::exchange(other.locked_, false)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  std::swap(locked_, other.locked_);
  // What this object held is wiped now, not when the other one happens to end.
  SecretBytes ended(std::move(other));
  return *this;
}

SecretBytes SecretBytes::Clone() const {
  return Expose([](std::span<const std::uint8_t> bytes) { return CopyOf(bytes); });
}

Result<SecretBytes> SecretBytes::CloneKey() const {
  if (size_ != LockedMemory::kSlotSize) std::abort();
  Result<SecretBytes> copy = Key();
  if (copy) std::memcpy(copy->bytes_, bytes_, size_);
  return copy;
}

bool SecretBytes::Equals(const SecretBytes& other) const {
  return size_ == other.size_ && (size_ == 0 || sodium_memcmp(bytes_, other.bytes_, size_) == 0);
}

SecretBytes SecretBytes::CopyOf(std::span<const std::uint8_t> bytes) {
  SecretBytes copy(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.bytes_, bytes.data(), bytes.size());
  return copy;
}

SecretBytes SecretBytes::CopyOf(std::string_view text) {
  return CopyOf(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

void SecretBytes::Truncate(std::size_t size_bytes) {
  if (size_bytes >= size_) return;
  sodium_memzero(bytes_ + size_bytes, size_ - size_bytes);
  size_ = size_bytes;
}

void Wipe(std::span<std::uint8_t> bytes) {
  if (!bytes.empty()) sodium_memzero(bytes.data(), bytes.size());
}

void Wipe(std::string& text) {
  if (!text.empty()) sodium_memzero(text.data(), text.size());
  text.clear();
}

Result<void> Prepare() {
  if (sodium_init() < 0) return Fail(Code::kUnavailable, "libsodium cannot start");
  return {};
}

}  // namespace oauthvault::crypto
