#pragma once

#include <grpcpp/server_context.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>

#include "crypto/error.h"
#include "daemon/access/caller.h"
#include "daemon/registry/authority.h"
#include "daemon/registry/identities.h"

namespace oauthvault::rpc {

/// Who calls. The unix socket's opener is the local admin: its door let in none but root and the
/// daemon's own user. On TCP it is the certificate's one SPIFFE id, and the certificate must be
/// neither expired nor revoked at this moment, however old the connection. Threads: any.
class Peers {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;

  Peers(const registry::Identities& identities, Clock clock)
      : identities_(identities), clock_(std::move(clock)) {}

  /// Errors: Unauthenticated.
  Result<access::Caller> Identify(const grpc::CallbackServerContext& call) const;

 private:
  Result<registry::PeerCertificate> Read(const std::string& certificate_pem) const;

  const registry::Identities& identities_;
  const Clock clock_;
  mutable std::mutex guard_;  // guards read_
  // Certificates that were read, by their PEM text: parsing one costs more than a reveal.
  mutable std::unordered_map<std::string, registry::PeerCertificate> read_;
};

/// So many read certificates are remembered; then all are forgotten at once.
inline constexpr std::size_t kMaxRememberedCertificates = 4096;

}  // namespace oauthvault::rpc
