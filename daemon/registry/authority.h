#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"

namespace oauthvault::registry {

/// A PEM private key.
using PrivateKeyPem = crypto::Secret<struct PrivateKeyPemTag>;

/// Limits of what the built-in CA reads and gives.
inline constexpr std::size_t kMaxCsrSize = 16 * 1024;
inline constexpr std::size_t kMaxPeerCertificateSize = 16 * 1024;
inline constexpr std::size_t kMaxServerNames = 32;
inline constexpr std::int64_t kMinIdentityTtlS = 60;
inline constexpr std::int64_t kMaxIdentityTtlS = 90 * 24 * 3600;
inline constexpr std::int64_t kDefaultIdentityTtlS = 24 * 3600;

/// A certificate as issued.
struct IssuedCertificate {
  std::string certificate_pem;
  std::string serial;    ///< lower-case hex, 32 digits
  std::string key_hash;  ///< SHA-256 of the public key (SubjectPublicKeyInfo), 64 hex digits
  std::int64_t issued_at_s = 0;
  std::int64_t expires_at_s = 0;
};

/// A key pair with its certificate, for the daemon's own TCP door.
struct ServerIdentity {
  std::string certificate_pem;
  PrivateKeyPem key;
  std::int64_t expires_at_s = 0;
  std::string fingerprint;  ///< SHA-256 of the certificate, 64 hex digits
};

/// A client's key pair with its certificate, for a caller inside of the daemon.
struct ClientKeyPair {
  std::string certificate_pem;
  PrivateKeyPem key;
};

/// The built-in CA: EC P-256, one self-signed root (cA true, pathlen 0, keyCertSign, name
/// constraint-free, URI SAN spiffe://<trust domain>). Over OpenSSL 3. Threads: any.
class CertificateAuthority {
 public:
  /// What a CA is stored as.
  struct Material {
    std::string certificate_pem;
    PrivateKeyPem key;
  };
  /// Makes a new CA key and root certificate, valid ten years from `now_s`. The common name is cut
  /// to 64 characters. Errors: Invalid (trust domain, time), Unavailable (OpenSSL).
  static Result<Material> Generate(std::string_view trust_domain, std::int64_t now_s);

  /// Errors: Corrupt when certificate and key do not belong together, or are not those of a
  /// self-signed CA whose only URI is its trust domain.
  static Result<std::unique_ptr<CertificateAuthority>> Load(std::string_view certificate_pem,
                                                            const PrivateKeyPem& key);
  ~CertificateAuthority();

  /// Signs the public key of a CSR as a client certificate for `spiffe_id` (the only SAN), with a
  /// random serial, digitalSignature, clientAuth, cA false. Nothing else is taken from the CSR; its
  /// self-signature must verify; keys: EC P-256/P-384, Ed25519, RSA >= 2048.
  /// `spiffe_id` must parse as a principal of the CA's own trust domain. `ttl_s` within the limits
  /// above, ending before the CA; the start is 60 s before `now_s` for clocks that run behind.
  /// Errors: Invalid (CSR, id, ttl), Unavailable (OpenSSL).
  Result<IssuedCertificate> IssueClient(std::string_view csr_pem, std::string_view spiffe_id,
                                        std::int64_t ttl_s, std::int64_t now_s) const;

  /// A fresh key and serverAuth certificate for DNS names and IP addresses (at least one), with
  /// URI SAN spiffe://<trust domain>/vault. `names`: at most kMaxServerNames, each at most 253
  /// characters, no wildcards. `trust_domain` must be the CA's; `ttl_s` as for clients.
  /// Errors: Invalid (names, trust domain, ttl), Unavailable.
  Result<ServerIdentity> IssueServer(const std::vector<std::string>& names,
                                     std::string_view trust_domain, std::int64_t ttl_s,
                                     std::int64_t now_s) const;

  /// A fresh key and client certificate for `spiffe_id`, as IssueClient's, for a caller inside of
  /// the daemon: the key is in memory only. Errors: as IssueClient's.
  Result<ClientKeyPair> IssueOwnClient(std::string_view spiffe_id, std::int64_t ttl_s,
                                       std::int64_t now_s) const;

  /// The root certificate, for whoever has to trust it.
  const std::string& CertificatePem() const;

 private:
  struct State;
  explicit CertificateAuthority(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// SHA-256 of the public key in a CSR, as in IssuedCertificate. Says nothing about its signature.
/// Errors: Invalid.
Result<std::string> KeyHashOfRequest(std::string_view csr_pem);

/// What a peer's certificate says, for the deny list and expiry, which are checked on every call.
struct PeerCertificate {
  std::string serial;  ///< lower-case hex, at least 32 digits, as in IssuedCertificate
  std::string spiffe_id;  ///< its one URI, as it stands there
  std::int64_t expires_at_s = 0;
};
/// Reads a PEM certificate. Does not verify its signature or time: the handshake has. Errors:
/// Unauthenticated when it is none, is a CA, may sign certificates or CRLs, has no digitalSignature
/// or no clientAuth use, a weak key, or not exactly one URI SAN. Source: X509-SVID 2, 4 and 5.2.
Result<PeerCertificate> ReadPeerCertificate(std::string_view certificate_pem);

}  // namespace oauthvault::registry
