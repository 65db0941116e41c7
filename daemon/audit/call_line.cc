#include "daemon/audit/call_line.h"

#include <utility>

namespace oauthvault::audit {

Result<void> CheckRoom(const Trail& trail, LineRule rule) {
  if (!rule.audited || rule.revokes || trail.HasRoom()) return {};
  return Fail(Code::kUnavailable, "the disk under the audit trail has room to revoke only");
}

Result<void> RecordEnd(Trail& trail, LineRule rule, Entry entry, bool has_line,
                       Result<void> told) {
  const bool denied = !told && told.error().GetCode() == Code::kDenied;
  if ((!rule.audited && !denied) || (has_line && told)) return told;
  entry.outcome = told     ? Outcome::kAllowed
                  : denied ? Outcome::kDenied
                           : Outcome::kFailed;
  if (!told) entry.code = NameOf(told.error().GetCode());
  entry.revokes = rule.revokes;
  if (denied) {
    Result<void> recorded = trail.RecordDenialAndWait(std::move(entry));
    return recorded ? std::move(told) : recorded;
  }
  auto recorded = trail.RecordAndWait(std::move(entry));
  if (!recorded) return Fail(std::move(recorded));
  return told;
}

}  // namespace oauthvault::audit
