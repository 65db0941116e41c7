#pragma once

#include "crypto/error.h"
#include "daemon/audit/trail.h"

namespace oauthvault::audit {

/// What a method or route says about the lines of its calls. Denials always have one.
struct LineRule {
  bool audited = false;  ///< allowed calls have a line, too
  bool revokes = false;  ///< it takes something away: its line may use the reserve of a full disk
};

/// Whether a call that was allowed may begin: what commits has its line after the fact, so there
/// must be room for it before. Errors: Unavailable.
Result<void> CheckRoom(const Trail& trail, LineRule rule);

/// The line of a call that ended as `told`, where one is due; `entry` says all but how it ended.
/// `has_line` is said where the story recorded by itself: then only a failure after that has a line
/// here. A story that was denied on the way has one whatever the rule. Waits for the disk.
/// Errors: those of `told`, which is passed on; Unavailable, Exhausted (the line).
Result<void> RecordEnd(Trail& trail, LineRule rule, Entry entry, bool has_line,
                       Result<void> told);

}  // namespace oauthvault::audit
