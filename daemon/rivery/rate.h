#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <mutex>

#include "crypto/error.h"
#include "storage/names.h"

namespace oauthvault::rivery {

/// Rivery allows about so many calls a minute for one account, says its documentation.
inline constexpr unsigned kDefaultCallsPerMinute = 15;
/// The budget is that of any span of this length.
inline constexpr std::chrono::seconds kRateWindow{60};

/// What a call is for. Each purpose leaves a part of the budget to those above it.
enum class Purpose : std::uint8_t {
  kLastLook,  ///< the poll that a pending authorization is owed before its link ends: all of it
  kOnward,    ///< takes something on, or a person waits: leaves what last looks are owed
  kPoll,      ///< one more link, one more look for a consent: leaves a fifth to `kOnward`, too
};

class Rate;

/// Leave for some calls to one account. An `Endpoint` carries it to the client, which spends one
/// for each request, beyond what was taken also (pages of a list, redirects). What was not spent
/// goes back at the end. Threads: one at a time.
class Turn {
 public:
  Turn(Turn&& from) noexcept;
  Turn& operator=(Turn&&) = delete;
  ~Turn();

  /// A request leaves now.
  void Spend();
  /// Rivery asked to be left alone for so long: no call of the account leaves before.
  void Obey(std::chrono::seconds wait);
  /// Rivery said that there were too many calls, and not how long to wait: as long as one call of
  /// the budget takes.
  void SlowDown();

 private:
  friend class Rate;
  Turn(Rate& rate, AccountId account, unsigned calls);

  Rate* rate_;  // null: moved from
  AccountId account_;
  unsigned left_;
};

/// The budget of calls for each account: at most so many in any 60 s, by the steady clock. It is
/// kept in memory and begins anew with the daemon. Threads: any.
class Rate {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Clock = std::function<Time()>;

  /// `calls_per_minute`: at least 1.
  explicit Rate(unsigned calls_per_minute = kDefaultCallsPerMinute,
                Clock clock = std::chrono::steady_clock::now);
  Rate(const Rate&) = delete;
  Rate& operator=(const Rate&) = delete;

  /// Takes `calls` at once, or none and says how long until it may go: always more than 0.
  std::expected<Turn, std::chrono::steady_clock::duration> Take(const AccountId& account,
                                                                Purpose purpose,
                                                                unsigned calls = 1);
  /// `Take` for whoever does not wait. Errors: Exhausted, with the seconds to wait.
  Result<Turn> TakeNow(const AccountId& account, Purpose purpose, unsigned calls = 1);

  /// How many last looks the account is owed within the next window; other calls leave room for
  /// them, up to `LastLooksPerWindow`.
  void KeepForLastLooks(const AccountId& account, unsigned looks);
  /// So many last looks in each window always find room: a third of the budget, at least 1.
  unsigned LastLooksPerWindow() const;
  /// So many calls for `kPoll` find room in each window when nothing else is called.
  unsigned PollsPerWindow() const;

 private:
  friend class Turn;
  struct Account {
    std::deque<Time> taken;  // of the last window, oldest first
    Time paused_until{};
    unsigned kept = 0;
  };
  unsigned LimitOf(const Account& account, Purpose purpose) const;
  void Charge(const AccountId& account);
  void GiveBack(const AccountId& account, unsigned calls);
  void Pause(const AccountId& account, std::chrono::steady_clock::duration wait);

  const unsigned per_window_;
  const Clock clock_;
  std::mutex guard_;  // guards accounts_
  std::map<AccountId, Account> accounts_;
};

}  // namespace oauthvault::rivery
