#include "daemon/access/decide.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace oauthvault::access {
namespace {

static_assert(!std::is_copy_constructible_v<Permit> && !std::is_copy_assignable_v<Permit>);
static_assert(std::is_nothrow_move_constructible_v<Permit>);
static_assert(!std::is_default_constructible_v<Permit> && !std::is_aggregate_v<Permit>);
static_assert(!std::is_constructible_v<Permit, Principal, Right, Scope>);
static_assert(!std::is_default_constructible_v<Principal>);
static_assert(!std::is_constructible_v<Principal, Kind, std::string>);

constexpr std::string_view kDomain = "vault.example";

Principal Named(std::string_view text) {
  if (text.starts_with("token/")) {
    const auto kind = text == "token/manage" ? Kind::kManageToken : Kind::kToken;
    return Principal::OfToken(*TokenId::Parse(text.substr(6)), kind);
  }
  auto principal = Principal::Parse(text, kDomain);
  EXPECT_TRUE(principal) << text;
  return principal ? *std::move(principal) : Principal::LocalAdmin();
}

constexpr std::array<std::string_view, 7> kCallers = {
    "local/admin",
    "spiffe://vault.example/admin/ann",
    "spiffe://vault.example/auditor/joe",
    "spiffe://vault.example/runner/jobs",
    "spiffe://vault.example/project/p/component/c",
    "token/4f1c09aa",
    "token/manage",
};

/// Every decision is asked on the pair (p, c), or on the vault. What the caller was granted then:
struct Granted {
  std::string_view what;
  std::vector<std::pair<std::string, std::string>> pairs;
};
const std::vector<Granted> kGranted = {
    {"no grant", {}},
    {"exact grant", {{"p", "c"}}},
    {"grant on another project", {{"q", "c"}}},
    {"grant on another component", {{"p", "d"}}},
    {"grant on p/*", {{"p", "*"}}},
    {"grant on */c", {{"*", "c"}}},
    {"grant on */*", {{"*", "*"}}},
};

/// The permission table, by hand. One letter per caller, in the order of kCallers:
/// `a` allowed, `.` denied; the columns are the grants above, each for the very right asked.
struct Row {
  Right right;
  std::array<std::string_view, 7> on_pair;
  /// On the vault, a grant changes nothing.
  std::string_view on_vault;
};
// Callers: local admin, admin, auditor, runner, component p/c, token, manage token.
const std::vector<Row> kTable = {
    //                none     exact    q/c      p/d      p/*      */c      */*       vault
    {Right::kStore,
     {".......", "aa.aaa.", ".......", ".......", "aa.a.a.", "aa.a.a.", "aa.a.a."},
     "......."},
    {Right::kDescribe,
     {"aa.....", "aa.aaa.", "aa.....", "aa.....", "aa.a.a.", "aa.a.a.", "aa.a.a."},
     "aa....."},
    {Right::kReveal,
     {".......", "aa.aa..", ".......", ".......", "aa.a...", "aa.a...", "aa.a..."},
     "......."},
    {Right::kEncrypt,
     {".......", "aa.aaa.", ".......", ".......", "aa.a.a.", "aa.a.a.", "aa.a.a."},
     "......."},
    {Right::kConnect,
     {".......", "aa.aaa.", ".......", ".......", "aa.a.a.", "aa.a.a.", "aa.a.a."},
     "......."},
    {Right::kRegister,
     {"aa....a", "aa....a", "aa....a", "aa....a", "aa....a", "aa....a", "aa....a"},
     "aa....a"},
    {Right::kOperate,
     {"aa.....", "aa.....", "aa.....", "aa.....", "aa.....", "aa.....", "aa....."},
     "aa....."},
    {Right::kAudit,
     {"..a....", "..a....", "..a....", "..a....", "..a....", "..a....", "..a...."},
     "..a...."},
    {Right::kAnyone,
     {"aaaaaaa", "aaaaaaa", "aaaaaaa", "aaaaaaa", "aaaaaaa", "aaaaaaa", "aaaaaaa"},
     "aaaaaaa"},
};

const std::vector<Right> kPairRights = {Right::kStore, Right::kDescribe, Right::kReveal,
                                        Right::kEncrypt, Right::kConnect};

GrantTable TableOf(std::string_view principal, const Granted& granted, Right right) {
  std::vector<GrantRule> rules;
  for (const auto& [project, component] : granted.pairs) {
    rules.push_back({std::string(principal), project, component, {right}});
  }
  return GrantTable(std::move(rules));
}

TEST(Decide, FollowsTheTableForEveryRightAndEveryCallerAndEveryGrant) {
  ASSERT_EQ(kTable.size(), 9U);
  const Scope pair{"p", "c"};
  for (const Row& row : kTable) {
    for (std::size_t caller = 0; caller < kCallers.size(); ++caller) {
      const Principal principal = Named(kCallers[caller]);
      for (std::size_t i = 0; i < kGranted.size(); ++i) {
        SCOPED_TRACE(std::string(NameOf(row.right)) + " by " + principal.Str() + " with " +
                     std::string(kGranted[i].what));
        const GrantTable grants = TableOf(principal.Str(), kGranted[i], row.right);
        const auto on_pair = Decide(principal, row.right, pair, grants);
        EXPECT_EQ(on_pair.has_value(), row.on_pair[i][caller] == 'a');
        const auto on_vault = Decide(principal, row.right, Scope::Vault(), grants);
        EXPECT_EQ(on_vault.has_value(), row.on_vault[caller] == 'a');
      }
    }
  }
}

TEST(Decide, AGrantOfOneRightGivesNoOtherButDescribeWithReveal) {
  const Principal runner = Named(kCallers[3]);
  for (const Right given : kPairRights) {
    const GrantTable grants = TableOf(runner.Str(), kGranted[1], given);
    for (const Row& row : kTable) {
      const bool expected = row.right == given || row.right == Right::kAnyone ||
                            (given == Right::kReveal && row.right == Right::kDescribe);
      EXPECT_EQ(Decide(runner, row.right, {"p", "c"}, grants).has_value(), expected)
          << NameOf(row.right) << " with " << NameOf(given);
    }
  }
}

TEST(Decide, GrantsOfSomebodyElseGiveNothing) {
  std::vector<GrantRule> rules;
  for (const std::string_view caller : kCallers) {
    if (caller != kCallers[3]) rules.push_back({std::string(caller), "*", "*", kPairRights});
  }
  rules.push_back({"spiffe://vault.example/runner/job", "*", "*", kPairRights});
  rules.push_back({"spiffe://vault.example/runner/jobs2", "*", "*", kPairRights});
  rules.push_back({"", "*", "*", kPairRights});
  rules.push_back({"*", "*", "*", kPairRights});
  const GrantTable grants(std::move(rules));
  for (const Right right : kPairRights) {
    EXPECT_FALSE(Decide(Named(kCallers[3]), right, {"p", "c"}, grants)) << NameOf(right);
  }
}

TEST(Decide, AComponentNeverLeavesItsOwnPairWhateverTheRulesSay) {
  const Principal component = Named(kCallers[4]);
  const GrantTable grants({{component.Str(), "p", "c", {Right::kReveal}},
                           {component.Str(), "q", "c", kPairRights},
                           {component.Str(), "p", "d", kPairRights},
                           {component.Str(), "*", "*", kPairRights}});
  EXPECT_TRUE(Decide(component, Right::kReveal, {"p", "c"}, grants));
  EXPECT_FALSE(Decide(component, Right::kStore, {"p", "c"}, grants));
  for (const Scope& other : {Scope{"q", "c"}, Scope{"p", "d"}, Scope{"q", "d"}, Scope{"c", "p"}}) {
    EXPECT_FALSE(Decide(component, Right::kReveal, other, grants)) << other.project;
    EXPECT_FALSE(Decide(component, Right::kDescribe, other, grants)) << other.project;
  }
}

TEST(Decide, HalfAPairAndStarsAreNoPairButAdminsDescribeAcross) {
  for (const std::string_view caller : kCallers) {
    const Principal principal = Named(caller);
    const GrantTable grants({{principal.Str(), "*", "*", kPairRights},
                             {principal.Str(), "p", "", kPairRights},
                             {principal.Str(), "", "c", kPairRights},
                             {principal.Str(), "", "", kPairRights}});
    const bool admin =
        principal.GetKind() == Kind::kAdmin || principal.GetKind() == Kind::kLocalAdmin;
    for (const Scope& scope :
         {Scope{"p", ""}, Scope{"", "c"}, Scope{"*", "c"}, Scope{"p", "*"}, Scope{"*", "*"}}) {
      for (const Right right : kPairRights) {
        EXPECT_EQ(Decide(principal, right, scope, grants).has_value(),
                  admin && right == Right::kDescribe)
            << caller << " " << NameOf(right) << " " << scope.project << "/" << scope.component;
      }
    }
  }
}

TEST(Decide, ARightOfTheVaultInARuleGivesNothing) {
  const Principal runner = Named(kCallers[3]);
  const GrantTable grants({{runner.Str(), "*", "*",
                            {Right::kRegister, Right::kOperate, Right::kAudit, Right::kAnyone}}});
  for (const Right right : {Right::kRegister, Right::kOperate, Right::kAudit}) {
    EXPECT_FALSE(Decide(runner, right, {"p", "c"}, grants)) << NameOf(right);
    EXPECT_FALSE(Decide(runner, right, Scope::Vault(), grants)) << NameOf(right);
  }
}

TEST(Decide, AuditMayBeGrantedOnOneProject) {
  const Principal runner = Named(kCallers[3]);
  const GrantTable grants({{runner.Str(), "p", "*", {Right::kAudit}}});
  EXPECT_TRUE(Decide(runner, Right::kAudit, {"p", ""}, grants));
  EXPECT_FALSE(Decide(runner, Right::kAudit, {"q", ""}, grants));
  EXPECT_FALSE(Decide(runner, Right::kAudit, {"p", "c"}, grants));
  EXPECT_FALSE(Decide(runner, Right::kAudit, Scope::Vault(), grants));
  EXPECT_FALSE(Decide(runner, Right::kAudit, {"*", ""}, grants));
  EXPECT_FALSE(Decide(runner, Right::kDescribe, {"p", "c"}, grants));
  EXPECT_TRUE(CheckGrant(runner, "p", "*", {Right::kAudit}));
  EXPECT_FALSE(CheckGrant(runner, "*", "*", {Right::kAudit}));
  EXPECT_FALSE(CheckGrant(runner, "p", "c", {Right::kAudit}));
}

TEST(Decide, AnUnknownRightIsDeniedToEveryone) {
  for (const int number : {9, 31, 32, 40, 255}) {
    const Right unknown = static_cast<Right>(number);
    for (const std::string_view caller : kCallers) {
      const GrantTable grants({{std::string(caller), "p", "c", {unknown}}});
      EXPECT_FALSE(Decide(Named(caller), unknown, {"p", "c"}, grants)) << number << " " << caller;
    }
    EXPECT_TRUE(NameOf(unknown).empty());
    EXPECT_FALSE(IsPairRight(unknown));
  }
}

TEST(Decide, EveryDenialReadsTheSame) {
  const GrantTable none({});
  const GrantTable other({{std::string(kCallers[4]), "q", "c", {Right::kReveal}}});
  const auto no_grant = Decide(Named(kCallers[3]), Right::kReveal, {"p", "c"}, none);
  const auto not_own = Decide(Named(kCallers[4]), Right::kReveal, {"q", "c"}, other);
  const auto vault = Decide(Named(kCallers[2]), Right::kOperate, Scope::Vault(), none);
  const auto half = Decide(Named(kCallers[0]), Right::kReveal, {"p", ""}, none);
  for (const auto* denied : {&no_grant, &not_own, &vault, &half}) {
    ASSERT_FALSE(*denied);
    EXPECT_EQ(denied->error().GetCode(), Code::kDenied);
    EXPECT_EQ(denied->error().Message(), no_grant.error().Message());
    EXPECT_TRUE(denied->error().GetSubject().empty());
  }
}

TEST(Decide, ThePermitSaysWhoWhatAndWhere) {
  const GrantTable grants({{std::string(kCallers[3]), "p", "c", {Right::kReveal}}});
  auto permit = Decide(Named(kCallers[3]), Right::kReveal, {"p", "c"}, grants);
  ASSERT_TRUE(permit);
  const Permit moved = *std::move(permit);
  EXPECT_EQ(moved.Who().Str(), kCallers[3]);
  EXPECT_EQ(moved.What(), Right::kReveal);
  EXPECT_EQ(moved.Where().project, "p");
  EXPECT_EQ(moved.Where().component, "c");
}

TEST(GrantTable, RulesForOnePairAddUp) {
  const Principal runner = Named(kCallers[3]);
  const GrantTable grants({{runner.Str(), "p", "c", {Right::kStore}},
                           {runner.Str(), "p", "d", {Right::kStore}},
                           {runner.Str(), "p", "c", {Right::kConnect}},
                           {"local/admin", "p", "c", {Right::kReveal}},
                           {runner.Str(), "*", "c", {Right::kEncrypt}}});
  EXPECT_EQ(grants.Size(), 4U);
  EXPECT_TRUE(grants.Allows(runner, Right::kStore, {"p", "c"}));
  EXPECT_TRUE(grants.Allows(runner, Right::kConnect, {"p", "c"}));
  EXPECT_TRUE(grants.Allows(runner, Right::kEncrypt, {"p", "c"}));
  EXPECT_FALSE(grants.Allows(runner, Right::kReveal, {"p", "c"}));
  EXPECT_FALSE(grants.Allows(runner, Right::kConnect, {"p", "d"}));
  EXPECT_EQ(GrantTable({}).Size(), 0U);
}

std::string Numbered(std::string word, int number) {
  word += std::to_string(number);
  return word;
}

TEST(GrantTable, FindsEachOfManyPairsAndNoneBetweenThem) {
  const Principal runner = Named(kCallers[3]);
  std::vector<GrantRule> rules;
  for (int i = 0; i < 2000; i += 2) {
    rules.push_back({runner.Str(), Numbered("p", i % 50), Numbered("c", i),
                     {i % 4 == 0 ? Right::kReveal : Right::kStore}});
  }
  const GrantTable grants(std::move(rules));
  EXPECT_EQ(grants.Size(), 1000U);
  for (int i = 0; i < 2000; ++i) {
    const Scope scope{Numbered("p", i % 50), Numbered("c", i)};
    EXPECT_EQ(grants.Allows(runner, Right::kReveal, scope), i % 4 == 0) << i;
    EXPECT_EQ(grants.Allows(runner, Right::kStore, scope), i % 4 == 2) << i;
  }
}

TEST(CheckGrant, TakesPairsAndStarsForAdminsAndRunners) {
  for (const std::size_t caller : {0U, 1U, 3U}) {
    const Principal principal = Named(kCallers[caller]);
    for (const auto& [project, component] :
         {std::pair{"p", "c"}, std::pair{"p", "*"}, std::pair{"*", "c"}, std::pair{"*", "*"}}) {
      EXPECT_TRUE(CheckGrant(principal, project, component, kPairRights)) << principal.Str();
    }
  }
}

TEST(CheckGrant, RefusesWhatMayNotBeGivenAndSaysWhy) {
  struct Bad {
    std::string_view caller;
    std::string_view project;
    std::string_view component;
    std::vector<Right> rights;
    std::string_view reason;
  };
  const std::vector<Bad> bads = {
      {kCallers[4], "q", "c", {Right::kReveal}, "own"},
      {kCallers[4], "p", "d", {Right::kReveal}, "own"},
      {kCallers[4], "*", "c", {Right::kReveal}, "own"},
      {kCallers[4], "p", "*", {Right::kReveal}, "own"},
      {kCallers[4], "*", "*", {Right::kReveal}, "own"},
      {kCallers[2], "p", "c", {Right::kDescribe}, "auditor"},
      {kCallers[3], "p", "c", {}, "at least one"},
      {kCallers[3], "p", "c", {Right::kRegister}, "store"},
      {kCallers[3], "p", "c", {Right::kReveal, Right::kOperate}, "store"},
      {kCallers[3], "p", "c", {Right::kAudit}, "component *"},
      {kCallers[3], "p", "c", {Right::kAnyone}, "store"},
      {kCallers[3], "p", "c", {Right::kReveal, Right::kReveal}, "once"},
      {kCallers[3], "", "c", {Right::kReveal}, "one project"},
      {kCallers[3], "..", "c", {Right::kReveal}, "one project"},
      {kCallers[3], "p/x", "c", {Right::kReveal}, "one project"},
      {kCallers[3], "**", "c", {Right::kReveal}, "one project"},
      {kCallers[3], "p*", "c", {Right::kReveal}, "one project"},
      {kCallers[3], "p", "", {Right::kReveal}, "one component"},
      {kCallers[3], "p", "c ", {Right::kReveal}, "one component"},
  };
  for (const Bad& bad : bads) {
    const auto checked =
        CheckGrant(Named(bad.caller), bad.project, bad.component, bad.rights);
    ASSERT_FALSE(checked) << bad.caller << " " << bad.project << "/" << bad.component;
    EXPECT_EQ(checked.error().GetCode(), Code::kInvalid);
    EXPECT_NE(checked.error().GetText().find(bad.reason), std::string_view::npos)
        << checked.error().GetText();
  }
  EXPECT_TRUE(CheckGrant(Named(kCallers[4]), "p", "c", kPairRights));
}

TEST(Right, WordsAndRightsAreOneToOne) {
  std::set<std::string_view> words;
  for (const Row& row : kTable) {
    EXPECT_TRUE(words.insert(NameOf(row.right)).second);
    EXPECT_EQ(RightOf(NameOf(row.right)), row.right);
  }
  EXPECT_EQ(words, (std::set<std::string_view>{"store", "describe", "reveal", "encrypt", "connect",
                                               "register", "operate", "audit", "anyone"}));
  for (const std::string_view word : {"", "Reveal", "reveal ", "*", "kReveal"}) {
    EXPECT_FALSE(RightOf(word)) << word;
  }
}

}  // namespace
}  // namespace oauthvault::access
