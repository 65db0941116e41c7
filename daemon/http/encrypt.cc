#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "crypto/fields.h"
#include "daemon/custody/encrypt.h"
#include "daemon/http/routes.h"
#include "daemon/http/stories.h"
#include "storage/names.h"

namespace oauthvault::http {
namespace {

// What the query says: Keboola's names. The edge has decided about component and project. The
// scope is the narrowest that is named, as in the original.
Result<custody::SealFor> AskedBy(const Request& request) {
  custody::SealFor asked;
  bool in_project = false;
  for (const auto& [name, escaped] : request.query) {
    const std::string value = Decode(escaped, true).value_or(std::string());
    if (name == "componentId") continue;
    if (name == "projectId") {
      in_project = true;
    } else if (name == "configId") {
      auto configuration = ConfigurationId::Parse(value);
      if (!configuration) return Fail(std::move(configuration));
      asked.configuration = std::move(*configuration);
    } else if (name == "branchType") {
      auto type = custody::ParseBranchType(value);
      if (!type) return Fail(std::move(type));
      asked.branch_type = *type;
    } else {
      return Fail(Code::kInvalid,
                  "the query takes componentId, projectId, configId and branchType");
    }
  }
  auto scope = custody::ScopeFor(asked.configuration, asked.branch_type);
  if (!scope) return Fail(std::move(scope));
  if ((asked.configuration || asked.branch_type) && !in_project) {
    return Fail(Code::kInvalid, "configId and branchType stand beside a projectId");
  }
  asked.scope = in_project ? *scope : custody::ValueScope::kComponent;
  return asked;
}

}  // namespace

Result<Reply> SealBody(Visit& visit) {
  auto asked = AskedBy(visit.request);
  if (!asked) return Fail(std::move(asked));
  Vault& vault = *visit.vault;
  const crypto::SecretBytes& body = visit.request.body;
  const bool as_text = visit.request.content_type.starts_with("text/plain");
  auto sealed =
      as_text ? custody::EncryptText(*visit.permit, *asked, body, vault.keyring, vault.store)
              : custody::EncryptDocument(*visit.permit, *asked, body, vault.keyring, vault.store);
  if (!sealed) return Fail(std::move(sealed));
  Reply reply;
  if (as_text) reply.content_type = "text/plain";
  reply.body = sealed->Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(crypto::AsField(bytes));
  });
  return reply;
}

}  // namespace oauthvault::http
