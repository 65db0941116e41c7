#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/custody/reveal.h"

namespace oauthvault::rpc {

/// The bytes of a v1.RevealResponse in one buffer, which the secrets are opened into directly and
/// which is wiped when gRPC lets go of it. Errors: Corrupt.
Result<grpc::ByteBuffer> WriteRevealResponse(custody::Release release);

/// The bytes of a v1.InjectResponse, likewise.
grpc::ByteBuffer WriteInjectResponse(crypto::SecretBytes configuration);

}  // namespace oauthvault::rpc
