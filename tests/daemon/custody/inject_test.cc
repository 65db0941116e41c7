#include "daemon/custody/inject.h"

#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/custody/encrypt.h"
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
    Injection asked{.document = BytesOf(document), .id_beside = id_beside};
    return Inject(std::move(asked), right, project);
  }

  Result<crypto::SecretBytes> Inject(Injection asked, Right right = Right::kReveal,
                                     std::string_view project = "acme",
                                     std::string_view component = "sheets") {
    std::promise<Result<crypto::SecretBytes>> promise;
    auto future = promise.get_future();
    custody::Inject(vault_.PermitFor(right, project, component), std::move(asked),
                    fakes::TestVault::Caller(), vault_.Store(), vault_.Keys(), vault_.Trail(),
                    [&](Result<crypto::SecretBytes> injected) {
                      promise.set_value(std::move(injected));
                    });
    return future.get();
  }
  Injection Sandbox(std::string_view document) {
    return {.document = BytesOf(document), .secrets = Secrets::kSealed};
  }
  std::string Sealed(std::string_view json, SealFor to = {}) {
    auto sealed = EncryptDocument(vault_.PermitFor(Right::kEncrypt), to, BytesOf(json),
                                  vault_.Keys(), vault_.Store());
    EXPECT_TRUE(sealed) << sealed.error().Message();
    return sealed ? TextOf(*sealed) : std::string();
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

TEST_F(CustodyInject, Inject_OpensSealedValuesAndRecordsHowMany) {
  const std::string document = Sealed(R"({"#a":"canary","p":{"#b":[1.50,null,true]},"c":"x"})");
  EXPECT_EQ(document.find("canary"), std::string::npos);
  const auto injected = Inject(document);
  ASSERT_TRUE(injected) << injected.error().Message();
  EXPECT_EQ(TextOf(*injected),
            R"({"#a":"canary","p":{"#b":[1.50,null,true]},"c":"x","authorization":{}})");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Inject allowed"}));
  const auto line = vault_.Lines().back();
  EXPECT_EQ(line.at("object"), "values:4");
  EXPECT_EQ(line.at("right"), "reveal");
  EXPECT_EQ(line.at("project"), "acme");
  EXPECT_EQ(line.at("component"), "sheets");
}

TEST_F(CustodyInject, Inject_OpensSealedValuesBesideCredentialsUnderOneLine) {
  vault_.Put("one", "{}");
  const auto injected =
      Inject(Sealed(R"({"#a":"x","authorization":{"oauth_api":{"id":"one"}}})"));
  ASSERT_TRUE(injected) << injected.error().Message();
  const Json document = Json::parse(TextOf(*injected));
  EXPECT_EQ(document.at("#a"), "x");
  EXPECT_EQ(document.at("authorization").at("oauth_api").at("credentials").at("#data"), "{}");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Inject allowed"}));
  EXPECT_EQ(vault_.Lines().back().at("object"), "values:1");
  EXPECT_EQ(vault_.Lines().back().at("oauth_id"), "one");
}

TEST_F(CustodyInject, Inject_OpensTheSealedValuesOfABypass) {
  const auto injected = Inject(Sealed(
      R"({"authorization":{"oauth_api":{"id":"x","credentials":{"#data":"own","appKey":"k"}}}})"));
  ASSERT_TRUE(injected) << injected.error().Message();
  EXPECT_EQ(TextOf(*injected),
            R"({"authorization":{"oauth_api":{"id":"x","credentials":{"#data":"own",)"
            R"("appKey":"k"}}}})");
}

TEST_F(CustodyInject, Inject_OfAValueThatDoesNotOpenGivesNothingAndLeavesTwoLines) {
  vault_.Put("one", "{}");
  const std::string sealed = Sealed(R"({"#a":"canary"})");
  for (const std::string& document :
       {R"({"#ok":"x","#a":)" + sealed.substr(6, sealed.size() - 7).replace(40, 2, "AA") + "}",
        std::string(R"({"#a":"KBC::ProjectSecure::"})"),
        std::string(R"({"#a":"KBC::ProjectSecureKV::canary"})")}) {
    const std::size_t before = vault_.Acts().size();
    const auto injected = Inject(document);
    ASSERT_FALSE(injected);
    EXPECT_EQ(injected.error().GetCode(), Code::kInvalid);
    EXPECT_EQ(injected.error().GetSubject(), "");
    EXPECT_EQ(injected.error().Message().find("canary"), std::string::npos);
    const Acts acts = vault_.Acts();
    ASSERT_EQ(acts.size(), before + 2);
    EXPECT_EQ(acts[before], "Credentials.Inject allowed");
    EXPECT_EQ(acts[before + 1], "Credentials.Inject failed INVALID");
  }
}

TEST_F(CustodyInject, Inject_OpensNoValueWhileTheTrailCannotRecord) {
  const std::string document = Sealed(R"({"#a":"canary"})");
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(Inject(document)), "UNAVAILABLE");
}

TEST_F(CustodyInject, Inject_OpensValuesForRevealOnly) {
  const std::string document = Sealed(R"({"#a":"canary"})");
  for (const Right right : {Right::kDescribe, Right::kEncrypt, Right::kConnect, Right::kStore}) {
    EXPECT_EQ(CodeOf(Inject(document, IdBeside::kKeep, right)), "DENIED");
  }
  EXPECT_EQ(vault_.Acts(), Acts{});
}

TEST_F(CustodyInject, Sandbox_PutsSealedCopiesAndOpensNothing) {
  vault_.Put("one", R"({"token":"canary"})");
  const std::string sealed = Sealed(R"({"#a":"canary"})");
  const std::string document =
      sealed.substr(0, sealed.size() - 1) + R"(,"authorization":{"oauth_api":{"id":"one"}}})";
  const auto injected = Inject(Sandbox(document), Right::kDescribe);
  ASSERT_TRUE(injected) << injected.error().Message();
  const std::string text = TextOf(*injected);
  EXPECT_TRUE(text.starts_with(sealed.substr(0, sealed.size() - 1))) << text;
  EXPECT_EQ(text.find("canary"), std::string::npos);
  const Json credentials =
      Json::parse(text).at("authorization").at("oauth_api").at("credentials");
  EXPECT_EQ(credentials.size(), 8u);
  EXPECT_TRUE(credentials.at("#data").get<std::string>().starts_with("KBC::ProjectSecure::"));
  EXPECT_TRUE(
      credentials.at("#appSecret").get<std::string>().starts_with("KBC::ComponentSecure::"));
  EXPECT_EQ(credentials.at("appKey"), fakes::kComponentClient);
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Inject allowed"}));
  const auto line = vault_.Lines().back();
  EXPECT_EQ(line.at("object"), "sandbox");
  EXPECT_EQ(line.at("right"), "describe");
  EXPECT_EQ(line.at("oauth_id"), "one");

  // What a sandbox showed is a bypass for a real run.
  const auto opened = Inject(text);
  ASSERT_TRUE(opened) << opened.error().Message();
  const Json run = Json::parse(TextOf(*opened));
  EXPECT_EQ(run.at("#a"), "canary");
  const Json clear = run.at("authorization").at("oauth_api").at("credentials");
  EXPECT_EQ(clear.at("#data"), R"({"token":"canary"})");
  EXPECT_EQ(clear.at("#appSecret"), fakes::kComponentSecret);
}

TEST_F(CustodyInject, Sandbox_WithoutAnIdNeedsNeitherStoreNorTrail) {
  const std::uint64_t reads = vault_.Engine().ReadCount();
  EXPECT_EQ(TextOf(*Inject(Sandbox(R"({"#a":"KBC::ProjectSecure::anything"})"), Right::kDescribe)),
            R"({"#a":"KBC::ProjectSecure::anything","authorization":{}})");
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
  EXPECT_EQ(vault_.Acts(), Acts{});
}

TEST_F(CustodyInject, Sandbox_OfUnknownCredentialsIsNotFoundAndRecorded) {
  EXPECT_EQ(CodeOf(Inject(Sandbox(R"({"authorization":{"oauth_api":{"id":"two"}}})"),
                          Right::kDescribe)),
            "NOT_FOUND");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Inject failed NOT_FOUND"}));
}

}  // namespace
}  // namespace oauthvault::custody
