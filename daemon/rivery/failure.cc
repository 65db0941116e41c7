#include "daemon/rivery/failure.h"

#include <curl/curl.h>

#include <algorithm>
#include <string>

namespace oauthvault::rivery {
namespace {

constexpr std::chrono::seconds kMaxRetryAfter = std::chrono::hours(1);
constexpr std::size_t kMaxRetryAfterBytes = 64;

/// What was asked, seen from what an answer to it can have done.
bool ChangesSomething(std::string_view verb) { return verb != "GET"; }

Fate FateOfStatus(std::string_view verb, int status) {
  if (status >= 400 && status < 500) return Fate::kRefused;
  if (status == 301 || status == 307 || status == 308) return Fate::kRefused;
  // RFC 9110, section 15.4: after 302 and 303 the request itself may have been carried out.
  if (status >= 300 && status < 400) {
    return ChangesSomething(verb) ? Fate::kUnclear : Fate::kRefused;
  }
  return Fate::kUnclear;
}

Error PaymentError(Operation operation, const Subject& status) {
  switch (operation) {
    case Operation::kOauthStart:
      return {Code::kInvalid,
              "Rivery cannot start an authorization for this datasource; check that its datasource "
              "id is right and that its type supports OAuth2",
              status};
    case Operation::kOauthFetch:
      return {Code::kInvalid,
              "Rivery does not take this pull id with this address; start a new authorization",
              status};
    case Operation::kUpdate:
      return {Code::kConflict,
              "Rivery does not change this connection while rivers use it; stop or detach them in "
              "Rivery, then update again",
              status};
    case Operation::kDelete:
      return {Code::kConflict,
              "Rivery does not delete this connection while rivers use it; stop or detach them in "
              "Rivery, then delete again",
              status};
    case Operation::kTypes:
    case Operation::kCreate:
    case Operation::kList:
    case Operation::kGet:
    case Operation::kProperties:
    case Operation::kMe: break;
  }
  return {Code::kDenied,
          "Rivery does not allow this call on the account's plan; check the account in Rivery",
          status};
}

Error NotFoundError(Operation operation, const Subject& status) {
  switch (operation) {
    case Operation::kOauthFetch:
      return {Code::kNotFound,
              "Rivery knows no such authorization: it expired, was read before, or the route is "
              "wrong; start a new one, or check the route oauth_fetch",
              status};
    case Operation::kUpdate:
      return {Code::kNotFound,
              "Rivery has no such connection, or not at this route; look for its id in Rivery, or "
              "check the route update",
              status};
    case Operation::kGet:
      return {Code::kNotFound, "Rivery has no connection with this id, or not at the route get",
              status};
    case Operation::kDelete:
      return {Code::kNotFound,
              "Rivery has no connection to delete with this id, or not at the route delete",
              status};
    case Operation::kProperties:
      return {Code::kNotFound,
              "Rivery knows no properties of this type; check the type, and the route properties",
              status};
    case Operation::kTypes:
    case Operation::kOauthStart:
    case Operation::kCreate:
    case Operation::kList:
    case Operation::kMe: break;
  }
  return {Code::kNotFound,
          "Rivery has no such route; check that the base URL ends in /api, and the routes", status};
}

Error ErrorOf(Operation operation, int status_number, bool named_a_wait) {
  const Subject status = Subject::Number(status_number);
  switch (status_number) {
    case 401:
      return {Code::kUnauthenticated,
              "Rivery does not know the API token: the token is wrong or revoked, or the base URL "
              "is of another region than the token; check both",
              status};
    case 402: return PaymentError(operation, status);
    case 403:
      return {Code::kDenied,
              "Rivery denies this call to the API token: a scope (connection:edit, "
              "connection:list) is missing, or the token is of another environment",
              status};
    case 404: return NotFoundError(operation, status);
    case 409:
      return {Code::kConflict, "Rivery reports a conflict with another change; look at the "
              "connection in Rivery, then try again", status};
    case 429:
      // At the start of an authorization the vendor's 429 means a parameter; a gateway's own limit
      // names a time to wait.
      if (operation == Operation::kOauthStart && !named_a_wait) {
        return {Code::kInvalid,
                "Rivery refuses a parameter of the authorization; check the datasource id, and "
                "that its validity lies in 300..43200 seconds",
                status};
      }
      return {Code::kExhausted, "Rivery limits the rate of calls; wait, then try again", status};
    default: break;
  }
  if (status_number >= 500) {
    return {Code::kUnavailable,
            "Rivery failed inside; what was sent may have been done, so look before sending again",
            status};
  }
  if (status_number >= 400) {
    return {Code::kInvalid,
            "Rivery refuses the request; check the names of the component and the routes", status};
  }
  return {Code::kInvalid,
          "Rivery redirects a call that must not be redirected; check the base URL and its region",
          status};
}

}  // namespace

Failure NotSent(Error error) {
  return {.error = std::move(error), .fate = Fate::kNeverSent};
}

Failure FailureOf(Operation operation, std::string_view verb, int http_status, int body_code,
                  std::chrono::seconds retry_after) {
  const int judged = http_status >= 300 ? http_status : body_code;
  return {.error = ErrorOf(operation, judged, retry_after.count() > 0),
          .fate = FateOfStatus(verb, judged),
          .http_status = http_status,
          .body_code = body_code,
          .retry_after = retry_after};
}

std::chrono::seconds ParseRetryAfter(std::string_view value,
                                     std::chrono::system_clock::time_point now) {
  using std::chrono::seconds;
  if (value.empty() || value.size() > kMaxRetryAfterBytes) return seconds(0);
  if (std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; })) {
    seconds wait(0);
    for (const char c : value) wait = std::min(10 * wait + seconds(c - '0'), kMaxRetryAfter);
    return wait;
  }
  // curl_getdate reads bare numbers as dates, too; an HTTP date begins with the name of a day.
  const bool begins_with_letter = (value.front() | 0x20) >= 'a' && (value.front() | 0x20) <= 'z';
  if (!begins_with_letter) return seconds(0);
  const std::time_t at = curl_getdate(std::string(value).c_str(), nullptr);
  if (at == -1) return seconds(0);
  const auto wait = std::chrono::ceil<seconds>(std::chrono::system_clock::from_time_t(at) - now);
  return std::clamp(wait, seconds(0), kMaxRetryAfter);
}

}  // namespace oauthvault::rivery
