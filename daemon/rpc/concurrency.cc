#include "daemon/rpc/concurrency.h"

namespace oauthvault::rpc {

Concurrency::Place& Concurrency::Place::operator=(Place&& other) noexcept {
  if (this != &other) {
    GiveBack();
    of_ = std::exchange(other.of_, nullptr);
    share_ = other.share_;
    bytes_ = other.bytes_;
  }
  return *this;
}

Result<void> Concurrency::Place::Hold(std::size_t answer_bytes) {
  if (of_ == nullptr) return {};
  const std::lock_guard lock(of_->guard_);
  Share& share = share_->second;
  if (share.unread_bytes != 0 && share.unread_bytes + answer_bytes > kMaxUnreadBytes) {
    ++of_->counters_.too_many;
    return Fail(Code::kExhausted, "earlier answers to this caller have not been read yet");
  }
  share.unread_bytes += answer_bytes;
  bytes_ += answer_bytes;
  return {};
}

void Concurrency::Place::GiveBack() {
  if (of_ == nullptr) return;
  const std::lock_guard lock(of_->guard_);
  --of_->counters_.under_way;
  share_->second.unread_bytes -= bytes_;
  if (--share_->second.calls == 0) of_->shares_.erase(of_->shares_.find(share_->first));
  of_ = nullptr;
}

Result<Concurrency::Place> Concurrency::Take(std::string_view principal) {
  const std::lock_guard lock(guard_);
  if (counters_.under_way >= limits_.in_all) {
    ++counters_.too_many;
    return Fail(Code::kExhausted, "too many calls are under way; try again later");
  }
  auto found = shares_.find(principal);
  if (found == shares_.end()) found = shares_.try_emplace(std::string(principal)).first;
  Shares::value_type& entry = *found;
  Share& share = entry.second;
  if (share.calls >= limits_.per_principal) {
    ++counters_.too_many;
    return Fail(Code::kExhausted, "too many calls of this caller are under way");
  }
  ++share.calls;
  ++counters_.under_way;
  return Place(*this, entry);
}

}  // namespace oauthvault::rpc
