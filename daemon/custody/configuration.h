#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/custody/document.h"
#include "daemon/custody/eight_keys.h"
#include "storage/names.h"

namespace oauthvault::custody {

/// What happens to `id` and `version` beside credentials.
enum class IdBeside : std::uint8_t { kKeep, kDrop };

/// A component's configuration, and what the four rules of injection say of it.
/// Source: Keboola's OAuth extension; the order of the rules is that of its runner.
class Configuration {
 public:
  /// What `inject` has to do.
  enum class Plan : std::uint8_t {
    kNothing,  ///< no authorization, or none that names credentials: passes as it is
    kBypass,   ///< credentials stand in it already: used as they are
    kLookUp,   ///< `authorization.oauth_api.id` names stored credentials
  };

  /// Parses and checks the document; white space is dropped, the order of keys and the spelling of
  /// numbers stay. A key that is there counts, whatever its value: `credentials` of null or `[]`
  /// are a bypass, and then the id is ignored; without them an id of null is none. An `oauth_api`
  /// of null, `[]` or `{}` leads to kNothing. Errors: Invalid, as Document::Parse, and for an id
  /// that is none.
  static Result<Configuration> Parse(const crypto::SecretBytes& document);

  Plan GetPlan() const { return plan_; }
  /// The id to look up, with kLookUp only.
  const std::optional<OauthId>& Id() const { return id_; }
  /// How many sealed values stand under `#` keys.
  std::size_t SealedCount() const { return sealed_.size(); }

  /// Gives the JSON text that takes the place of a sealed value.
  using Opener = std::function<Result<crypto::SecretBytes>(std::string_view sealed)>;
  /// Opens all sealed values; without this they stay. Errors: the first that `open` gives.
  Result<void> Open(const Opener& open);

  /// The document for kNothing and kBypass: as it came, with an absent, null or empty
  /// `authorization` written as `{}`. kDrop: without `id` and `version` beside credentials.
  crypto::SecretBytes Write(IdBeside id_beside) const;

  /// The document for kLookUp, with the eight keys at `authorization.oauth_api.credentials`, in the
  /// order of the documentation. The secrets are escaped straight into the result and stand nowhere
  /// else. All texts in `keys` are valid UTF-8; a call for another plan ends the process.
  crypto::SecretBytes WriteWith(const EightKeys& keys, IdBeside id_beside) const;

 private:
  Configuration() = default;
  crypto::SecretBytes Write(IdBeside id_beside, const EightKeys* keys) const;

  Document document_;
  Plan plan_ = Plan::kNothing;
  std::optional<OauthId> id_;
  std::vector<Range> sealed_;        // sealed values, with their quotes
  std::vector<Replacement> opened_;  // what takes their place
};

}  // namespace oauthvault::custody
