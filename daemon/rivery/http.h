#pragma once

#include <chrono>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "crypto/secret.h"
#include "daemon/rivery/client.h"

namespace oauthvault::rivery {

/// One request. What it refers to lives as long as the call.
struct HttpRequest {
  std::string_view verb;
  const std::string& url;
  const crypto::ApiToken& token;
  const crypto::SecretBytes* body = nullptr;  ///< JSON; null: none
  std::chrono::milliseconds timeout{0};       ///< of the whole exchange, more than 0
};

/// A complete answer, whatever its status.
struct HttpAnswer {
  int status = 0;
  crypto::SecretBytes body;
  std::string location;     ///< the `Location` header, as it came
  std::string retry_after;  ///< the `Retry-After` header, as it came
};

/// Single bounded exchanges over libcurl: https (http to loopback where allowed), TLS 1.2 or newer
/// with a verified certificate, no redirect followed, no proxy, no .netrc, no cookies, no
/// compression, caps on size and time, and the resolved address checked before it is connected to.
/// Threads: any; an exchange has a handle of its own, from a pool.
class Http {
 public:
  /// `ca_file` as for Client.
  Http(const Limits& limits, const Reach& reach, std::string ca_file);
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  /// Sends once and never again: what changes something goes over a connection of its own, because
  /// libcurl silently repeats a request whose reused connection turned out to be closed. Errors:
  /// Invalid for a refused address or token, Exhausted for an answer beyond the caps, Unavailable
  /// for the rest. `kNeverSent` when not one byte of the request went out, otherwise `kUnclear`.
  std::expected<HttpAnswer, Failure> Exchange(const HttpRequest& request);

 private:
  struct Pool;
  const Limits limits_;
  const Reach reach_;
  const std::string ca_file_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace oauthvault::rivery
