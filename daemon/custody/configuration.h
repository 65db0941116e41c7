#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "storage/names.h"

namespace oauthvault::custody {

/// A component's configuration has at most this many bytes and this depth.
inline constexpr std::size_t kMaxConfigurationSize = 240 * 1024;
inline constexpr std::size_t kMaxConfigurationDepth = 64;

/// The eight keys, as they go into a configuration.
struct EightKeys {
  std::string id;
  std::string authorized_for;
  std::string creator_id;
  std::string creator_description;
  std::string created;  ///< `YYYY-MM-DD hh:mm:ss`, UTC
  crypto::CredentialsData data;
  std::string oauth_version;
  std::string app_key;
  crypto::AppSecret app_secret;
};

/// A component's configuration, and what the four rules of injection say of it.
/// Source: Keboola's OAuth extension; the order of the rules is that of its runner.
class Configuration {
 public:
  /// What `inject` has to do.
  enum class Plan {
    kNothing,  ///< no authorization, or none that names credentials: passes as it is
    kBypass,   ///< credentials stand in it already: used as they are
    kLookUp,   ///< `authorization.oauth_api.id` names stored credentials
  };

  /// Parses and checks the document; white space is dropped, the order of keys and the spelling of
  /// numbers stay. A key that is there counts, whatever its value: `credentials` of null or `[]`
  /// are a bypass, and then the id is ignored; without them an id of null is none. An `oauth_api`
  /// of null, `[]` or `{}` leads to kNothing. Errors: Invalid (not a JSON object in UTF-8, too
  /// large, too deep, a duplicate key, an integer beyond 64 bits or another number beyond a double,
  /// an unknown key under `authorization` or its `oauth_api`, an id that is none, a sealed value
  /// under a `#` key, which this vault cannot open yet). No error holds a key or value of it.
  static Result<Configuration> Parse(const crypto::SecretBytes& document);
  ~Configuration();
  Configuration(Configuration&&) noexcept;
  Configuration& operator=(Configuration&&) noexcept;

  Plan GetPlan() const;
  /// The id to look up, with kLookUp only.
  const std::optional<OauthId>& Id() const;

  /// The document for kNothing and kBypass: as it came, with an absent, null or empty
  /// `authorization` written as `{}`.
  crypto::SecretBytes Write() const;

  /// The document for kLookUp, with the eight keys at `authorization.oauth_api.credentials`, in the
  /// order of the documentation. `drop_id`: without `id` and `version` beside them. The secrets
  /// are escaped straight into the result and stand nowhere else. All texts in `keys` are valid
  /// UTF-8; a call for another plan ends the process.
  crypto::SecretBytes WriteWith(const EightKeys& keys, bool drop_id) const;

 private:
  struct State;
  explicit Configuration(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::custody
