#include "daemon/custody/sealed_copy.h"

#include <string>
#include <utility>

#include "daemon/custody/kept.h"
#include "daemon/custody/sealed_value.h"

namespace oauthvault::custody {

Result<EightKeys> SealedCopy(const access::Permit& permit, const OauthId& id,
                             const storage::Store& store) {
  if (permit.What() != access::Right::kDescribe) {
    return Fail(Code::kDenied, "sealed copies are for those who may describe", id);
  }
  auto pair = permit.Where().AsPair();
  if (!pair) return Fail(std::move(pair));
  const Result<Kept> kept = ReadKept(store, pair->project, pair->component, id);
  if (!kept) return std::unexpected(kept.error());

  EightKeys keys = PublicKeysOf(kept->credentials.row);
  const Result<std::string> data = SealedCopyOf(kept->credentials, crypto::Part::kData);
  if (!data) return std::unexpected(data.error());
  keys.data = crypto::CredentialsData(crypto::SecretBytes::CopyOf(*data));
  Result<std::string> app_secret = std::string();
  if (kept->credentials.sealed.Has(crypto::Part::kAppSecret)) {
    app_secret = SealedCopyOf(kept->credentials, crypto::Part::kAppSecret);
  } else if (kept->component && kept->component->sealed.Has(crypto::Part::kAppSecret)) {
    app_secret = SealedCopyOf(*kept->component);
  }
  if (!app_secret) return std::unexpected(app_secret.error());
  keys.app_secret = crypto::AppSecret(crypto::SecretBytes::CopyOf(*app_secret));
  return keys;
}

}  // namespace oauthvault::custody
