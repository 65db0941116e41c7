#include "daemon/access/explain.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace oauthvault::access {
namespace {

constexpr std::array<std::string_view, 8> kCallers = {
    "local/admin",
    "spiffe://vault.example/admin/ann",
    "spiffe://vault.example/auditor/joe",
    "spiffe://vault.example/runner/jobs",
    "spiffe://vault.example/project/p/component/c",
    "spiffe://vault.example/project/q/component/c",
    "token/0123456789abcdef0123456789abcdef",
    "manage token",
};
const std::vector<Right> kRights = {Right::kStore,    Right::kDescribe, Right::kReveal,
                                    Right::kEncrypt,  Right::kConnect,  Right::kRegister,
                                    Right::kOperate,  Right::kAudit,    Right::kAnyone};
const std::vector<std::vector<std::pair<std::string, std::string>>> kGranted = {
    {}, {{"p", "c"}}, {{"q", "c"}}, {{"p", "d"}}, {{"p", "*"}}, {{"*", "c"}}, {{"*", "*"}}};
const std::vector<Scope> kScopes = {{}, {"p", "c"}, {"p", "d"}, {"q", "c"}, {"p", ""},
                                    {"", "c"}, {"*", "c"}, {"p", "*"}, {"*", "*"}};

Principal Named(std::string_view text) {
  const auto token = TokenId::Parse("0123456789abcdef0123456789abcdef");
  if (token && text == kCallers[6]) return Principal::OfToken(*token, Kind::kToken);
  if (token && text == kCallers[7]) return Principal::OfToken(*token, Kind::kManageToken);
  auto principal = Principal::Parse(text, "vault.example");
  EXPECT_TRUE(principal) << text;
  return principal ? *std::move(principal) : Principal::LocalAdmin();
}

constexpr Surroundings kGood = {Standing::kGood, true, false, true};

std::string WordsIn(const Explanation& explained) {
  std::string words;
  for (const Obstacle obstacle : explained.obstacles) {
    words += (words.empty() ? "" : " ") + std::string(WordsOf(obstacle).word);
  }
  return words;
}

TEST(Explain, NeverDisagreesWithTheDecision) {
  int allowed = 0;
  int denied = 0;
  for (const std::string_view caller : kCallers) {
    const Principal principal = Named(caller);
    for (const Right right : kRights) {
      for (const auto& pairs : kGranted) {
        std::vector<GrantRule> rules;
        for (const auto& [project, component] : pairs) {
          rules.push_back({principal.Str(), project, component, {right}});
        }
        const GrantTable grants(std::move(rules));
        for (const Scope& scope : kScopes) {
          const bool decided = Decide(principal, right, scope, grants).has_value();
          const Explanation explained = Explain(principal, right, scope, grants, kGood);
          SCOPED_TRACE(std::string(caller) + " " + std::string(NameOf(right)) + " on " +
                       scope.project + "/" + scope.component);
          EXPECT_EQ(explained.allowed_by != AllowedBy::kNothing, decided);
          EXPECT_EQ(explained.obstacles.empty(), decided) << WordsIn(explained);
          EXPECT_EQ(!explained.grant.project.empty(), explained.allowed_by == AllowedBy::kGrant);
          decided ? ++allowed : ++denied;
        }
      }
    }
  }
  EXPECT_GT(allowed, 500);
  EXPECT_GT(denied, 500);
}

TEST(Explain, TheGrantThatIsMissing_IsWhatAllowsWhenItIsGiven) {
  for (const std::string_view caller : kCallers) {
    const Principal principal = Named(caller);
    for (const Right right : kRights) {
      const Scope scope{"p", "c"};
      const std::string lacks =
          WordsIn(Explain(principal, right, scope, GrantTable({}), kGood));
      const bool lacks_grant = lacks == "no_grant" || lacks == "not_carried";
      const GrantTable given({{principal.Str(), "p", "c", {right}}});
      const bool mended = !Decide(principal, right, scope, GrantTable({})) &&
                          Decide(principal, right, scope, given).has_value();
      EXPECT_EQ(lacks_grant, mended) << caller << " " << NameOf(right);
    }
  }
}

TEST(Explain, NamesTheGrantThatSaysYesTheNarrowestFirst) {
  const Principal runner = Named(kCallers[3]);
  const GrantTable grants({{runner.Str(), "*", "*", {Right::kReveal}},
                           {runner.Str(), "*", "c", {Right::kReveal}},
                           {runner.Str(), "p", "*", {Right::kReveal}},
                           {runner.Str(), "p", "c", {Right::kStore}}});
  const auto grant = [&](const Scope& scope) {
    const Explanation explained = Explain(runner, Right::kDescribe, scope, grants, kGood);
    return explained.grant.project + "/" + explained.grant.component;
  };
  EXPECT_EQ(grant({"p", "c"}), "p/*");
  EXPECT_EQ(grant({"q", "c"}), "*/c");
  EXPECT_EQ(grant({"q", "d"}), "*/*");
}

TEST(Explain, NamesTheGrantOfAuditOnAWholeProject) {
  const Principal runner = Named(kCallers[3]);
  const GrantTable grants({{runner.Str(), "p", "*", {Right::kAudit}}});
  const auto explained = [&](const Scope& scope) {
    return Explain(runner, Right::kAudit, scope, grants, kGood);
  };
  EXPECT_EQ(explained({"p", ""}).grant.project, "p");
  EXPECT_EQ(explained({"p", ""}).grant.component, "*");
  EXPECT_EQ(WordsIn(explained({"q", ""})), "no_grant");
  EXPECT_EQ(WordsIn(explained({"p", "c"})), "no_whole");
  EXPECT_EQ(WordsIn(explained({})), "other_kinds");
}

TEST(Explain, SaysWhatIsInTheWayThoughTheRulesAllow) {
  const Principal runner = Named(kCallers[3]);
  const GrantTable grants({{runner.Str(), "*", "*", {Right::kReveal}}});
  const auto words = [&](const Surroundings& surroundings) {
    const Explanation explained =
        Explain(runner, Right::kReveal, {"p", "c"}, grants, surroundings);
    EXPECT_EQ(explained.allowed_by, AllowedBy::kGrant);
    return WordsIn(explained);
  };
  EXPECT_EQ(words(kGood), "");
  EXPECT_EQ(words({Standing::kOutside, true, false, true}), "");
  EXPECT_EQ(words({Standing::kNone, true, false, true}), "no_certificate");
  EXPECT_EQ(words({Standing::kExpired, true, false, true}), "expired");
  EXPECT_EQ(words({Standing::kRevoked, true, false, true}), "revoked");
  EXPECT_EQ(words({Standing::kNotVouched, true, false, true}), "not_vouched");
  EXPECT_EQ(words({Standing::kGood, true, true, true}), "shredding");
  EXPECT_EQ(words({Standing::kRevoked, false, false, false}), "revoked no_project no_component");
}

TEST(Explain, TellsApartWhatMoreGrantsWouldNotMend) {
  const GrantTable none({});
  const auto words = [&](std::size_t caller, Right right, const Scope& scope) {
    return WordsIn(Explain(Named(kCallers[caller]), right, scope, none, kGood));
  };
  EXPECT_EQ(words(3, Right::kReveal, {"p", "c"}), "no_grant");
  EXPECT_EQ(words(3, Right::kReveal, {"p", ""}), "no_pair");
  EXPECT_EQ(words(3, Right::kRegister, {}), "other_kinds");
  EXPECT_EQ(words(2, Right::kReveal, {"p", "c"}), "holds_no_grants");
  EXPECT_EQ(words(4, Right::kReveal, {"q", "c"}), "other_pair");
  EXPECT_EQ(words(0, Right::kAudit, {}), "other_kinds");
  EXPECT_EQ(words(6, Right::kReveal, {"p", "c"}), "no_reveal");
  EXPECT_EQ(words(6, Right::kStore, {"p", "c"}), "not_carried");
  EXPECT_EQ(words(6, Right::kAudit, {"p", ""}), "other_kinds");
  EXPECT_EQ(words(7, Right::kStore, {"p", "c"}), "holds_no_grants");
}

TEST(Explain, EveryObstacle_HasWordsOfItsOwn) {
  std::set<std::string_view> words;
  for (int i = 0; i <= static_cast<int>(Obstacle::kNoComponent); ++i) {
    const ObstacleWords told = WordsOf(static_cast<Obstacle>(i));
    EXPECT_TRUE(words.insert(told.word).second) << told.word;
    EXPECT_FALSE(told.what.empty());
    EXPECT_FALSE(told.change.empty());
  }
}

}  // namespace
}  // namespace oauthvault::access
