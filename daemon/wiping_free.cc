// Takes the place of the C library's free in the daemon, for every library in the process: gRPC,
// OpenSSL and protobuf copy what passes through them, and freed memory keeps it until somebody else
// writes there. Not in sanitized builds, whose allocator is their own.
#include <malloc.h>
#include <string.h>

#include <algorithm>
#include <cstddef>

#include "crypto/sabotage.h"

extern "C" {

// The C library's own, under the name that it exports for this.
void __libc_free(void* memory);

void free(void* memory) noexcept {
  if (memory == nullptr) return;
  if (!oauthvault::crypto::IsSabotaged(oauthvault::crypto::Sabotage::kNoWipe)) {
    explicit_bzero(memory, malloc_usable_size(memory));
  }
  __libc_free(memory);
}

// The library's own would free the old place without this free.
void* realloc(void* memory, std::size_t size_bytes) noexcept {
  if (memory == nullptr) return malloc(size_bytes);
  if (size_bytes == 0) {
    free(memory);
    return nullptr;
  }
  const std::size_t standing_bytes = malloc_usable_size(memory);
  // Room enough, and not too much of it: it stays where it is.
  if (size_bytes <= standing_bytes && size_bytes >= standing_bytes / 2) return memory;
  void* moved = malloc(size_bytes);
  if (moved == nullptr) return nullptr;
  memcpy(moved, memory, std::min(standing_bytes, size_bytes));
  free(memory);
  return moved;
}

}  // extern "C"
