#pragma once

#include <chrono>
#include <string_view>

#include "daemon/rivery/client.h"

namespace oauthvault::rivery {

/// A call that was not made at all, because of `error`.
Failure NotSent(Error error);

/// What an answer says that is no success: an HTTP status from 300, or a body code from 400 under
/// HTTP 2xx. `body_code`: 0 where the body has none. The vendor's message is not looked at: it may
/// repeat what was sent.
Failure FailureOf(Operation operation, std::string_view verb, int http_status, int body_code,
                  std::chrono::seconds retry_after);

/// The value of a `Retry-After` header: seconds or an HTTP date (RFC 9110, section 10.2.3). 0 when
/// it is neither or lies in the past; at most 1 h.
std::chrono::seconds ParseRetryAfter(std::string_view value,
                                     std::chrono::system_clock::time_point now);

}  // namespace oauthvault::rivery
