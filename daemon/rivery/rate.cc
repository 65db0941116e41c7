#include "daemon/rivery/rate.h"

#include <algorithm>
#include <utility>

namespace oauthvault::rivery {
namespace {

using Duration = std::chrono::steady_clock::duration;

}  // namespace

Turn::Turn(Rate& rate, AccountId account, unsigned calls)
    : rate_(&rate), account_(std::move(account)), left_(calls) {}

Turn::Turn(Turn&& from) noexcept
    : rate_(std::exchange(from.rate_, nullptr)), account_(from.account_), left_(from.left_) {}

Turn::~Turn() {
  if (rate_ != nullptr) rate_->GiveBack(account_, left_);
}

void Turn::Spend() {
  if (left_ > 0) {
    --left_;
  } else {
    rate_->Charge(account_);
  }
}

void Turn::Obey(std::chrono::seconds wait) { rate_->Pause(account_, wait); }

void Turn::SlowDown() { rate_->Pause(account_, Duration(kRateWindow) / rate_->per_window_); }

Rate::Rate(unsigned calls_per_minute, Clock clock)
    : per_window_(std::max(1u, calls_per_minute)), clock_(std::move(clock)) {}

unsigned Rate::LastLooksPerWindow() const { return std::max(1u, per_window_ / 3); }

unsigned Rate::PollsPerWindow() const { return LimitOf({}, Purpose::kPoll); }

unsigned Rate::LimitOf(const Account& account, Purpose purpose) const {
  unsigned left_to_others = 0;
  switch (purpose) {
    case Purpose::kPoll: left_to_others += per_window_ / 5; [[fallthrough]];
    case Purpose::kOnward:
      left_to_others += std::min(account.kept, per_window_ / 3);
      [[fallthrough]];
    case Purpose::kLastLook: break;
  }
  return per_window_ - left_to_others;
}

std::expected<Turn, Duration> Rate::Take(const AccountId& id, Purpose purpose, unsigned calls) {
  const std::lock_guard lock(guard_);
  const Time now = clock_();
  Account& account = accounts_[id];
  while (!account.taken.empty() && account.taken.front() + kRateWindow <= now) {
    account.taken.pop_front();
  }
  if (account.paused_until > now) return std::unexpected(account.paused_until - now);
  // More at once than there ever is room for goes when there is nothing else.
  const std::size_t limit = std::max(LimitOf(account, purpose), calls);
  const std::size_t wanted = account.taken.size() + calls;
  if (wanted > limit) {
    return std::unexpected(account.taken[wanted - limit - 1] + kRateWindow - now);
  }
  account.taken.insert(account.taken.end(), calls, now);
  return Turn(*this, id, calls);
}

Result<Turn> Rate::TakeNow(const AccountId& account, Purpose purpose, unsigned calls) {
  auto turn = Take(account, purpose, calls);
  if (!turn) {
    return Fail(Code::kExhausted,
                "the account's calls to Rivery are used up for now; seconds to wait",
                Subject::Number(std::chrono::ceil<std::chrono::seconds>(turn.error()).count()));
  }
  return std::move(*turn);
}

void Rate::KeepForLastLooks(const AccountId& account, unsigned looks) {
  const std::lock_guard lock(guard_);
  accounts_[account].kept = looks;
}

void Rate::Charge(const AccountId& account) {
  const std::lock_guard lock(guard_);
  accounts_[account].taken.push_back(clock_());
}

void Rate::GiveBack(const AccountId& account, unsigned calls) {
  const std::lock_guard lock(guard_);
  auto& taken = accounts_[account].taken;
  // Not exactly those that were taken when others came between; then what goes back is younger.
  for (; calls > 0 && !taken.empty(); --calls) taken.pop_back();
}

void Rate::Pause(const AccountId& account, Duration wait) {
  const std::lock_guard lock(guard_);
  Time& until = accounts_[account].paused_until;
  until = std::max(until, clock_() + wait);
}

}  // namespace oauthvault::rivery
