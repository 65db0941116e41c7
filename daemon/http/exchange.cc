#include "daemon/http/exchange.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace oauthvault::http {
namespace {

Reply ErrorOf(unsigned status, std::string_view message, const std::string& request_id) {
  const nlohmann::ordered_json body = {
      {"status", "error"},
      {"error", status < 500 ? "User error" : "Application error"},
      {"code", status},
      {"message", message},
      {"exceptionId", "oauthvault-" + request_id}};
  return {.status = status, .body = BodyText(body)};
}

}  // namespace

std::string BodyText(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

unsigned StatusOf(Code code) {
  switch (code) {
    case Code::kNotFound: return 404;
    case Code::kUnauthenticated: return 401;
    case Code::kDenied: return 403;
    case Code::kInvalid: return 400;
    case Code::kConflict: return 409;
    case Code::kStale: return 409;
    case Code::kCorrupt: return 500;
    case Code::kSealed: return 503;
    case Code::kUnavailable: return 503;
    case Code::kExhausted: return 503;
  }
  __builtin_unreachable();
}

Reply ErrorReply(const Error& error, const std::string& request_id) {
  return ErrorOf(StatusOf(error.GetCode()), error.Message(), request_id);
}

Reply ErrorReply(unsigned status, Text message, const std::string& request_id) {
  return ErrorOf(status, message.View(), request_id);
}

}  // namespace oauthvault::http
