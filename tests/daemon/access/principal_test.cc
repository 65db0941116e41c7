#include "daemon/access/principal.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace oauthvault::access {
namespace {

using std::string_literals::operator""s;

constexpr std::string_view kDomain = "vault.example";

TEST(Principal, FromSpiffeId_ReadsTheFourKinds) {
  struct Good {
    std::string text;
    Kind kind;
    std::string project;
    std::string component;
  };
  const std::string longest(kMaxIdSize, 'n');
  const std::vector<Good> goods = {
      {"spiffe://vault.example/admin/ann", Kind::kAdmin, "", ""},
      {"spiffe://vault.example/auditor/a-1", Kind::kAuditor, "", ""},
      {"spiffe://vault.example/runner/jobs_2", Kind::kRunner, "", ""},
      {"spiffe://vault.example/runner/" + longest, Kind::kRunner, "", ""},
      {"spiffe://vault.example/runner/Upper.Case", Kind::kRunner, "", ""},
      {"spiffe://vault.example/runner/...", Kind::kRunner, "", ""},
      {"spiffe://vault.example/admin/admin", Kind::kAdmin, "", ""},
      {"spiffe://vault.example/project/12/component/keboola.ex-google-drive", Kind::kComponent,
       "12", "keboola.ex-google-drive"},
      {"spiffe://vault.example/project/component/component/project", Kind::kComponent,
       "component", "project"},
  };
  for (const Good& good : goods) {
    const auto principal = Principal::FromSpiffeId(good.text, kDomain);
    ASSERT_TRUE(principal) << good.text;
    EXPECT_EQ(principal->GetKind(), good.kind) << good.text;
    EXPECT_EQ(principal->Str(), good.text);
    EXPECT_EQ(principal->Project(), good.project) << good.text;
    EXPECT_EQ(principal->Component(), good.component) << good.text;
  }
}

TEST(Principal, FromSpiffeId_RefusesWhatIsNotExactlyOneOfThem) {
  const std::vector<std::string> bads = {
      "",
      "/",
      "local/admin",
      "admin/ann",
      "vault.example/admin/ann",
      "//vault.example/admin/ann",
      "spiffe:",
      "spiffe://",
      "spiffe:///admin/ann",
      "spiffe:/vault.example/admin/ann",
      "spiffe:vault.example/admin/ann",
      "SPIFFE://vault.example/admin/ann",
      "Spiffe://vault.example/admin/ann",
      "https://vault.example/admin/ann",
      " spiffe://vault.example/admin/ann",
      "spiffe://vault.example/admin/ann ",
      "spiffe://vault.example/admin/ann\n",
      // trust domain
      "spiffe://VAULT.example/admin/ann",
      "spiffe://Vault.Example/admin/ann",
      "spiffe://other.example/admin/ann",
      "spiffe://vault.example.org/admin/ann",
      "spiffe://vault.exampl/admin/ann",
      "spiffe://vault.example./admin/ann",
      "spiffe://xvault.example/admin/ann",
      "spiffe://vault.example:443/admin/ann",
      "spiffe://ann@vault.example/admin/ann",
      "spiffe://ann:pw@vault.example/admin/ann",
      "spiffe://v%61ult.example/admin/ann",
      "spiffe://v\xd0\xb0ult.example/admin/ann",
      // shape of the path
      "spiffe://vault.example",
      "spiffe://vault.example/",
      "spiffe://vault.example/admin",
      "spiffe://vault.example/admin/",
      "spiffe://vault.example/admin/ann/",
      "spiffe://vault.example/admin//ann",
      "spiffe://vault.example//admin/ann",
      "spiffe://vault.example///",
      "spiffe://vault.example/./admin/ann",
      "spiffe://vault.example/admin/.",
      "spiffe://vault.example/admin/..",
      "spiffe://vault.example/runner/../admin/ann",
      "spiffe://vault.example/runner/x/../../admin/ann",
      "spiffe://vault.example/admin/ann?x=1",
      "spiffe://vault.example/admin/ann?",
      "spiffe://vault.example/admin/ann#top",
      "spiffe://vault.example/admin/ann#",
      "spiffe://vault.example/admin/%2e",
      "spiffe://vault.example/admin/a%6en",
      "spiffe://vault.example/admin%2fann",
      "spiffe://vault.example/admin\\ann",
      "spiffe://vault.example/admin/*",
      "spiffe://vault.example/admin/ann:1",
      "spiffe://vault.example/admin/ann;x",
      "spiffe://vault.example/admin/a+n",
      "spiffe://vault.example/admin/a n",
      // unknown paths
      "spiffe://vault.example/Admin/ann",
      "spiffe://vault.example/ADMIN/ann",
      "spiffe://vault.example/admins/ann",
      "spiffe://vault.example/root/ann",
      "spiffe://vault.example/token/1",
      "spiffe://vault.example/vault",
      "spiffe://vault.example/local/admin",
      "spiffe://vault.example/admin/ann/extra",
      "spiffe://vault.example/admin/ann/runner/x",
      "spiffe://vault.example/project/p",
      "spiffe://vault.example/project/p/component",
      "spiffe://vault.example/project/p/component/",
      "spiffe://vault.example/project//component/c",
      "spiffe://vault.example/project/p/component/c/",
      "spiffe://vault.example/project/p/component/c/extra",
      "spiffe://vault.example/project/p/components/c",
      "spiffe://vault.example/project/../component/c",
      "spiffe://vault.example/project/p/component/..",
      "spiffe://vault.example/project/*/component/c",
      "spiffe://vault.example/component/c/project/p",
      // bytes
      "spiffe://vault.example/admin/ann\0"s,
      "spiffe://vault.example/admin/an\0n"s,
      "spiffe://vault.example\0/admin/ann"s,
      "\0spiffe://vault.example/admin/ann"s,
      "spiffe://vault.example/admin/a\x01n",
      "spiffe://vault.example/admin/a\tn",
      "spiffe://vault.example/admin/a\r\nn",
      "spiffe://vault.example/admin/a\x7fn",
      "spiffe://vault.example/\xd0\xb0"
      "dmin/ann",
      "spiffe://vault.example/admin/\xd0\xb0nn",
      "spiffe://vault.example/admin/ann\xe2\x80\x8b",
      "spiffe://vault.example\xe2\x88\x95"
      "admin/ann",
      "spiffe://vault.example/admin/\xff",
      // lengths
      "spiffe://vault.example/admin/" + std::string(kMaxIdSize + 1, 'n'),
      "spiffe://vault.example/admin/" + std::string(kMaxSpiffeIdSize, 'n'),
      "spiffe://vault.example/" + std::string(1 << 20, '/'),
  };
  for (const std::string& bad : bads) {
    const auto principal = Principal::FromSpiffeId(bad, kDomain);
    ASSERT_FALSE(principal) << bad;
    EXPECT_EQ(principal.error().GetCode(), Code::kUnauthenticated) << bad;
    EXPECT_TRUE(principal.error().GetSubject().empty()) << bad;
  }
}

TEST(Principal, FromSpiffeId_TrustsNoDomainThatIsNone) {
  for (const std::string_view domain : {"", "Vault.Example", "vault.example/admin", "*"}) {
    EXPECT_FALSE(Principal::FromSpiffeId("spiffe://" + std::string(domain) + "/admin/ann", domain))
        << domain;
  }
}

TEST(Principal, Parse_TakesWhatStrGivesAndNothingElse) {
  for (const std::string_view text :
       {"local/admin", "spiffe://vault.example/runner/r",
        "spiffe://vault.example/project/p/component/c"}) {
    const auto principal = Principal::Parse(text, kDomain);
    ASSERT_TRUE(principal) << text;
    EXPECT_EQ(principal->Str(), text);
  }
  EXPECT_EQ(Principal::Parse("local/admin", kDomain)->GetKind(), Kind::kLocalAdmin);
  EXPECT_EQ(*Principal::Parse("local/admin", kDomain), Principal::LocalAdmin());
  for (const std::string_view text : {"", "local/admin/", "Local/admin", "local/root", "*",
                                      "spiffe://other.example/runner/r"}) {
    const auto principal = Principal::Parse(text, kDomain);
    ASSERT_FALSE(principal) << text;
    EXPECT_EQ(principal.error().GetCode(), Code::kInvalid) << text;
  }
}

TEST(Principal, AComponentIsNotEqualToAnotherOneOfItsProject) {
  const auto one = Principal::Parse("spiffe://vault.example/project/p/component/c", kDomain);
  const auto other = Principal::Parse("spiffe://vault.example/project/p/component/d", kDomain);
  ASSERT_TRUE(one && other);
  EXPECT_FALSE(*one == *other);
}

TEST(TrustDomain, IsLowerCaseAndBounded) {
  for (const std::string& good :
       {"a"s, "vault.example"s, "a-b_c.1"s, std::string(255, 'a')}) {
    EXPECT_TRUE(IsValidTrustDomain(good)) << good;
  }
  for (const std::string& bad : {""s, "A"s, "a/b"s, "a:1"s, "a b"s, "a%41"s, "\xd0\xb0"s, "a\0"s,
                                 std::string(256, 'a')}) {
    EXPECT_FALSE(IsValidTrustDomain(bad)) << bad;
  }
}

}  // namespace
}  // namespace oauthvault::access
