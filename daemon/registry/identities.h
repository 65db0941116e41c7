#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>

#include "crypto/error.h"
#include "daemon/access/principal.h"
#include "daemon/registry/authority.h"
#include "storage/tables/store.h"

namespace oauthvault::registry {

/// Makes the vault's CA, once (`oauthvaultd init`). Errors: Conflict, Unavailable.
Result<void> CreateAuthority(storage::Store& store, const std::string& trust_domain,
                             std::int64_t now_s);

/// Certificates of the built-in CA: issued, listed, revoked. Every one that was issued has a row.
/// Threads: any.
class Identities {
 public:
  /// Opens the CA of `trust_domain` and the deny list. Errors: NotFound (no CA for this trust
  /// domain), Corrupt, Unavailable.
  static Result<std::unique_ptr<Identities>> Load(storage::Store& store,
                                                  const std::string& trust_domain);

  const CertificateAuthority& Authority() const { return *authority_; }
  const std::string& TrustDomain() const { return trust_domain_; }

  /// A new identity, and what its holder needs.
  struct Issued {
    storage::Stored<storage::Identity> identity;
    std::string certificate_pem;
  };
  /// Signs the CSR's key for `spiffe://<trust domain>/<path>`. A component's path must name a
  /// registered project and component. `ttl_s` 0 means the default.
  /// Errors: Invalid (path, CSR, ttl), NotFound (project, component), Unavailable.
  Result<Issued> Issue(std::string_view path, std::string_view csr_pem, std::int64_t ttl_s,
                       storage::Act act, std::int64_t now_s);

  /// Acts on the next call, also where it is answered Unavailable, for it may stand then. Revoking
  /// twice is not an error. Errors: NotFound, Conflict, Unavailable.
  Result<storage::Stored<storage::Identity>> Revoke(const std::string& serial, storage::Act act,
                                                    std::int64_t now_s);

  /// Whether the certificate may be used: issued here, not revoked. Expiry is the door's check.
  bool IsRevoked(const std::string& serial) const;

 private:
  Identities(storage::Store& store, std::string trust_domain)
      : store_(store), trust_domain_(std::move(trust_domain)) {}

  storage::Store& store_;
  const std::string trust_domain_;
  std::unique_ptr<CertificateAuthority> authority_;
  mutable std::mutex guard_;                // guards revoked_
  std::unordered_set<std::string> revoked_;  // serials
};

}  // namespace oauthvault::registry
