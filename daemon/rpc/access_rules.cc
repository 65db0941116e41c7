#include "daemon/rpc/access_rules.h"

#include <google/protobuf/descriptor.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <utility>

#include "oauthvault/v1/access.pb.h"

namespace oauthvault::rpc {
namespace {

std::optional<access::Right> RightOf(v1::Right right) {
  switch (right) {
    case v1::RIGHT_STORE: return access::Right::kStore;
    case v1::RIGHT_DESCRIBE: return access::Right::kDescribe;
    case v1::RIGHT_REVEAL: return access::Right::kReveal;
    case v1::RIGHT_ENCRYPT: return access::Right::kEncrypt;
    case v1::RIGHT_CONNECT: return access::Right::kConnect;
    case v1::RIGHT_REGISTER: return access::Right::kRegister;
    case v1::RIGHT_OPERATE: return access::Right::kOperate;
    case v1::RIGHT_AUDIT: return access::Right::kAudit;
    case v1::RIGHT_ANYONE: return access::Right::kAnyone;
    default: return std::nullopt;
  }
}

}  // namespace

std::span<const std::string_view> ContractServices() {
  static constexpr std::array<std::string_view, 9> kServices = {
      "oauthvault.v1.Registry", "oauthvault.v1.Credentials", "oauthvault.v1.Accounts",
      "oauthvault.v1.Attempts", "oauthvault.v1.Connections", "oauthvault.v1.Operations",
      "oauthvault.v1.Audit", "oauthvault.v1.Tokens", "oauthvault.v1.Trust"};
  return kServices;
}

Result<AccessRules> AccessRules::FromContract(std::span<const std::string_view> services) {
  AccessRules rules;
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const std::string_view name : services) {
    const auto* service = pool->FindServiceByName(std::string(name));
    if (service == nullptr) return Fail(Code::kInvalid, "a service is not in the contract");
    for (int i = 0; i < service->method_count(); ++i) {
      const auto* method = service->method(i);
      const v1::AccessRule& option = method->options().GetExtension(v1::access);
      const std::optional<access::Right> right = RightOf(option.right());
      if (!right) {
        return Fail(Code::kInvalid, "a method of the contract has no access rule",
                    Subject::Path(method->full_name()));
      }
      // The descriptor's own string lives as long as the process; so does the view of it.
      const std::string& full_name = method->full_name();
      const std::string_view act =
          std::string_view(full_name).substr(service->file()->package().size() + 1);
      Rule rule{std::string(act), *right, {option.audited(), option.revokes()}};
      const v1::CallLimits& limits = method->options().GetExtension(v1::limits);
      if (limits.request_bytes() != 0) rule.max_request_bytes = limits.request_bytes();
      if (limits.deadline_s() != 0) rule.max_deadline = std::chrono::seconds(limits.deadline_s());
      rule.needs_deadline = !method->server_streaming() && !method->client_streaming();
      rules.rules_.emplace(act, std::move(rule));
    }
  }
  return rules;
}

const Rule& AccessRules::Of(std::string_view act) const {
  const auto found = rules_.find(act);
  if (found == rules_.end()) std::abort();
  return found->second;
}

}  // namespace oauthvault::rpc
