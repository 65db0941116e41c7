#include "daemon/custody/encrypt.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/custody/configuration.h"
#include "storage/utf8.h"
#include "tests/daemon/custody/generated_document.h"
#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::custody {
namespace {

using access::Right;
using fakes::BytesOf;
using fakes::CodeOf;
using fakes::TextOf;
using Json = nlohmann::ordered_json;

class CustodyEncrypt : public testing::Test {
 protected:
  Result<crypto::SecretBytes> Encrypt(std::string_view json, const SealFor& to = {}) {
    return EncryptDocument(vault_.PermitFor(Right::kEncrypt), to, BytesOf(json), vault_.Keys(),
                           vault_.Store());
  }
  std::string Sealed(std::string_view json, const SealFor& to = {}) {
    auto sealed = Encrypt(json, to);
    EXPECT_TRUE(sealed) << sealed.error().Message();
    return sealed ? TextOf(*sealed) : std::string();
  }
  ValueContext Context() const { return {vault_.project, vault_.component, {}, {}}; }

  /// The document with all its values opened; it is made a configuration for that.
  std::string Opened(std::string_view document) {
    auto configuration = Configuration::Parse(BytesOf(document));
    EXPECT_TRUE(configuration) << configuration.error().Message();
    if (!configuration) return {};
    const auto opened = configuration->Open(
        [this](std::string_view value) { return OpenValue(vault_.Keys(), Context(), value); });
    EXPECT_TRUE(opened) << opened.error().Message();
    return TextOf(configuration->Write(IdBeside::kKeep));
  }

  fakes::TestVault vault_;
};

TEST_F(CustodyEncrypt, Encrypt_SealsEveryScalarUnderAHashKeyAndNothingElse) {
  struct Row {
    std::string_view in;
    std::string_view out;  // `S` stands for a sealed value
  };
  const Row rows[] = {
      {R"({})", R"({})"},
      {R"([])", R"([])"},
      {R"({ "a" : 1.50 , "b" : -0 })", R"({"a":1.50,"b":-0})"},
      {R"({"#a":"x"})", R"({"#a":"S"})"},
      {R"({"#a":""})", R"({"#a":"S"})"},
      {R"({"#a":1.50e3,"#b":true,"#c":false,"#d":null})",
       R"({"#a":"S","#b":"S","#c":"S","#d":"S"})"},
      {R"({"#a":["x",1,null]})", R"({"#a":["S","S","S"]})"},
      {R"({"#a":[["x"],{"b":"x"},{"#c":"x"}]})", R"({"#a":[["S"],{"b":"x"},{"#c":"S"}]})"},
      {R"({"#a":{"b":"x","#c":"x"}})", R"({"#a":{"b":"x","#c":"S"}})"},
      {R"({"#a":{},"#b":[]})", R"({"#a":{},"#b":[]})"},
      {R"([{"#a":"x"},"y"])", R"([{"#a":"S"},"y"])"},
      {R"({"\u0023a":"x"})", R"({"#a":"S"})"},
      {R"({"#":"x"})", R"({"#":"S"})"},
      {R"({"a#":"x"," #a":"x"})", R"({"a#":"x"," #a":"x"})"},
      {R"({"#a":"KBC::ProjectSecure::x"})", R"({"#a":"KBC::ProjectSecure::x"})"},
      {R"({"#a":"KBC::Encrypted==x"})", R"({"#a":"KBC::Encrypted==x"})"},
      {R"({"#a":"KBC::ConfigSecureGKMS::x"})", R"({"#a":"KBC::ConfigSecureGKMS::x"})"},
      {R"({"#a":"{{ name }}"})", R"({"#a":"{{ name }}"})"},
      {R"({"#a":"{{name}}"})", R"({"#a":"S"})"},
      {R"({"#a":"x{{ name }}"})", R"({"#a":"S"})"},
      {R"({"#a":"{{ two names }}"})", R"({"#a":"S"})"},
      {R"({"#a":"{{  }}"})", R"({"#a":"S"})"},
      {R"({"#a":"KBC::Other::x"})", R"({"#a":"S"})"},
      {R"({"authorization":{"any":{"#thing":"x"}}})",
       R"({"authorization":{"any":{"#thing":"S"}}})"},
  };
  for (const Row& row : rows) {
    std::string text = Sealed(row.in);
    if (row.out.find("\"S\"") != std::string_view::npos) {
      std::string marked;
      for (std::size_t at = 0; at < text.size();) {
        constexpr std::string_view kPrefix = "\"KBC::ProjectSecure::A";
        const std::size_t value = text.find(kPrefix, at);
        if (value == std::string::npos) {
          marked += text.substr(at);
          break;
        }
        marked += text.substr(at, value - at) + "\"S\"";
        at = text.find('"', value + 1) + 1;
      }
      text = marked;
    }
    EXPECT_EQ(text, row.out) << row.in;
  }
}

TEST_F(CustodyEncrypt, Encrypt_SealsForEachScopeUnderItsPrefix) {
  const auto configuration = *ConfigurationId::Parse("c-1");
  const std::vector<std::pair<SealFor, std::string_view>> rows{
      {{ValueScope::kComponent, {}, {}}, "KBC::ComponentSecure::"},
      {{ValueScope::kProject, {}, {}}, "KBC::ProjectSecure::"},
      {{ValueScope::kConfiguration, configuration, {}}, "KBC::ConfigSecure::"},
      {{ValueScope::kProjectWide, {}, {}}, "KBC::ProjectWideSecure::"},
      {{ValueScope::kBranchType, {}, BranchType::kDev}, "KBC::BranchTypeSecure::"}};
  for (const auto& [to, prefix] : rows) {
    EXPECT_TRUE(Sealed(R"({"#a":1})", to).starts_with(R"({"#a":")" + std::string(prefix)));
  }
}

TEST_F(CustodyEncrypt, Encrypt_RefusesNamesThatTheScopeDoesNotTakeOrLacks) {
  const auto configuration = *ConfigurationId::Parse("c-1");
  for (const SealFor& to : {SealFor{ValueScope::kProject, configuration, {}},
                            SealFor{ValueScope::kProject, {}, BranchType::kDev},
                            SealFor{ValueScope::kComponent, configuration, {}},
                            SealFor{ValueScope::kConfiguration, {}, {}},
                            SealFor{ValueScope::kConfiguration, configuration, BranchType::kDev},
                            SealFor{ValueScope::kBranchType, {}, {}},
                            SealFor{ValueScope::kProjectWide, {}, BranchType::kDefault}}) {
    EXPECT_EQ(CodeOf(Encrypt(R"({"#a":1})", to)), "INVALID");
  }
  EXPECT_EQ(*ScopeFor({}, {}), ValueScope::kProject);
  EXPECT_EQ(*ScopeFor(configuration, {}), ValueScope::kConfiguration);
  EXPECT_EQ(*ScopeFor({}, BranchType::kDev), ValueScope::kBranchType);
  EXPECT_FALSE(ScopeFor(configuration, BranchType::kDev));
}

TEST_F(CustodyEncrypt, Encrypt_NeedsAPermitToEncryptAndARegisteredPair) {
  const auto ask = [&](access::Permit permit) {
    return CodeOf(EncryptDocument(permit, {}, BytesOf(R"({"#a":1})"), vault_.Keys(),
                                  vault_.Store()));
  };
  for (const Right right : {Right::kReveal, Right::kStore, Right::kDescribe, Right::kConnect}) {
    EXPECT_EQ(ask(vault_.PermitFor(right)), "DENIED");
  }
  EXPECT_EQ(ask(vault_.PermitFor(Right::kEncrypt, "nobody")), "NOT_FOUND");
  EXPECT_EQ(ask(vault_.PermitFor(Right::kEncrypt, "acme", "nothing")), "NOT_FOUND");
  EXPECT_EQ(ask(vault_.PermitFor(Right::kEncrypt)), "OK");
}

TEST_F(CustodyEncrypt, Encrypt_RefusesDocumentsWithoutEchoingThem) {
  for (const std::string& document :
       {std::string(), std::string("canary"), std::string(R"("canary")"), std::string("null"),
        std::string(R"({"#canary":1,"#canary":2})"), std::string("{\"#a\":\"canary\xff\"}"),
        R"({"#canary":)" + std::string(70, '['),
        R"({"#a":")" + std::string(240 * 1024, 'c') + "\"}",
        std::string(R"({"#canary":1e999})")}) {
    const auto sealed = Encrypt(document);
    ASSERT_FALSE(sealed);
    EXPECT_EQ(sealed.error().GetCode(), Code::kInvalid);
    EXPECT_EQ(sealed.error().Message().find("canary"), std::string::npos);
  }
}

TEST_F(CustodyEncrypt, Encrypt_RefusesWhatWouldBeTooLargeToInject) {
  std::string many = R"({"#a":[1)";
  for (int i = 0; i < 2000; ++i) many += ",1";
  EXPECT_EQ(CodeOf(Encrypt(many + "]}")), "INVALID");
  EXPECT_EQ(CodeOf(Encrypt(R"({"#a":")" + std::string(180 * 1024, 'x') + "\"}")), "INVALID");
  const std::string sealed = Sealed(R"({"#a":")" + std::string(179 * 1024, 'x') + "\"}");
  EXPECT_LE(sealed.size(), kMaxDocumentSize);
  EXPECT_TRUE(Configuration::Parse(BytesOf(sealed)));
}

TEST_F(CustodyEncrypt, EncryptText_SealsTheWholeBody) {
  const auto encrypt = [&](std::string_view text) {
    return EncryptText(vault_.PermitFor(Right::kEncrypt), {}, BytesOf(text), vault_.Keys(),
                       vault_.Store());
  };
  const std::string_view text = "a \"secret\"\nof two lines";
  const auto sealed = encrypt(text);
  ASSERT_TRUE(sealed);
  const std::string value = TextOf(*sealed);
  EXPECT_TRUE(value.starts_with("KBC::ProjectSecure::")) << value;
  EXPECT_EQ(Json::parse(Opened(R"({"#a":")" + value + "\"}")).at("#a"), text);
  EXPECT_EQ(TextOf(*encrypt(value)), value);
  EXPECT_EQ(TextOf(*encrypt("{{ name }}")), "{{ name }}");
  EXPECT_TRUE(encrypt(""));
  EXPECT_EQ(CodeOf(encrypt("\xff")), "INVALID");
  EXPECT_EQ(CodeOf(encrypt(std::string(240 * 1024, 'x'))), "INVALID");
  EXPECT_EQ(CodeOf(EncryptText(vault_.PermitFor(Right::kReveal), {}, BytesOf(text), vault_.Keys(),
                               vault_.Store())),
            "DENIED");
}

// What may be sealed must open to the same document; what is sealed must stay as it is.
TEST_F(CustodyEncrypt, SealThenOpen_GivesTheSameDocument_ForGeneratedDocuments) {
  int sealed_values = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    fakes::Generator generator(seed);
    const Json document = generator.Document();
    const std::string sealed = Sealed(generator.Spelled(document));
    EXPECT_EQ(Opened(sealed), document.dump()) << "seed " << seed;
    EXPECT_EQ(Sealed(sealed), sealed) << "seed " << seed;
    for (std::size_t at = 0; (at = sealed.find("KBC::ProjectSecure::", at)) != std::string::npos;
         ++at) {
      ++sealed_values;
    }
    if (HasFailure()) break;
  }
  EXPECT_GT(sealed_values, 300);  // the generator makes enough of them
}

}  // namespace
}  // namespace oauthvault::custody
