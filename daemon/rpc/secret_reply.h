#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <span>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/custody/reveal.h"
#include "daemon/custody/reveal_many.h"

namespace oauthvault::rpc {

/// The bytes of a v1.RevealResponse in one buffer, which the secrets are opened into directly and
/// which is wiped when gRPC lets go of it. Errors: Corrupt.
Result<grpc::ByteBuffer> WriteRevealResponse(custody::Release release);

/// A v1.RevealManyResponse has at most this many bytes.
inline constexpr std::size_t kMaxRevealManySize = 256 * 1024;

/// How many bytes the v1.RevealManyResponse of these would have: known before anything is opened.
std::size_t RevealManyResponseSize(std::span<const custody::Sought> items);

/// Its bytes, likewise: every item is opened where it goes, in one pass over one buffer.
/// Credentials that turn out damaged there are answered with their code, as if that had been found
/// before.
grpc::ByteBuffer WriteRevealManyResponse(custody::Releases releases);

/// The bytes of a v1.InjectResponse, likewise.
grpc::ByteBuffer WriteInjectResponse(crypto::SecretBytes configuration);

}  // namespace oauthvault::rpc
