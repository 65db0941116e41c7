#include "daemon/rpc/status.h"

#include <string>

namespace oauthvault::rpc {

grpc::StatusCode StatusCodeOf(Code code) {
  switch (code) {
    case Code::kNotFound: return grpc::StatusCode::NOT_FOUND;
    case Code::kUnauthenticated: return grpc::StatusCode::UNAUTHENTICATED;
    case Code::kDenied: return grpc::StatusCode::PERMISSION_DENIED;
    case Code::kInvalid: return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::kConflict: return grpc::StatusCode::ALREADY_EXISTS;
    case Code::kStale: return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::kCorrupt: return grpc::StatusCode::DATA_LOSS;
    case Code::kSealed: return grpc::StatusCode::UNAVAILABLE;
    case Code::kUnavailable: return grpc::StatusCode::UNAVAILABLE;
    case Code::kExhausted: return grpc::StatusCode::RESOURCE_EXHAUSTED;
  }
  __builtin_unreachable();
}

grpc::Status StatusOf(const Error& error, grpc::ServerContextBase& call) {
  call.AddTrailingMetadata(kCodeKey, std::string(NameOf(error.GetCode())));
  return grpc::Status(StatusCodeOf(error.GetCode()), error.Message());
}

}  // namespace oauthvault::rpc
