#include "client/configuration.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace oauthvault::client {
namespace {

constexpr const char* kVaultNeeded = "(the vault)";

/// The result as text, `(the vault)`, or the code of the error.
std::string Finish(std::string_view text, OauthIdInOutput oauth_id = OauthIdInOutput::kKept,
                   Injected injected = Injected::kClear) {
  auto finished = FinishWithoutVault(
      std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()), oauth_id,
      injected);
  if (!finished) return std::string(NameOf(finished.error().code));
  if (!finished->has_value()) return kVaultNeeded;
  return (*finished)->Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(bytes.begin(), bytes.end());
  });
}

TEST(Configuration, WithoutAuthorization_GetsAnEmptyOneAndKeepsEveryOtherByte) {
  EXPECT_EQ(Finish("{}"), R"({"authorization":{}})");
  EXPECT_EQ(Finish("{ \"n\": 12345678901234567890123.10 }\n"),
            "{ \"n\": 12345678901234567890123.10 ,\"authorization\":{}}\n");
  EXPECT_EQ(Finish(R"({"authorization":null,"z":1,"a":2})"),
            R"({"authorization":{},"z":1,"a":2})");
  EXPECT_EQ(Finish(R"({"authorization":[]})"), R"({"authorization":{}})");
  EXPECT_EQ(Finish(R"({ "authorization": {} })"), R"({ "authorization": {} })");
}

TEST(Configuration, WithNothingToLookUp_PassesThroughByteForByte) {
  for (const char* text :
       {R"({"authorization":{"oauth_api":{}}})", R"({"authorization":{"oauth_api":{"id":null}}})",
        R"({"authorization":{"oauth_api":{"credentials":[]}}})",
        R"({"authorization":{"oauth_api":{"id":"main","credentials":{"#data":"x"}}}})",
        R"({"authorization":{"oauth_api":{"version":2}}})"}) {
    EXPECT_EQ(Finish(text), text);
  }
}

TEST(Configuration, WithAnIdOrASealedValue_NeedsTheVault) {
  EXPECT_EQ(Finish(R"({"authorization":{"oauth_api":{"id":"main"}}})"), kVaultNeeded);
  EXPECT_EQ(Finish(R"({"authorization":{"oauth_api":{"id":7}}})"), kVaultNeeded);
  for (const char* sealed :
       {R"({"#a":"KBC::ProjectSecure::x"})", R"({"p":{"#list":["KBC::ProjectSecure::x"]}})",
        R"({"#a":[[{"#b":"KBC::Encrypted==x"}]]})",
        R"({"authorization":{"oauth_api":{"credentials":{"#data":"KBC::ProjectSecure::x"}}}})"}) {
    EXPECT_EQ(Finish(sealed), kVaultNeeded) << sealed;
  }
}

TEST(Configuration, WithWhatOnlyLooksSealed_NeedsNoVault) {
  for (const std::string text :
       {R"("#text":"see KBC::")", R"("list":["KBC::ProjectSecure::x"])",
        R"("#a":{"b":"KBC::ProjectSecure::x"})", R"("#a":[{"b":"KBC::ProjectSecure::x"}])"}) {
    EXPECT_EQ(Finish("{" + text + "}"), "{" + text + R"(,"authorization":{}})");
  }
}

TEST(Configuration, OfASandbox_NeedsTheVaultForAnIdOnly) {
  const auto sandbox = [](std::string_view text) {
    return Finish(text, OauthIdInOutput::kKept, Injected::kSandbox);
  };
  EXPECT_EQ(sandbox(R"({"#a":"KBC::ProjectSecure::x"})"),
            R"({"#a":"KBC::ProjectSecure::x","authorization":{}})");
  EXPECT_EQ(sandbox(R"({"authorization":{"oauth_api":{"id":"main"}}})"), kVaultNeeded);
}

TEST(Configuration, DropId_TakesIdAndVersionAwayBesideCredentials) {
  EXPECT_EQ(Finish(R"({"authorization":{"oauth_api":{"id":"m","version":2,"credentials":[]}}})",
                   OauthIdInOutput::kDropped),
            R"({"authorization":{"oauth_api":{"credentials":[]}}})");
}

TEST(Configuration, ThatNobodyCanRead_IsInvalid) {
  const std::string deep = std::string(70, '[') + std::string(70, ']');
  for (const std::string& text :
       {std::string(""), std::string("{"), std::string("[]"), std::string("7"),
        std::string("{\"a\":\"\xFF\"}"), "{\"a\":" + deep + "}",
        std::string(R"({"authorization":"x"})"), std::string(R"({"authorization":{"other":{}}})"),
        std::string(R"({"authorization":{"oauth_api":"x"}})"), std::string("{} {}")}) {
    EXPECT_EQ(Finish(text), "INVALID") << text;
  }
}

}  // namespace
}  // namespace oauthvault::client
