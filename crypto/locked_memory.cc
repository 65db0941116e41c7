#include "crypto/locked_memory.h"

#include <sodium.h>
#include <sys/mman.h>

namespace oauthvault::crypto {

LockedMemory::~LockedMemory() {
  for (void* const chunk : chunks_) ::munmap(chunk, kChunkSize);
}

LockedMemory& LockedMemory::OfProcess() {
  static auto* const memory = new LockedMemory(Unlocked::kAllow);
  return *memory;
}

bool LockedMemory::Grow() {
  void* const chunk = ::mmap(nullptr, kChunkSize, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (chunk == MAP_FAILED) return false;
  const bool locked = ::mlock(chunk, kChunkSize) == 0 &&
                      ::madvise(chunk, kChunkSize, MADV_DONTDUMP) == 0 &&
                      ::madvise(chunk, kChunkSize, MADV_WIPEONFORK) == 0;
  if (!locked && allowed_ == Unlocked::kRefuse) {
    ::munmap(chunk, kChunkSize);
    return false;
  }
  chunks_.push_back(chunk);
  all_locked_ = all_locked_ && locked;
  constexpr std::size_t kSlots = kChunkSize / kSlotSize;
  free_.reserve(chunks_.size() * kSlots);
  auto* const begin = static_cast<std::uint8_t*>(chunk);
  for (std::size_t i = kSlots; i > 0; --i) free_.push_back(begin + (i - 1) * kSlotSize);
  return true;
}

Result<void> LockedMemory::Prepare(Unlocked allowed) {
  const std::scoped_lock lock(mutex_);
  allowed_ = allowed;
  const bool grown = !chunks_.empty() || Grow();
  if (!grown || (allowed == Unlocked::kRefuse && !all_locked_)) {
    return Fail(Code::kUnavailable, "the memory for keys cannot be locked (RLIMIT_MEMLOCK)");
  }
  return {};
}

Result<std::uint8_t*> LockedMemory::Take() {
  const std::scoped_lock lock(mutex_);
  if (free_.empty() && !Grow()) {
    return Fail(Code::kExhausted, "no more memory for keys can be locked (RLIMIT_MEMLOCK)");
  }
  std::uint8_t* const slot = free_.back();
  free_.pop_back();
  return slot;
}

void LockedMemory::GiveBack(std::uint8_t* slot) noexcept {
  sodium_memzero(slot, kSlotSize);
  const std::scoped_lock lock(mutex_);
  free_.push_back(slot);
}

bool LockedMemory::AllLocked() const {
  const std::scoped_lock lock(mutex_);
  return !chunks_.empty() && all_locked_;
}

Result<void> PrepareLockedMemory(Unlocked allowed) {
  return LockedMemory::OfProcess().Prepare(allowed);
}

bool KeysAreLocked() { return LockedMemory::OfProcess().AllLocked(); }

}  // namespace oauthvault::crypto
