#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "crypto/error.h"
#include "daemon/access/explain.h"
#include "daemon/access/principal.h"
#include "daemon/registry/authority.h"
#include "daemon/registry/trust.h"
#include "storage/tables/store.h"

namespace oauthvault::registry {

/// Makes the vault's CA, once (`oauthvaultd init`). Errors: Conflict, Unavailable.
Result<void> CreateAuthority(storage::Store& store, const std::string& trust_domain,
                             std::int64_t now_s);

/// What an identity is at a moment.
enum class IdentityState : std::uint8_t { kValid, kExpired, kRevoked };
/// Revoked before expired: a revocation is the stronger word.
IdentityState StateOf(const storage::Identity& identity, std::int64_t now_s);

/// So many serials stand in one line about a revocation; a longer chain of renewals has more lines.
inline constexpr std::size_t kMaxRevokedTogether = 12;
/// So many rows are pruned in one commit.
inline constexpr std::size_t kMaxPrunedTogether = 256;

/// Certificates of the built-in CA: issued, renewed, listed, revoked. Every one has a row.
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

  /// Signs another key for the principal of the certificate `serial`, which was issued here and is
  /// not revoked. By its holder: it has not ended, its key is another one, and the new life is
  /// at most as long as the old one was (`ttl_s` 0: as long). By an admin: as Issue, also after its
  /// end. The old certificate stays good until its end: what is on its way with it goes on.
  /// Errors: Invalid (CSR, key, ttl), NotFound, Denied (revoked), Unavailable.
  enum class By : std::uint8_t { kHolder, kAdmin };
  Result<Issued> Renew(const std::string& serial, By by, std::string_view csr_pem,
                       std::int64_t ttl_s, storage::Act act, std::int64_t now_s);

  /// Together with all that it was renewed into and that has not ended, for whoever has a key that
  /// was stolen may have renewed it. Acts on the next call, for the whole chain, also where it is
  /// answered Unavailable: it may stand then, or in part, and revoking once more writes the rest.
  /// Revoking twice is no error. Errors: NotFound, Conflict, Unavailable.
  Result<storage::Stored<storage::Identity>> Revoke(const std::string& serial, storage::Act act,
                                                    std::int64_t now_s);

  /// Removes the rows of certificates that expired before `ended_before_s`, revoked or not: they
  /// are refused for having expired. What was renewed from one that goes follows, from then on, the
  /// nearest before it that stays, so that a revocation still takes the whole chain. A commit and a
  /// line for each kMaxPrunedTogether changes, its object `removed:` and how many. How many went.
  /// Errors: Corrupt, Conflict, Unavailable.
  Result<std::uint64_t> Prune(std::int64_t ended_before_s, const storage::Act& act);

  /// How a principal can show who it is: by the certificates that were issued here, or by a CA that
  /// `trusts` has. Reads every row: for people, not for calls. Errors: Corrupt, Unavailable.
  Result<access::Standing> StandingOf(const access::Principal& principal, const TrustTable& trusts,
                                      std::int64_t now_s) const;

  /// Whether the certificate may be used: issued here, not revoked. Expiry is the door's check.
  bool IsRevoked(const std::string& serial) const;

 private:
  Result<Issued> Sign(const access::Principal& principal, std::string_view csr_pem,
                      std::int64_t ttl_s, const std::string& renewed_from, storage::Act act,
                      std::int64_t now_s);
  Result<std::vector<storage::Stored<storage::Identity>>> RenewedFrom(const std::string& serial,
                                                                      std::int64_t now_s) const;

  Identities(storage::Store& store, std::string trust_domain)
      : store_(store), trust_domain_(std::move(trust_domain)) {}

  storage::Store& store_;
  const std::string trust_domain_;
  std::unique_ptr<CertificateAuthority> authority_;
  // One renewal or revocation at a time: none may slip between a revocation's look at the chain of
  // renewals and its commit.
  std::mutex changing_;
  mutable std::mutex guard_;                // guards revoked_
  std::unordered_set<std::string> revoked_;  // serials
};

}  // namespace oauthvault::registry
