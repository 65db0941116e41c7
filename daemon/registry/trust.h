#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "daemon/access/principal.h"
#include "daemon/registry/authority.h"
#include "storage/tables/store.h"

namespace oauthvault::registry {

/// Limits of what is believed, and of what a peer may show.
inline constexpr std::size_t kMaxTrustAnchors = 32;
inline constexpr std::size_t kMaxRevokedKeys = 10'000;
inline constexpr std::size_t kMaxTrustAnchorSize = 16 * 1024;
inline constexpr std::size_t kMaxIntermediates = 4;
inline constexpr std::size_t kMaxPeerChainSize =
    (kMaxIntermediates + 1) * kMaxPeerCertificateSize;

/// Who a peer's certificates were verified to be.
struct Vouched {
  access::Principal who;
  std::string serial;  ///< of the leaf; deny list and rows know it where `built_in`
  bool built_in = false;  ///< the vault's own CA vouches
  std::int64_t expires_at_s = 0;  ///< the first end in the chain, the CA's own included
};

/// Every CA that is believed, at one moment: the built-in one for its own trust domain, others for
/// theirs and for the kinds that they were bound to. Immutable. Threads: any.
class TrustTable {
 public:
  /// The built-in CA, the rows of the others, and the keys that were revoked (as in rows). Errors:
  /// Corrupt (a row whose certificate cannot be read, or is another's; the daemon does not start on
  /// a guess).
  static Result<std::shared_ptr<const TrustTable>> Make(
      std::string trust_domain, const std::string& built_in_pem,
      const std::vector<storage::TrustAnchor>& anchors, std::set<std::string> revoked_keys);
  ~TrustTable();

  /// Verifies what a peer showed: `leaf_pem`, and the intermediates in `chain_pem` (the leaf may be
  /// among them; empty: none), at `now_s`. The SPIFFE id only says which CAs are asked; one of them
  /// has to have signed, by a chain of at most kMaxIntermediates and no revoked key, and to be
  /// bound to the trust domain and the kind. Errors: Unauthenticated (ReadPeerCertificate's too).
  Result<Vouched> Verify(std::string_view leaf_pem, std::string_view chain_pem,
                         std::int64_t now_s) const;

  /// Reads a principal in a grant, an attempt: `local/admin`, or a SPIFFE id that some CA in force
  /// may vouch for. Errors: Invalid.
  Result<access::Principal> PrincipalOf(std::string_view text) const;

  /// All certificates, for the handshake, which lets in whom any of them signed.
  const std::string& RootsPem() const { return roots_pem_; }

 private:
  struct Anchor;
  explicit TrustTable(std::string trust_domain);

  const std::string trust_domain_;
  std::vector<Anchor> anchors_;  // the built-in one first
  std::set<std::string> revoked_keys_;
  std::string roots_pem_;
};

/// SHA-256 of the SubjectPublicKeyInfo in a PEM certificate, as RevokeKey takes it. Errors:
/// Invalid.
Result<std::string> RevokedKeyIn(std::string_view certificate_pem);

/// CAs outside of the vault, and keys that were revoked: rows, opened once into a table that is
/// swapped at commit, before the reply. What a change takes away is in force at once, also where it
/// is answered Unavailable. Threads: any.
class Trusts {
 public:
  /// Opens all rows beside the built-in CA. Errors: Corrupt, Unavailable.
  static Result<std::unique_ptr<Trusts>> Load(storage::Store& store, std::string trust_domain,
                                              const CertificateAuthority& built_in);

  /// The table in force. Verify with one table throughout a call.
  std::shared_ptr<const TrustTable> InForce() const { return in_force_.load(); }

  /// Called after every swap, from the thread that changes; set once, before the first change.
  void OnSwap(std::function<void()> swapped) { swapped_ = std::move(swapped); }

  /// Believes the CA in `certificate_pem` (exactly one; a CA that may sign certificates, with an
  /// accepted key, valid now) for `kinds` of `trust_domain`: component, runner, at least one.
  /// Errors: Invalid (the certificate, the vault's own trust domain, kinds), Conflict (the CA, its
  /// key is believed already), Exhausted (kMaxTrustAnchors), Unavailable.
  Result<storage::Stored<storage::TrustAnchor>> Add(std::string_view certificate_pem,
                                                    std::string_view trust_domain,
                                                    std::vector<std::string> kinds,
                                                    storage::Act act, std::int64_t now_s);

  /// Acts on the next call, also of connections that are open. Errors: NotFound, Conflict,
  /// Unavailable.
  Result<void> Remove(const std::string& id, storage::Act act);

  /// Believes no certificate of this public key any more, whichever CA signed it, the built-in one
  /// included, nor any that it signed: acts on the next call, also where it is answered
  /// Unavailable. By the key and not by issuer and serial (RFC 5280, 5.3): who stole a key can have
  /// another certificate for it, and a CA that renews without a new key gives one. `key_hash`:
  /// SHA-256 of the SubjectPublicKeyInfo, 64 lower-case hex digits (RevokedKeyIn reads a
  /// certificate's). There is no way back. Revoking twice is no error. Errors: Invalid (no such
  /// hash; the key of a CA that is believed: remove it instead), Exhausted (kMaxRevokedKeys),
  /// Unavailable.
  Result<storage::Stored<storage::RevokedKey>> RevokeKey(const std::string& key_hash,
                                                         storage::Act act, std::int64_t now_s);

 private:
  Trusts(storage::Store& store, std::string trust_domain, std::string built_in_pem)
      : store_(store), trust_domain_(std::move(trust_domain)),
        built_in_pem_(std::move(built_in_pem)) {}
  Result<void> PutInForce(std::vector<storage::TrustAnchor> anchors,
                          std::set<std::string> revoked_keys);
  Result<void> ExpectNew(const storage::TrustAnchor& anchor) const;

  storage::Store& store_;
  const std::string trust_domain_;
  const std::string built_in_pem_;
  std::function<void()> swapped_;
  // One change at a time: commit and swap belong together; guards those of the table in force.
  std::mutex changing_;
  std::vector<storage::TrustAnchor> anchors_;
  std::set<std::string> revoked_keys_;
  std::atomic<std::shared_ptr<const TrustTable>> in_force_;
};

}  // namespace oauthvault::registry
