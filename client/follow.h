#pragma once

#include <cstdint>

#include "client/failure.h"
#include "client/session.h"

namespace oauthvault::v1 {
class Attempt;
}

namespace oauthvault::client {

/// How far an attempt is followed.
enum class Until : std::uint8_t {
  kLink,  ///< the consent link is there (`--no-wait` of an authorization)
  kEnd,   ///< its final state
};

/// Whether a person must consent on the way.
enum class Consent : std::uint8_t { kAsked, kNotAsked };

/// Follows an attempt: prints the consent link to standard output as soon as there is one, shows
/// state and time left on standard error (one line rewritten on a terminal, else a line for every
/// change), prints the attempt at its end. Watches again when the stream breaks, and goes on with
/// the successor of one whose credentials were lost on their way. Ctrl-C leaves the attempt to the
/// daemon, says how to follow it again and sets the exit code 130.
/// Errors: as `Vault::Watch`; kInvalid when the attempt failed, kUnavailable when it failed because
/// Rivery was unreachable.
Outcome<void> Follow(Session& run, const v1::Attempt& attempt, Consent consent, Until until);

}  // namespace oauthvault::client
