#include "crypto/error.h"

namespace oauthvault {

std::string_view NameOf(Code code) {
  switch (code) {
    case Code::kNotFound: return "NOT_FOUND";
    case Code::kUnauthenticated: return "UNAUTHENTICATED";
    case Code::kDenied: return "DENIED";
    case Code::kInvalid: return "INVALID";
    case Code::kConflict: return "CONFLICT";
    case Code::kStale: return "STALE";
    case Code::kCorrupt: return "CORRUPT";
    case Code::kSealed: return "SEALED";
    case Code::kUnavailable: return "UNAVAILABLE";
    case Code::kExhausted: return "EXHAUSTED";
  }
  __builtin_unreachable();
}

int ExitCodeOf(Code code) {
  switch (code) {
    case Code::kNotFound:
    case Code::kUnauthenticated:
    case Code::kDenied:
    case Code::kInvalid:
    case Code::kConflict:
    case Code::kStale: return 1;
    case Code::kCorrupt:
    case Code::kSealed:
    case Code::kUnavailable:
    case Code::kExhausted: return 2;
  }
  __builtin_unreachable();
}

std::string Error::Message() const {
  std::string message(text_.View());
  if (!subject_.Str().empty()) {
    message += ": ";
    message += subject_.Str();
  }
  return message;
}

}  // namespace oauthvault
