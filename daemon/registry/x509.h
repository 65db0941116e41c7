#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/secret.h"

/// X.509 by OpenSSL 3, as this room reads it. Whoever calls holds a `QuietErrors`.
namespace oauthvault::registry {

/// Frees an OpenSSL object by the function that OpenSSL has for it.
template <auto kFree>
struct FreeBy {
  /// Frees the object.
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
/// OpenSSL's objects with an owner; null: OpenSSL could not make or read one.
using Certificate = std::unique_ptr<X509, FreeBy<X509_free>>;
using Request = std::unique_ptr<X509_REQ, FreeBy<X509_REQ_free>>;
using Key = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using Number = std::unique_ptr<BIGNUM, FreeBy<BN_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, FreeBy<GENERAL_NAMES_free>>;
using Bio = std::unique_ptr<BIO, FreeBy<BIO_free_all>>;

/// Leaves the thread's OpenSSL error queue as it was found: gRPC's TLS runs on the same threads and
/// takes what it finds there for its own failures.
class QuietErrors {
 public:
  QuietErrors() { ERR_set_mark(); }
  ~QuietErrors() { ERR_pop_to_mark(); }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;
};

/// Bytes to read from; null beyond 2 GiB. They live as long as it.
Bio ReadOnly(const void* data, std::size_t size_bytes);
/// The first certificate of a PEM text; null when there is none.
Certificate ReadCertificate(std::string_view pem);
/// All certificates of a PEM text, in order, at most `limit`; empty when there is none, one cannot
/// be read or there are more.
std::vector<Certificate> ReadCertificates(std::string_view pem, std::size_t limit);
/// A PEM certificate request; null when it is none.
Request ReadRequest(std::string_view pem);
/// A PEM private key without a passphrase; null when it is none.
Key ReadKey(const crypto::SecretBytes& pem);
/// As PEM; empty when OpenSSL fails.
std::string WriteCertificate(X509* certificate);

/// Lower-case hex, padded to 32 digits; empty for a serial that is not positive or is longer than
/// the 20 bytes of RFC 5280, 4.1.2.2.
std::string SerialHex(const X509* certificate);
/// SHA-256 of the certificate in DER: 64 lower-case hex digits; empty when OpenSSL fails.
std::string FingerprintOf(const X509* certificate);
/// SHA-256 of a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), likewise.
std::string KeyHashOf(EVP_PKEY* key);
/// Seconds since 1970; nullopt for a time that cannot be read.
std::optional<std::int64_t> ToSeconds(const ASN1_TIME* time);
/// The subject alternative names; null where the extension is absent or stands twice.
Names NamesOf(const X509* certificate);
/// The text of the only URI among the names; nullopt when there is none or more than one.
/// X509-SVID, section 2: "An X.509 SVID MUST contain exactly one URI SAN, and by extension, exactly
/// one SPIFFE ID."
std::optional<std::string> OnlyUri(const GENERAL_NAMES* names);
/// Whether we accept such a public key: EC P-256 or P-384 by name, Ed25519, RSA of 2048 to 8192
/// bits.
bool IsAcceptedKey(EVP_PKEY* key);

}  // namespace oauthvault::registry
