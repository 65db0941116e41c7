#include "daemon/rpc/oauth_ids.h"

#include <string_view>
#include <unordered_set>
#include <utility>

namespace oauthvault::rpc {

Result<std::vector<OauthId>> DistinctIds(
    const google::protobuf::RepeatedPtrField<std::string>& texts) {
  if (static_cast<std::size_t>(texts.size()) > kMaxIdsOfCall) {
    return Fail(Code::kInvalid, "the request names more oauth ids than one call takes",
                Subject::Number(static_cast<std::int64_t>(kMaxIdsOfCall)));
  }
  std::vector<OauthId> ids;
  ids.reserve(kMaxIdsOfCall);
  std::unordered_set<std::string_view> seen;
  for (const std::string& text : texts) {
    Result<OauthId> id = OauthId::Parse(text);
    if (!id) return Fail(std::move(id));
    if (!seen.insert(text).second) {
      return Fail(Code::kInvalid, "the request names an oauth id twice", *id);
    }
    ids.push_back(std::move(*id));
  }
  return ids;
}

}  // namespace oauthvault::rpc
