#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "daemon/access/decide.h"
#include "daemon/access/principal.h"

namespace oauthvault::access {

/// How the principal can show who it is, now.
enum class Standing : std::uint8_t {
  kNeedsNone,    ///< the local admin: whoever opens the unix socket
  kGood,         ///< it has a certificate of the vault that is valid
  kOutside,      ///< a CA outside vouches for such principals; its certificates are not known here
  kNone,         ///< it never had a certificate
  kExpired,      ///< the last one that was not revoked has expired
  kRevoked,      ///< all were revoked
  kNotVouched,   ///< no CA that is believed may vouch for it
};

/// What stands beside the rules, and makes a call fail though they allow it.
struct Surroundings {
  Standing standing = Standing::kNone;
  /// Looked at where the scope is a pair.
  bool project_registered = false;
  bool project_shredding = false;
  bool component_registered = false;
};

/// By which rule the decision says yes.
enum class AllowedBy : std::uint8_t {
  kNothing,  ///< it says no
  kKind,     ///< the principal's kind has the right by itself
  kGrant,    ///< a grant, named beside
};

/// One thing that keeps a call from coming about. Closed: each has its row of words.
enum class Obstacle : std::uint8_t {
  kNotVouched,
  kNoCertificate,
  kExpired,
  kRevoked,
  kOtherKinds,     ///< a right on the vault, which this kind has not
  kHoldsNoGrants,  ///< a right on a pair, and the kind holds no grants
  kOtherPair,      ///< a component, and not its own pair
  kNoReveal,       ///< a token, and reveal
  kNoPair,         ///< a right on a pair, and none is named
  kNoWhole,        ///< audit by a grant, and what is named is not a project alone
  kNotCarried,     ///< a token that was not issued with the right on the pair
  kNoGrant,
  kNoProject,
  kShredding,
  kNoComponent,
};

/// The words of an obstacle: a fixed one for machines, what is so, and what would change it.
struct ObstacleWords {
  std::string_view word;
  std::string_view what;
  std::string_view change;
};
/// Literals; they name nothing that was asked about.
ObstacleWords WordsOf(Obstacle obstacle);

/// Why a caller may or may not do something.
struct Explanation {
  AllowedBy allowed_by = AllowedBy::kNothing;
  /// The grant's project and component as they stand in it, where kGrant.
  Scope grant;
  /// In the order in which a call would meet them; empty: it would be let through.
  std::vector<Obstacle> obstacles;
};

/// Explains what Decide says, and never says otherwise: `allowed_by` is kNothing exactly where it
/// denies. For admins only: a caller that is denied learns nothing. Pure, as Decide.
Explanation Explain(const Principal& principal, Right right, const Scope& scope,
                    const GrantTable& grants, const Surroundings& surroundings);

}  // namespace oauthvault::access
