#pragma once

#include <cstdint>
#include <string>

#include "client/failure.h"
#include "crypto/secret.h"

namespace oauthvault::client {

/// A new private key on NIST P-256 (FIPS 186-4), as PKCS #8 in PEM.
/// Errors: kUnavailable when OpenSSL has no randomness or memory.
Outcome<crypto::SecretBytes> MakeKey();

/// The certificate request (PKCS #10 in PEM, RFC 2986) that goes with a private key. Its subject is
/// empty: the daemon takes the public key only. Errors: kInvalid: not a private key in PEM.
Outcome<std::string> MakeCertificateRequest(const crypto::SecretBytes& key_pem);

/// What a certificate says about itself, as far as renewing it goes.
struct CertificateFacts {
  std::string serial;  ///< lower-case hex, 32 digits or more
  std::int64_t expires_at_s = 0;
};
/// Reads a certificate in PEM; verifies nothing. Errors: kInvalid: it is none.
Outcome<CertificateFacts> ReadCertificateFacts(const crypto::SecretBytes& certificate_pem);

}  // namespace oauthvault::client
