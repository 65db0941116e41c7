#include "daemon/audit/denial_limit.h"

#include <algorithm>
#include <utility>

namespace oauthvault::audit {

DenialLimit::Bucket& DenialLimit::BucketOf(std::string_view principal, Time now) {
  auto found = buckets_.find(principal);
  if (found == buckets_.end()) {
    if (buckets_.size() >= kMaxDeniedPrincipals) {
      // Who was not denied for so long has a full bucket, and is as one that was never denied.
      std::erase_if(buckets_, [this, now](const auto& entry) {
        return entry.second.counted == 0 &&
               now - entry.second.filled_at >= burst_ * kDenialInterval;
      });
    }
    if (buckets_.size() >= kMaxDeniedPrincipals) principal = kOtherPrincipals;
    found = buckets_.try_emplace(std::string(principal)).first;
    if (found->second.filled_at == Time()) {
      found->second.filled_at = now;
      found->second.tokens = burst_;
    }
  }
  Bucket& bucket = found->second;
  const auto due = (now - bucket.filled_at) / kDenialInterval;
  if (due > 0) {
    bucket.tokens = static_cast<std::uint32_t>(
        std::min<std::int64_t>(burst_, bucket.tokens + due));
    bucket.filled_at += due * kDenialInterval;
  }
  return bucket;
}

bool DenialLimit::Take(std::string_view principal, Time now) {
  Bucket& bucket = BucketOf(principal, now);
  if (bucket.tokens > 0) {
    --bucket.tokens;
    return true;
  }
  if (bucket.counted++ == 0) ++counted_;
  return false;
}

std::vector<DenialLimit::Count> DenialLimit::TakeCounts(std::size_t most) {
  std::vector<Count> counts;
  for (auto& [principal, bucket] : buckets_) {
    if (bucket.counted == 0) continue;
    if (counts.size() == most) break;
    counts.push_back({principal, std::exchange(bucket.counted, 0)});
    --counted_;
  }
  return counts;
}

void DenialLimit::PutBack(const Count& count) {
  auto& bucket = buckets_[count.principal];
  if (bucket.counted == 0) ++counted_;
  bucket.counted += count.denials;
}

}  // namespace oauthvault::audit
