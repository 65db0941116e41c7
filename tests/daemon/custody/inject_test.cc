#include "daemon/custody/inject.h"

#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::custody {
namespace {

using access::Right;
using fakes::BytesOf;
using fakes::CodeOf;
using fakes::TextOf;
using Json = nlohmann::ordered_json;
using Acts = std::vector<std::string>;

class CustodyInject : public testing::Test {
 protected:
  Result<crypto::SecretBytes> Inject(std::string_view document,
                                     IdBeside id_beside = IdBeside::kKeep,
                                     Right right = Right::kReveal,
                                     std::string_view project = "acme") {
    std::promise<Result<crypto::SecretBytes>> promise;
    auto future = promise.get_future();
    custody::Inject(vault_.PermitFor(right, project), BytesOf(document), id_beside,
                    fakes::TestVault::Caller(), vault_.Store(), vault_.Trail(),
                    [&](Result<crypto::SecretBytes> injected) {
                      promise.set_value(std::move(injected));
                    });
    return future.get();
  }

  fakes::TestVault vault_;
};

TEST_F(CustodyInject, Inject_PutsTheEightKeysWhereTheIdStands) {
  vault_.Put("one", "{\"canary\": \"\xc3\xa9\"}");
  const auto injected =
      Inject(R"({"z":1,"authorization":{"oauth_api":{"id":"one","version":3}},"a":[2.50]})");
  ASSERT_TRUE(injected) << injected.error().Message();
  const std::string text = TextOf(*injected);
  const Json document = Json::parse(text, nullptr, false);
  ASSERT_TRUE(document.is_object()) << text;
  EXPECT_EQ(text.substr(0, 7), "{\"z\":1,");
  EXPECT_NE(text.find("\"a\":[2.50]"), std::string::npos);
  const Json& oauth_api = document.at("authorization").at("oauth_api");
  EXPECT_EQ(oauth_api.at("id"), "one");
  EXPECT_EQ(oauth_api.at("version"), 3);
  const Json& credentials = oauth_api.at("credentials");
  EXPECT_EQ(credentials.at("id"), "one");
  EXPECT_EQ(credentials.at("#data"), "{\"canary\": \"\xc3\xa9\"}");
  EXPECT_EQ(credentials.at("appKey"), fakes::kComponentClient);
  EXPECT_EQ(credentials.at("#appSecret"), fakes::kComponentSecret);
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Inject allowed"}));
}

TEST_F(CustodyInject, Inject_DropsTheIdWhereAsked) {
  vault_.Put("one", "{}");
  const auto injected = Inject(R"({"authorization":{"oauth_api":{"id":"one","version":3}}})",
                               IdBeside::kDrop);
  ASSERT_TRUE(injected);
  const Json oauth_api = Json::parse(TextOf(*injected)).at("authorization").at("oauth_api");
  EXPECT_EQ(oauth_api.size(), 1u);
  EXPECT_TRUE(oauth_api.contains("credentials"));
}

TEST_F(CustodyInject, Inject_WithoutAnIdTouchesNeitherStoreNorTrail) {
  vault_.Put("one", "{}");
  const std::uint64_t reads = vault_.Engine().ReadCount();
  EXPECT_EQ(TextOf(*Inject(R"({"parameters":{"a":1}})")),
            R"({"parameters":{"a":1},"authorization":{}})");
  const std::string_view bypass =
      R"({"authorization":{"oauth_api":{"id":"one","credentials":{"#data":"own"}}}})";
  EXPECT_EQ(TextOf(*Inject(bypass)), bypass);
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
  EXPECT_EQ(vault_.Acts(), Acts{});
}

TEST_F(CustodyInject, Inject_OfAWrongDocumentTouchesNeitherStoreNorTrail) {
  vault_.Put("one", "{}");
  const std::uint64_t reads = vault_.Engine().ReadCount();
  for (const std::string_view document :
       {"", "[]", "{", R"({"authorization":{"oauth_api":{"id":"../one"}}})",
        R"({"authorization":{"oauth_api":{"id":"one","id":"two"}}})",
        R"({"authorization":{"oauth_api":{"id":7}}})",
        R"({"authorization":{"oauth_api":{"id":"one","other":1}}})"}) {
    EXPECT_EQ(CodeOf(Inject(document)), "INVALID") << document;
  }
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
  EXPECT_EQ(vault_.Acts(), Acts{});
}

TEST_F(CustodyInject, Inject_OfUnknownCredentialsIsNotFoundAndRecorded) {
  vault_.Put("one", "{}");
  EXPECT_EQ(CodeOf(Inject(R"({"authorization":{"oauth_api":{"id":"two"}}})")), "NOT_FOUND");
  // Another project's are not there for this one.
  EXPECT_EQ(CodeOf(Inject(R"({"authorization":{"oauth_api":{"id":"one"}}})", IdBeside::kKeep,
                          Right::kReveal, "other")),
            "NOT_FOUND");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Inject failed NOT_FOUND",
                                 "Credentials.Inject failed NOT_FOUND"}));
}

TEST_F(CustodyInject, Inject_NeedsAPermitThatLetsCredentialsOut) {
  vault_.Put("one", "{}");
  EXPECT_EQ(CodeOf(Inject(R"({"authorization":{"oauth_api":{"id":"one"}}})", IdBeside::kKeep,
                          Right::kDescribe)),
            "DENIED");
}

TEST_F(CustodyInject, Inject_GivesNothingWhileTheTrailCannotRecord) {
  vault_.Put("one", "{}");
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(Inject(R"({"authorization":{"oauth_api":{"id":"one"}}})")), "UNAVAILABLE");
}

}  // namespace
}  // namespace oauthvault::custody
