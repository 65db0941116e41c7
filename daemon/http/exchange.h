#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"

namespace oauthvault::http {

/// One request, whole: the server has read it to its end.
struct Request {
  std::string method;  ///< HEAD came as GET
  std::string path;    ///< as it was sent, without the query
  std::vector<std::pair<std::string, std::string>> query;  ///< as it was sent, not decoded
  std::string content_type;
  std::optional<crypto::SecretBytes> storage_token;  ///< X-StorageApi-Token
  std::optional<crypto::SecretBytes> manage_token;   ///< X-KBC-ManageApiToken
  crypto::SecretBytes body;
  bool too_large = false;  ///< the body was larger than kMaxBodySize, and was not kept
  std::string peer;        ///< `http:` or `https:`, address and port
  std::string request_id;  ///< the caller's X-Request-Id where it is an id, else made here
};

/// An answer. What it holds is no secret: secrets leave sealed, or not at all.
struct Reply {
  unsigned status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::string allow;  ///< for 405: the methods that there are
};

/// JSON as a body; what is no UTF-8 in it is replaced.
std::string BodyText(const nlohmann::ordered_json& json);

/// Bodies of requests have at most this many bytes.
inline constexpr std::size_t kMaxBodySize = 256 * 1024;

/// The HTTP status that a code is answered with. A mistake of the caller is never a 5xx: Keboola's
/// clients send those again, ten times.
unsigned StatusOf(Code code);

/// `{"status":"error","error":"User error","code":404,"message":"..","exceptionId":".."}`; 5xx are
/// `Application error`. The message is the error's, and holds nothing of the request.
Reply ErrorReply(const Error& error, const std::string& request_id);
/// The same for a status that no code stands for (405, 413, 501).
Reply ErrorReply(unsigned status, Text message, const std::string& request_id);

}  // namespace oauthvault::http
