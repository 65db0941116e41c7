#pragma once

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

}  // namespace oauthvault::client
