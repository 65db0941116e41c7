#include "daemon/access/decide.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <tuple>
#include <utility>

#include "crypto/sabotage.h"

namespace oauthvault::access {
namespace {

/// Stands for every project or every component of a rule. No id can be this text.
constexpr std::string_view kAny = "*";

struct RightWord {
  Right right;
  std::string_view word;
  bool on_pair;
};
constexpr std::array<RightWord, 9> kRights = {{
    {Right::kStore, "store", true},
    {Right::kDescribe, "describe", true},
    {Right::kReveal, "reveal", true},
    {Right::kEncrypt, "encrypt", true},
    {Right::kConnect, "connect", true},
    {Right::kRegister, "register", false},
    {Right::kOperate, "operate", false},
    {Right::kAudit, "audit", false},
    {Right::kAnyone, "anyone", false},
}};

constexpr std::uint32_t Bit(Right right) {
  return std::uint32_t{1} << static_cast<unsigned>(right);
}
constexpr std::uint32_t SetOf(std::initializer_list<Right> rights) {
  std::uint32_t bits = 0;
  for (const Right right : rights) bits |= Bit(right);
  return bits;
}

/// What a kind of caller may do: by itself, on whatever scope; and the reach of its grants.
struct KindRow {
  Kind kind;
  std::uint32_t by_itself;
  Reach grants;
};
constexpr std::uint32_t kAdminRights =
    SetOf({Right::kRegister, Right::kOperate, Right::kDescribe, Right::kAnyone});
constexpr std::array<KindRow, 7> kKinds = {{
    {Kind::kLocalAdmin, kAdminRights, Reach::kEvery},
    {Kind::kAdmin, kAdminRights, Reach::kEvery},
    {Kind::kAuditor, SetOf({Right::kAudit, Right::kAnyone}), Reach::kNone},
    {Kind::kRunner, SetOf({Right::kAnyone}), Reach::kEvery},
    {Kind::kComponent, SetOf({Right::kAnyone}), Reach::kOwnPair},
    {Kind::kToken, SetOf({Right::kAnyone}), Reach::kCarried},
    {Kind::kManageToken, SetOf({Right::kRegister, Right::kAnyone}), Reach::kNone},
}};

const KindRow& RowOf(Kind kind) {
  // One row per kind, in the order of the enumeration; the test walks every kind.
  return kKinds[static_cast<std::size_t>(kind)];
}

const RightWord* RowOf(Right right) {
  const auto* row = std::find_if(kRights.begin(), kRights.end(),
                                 [right](const RightWord& each) { return each.right == right; });
  return row == kRights.end() ? nullptr : row;
}

bool IsIdOrAny(std::string_view text) { return text == kAny || IsValidId(text); }

bool IsOwnPair(const Principal& principal, std::string_view project, std::string_view component) {
  return principal.Project() == project && principal.Component() == component;
}

using PairView = std::tuple<std::string_view, std::string_view>;
PairView ViewOf(const Scope& scope) { return {scope.project, scope.component}; }

}  // namespace

std::string_view NameOf(Right right) {
  const RightWord* row = RowOf(right);
  return row == nullptr ? std::string_view() : row->word;
}

std::optional<Right> RightOf(std::string_view word) {
  for (const RightWord& row : kRights) {
    if (row.word == word) return row.right;
  }
  return std::nullopt;
}

bool IsPairRight(Right right) {
  const RightWord* row = RowOf(right);
  return row != nullptr && row->on_pair;
}

bool IsGrantable(Right right) { return IsPairRight(right) || right == Right::kAudit; }

bool Scope::IsPair() const {
  return !project.empty() && !component.empty() && project != kAny && component != kAny;
}

bool Scope::IsWhole() const {
  return !project.empty() && project != kAny && component.empty();
}

Result<PairIds> Scope::AsPair() const {
  Result<ProjectId> parsed_project = ProjectId::Parse(project);
  if (!parsed_project) return Fail(std::move(parsed_project));
  Result<ComponentId> parsed_component = ComponentId::Parse(component);
  if (!parsed_component) return Fail(std::move(parsed_component));
  return PairIds{std::move(*parsed_project), std::move(*parsed_component)};
}

bool HasByItself(Kind kind, Right right) {
  return RowOf(right) != nullptr && (RowOf(kind).by_itself & Bit(right)) != 0;
}

Reach ReachOf(Kind kind) { return RowOf(kind).grants; }

Result<void> CheckGrant(const Principal& principal, std::string_view project,
                        std::string_view component, const std::vector<Right>& rights) {
  if (!IsIdOrAny(project)) {
    return Fail(Code::kInvalid, "a grant is on one project or on *", Subject::Key("project"));
  }
  if (!IsIdOrAny(component)) {
    return Fail(Code::kInvalid, "a grant is on one component or on *", Subject::Key("component"));
  }
  const Reach reach = ReachOf(principal.GetKind());
  if (reach == Reach::kNone) {
    return Fail(Code::kInvalid, "an auditor and a manage token hold no grants", principal);
  }
  if (reach == Reach::kCarried) {
    return Fail(Code::kInvalid, "a token carries its rights; issue another one", principal);
  }
  if (reach == Reach::kOwnPair && !IsOwnPair(principal, project, component)) {
    return Fail(Code::kInvalid, "a component may be granted its own project and component only",
                principal);
  }
  if (rights.empty()) return Fail(Code::kInvalid, "a grant gives at least one right");
  std::uint32_t seen = 0;
  for (const Right right : rights) {
    if (!IsGrantable(right)) {
      return Fail(Code::kInvalid,
                  "a grant gives store, describe, reveal, encrypt, connect or audit");
    }
    if (right == Right::kAudit && (project == kAny || component != kAny)) {
      return Fail(Code::kInvalid, "audit is granted on one project and the component *");
    }
    if ((seen & Bit(right)) != 0) return Fail(Code::kInvalid, "a grant names each right once");
    seen |= Bit(right);
  }
  return {};
}

GrantTable::GrantTable(std::vector<GrantRule> rules) {
  for (GrantRule& rule : rules) {
    Bits bits = 0;
    for (const Right right : rule.rights) {
      // A row that somehow names a right on the vault gives nothing.
      if (IsGrantable(right)) bits |= Bit(right);
    }
    if ((bits & Bit(Right::kReveal)) != 0) bits |= Bit(Right::kDescribe);
    rules_[std::move(rule.principal)].emplace_back(
        Scope{std::move(rule.project), std::move(rule.component)}, bits);
  }
  for (auto& [principal, pairs] : rules_) {
    std::sort(pairs.begin(), pairs.end(), [](const auto& left, const auto& right) {
      return ViewOf(left.first) < ViewOf(right.first);
    });
    // Rules for one pair become one, so that a look-up stops at the first match.
    std::size_t kept = 0;
    for (std::size_t i = 1; i < pairs.size(); ++i) {
      if (ViewOf(pairs[i].first) == ViewOf(pairs[kept].first)) {
        pairs[kept].second |= pairs[i].second;
      } else if (++kept != i) {
        pairs[kept] = std::move(pairs[i]);
      }
    }
    pairs.resize(kept + 1);
    size_ += pairs.size();
  }
}

bool GrantTable::Allows(const Principal& principal, Right right, const Scope& scope) const {
  return RuleFor(principal, right, scope) != nullptr;
}

const Scope* GrantTable::RuleFor(const Principal& principal, Right right,
                                 const Scope& scope) const {
  const bool on_project = right == Right::kAudit;
  if (on_project ? !scope.IsWhole() : !IsPairRight(right) || !scope.IsPair()) return nullptr;
  const Reach reach = ReachOf(principal.GetKind());
  if (reach == Reach::kNone || (on_project && reach != Reach::kEvery)) return nullptr;
  // CheckGrant gives no component another pair; a row that says so all the same is not believed.
  if (reach == Reach::kOwnPair && !IsOwnPair(principal, scope.project, scope.component)) {
    return nullptr;
  }
  // A secret in clear never leaves by the HTTP interface, whatever a token's row says.
  if (reach == Reach::kCarried && right == Right::kReveal) return nullptr;
  const auto found = rules_.find(principal.Str());
  if (found == rules_.end()) return nullptr;
  const auto gives = [&pairs = found->second, right](
                         std::string_view project, std::string_view component) -> const Scope* {
    const PairView wanted(project, component);
    const auto at = std::lower_bound(
        pairs.begin(), pairs.end(), wanted,
        [](const auto& rule, const PairView& pair) { return ViewOf(rule.first) < pair; });
    const bool is_given =
        at != pairs.end() && ViewOf(at->first) == wanted && (at->second & Bit(right)) != 0;
    return is_given ? &at->first : nullptr;
  };
  if (on_project) return gives(scope.project, kAny);
  const Scope* rule = gives(scope.project, scope.component);
  if (rule != nullptr || reach == Reach::kOwnPair) return rule;
  rule = gives(scope.project, kAny);
  if (rule == nullptr) rule = gives(kAny, scope.component);
  return rule != nullptr ? rule : gives(kAny, kAny);
}

Result<Permit> Decide(const Principal& principal, Right right, const Scope& scope,
                      const GrantTable& grants) {
  if (!crypto::IsSabotaged(crypto::Sabotage::kNoDecision) &&
      !HasByItself(principal.GetKind(), right) && !grants.Allows(principal, right, scope)) {
    return Fail(Code::kDenied, "the caller may not do this");
  }
  return Permit(principal, right, scope);
}

}  // namespace oauthvault::access
