#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "crypto/error.h"

namespace oauthvault::rpc {

/// The trailing metadata key that carries the error code's name (NOT_FOUND, STALE, ..).
inline constexpr char kCodeKey[] = "oauthvault-code";

/// The one place where an error becomes a gRPC status.
grpc::StatusCode StatusCodeOf(Code code);

/// The status, and the code's name in the call's trailing metadata.
grpc::Status StatusOf(const Error& error, grpc::ServerContextBase& call);

}  // namespace oauthvault::rpc
