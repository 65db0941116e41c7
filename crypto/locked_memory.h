#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "crypto/error.h"

namespace oauthvault::crypto {

/// Whether keys may lie in memory that could not be locked.
enum class Unlocked : std::uint8_t { kRefuse, kAllow };

/// Memory for keys that live long: slots of 32 bytes in chunks that are locked (never swapped),
/// left out of core files, and zero in a forked child. Slots are zero when they are taken and
/// zeroed when they come back. sodium_malloc would take four pages
/// and 49 us for each key, and past RLIMIT_MEMLOCK it hands out unlocked memory without a word.
/// Threads: all members from any thread.
class LockedMemory {
 public:
  static constexpr std::size_t kSlotSize = 32;
  static constexpr std::size_t kChunkSize = std::size_t{256} * 1024;

  explicit LockedMemory(Unlocked allowed) : allowed_(allowed) {}
  /// Gives the chunks back; no slot may be out.
  ~LockedMemory();
  LockedMemory(const LockedMemory&) = delete;
  LockedMemory& operator=(const LockedMemory&) = delete;

  /// The one that SecretBytes::Key uses. It is never destroyed, as keys may be static. Until
  /// PrepareLockedMemory is called it allows unlocked memory.
  static LockedMemory& OfProcess();

  /// Sets the policy and locks the first chunk. Errors: Unavailable under kRefuse when this chunk
  /// or one that was taken before is not locked.
  Result<void> Prepare(Unlocked allowed);

  /// A slot of zeros. Errors: Exhausted when there is no free slot and no further chunk, or, under
  /// kRefuse, none that is locked (RLIMIT_MEMLOCK). Not the end of the process: keys are made at
  /// run time too, and the caller can leave the new one unmade.
  Result<std::uint8_t*> Take();

  /// Zeroes a slot and makes it free again.
  void GiveBack(std::uint8_t* slot) noexcept;

  /// Whether there is a chunk and all are locked, left out of core files and wiped on fork.
  bool AllLocked() const;

 private:
  bool Grow();  // false: no chunk, or none that is allowed

  mutable std::mutex mutex_;
  Unlocked allowed_;
  bool all_locked_ = true;
  std::vector<void*> chunks_;
  std::vector<std::uint8_t*> free_;  // has room for every slot, so that giving back cannot fail
};

/// Locks the first chunk of the process's key memory and sets the policy for all further ones;
/// called once, before any key is made. A program that never calls it works with what it gets.
/// Errors: Unavailable when locking fails under kRefuse.
Result<void> PrepareLockedMemory(Unlocked allowed);

/// For a status page: whether all memory for keys is locked. False before the first key.
bool KeysAreLocked();

}  // namespace oauthvault::crypto
