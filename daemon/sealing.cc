#include "daemon/sealing.h"

#include <utility>

#include "daemon/custody/eight_keys.h"
#include "daemon/custody/encrypt.h"
#include "daemon/custody/sealed_copy.h"

namespace oauthvault {
namespace {

// The scope is the narrowest that is named, as in the original.
Result<custody::SealFor> SealForOf(const http::SealFor& asked) {
  custody::SealFor to;
  if (asked.configuration) {
    auto configuration = ConfigurationId::Parse(*asked.configuration);
    if (!configuration) return Fail(std::move(configuration));
    to.configuration = std::move(*configuration);
  }
  if (asked.branch_type) {
    auto type = custody::ParseBranchType(*asked.branch_type);
    if (!type) return Fail(std::move(type));
    to.branch_type = *type;
  }
  auto scope = custody::ScopeFor(to.configuration, to.branch_type);
  if (!scope) return Fail(std::move(scope));
  to.scope = asked.in_project ? *scope : custody::ValueScope::kComponent;
  return to;
}

}  // namespace

http::Sealing SealingOf(crypto::Keyring& keyring, const storage::Store& store) {
  http::Sealing sealing;
  sealing.copy = [&store](const access::Permit& permit,
                          const OauthId& id) -> Result<crypto::SecretBytes> {
    auto keys = custody::SealedCopy(permit, id, store);
    if (!keys) return Fail(std::move(keys));
    return custody::EightKeysAsJson(*keys);
  };
  sealing.seal = [&keyring, &store](const access::Permit& permit, const http::SealFor& asked,
                                    const crypto::SecretBytes& body)
      -> Result<crypto::SecretBytes> {
    auto to = SealForOf(asked);
    if (!to) return Fail(std::move(to));
    return asked.as_text ? custody::EncryptText(permit, *to, body, keyring, store)
                         : custody::EncryptDocument(permit, *to, body, keyring, store);
  };
  return sealing;
}

}  // namespace oauthvault
