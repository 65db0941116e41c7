#pragma once

#include <grpcpp/server_context.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "crypto/error.h"
#include "daemon/access/caller.h"
#include "daemon/registry/identities.h"
#include "daemon/registry/trust.h"

namespace oauthvault::rpc {

/// Who calls. The unix socket's opener is the local admin: its door let in none but root and the
/// daemon's own user. On TCP it is the certificate's one SPIFFE id, and at this moment, however old
/// the connection, one of the CAs in force must vouch for it, the chain must be good, and the
/// certificate must not be revoked. Threads: any.
class Peers {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;

  Peers(const registry::Identities& identities, const registry::Trusts& trusts, Clock clock)
      : identities_(identities), trusts_(trusts), clock_(std::move(clock)) {}

  /// Errors: Unauthenticated.
  Result<access::Caller> Identify(const grpc::ServerContextBase& call) const;

 private:
  // What a peer showed, as PEM text: its certificate, and the others that it sent.
  template <class Text>
  struct Shown {
    Text leaf;
    Text chain;
  };
  struct HashOfShown {
    using is_transparent = void;
    std::size_t operator()(const auto& shown) const {
      return std::hash<std::string_view>()(shown.leaf) ^
             std::hash<std::string_view>()(shown.chain) * 31;
    }
  };
  struct SameShown {
    using is_transparent = void;
    bool operator()(const auto& one, const auto& other) const {
      return one.leaf == other.leaf && one.chain == other.chain;
    }
  };
  using SharedVouched = std::shared_ptr<const registry::Vouched>;
  Result<SharedVouched> Verify(const Shown<std::string_view>& shown, std::int64_t now_s) const;

  const registry::Identities& identities_;
  const registry::Trusts& trusts_;
  const Clock clock_;
  mutable std::mutex guard_;  // guards verified_ and verified_by_
  // What was verified, with the table that it was verified by: doing it anew costs more than a
  // reveal. Another table in force voids all.
  mutable std::unordered_map<Shown<std::string>, SharedVouched, HashOfShown, SameShown> verified_;
  mutable std::shared_ptr<const registry::TrustTable> verified_by_;
};

/// So many verified chains are remembered; then all are forgotten at once.
inline constexpr std::size_t kMaxRememberedCertificates = 4096;

}  // namespace oauthvault::rpc
