#include "daemon/access/explain.h"

#include <array>
#include <optional>

namespace oauthvault::access {
namespace {

// In the order of the enumeration; the test walks all.
constexpr std::array<ObstacleWords, 15> kWords = {{
    {"not_vouched", "no CA that is believed may vouch for this principal",
     "bind its CA to the trust domain and the kind: oauthvault identity trust add"},
    {"no_certificate", "the vault lists no certificate of this principal",
     "issue one: oauthvault identity issue"},
    {"expired", "the certificates of this principal have expired",
     "issue a new one: oauthvault identity issue, or identity renew as an admin"},
    {"revoked", "the certificates of this principal were revoked",
     "issue a new one, if it may come back: oauthvault identity issue"},
    {"other_kinds", "callers of this kind do not have this right on the vault; no grant gives it",
     "ask as an admin (register, operate) or as an auditor (audit)"},
    {"holds_no_grants", "callers of this kind hold no grants",
     "ask as a runner or as the component itself, with a grant"},
    {"other_pair", "a component acts on its own project and component only, whatever is granted",
     "ask as a runner with a grant on this pair, or as the component whose pair it is"},
    {"no_reveal", "no token reveals, whatever it carries",
     "ask as a runner or as the component itself, with a grant for it"},
    {"no_pair", "the right is one on a project and a component, and not both are named",
     "name one project and one component"},
    {"no_whole", "a grant gives audit on one project with all of its components",
     "name one project and no component, or ask as an auditor"},
    {"not_carried", "the token was not issued with this right on this project and component",
     "issue another one: oauthvault token issue"},
    {"no_grant", "no grant gives this right on what is named",
     "grant it: oauthvault grant add"},
    {"no_project", "the project is not registered", "register it: oauthvault project add"},
    {"shredding", "the project is being shredded: its keys are gone or go now",
     "nothing: what was shredded does not come back"},
    {"no_component", "the component is not registered",
     "register it: oauthvault component add"},
}};

std::optional<Obstacle> ObstacleOf(Standing standing) {
  switch (standing) {
    case Standing::kNeedsNone:
    case Standing::kGood:
    case Standing::kOutside: return std::nullopt;
    case Standing::kNone: return Obstacle::kNoCertificate;
    case Standing::kExpired: return Obstacle::kExpired;
    case Standing::kRevoked: return Obstacle::kRevoked;
    case Standing::kNotVouched: return Obstacle::kNotVouched;
  }
  __builtin_unreachable();
}

// Why neither the kind nor a grant gives the right: the first reason that more grants would not
// mend, else the grant that is missing.
Obstacle WhyDenied(const Principal& principal, Right right, const Scope& scope) {
  const Reach reach = ReachOf(principal.GetKind());
  const bool is_named = !scope.project.empty() || !scope.component.empty();
  if (right == Right::kAudit && reach == Reach::kEvery && is_named) {
    return scope.IsWhole() ? Obstacle::kNoGrant : Obstacle::kNoWhole;
  }
  if (!IsPairRight(right)) return Obstacle::kOtherKinds;
  if (reach == Reach::kNone) return Obstacle::kHoldsNoGrants;
  if (reach == Reach::kCarried && right == Right::kReveal) return Obstacle::kNoReveal;
  if (!scope.IsPair()) return Obstacle::kNoPair;
  if (reach == Reach::kCarried) return Obstacle::kNotCarried;
  const bool own =
      principal.Project() == scope.project && principal.Component() == scope.component;
  if (reach == Reach::kOwnPair && !own) return Obstacle::kOtherPair;
  return Obstacle::kNoGrant;
}

}  // namespace

ObstacleWords WordsOf(Obstacle obstacle) { return kWords[static_cast<std::size_t>(obstacle)]; }

Explanation Explain(const Principal& principal, Right right, const Scope& scope,
                    const GrantTable& grants, const Surroundings& surroundings) {
  Explanation explained;
  if (const auto obstacle = ObstacleOf(surroundings.standing)) {
    explained.obstacles.push_back(*obstacle);
  }
  if (HasByItself(principal.GetKind(), right)) {
    explained.allowed_by = AllowedBy::kKind;
  } else if (const Scope* rule = grants.RuleFor(principal, right, scope)) {
    explained.allowed_by = AllowedBy::kGrant;
    explained.grant = *rule;
  } else {
    explained.obstacles.push_back(WhyDenied(principal, right, scope));
  }
  if (scope.IsPair() && IsPairRight(right)) {
    if (!surroundings.project_registered) explained.obstacles.push_back(Obstacle::kNoProject);
    if (surroundings.project_shredding) explained.obstacles.push_back(Obstacle::kShredding);
    if (!surroundings.component_registered) explained.obstacles.push_back(Obstacle::kNoComponent);
  }
  return explained;
}

}  // namespace oauthvault::access
