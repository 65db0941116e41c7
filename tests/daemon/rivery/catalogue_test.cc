#include "daemon/rivery/catalogue.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/daemon/rivery/rivery_vault.h"

namespace oauthvault::rivery {
namespace {

using fakes::CodeOf;
using fakes::Fault;
using Names = std::vector<std::string>;

class CatalogueTest : public RiveryVault {
 protected:
  OpenAccount Account() { return *OpenAccountFor(vault_.Store(), account_, std::nullopt); }
  auto Types(Catalogue& catalogue, bool refresh = false) {
    return catalogue.Types(account_, Account(), refresh, [this] { return Announced(); });
  }
  Result<void> Check(std::string_view type, std::optional<std::string> datasource = {}) {
    return catalogue_.Check(account_, Account(), {std::string(type), std::move(datasource)},
                            [this] { return Announced(); });
  }
  Result<void> Announced() {
    ++announced_;
    return {};
  }
  void Break() {
    standin_->AddFault(
        {.operation = fakes::Operation::kListTypes, .fault = Fault::kHtml502, .times = 1000});
  }

  int announced_ = 0;
  Catalogue catalogue_{client_, rate_, {}};
};

TEST(Nearest, NamesTheNearestFirstAndNoneThatIsFar) {
  const Names known = {"gspreadsheet", "salesforce", "snowflake", "s3", "jira"};
  EXPECT_EQ(Nearest("gspredsheet", known), Names{"gspreadsheet"});
  EXPECT_EQ(Nearest("snowflakes", known), Names{"snowflake"});
  EXPECT_EQ(Nearest("s4", known), Names{"s3"});
  EXPECT_EQ(Nearest("entirely-different", known), Names{});
  EXPECT_EQ(Nearest("", known), Names{});
  EXPECT_EQ(Nearest("ab", Names{"ac", "ad", "ae", "af", "ad"}), (Names{"ac", "ad", "ae"}));
}

TEST_F(CatalogueTest, Types_AreReadOnceAndAnnouncedOnlyWhenTheyAre) {
  const auto first = Types(catalogue_);
  ASSERT_TRUE(first);
  EXPECT_EQ((*first)->types.size(), 11u);
  ASSERT_TRUE(Types(catalogue_));
  EXPECT_EQ(Requests("list_types"), 1);
  EXPECT_EQ(announced_, 1);
  ASSERT_TRUE(Types(catalogue_, true));
  EXPECT_EQ(Requests("list_types"), 2);
  Allow({"*"});  // the account was set anew: perhaps another environment
  ASSERT_TRUE(Types(catalogue_));
  EXPECT_EQ(Requests("list_types"), 3);
}

TEST_F(CatalogueTest, Types_ThatCannotBeReadAnewAreTheOldOnes) {
  Catalogue short_lived(client_, rate_, {.max_age = std::chrono::seconds(0)});
  ASSERT_TRUE(Types(short_lived));
  Break();
  EXPECT_TRUE(Types(short_lived));
  EXPECT_EQ(Requests("list_types"), 2);
  EXPECT_FALSE(Types(short_lived, true)) << "who asks for news is told that there are none";
}

TEST_F(CatalogueTest, Types_AreNotAskedForWithoutALine) {
  const auto types = catalogue_.Types(account_, Account(), false, []() -> Result<void> {
    return Fail(Code::kUnavailable, "the fake's trail is gone");
  });
  ASSERT_FALSE(types);
  EXPECT_EQ(Requests("list_types"), 0);
}

TEST_F(CatalogueTest, Check_NamesTheNearestRightNames) {
  EXPECT_TRUE(Check("gspreadsheet", "gspreadsheet"));
  EXPECT_TRUE(Check("snowflake", "snowflake_src"));
  EXPECT_TRUE(Check("mysql"));
  const auto type = Check("gspreadshet");
  ASSERT_FALSE(type);
  EXPECT_EQ(type.error().GetCode(), Code::kInvalid);
  EXPECT_EQ(type.error().GetSubject(), "gspreadsheet");
  const auto datasource = Check("snowflake", "snowflake");
  ASSERT_FALSE(datasource);
  EXPECT_EQ(datasource.error().GetSubject(), "snowflake_src");
  const auto no_flow = Check("mysql", "mysql");
  ASSERT_FALSE(no_flow);
  EXPECT_EQ(no_flow.error().GetCode(), Code::kInvalid);
}

TEST_F(CatalogueTest, Check_WithoutACatalogueRefusesUnlessThatIsAllowed) {
  Break();
  EXPECT_EQ(CodeOf(Check("gspreadsheet")), "UNAVAILABLE");
  Catalogue trusting(client_, rate_, {.allow_unchecked = true});
  EXPECT_EQ(CodeOf(trusting.Check(account_, Account(), {"gspreadsheet", std::nullopt},
                                  [this] { return Announced(); })),
            "OK");
  standin_->ClearFaults();
  standin_->AddFault({.operation = fakes::Operation::kListTypes, .fault = Fault::kUnauthorized});
  EXPECT_EQ(CodeOf(Check("gspreadsheet")), "UNAUTHENTICATED");
}

// --- the account -----------------------------------------------------------------------------

std::vector<std::string> Wrong(const AccountReport& report) {
  std::vector<std::string> wrong;
  for (const Probe& probe : report.probes) {
    if (probe.wrong) {
      wrong.push_back(std::string(probe.what) + " " +
                      std::string(NameOf(probe.wrong->GetCode())));
    }
  }
  return wrong;
}

// With a budget of its own.
AccountReport Checked(const Client& client, const OpenAccount& account) {
  Rate rate;
  auto turn = rate.TakeNow(*AccountId::Parse("main"), Purpose::kOnward, kCheckCalls);
  return CheckAccount(client, account, *turn);
}

TEST_F(CatalogueTest, CheckAccount_ChangesNothingAndFindsWhoTheTokenSpeaksFor) {
  const std::string id = MakeRemotely("stays");
  const AccountReport report = Checked(client_, Account());
  EXPECT_EQ(report.probes.size(), 4u);
  EXPECT_EQ(Wrong(report), Names{});
  EXPECT_EQ(report.holder.account_id, "5f0000000000000000000a01");
  EXPECT_EQ(Remote().size(), 1u);
  EXPECT_EQ(standin_->State().at("attempts").size(), 0u);
}

TEST(CheckAccount, TellsTheScopesThatAreMissing) {
  struct Row {
    std::set<std::string> scopes;
    Names wrong;
  };
  const Row rows[] = {
      {{"connection:list"}, {"connection:edit DENIED", "connection:delete DENIED"}},
      {{"connection:edit"}, {"connection:list DENIED", "connection:delete DENIED"}},
      {{"connection:edit", "connection:list"}, {"connection:delete DENIED"}},
      {{}, {}},
  };
  const Client client({}, Limits{}, kLoopback);
  for (const Row& row : rows) {
    auto standin = fakes::StandIn::Start({.tokens = {{"token", row.scopes}}});
    ASSERT_TRUE(standin);
    const OpenAccount account{(*standin)->BaseUrl(), crypto::ApiToken(fakes::BytesOf("token"))};
    EXPECT_EQ(Wrong(Checked(client, account)), row.wrong);
    const OpenAccount stranger{(*standin)->BaseUrl(), crypto::ApiToken(fakes::BytesOf("other"))};
    const AccountReport report = Checked(client, stranger);
    EXPECT_EQ(Wrong(report), Names{"token UNAUTHENTICATED"});
    EXPECT_NE(report.probes[0].wrong->Message().find("region"), std::string::npos);
  }
}

TEST(Regions, BaseUrlOf_KnowsTheTableAndThePatternOfOthers) {
  EXPECT_EQ(*BaseUrlOf("us"), "https://console.rivery.io/api");
  EXPECT_EQ(*BaseUrlOf("eu"), "https://eu-west-1.console.rivery.io/api");
  EXPECT_EQ(*BaseUrlOf("eu-west-1"), *BaseUrlOf("eu"));
  EXPECT_EQ(*BaseUrlOf("ap-southeast-2"), "https://ap-southeast-2.console.rivery.io/api");
  for (const Region& region : Regions()) {
    EXPECT_TRUE(NormalizeBaseUrl(region.base_url, Reach{})) << region.name;
  }
  for (const std::string_view name :
       {"", "moon", "eu-west", "eu-west-10", "eu-west-0", "-eu-west-1", "eu--west-1", "EU-west-1",
        "eu.west-1-1", "evil.example/a-b-1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-b-1"}) {
    EXPECT_EQ(CodeOf(BaseUrlOf(name)), "INVALID") << name;
  }
}

}  // namespace
}  // namespace oauthvault::rivery
