#pragma once

#include <string>
#include <utility>

#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/kept.h"

namespace oauthvault::custody {

/// The line about `act`, for which there is a permit: who, by which right, on what, and from where.
/// How it ended is not said yet.
audit::Entry EntryFor(const access::Permit& permit, const access::Caller& caller, std::string act);

/// Says that these credentials may leave: which version, and what `audit find` knows them by.
void SayAllowed(const Kept& kept, audit::Entry& entry);
/// Says that it came to `error`.
void SayFailed(const Error& error, audit::Entry& entry);

/// Records that it came to `error`, and then calls `done` with that; where it cannot be recorded,
/// with the trail's error.
template <class Done>
void FailRecorded(audit::Trail& trail, audit::Entry entry, Error error, Done done) {
  SayFailed(error, entry);
  trail.Record(std::move(entry), [error = std::move(error), done = std::move(done)](
                                     Result<audit::Recorded> recorded) mutable {
    if (!recorded) return done(Fail(std::move(recorded)));
    done(std::unexpected(std::move(error)));
  });
}

}  // namespace oauthvault::custody
