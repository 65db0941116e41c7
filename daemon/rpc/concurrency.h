#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "crypto/error.h"
#include "daemon/rpc/counters.h"

namespace oauthvault::rpc {

/// Answers of one principal that nobody has read yet have at most this many bytes, when a further
/// page of a list is asked for.
inline constexpr std::size_t kMaxUnreadBytes = 16 * 1024 * 1024;

/// How many calls are under way, in all and for each principal. A call is under way until its
/// answer has left: who reads slowly uses up the own share and nobody else's. Threads: any.
class Concurrency {
  struct Share {
    std::uint32_t calls = 0;
    std::size_t unread_bytes = 0;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  using Shares = std::unordered_map<std::string, Share, Hash, std::equal_to<>>;

 public:
  /// How many there may be.
  struct Limits {
    std::uint32_t in_all;
    std::uint32_t per_principal;
  };
  /// `counters` outlive the object, which outlives its places.
  Concurrency(Limits limits, CallCounters& counters) : limits_(limits), counters_(counters) {}

  /// The place of one call; its end gives it back. An empty one is of no call.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept
        : of_(std::exchange(other.of_, nullptr)), share_(other.share_), bytes_(other.bytes_) {}
    Place& operator=(Place&& other) noexcept;
    ~Place() { GiveBack(); }

    /// The call's answer has so many bytes. Errors: Exhausted when others of the same principal
    /// wait to be read and it would be too much.
    Result<void> Hold(std::size_t answer_bytes);

   private:
    friend class Concurrency;
    Place(Concurrency& of, Shares::value_type& share) : of_(&of), share_(&share) {}
    void GiveBack();

    Concurrency* of_ = nullptr;
    Shares::value_type* share_ = nullptr;
    std::size_t bytes_ = 0;
  };

  /// Errors: Exhausted, with the limit that was reached.
  Result<Place> Take(std::string_view principal);

 private:
  const Limits limits_;
  CallCounters& counters_;
  std::mutex guard_;  // guards shares_
  Shares shares_;     // of principals that have calls under way; a rehash moves none
};

}  // namespace oauthvault::rpc
