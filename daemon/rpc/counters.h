#pragma once

#include <atomic>
#include <cstdint>

#include "daemon/metrics/exposition.h"

namespace oauthvault::rpc {

/// What one door lets in and turns away. Threads: any.
struct DoorCounters {
  std::atomic<std::uint32_t> open = 0;   ///< connections; noticed within a second
  std::atomic<std::uint32_t> young = 0;  ///< of these: may still be at their handshake
  std::atomic<std::uint64_t> accepted = 0;
  std::atomic<std::uint64_t> refused_in_all = 0;
  std::atomic<std::uint64_t> refused_of_address = 0;
  std::atomic<std::uint64_t> refused_at_handshake = 0;
  std::atomic<std::uint64_t> refused_without_descriptor = 0;
  std::atomic<std::uint64_t> refused_caller = 0;  ///< by Door::Settings::let_in

  /// All that were closed at once.
  std::uint64_t Refused() const {
    return refused_in_all + refused_of_address + refused_at_handshake +
           refused_without_descriptor + refused_caller;
  }
};

/// The same of calls. Threads: any.
struct CallCounters {
  std::atomic<std::uint32_t> under_way = 0;
  std::atomic<std::uint64_t> too_many = 0;
  std::atomic<std::uint64_t> out_of_bounds = 0;  ///< size or deadline
  std::atomic<std::uint64_t> too_late = 0;       ///< the deadline passed before the turn came
};

/// What is counted over the daemon's whole life, sealed and open.
struct Counters {
  DoorCounters tcp;
  DoorCounters unix_socket;
  CallCounters calls;
};

/// Writes what `status` shows of them as metrics: what is open and under way, and what was turned
/// away, with a word for the reason.
void Write(const Counters& counters, metrics::Exposition& out);

}  // namespace oauthvault::rpc
