#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "crypto/error.h"
#include "daemon/access/principal.h"
#include "storage/names.h"

namespace oauthvault::access {

/// What a principal may be allowed to do. The first five are rights on a (project, component) pair
/// and come from grants; the others are rights on the vault and come with the kind of caller, but
/// for audit, which a grant may give on one project, too.
enum class Right : std::uint8_t {
  kStore,     ///< put, delete, versions, roll back, authorize through Rivery
  kDescribe,  ///< never plaintext
  kReveal,    ///< implies describe; inject, run
  kEncrypt,   ///< seal values for the pair
  kConnect,   ///< attempts and connections
  kRegister,  ///< components, projects, grants, identities, tokens, accounts
  kOperate,   ///< seal, slots, keys, backup, shred, status in full
  kAudit,     ///< read and verify the trail; by grant, one project's lines in it
  kAnyone,    ///< any authenticated caller (status in short)
};

/// The right's word (`reveal`, ..), as in grants, .proto options and audit lines.
std::string_view NameOf(Right right);
/// The other way round; nullopt for an unknown word.
std::optional<Right> RightOf(std::string_view word);
/// True for the five rights on a pair.
bool IsPairRight(Right right);
/// True for those, and for audit, which a grant gives on a project and all of its components.
bool IsGrantable(Right right);

/// A project and a component by their ids.
struct PairIds {
  ProjectId project;
  ComponentId component;
};

/// What a right is asked on: a pair, or the vault (both empty).
struct Scope {
  std::string project;
  std::string component;

  static Scope Vault() { return {}; }
  /// A project with all of its components: what a project's auditor asks for.
  static Scope Whole(const ProjectId& project) { return {project.Str(), {}}; }
  /// A project and a component.
  static Scope Pair(const ProjectId& project, const ComponentId& component) {
    return {project.Str(), component.Str()};
  }
  /// Both are named, and neither is `*`.
  bool IsPair() const;
  /// A project alone is named, and is not `*`.
  bool IsWhole() const;
  /// The pair. Errors: Invalid where the scope is none.
  Result<PairIds> AsPair() const;
};

/// Whether a kind of caller has a right by itself, on whatever scope.
bool HasByItself(Kind kind, Right right);

/// Which rules of the grant table may speak for a kind of caller.
enum class Reach : std::uint8_t {
  kEvery,    ///< any pair, and `*`
  kOwnPair,  ///< the exact rule for the principal's own pair
  kCarried,  ///< those that a token carries, in a table of its own; none gives reveal
  kNone,
};
/// How far the grants of a kind of caller reach.
Reach ReachOf(Kind kind);

/// One rule as the table takes it; `*` for any project or component.
struct GrantRule {
  std::string principal;
  std::string project;
  std::string component;
  std::vector<Right> rights;
};

/// Whether a grant may be given at all. A component principal may hold its own pair only; auditors
/// hold none; the rights are pair rights, at least one, and audit on a project and `*` only.
/// Errors: Invalid, with the reason.
Result<void> CheckGrant(const Principal& principal, std::string_view project,
                        std::string_view component, const std::vector<Right>& rights);

/// All grants, immutable. A new one is swapped in at commit, before the reply that announces it.
class GrantTable {
 public:
  /// Rules for one principal and pair add up; rights on the vault are left out.
  explicit GrantTable(std::vector<GrantRule> rules);

  /// Whether a grant gives `right` on the pair to the principal; reveal counts as describe, too.
  /// False for what is not a whole pair; audit is asked for on a project alone. Costs one hash and
  /// a few compares, allocates nothing.
  bool Allows(const Principal& principal, Right right, const Scope& scope) const;
  /// The project and component of the rule by which Allows says yes, with `*` as it stands there;
  /// null where it says no. Lives as long as the table.
  const Scope* RuleFor(const Principal& principal, Right right, const Scope& scope) const;
  /// How many (principal, project, component) have rules.
  std::size_t Size() const { return size_; }

 private:
  // principal -> its pairs, sorted, each once, with a bit per right
  using Bits = std::uint32_t;
  std::unordered_map<std::string, std::vector<std::pair<Scope, Bits>>> rules_;
  std::size_t size_ = 0;
};

/// Proof that Decide said yes: who, what, where. Move-only, made by Decide alone, so that code
/// which needs a decision asks for a Permit and skipping the decision does not compile.
class Permit {
 public:
  Permit(Permit&&) noexcept = default;
  Permit& operator=(Permit&&) noexcept = default;
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;

  const Principal& Who() const { return who_; }
  Right What() const { return what_; }
  const Scope& Where() const { return where_; }

 private:
  friend Result<Permit> Decide(const Principal&, Right, const Scope&, const GrantTable&);
  Permit(Principal who, Right what, Scope where)
      : who_(std::move(who)), what_(what), where_(std::move(where)) {}
  Principal who_;
  Right what_;
  Scope where_;
};

/// The decision. Pure: no I/O, no clock; the default is no. Vault rights: admins (local or not)
/// register and operate, auditors audit; the scope only says what the act is about. Pair rights: by
/// grant, on a whole pair; admins describe without one, on every pair and also on the vault or on
/// half a pair, which means all that is under it (listing across).
/// A component principal is refused any pair but its own even where a grant says otherwise; for it
/// only the exact rule counts, not `*`. An auditor has no use of a grant.
/// Errors: Denied, the same text whatever the reason, so that a denial tells nothing.
Result<Permit> Decide(const Principal& principal, Right right, const Scope& scope,
                      const GrantTable& grants);

}  // namespace oauthvault::access
