#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <cstddef>
#include <string>
#include <vector>

#include "crypto/error.h"
#include "storage/names.h"

namespace oauthvault::rpc {

/// A request names at most so many oauth ids.
inline constexpr std::size_t kMaxIdsOfCall = 64;

/// The oauth ids that a request lists, in its order. Errors: Invalid (too many, one that is no id,
/// one that stands twice).
Result<std::vector<OauthId>> DistinctIds(
    const google::protobuf::RepeatedPtrField<std::string>& texts);

}  // namespace oauthvault::rpc
