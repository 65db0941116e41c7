#include "daemon/rivery/accounts.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::rivery {
namespace {

using fakes::BytesOf;
using fakes::CodeOf;
using fakes::TextOf;
using Projects = std::vector<std::string>;

constexpr std::string_view kUrl = "https://console.rivery.io/api";

class Accounts : public testing::Test {
 protected:
  Result<storage::Stored<storage::Account>> Set(std::optional<std::string> url,
                                                std::optional<std::string> token,
                                                std::optional<Projects> projects) {
    AccountFields fields;
    fields.base_url = std::move(url);
    if (token) fields.token = crypto::ApiToken(BytesOf(*token));
    fields.projects = std::move(projects);
    return SetAccount(vault_.Store(), id_, fields, Reach{}, fakes::ActBy(fakes::kRunner),
                      fakes::kVaultNow);
  }
  Result<OpenAccount> Open(const std::optional<ProjectId>& project = std::nullopt) {
    return OpenAccountFor(vault_.Store(), id_, project);
  }
  std::string Token() { return TextOf(Open()->token.Bytes()); }

  const AccountId id_ = *AccountId::Parse("eu");
  fakes::TestVault vault_;
};

TEST_F(Accounts, SetAccount_OfANewOneNeedsAllThree) {
  const std::string url(kUrl);
  EXPECT_EQ(CodeOf(Set(std::nullopt, "t", Projects{"*"})), "INVALID");
  EXPECT_EQ(CodeOf(Set(url, std::nullopt, Projects{"*"})), "INVALID");
  EXPECT_EQ(CodeOf(Set(url, "t", std::nullopt)), "INVALID");
  EXPECT_EQ(CodeOf(Open()), "NOT_FOUND");
  const auto set = Set(url + "/", "t", Projects{"acme"});
  ASSERT_TRUE(set) << set.error().Message();
  EXPECT_EQ(set->version, 1u);
  EXPECT_EQ(set->row.base_url, kUrl);
  EXPECT_EQ(set->row.projects, Projects{"acme"});
  EXPECT_EQ(set->row.updated_by, fakes::kRunner);
  EXPECT_EQ(set->row.updated_at_s, fakes::kVaultNow);
  EXPECT_EQ(Token(), "t");
}

TEST_F(Accounts, SetAccount_WithANewBaseUrlAsksForTheTokenAgain) {
  ASSERT_TRUE(Set(std::string(kUrl), "first", Projects{"*"}));
  const std::string elsewhere = "https://eu-west-1.console.rivery.io/api";
  EXPECT_EQ(CodeOf(Set(elsewhere, std::nullopt, std::nullopt)), "STALE");
  EXPECT_EQ(CodeOf(Set("https://console.rivery.io:444/api", std::nullopt, std::nullopt)), "STALE");
  EXPECT_EQ(CodeOf(Set("https://console.rivery.io/other", std::nullopt, std::nullopt)), "STALE");
  EXPECT_EQ(Open()->base_url, kUrl);
  EXPECT_EQ(Token(), "first");
  // The same one, spelled with a slash, is no new one.
  EXPECT_EQ(CodeOf(Set(std::string(kUrl) + "/", std::nullopt, std::nullopt)), "OK");
  EXPECT_EQ(Token(), "first");
  EXPECT_EQ(CodeOf(Set(elsewhere, "second", std::nullopt)), "OK");
  EXPECT_EQ(Open()->base_url, elsewhere);
  EXPECT_EQ(Token(), "second");
}

TEST_F(Accounts, SetAccount_KeepsWhatIsNotGiven) {
  ASSERT_TRUE(Set(std::string(kUrl), "first", Projects{"acme"}));
  const auto changed = Set(std::nullopt, std::nullopt, Projects{"acme", "other"});
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->version, 2u);
  EXPECT_EQ(changed->row.base_url, kUrl);
  EXPECT_EQ(Token(), "first");
  ASSERT_TRUE(Set(std::nullopt, "second", std::nullopt));
  EXPECT_EQ(Token(), "second");
  EXPECT_EQ(CodeOf(Open(vault_.other_project)), "OK");
}

TEST_F(Accounts, SetAccount_NamesRegisteredProjectsOrAStarAlone) {
  const std::string url(kUrl);
  EXPECT_EQ(CodeOf(Set(url, "t", Projects{"acme", "nobody"})), "NOT_FOUND");
  EXPECT_EQ(CodeOf(Set(url, "t", Projects{"*", "acme"})), "INVALID");
  EXPECT_EQ(CodeOf(Set(url, "t", Projects{"../acme"})), "INVALID");
  EXPECT_EQ(CodeOf(Open()), "NOT_FOUND");
}

TEST_F(Accounts, OpenAccountFor_DeniesAProjectThatIsNotNamed) {
  ASSERT_TRUE(Set(std::string(kUrl), "t", Projects{"acme"}));
  EXPECT_EQ(CodeOf(Open(vault_.project)), "OK");
  EXPECT_EQ(CodeOf(Open(vault_.other_project)), "DENIED");
  EXPECT_EQ(CodeOf(Open(std::nullopt)), "OK");
  ASSERT_TRUE(Set(std::nullopt, std::nullopt, Projects{}));
  EXPECT_EQ(CodeOf(Open(vault_.project)), "DENIED");
  ASSERT_TRUE(Set(std::nullopt, std::nullopt, Projects{"*"}));
  EXPECT_EQ(CodeOf(Open(vault_.other_project)), "OK");
}

TEST_F(Accounts, SetAccount_RefusesTokensThatAreNoLine) {
  const std::string url(kUrl);
  for (const std::string& token :
       {std::string(), std::string("a b"), std::string("a\n"), std::string("a\x7f"),
        std::string("\xc3\xa9"), std::string("a\0b", 3), std::string(kMaxApiTokenSize + 1, 'x')}) {
    EXPECT_EQ(CodeOf(Set(url, token, Projects{"*"})), "INVALID");
  }
  EXPECT_EQ(CodeOf(Set(url, std::string(kMaxApiTokenSize, '~'), Projects{"*"})), "OK");
  EXPECT_EQ(CodeOf(Set(std::nullopt, "a b", std::nullopt)), "INVALID");
  EXPECT_EQ(Token().size(), kMaxApiTokenSize);
}

TEST_F(Accounts, SetAccount_RefusesUrlsThatMayNotBeCalled) {
  for (const std::string_view url :
       {"", "console.rivery.io/api", "http://console.rivery.io/api", "http://127.0.0.1:80/api",
        "https://user@console.rivery.io/api", "https://console.rivery.io/api?a=1",
        "https://console.rivery.io/api#a", "ftp://console.rivery.io/api"}) {
    EXPECT_EQ(CodeOf(Set(std::string(url), "t", Projects{"*"})), "INVALID") << url;
  }
}

TEST_F(Accounts, MarkRefused_IsForTheTokenThatWasUsed) {
  ASSERT_TRUE(Set(std::string(kUrl), "first", Projects{"*"}));
  const std::uint64_t used = Open()->version;
  ASSERT_TRUE(Set(std::nullopt, "second", std::nullopt));
  ASSERT_TRUE(MarkRefused(vault_.Store(), id_, used, fakes::ActBy(fakes::kRunner), 7));
  EXPECT_EQ(Open()->refused_at_s, 0) << "the answer was about the first token";
  const std::uint64_t second = Open()->version;
  ASSERT_TRUE(MarkRefused(vault_.Store(), id_, second, fakes::ActBy(fakes::kRunner), 7));
  EXPECT_EQ(Open()->refused_at_s, 7);
  EXPECT_EQ(Token(), "second");
  // A second answer about the same token changes nothing.
  const std::uint64_t marked = Open()->version;
  ASSERT_TRUE(MarkRefused(vault_.Store(), id_, marked, fakes::ActBy(fakes::kRunner), 9));
  EXPECT_EQ(Open()->refused_at_s, 7);
  EXPECT_EQ(vault_.Lines().back().at("code"), "UNAUTHENTICATED");
}

TEST_F(Accounts, AMark_GoesWithACheckOrANewTokenAndStaysOtherwise) {
  ASSERT_TRUE(Set(std::string(kUrl), "first", Projects{"*"}));
  const auto mark = [&] {
    ASSERT_TRUE(MarkRefused(vault_.Store(), id_, Open()->version, fakes::SetupAct(), 7));
    ASSERT_EQ(Open()->refused_at_s, 7);
  };
  mark();
  ASSERT_TRUE(Set(std::nullopt, std::nullopt, Projects{"acme"}));
  EXPECT_EQ(Open()->refused_at_s, 7) << "the token is the same";
  ASSERT_TRUE(MarkGood(vault_.Store(), id_, Open()->version, fakes::SetupAct()));
  EXPECT_EQ(Open()->refused_at_s, 0);
  mark();
  ASSERT_TRUE(Set(std::nullopt, "second", std::nullopt));
  EXPECT_EQ(Open()->refused_at_s, 0);
  EXPECT_EQ(CodeOf(MarkGood(vault_.Store(), *AccountId::Parse("none"), 1, fakes::SetupAct())),
            "OK");
}

TEST_F(Accounts, SetAccount_ThatMeetsTheVaultsOwnMarkIsTriedAgain) {
  ASSERT_TRUE(Set(std::string(kUrl), "first", Projects{"*"}));
  const auto mark = [&] {
    ASSERT_TRUE(MarkRefused(vault_.Store(), id_, Open()->version, fakes::SetupAct(), 7));
  };
  vault_.Memory().BeforeNextCommit(mark);
  EXPECT_EQ(CodeOf(Set(std::nullopt, "second", std::nullopt)), "OK");
  EXPECT_EQ(Open()->version, 3u);
  EXPECT_EQ(Open()->refused_at_s, 0) << "the mark was about the first token";
  EXPECT_EQ(Token(), "second");
  vault_.Memory().BeforeNextCommit(mark);
  EXPECT_EQ(CodeOf(Set(std::nullopt, std::nullopt, Projects{"acme"})), "OK");
  EXPECT_EQ(Open()->refused_at_s, 7) << "the token is the same";
  EXPECT_EQ(CodeOf(Open(vault_.other_project)), "DENIED");
}

TEST_F(Accounts, SetAccount_ThatMeetsAnotherChangeIsAConflict) {
  ASSERT_TRUE(Set(std::string(kUrl), "first", Projects{"*"}));
  // All but the token is the same, the time and who changed it, too.
  vault_.Memory().BeforeNextCommit([&] { Set(std::nullopt, "theirs", std::nullopt); });
  EXPECT_EQ(CodeOf(Set(std::nullopt, "ours", std::nullopt)), "CONFLICT");
  EXPECT_EQ(Token(), "theirs");
  vault_.Memory().BeforeNextCommit([&] { Set(std::nullopt, std::nullopt, Projects{"acme"}); });
  EXPECT_EQ(CodeOf(Set(std::nullopt, "ours", std::nullopt)), "CONFLICT");
  EXPECT_EQ(Token(), "theirs");
}

TEST_F(Accounts, SetAccount_GivesUpWhereMarksHaveNoEnd) {
  ASSERT_TRUE(Set(std::string(kUrl), "first", Projects{"*"}));
  int marks = 0;
  const std::function<void()> mark = [&] {
    const std::uint64_t version = Open()->version;
    ASSERT_TRUE(++marks % 2 == 1
                    ? MarkRefused(vault_.Store(), id_, version, fakes::SetupAct(), 7)
                    : MarkGood(vault_.Store(), id_, version, fakes::SetupAct()));
    vault_.Memory().BeforeNextCommit(mark);
  };
  vault_.Memory().BeforeNextCommit(mark);
  EXPECT_EQ(CodeOf(Set(std::nullopt, "second", std::nullopt)), "CONFLICT");
  vault_.Memory().BeforeNextCommit(nullptr);
  EXPECT_EQ(marks, 8);
  EXPECT_EQ(Token(), "first");
}

TEST_F(Accounts, SetAccount_ThatMeetsAnOutageLeavesWhatStood) {
  ASSERT_TRUE(Set(std::string(kUrl), "first", Projects{"*"}));
  vault_.Memory().FailNextCommit(Error(Code::kUnavailable, "the fake's disk is gone"));
  EXPECT_EQ(CodeOf(Set(std::nullopt, "second", std::nullopt)), "UNAVAILABLE");
  EXPECT_EQ(Token(), "first");
}

}  // namespace
}  // namespace oauthvault::rivery
