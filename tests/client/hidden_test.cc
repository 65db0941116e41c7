#include "client/hidden.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace oauthvault::client {
namespace {

// What is shown of `stream` by a component that got this configuration.
std::string Shown(std::string_view configuration, std::string_view stream) {
  const auto texts = HideSecretsOf(crypto::SecretBytes::CopyOf(configuration));
  EXPECT_TRUE(texts);
  if (!texts) return {};
  Masker masker(*texts);
  std::string shown;
  masker.Take({reinterpret_cast<const std::uint8_t*>(stream.data()), stream.size()}, shown);
  masker.End(shown);
  return shown;
}

bool Has(const std::vector<std::string>& forms, std::string_view form) {
  return std::ranges::find(forms, form) != forms.end();
}

TEST(Hidden, Forms_AreThoseOfTheLibrariesThatComponentsUse) {
  // Each by the tool that is named, of: 1//x "é&€😀\n
  const auto forms = FormsOf("1//x \"\xc3\xa9&\xe2\x82\xac\xf0\x9f\x98\x80\n");
  EXPECT_TRUE(Has(forms, "1//x \"\xc3\xa9&\xe2\x82\xac\xf0\x9f\x98\x80\n"));
  // Python: json.dumps(s)
  EXPECT_TRUE(Has(forms, R"(1//x \"\u00e9&\u20ac\ud83d\ude00\n)"));
  // Python: json.dumps(s, ensure_ascii=False)
  EXPECT_TRUE(Has(forms, "1//x \\\"\xc3\xa9&\xe2\x82\xac\xf0\x9f\x98\x80\\n"));
  // PHP: json_encode($s)
  EXPECT_TRUE(Has(forms, R"(1\/\/x \"\u00e9&\u20ac\ud83d\ude00\n)"));
  // Python: json.dumps(json.dumps(s))
  EXPECT_TRUE(Has(forms, R"(1//x \\\"\\u00e9&\\u20ac\\ud83d\\ude00\\n)"));
  // Python: urllib.parse.quote(s), quote(s, safe=''), quote_plus(s)
  EXPECT_TRUE(Has(forms, "1//x%20%22%C3%A9%26%E2%82%AC%F0%9F%98%80%0A"));
  EXPECT_TRUE(Has(forms, "1%2F%2Fx%20%22%C3%A9%26%E2%82%AC%F0%9F%98%80%0A"));
  EXPECT_TRUE(Has(forms, "1%2F%2Fx+%22%C3%A9%26%E2%82%AC%F0%9F%98%80%0A"));
  // and the same in lower case
  EXPECT_TRUE(Has(forms, "1%2f%2fx%20%22%c3%a9%26%e2%82%ac%f0%9f%98%80%0a"));
}

TEST(Hidden, Base64_IsFoundInItsThreeAlignments) {
  const auto forms = FormsOf("secret?>~");
  // base64 of "secret?>~", "xsecret?>~x", "xxsecret?>~xx": what does not depend on the x.
  EXPECT_TRUE(Has(forms, "c2VjcmV0Pz5+"));
  EXPECT_TRUE(Has(forms, "NlY3JldD8+f"));
  EXPECT_TRUE(Has(forms, "zZWNyZXQ/Pn"));
  // RFC 4648, section 5.
  EXPECT_TRUE(Has(forms, "c2VjcmV0Pz5-"));
  EXPECT_TRUE(Has(forms, "zZWNyZXQ_Pn"));
}

TEST(Hidden, EveryValueUnderAHashKey_IsHiddenHoweverDeep) {
  const std::string configuration =
      R"({"parameters":{"#password":"pass-word","list":[{"#in":"in-list"}],)"
      R"("#tree":{"plain":"of-a-tree","n":[12345]},"open":"open-word"}})";
  EXPECT_EQ(Shown(configuration, "pass-word in-list of-a-tree 12345 open-word"),
            "[hidden] [hidden] [hidden] [hidden] open-word");
}

TEST(Hidden, TokensInsideData_AreHiddenWithoutIt) {
  const std::string configuration =
      R"({"authorization":{"oauth_api":{"credentials":{"#data":)"
      R"("{\"access_token\":\"ya29.token\",\"token_type\":\"Bearer\",)"
      R"(\"refresh_token\":\"1\\/\\/04refresh\"}","appKey":"the-app-key","#appSecret":""}}}})";
  // As text, as a header, in JSON of Python and PHP, in a URL, in a basic authorization's base64.
  EXPECT_EQ(Shown(configuration,
                  "Authorization: Bearer ya29.token; 1//04refresh; 1\\/\\/04refresh; "
                  "1%2F%2F04refresh; the-app-key"),
            "Authorization: Bearer [hidden]; [hidden]; [hidden]; [hidden]; the-app-key");
  // base64("the-app-key:ya29.token")
  EXPECT_EQ(Shown(configuration, "Basic dGhlLWFwcC1rZXk6eWEyOS50b2tlbg=="),
            "Basic dGhlLWFwcC1rZXk6[hidden]g==");
  // The whole of it, as the configuration has it.
  EXPECT_EQ(Shown(configuration, configuration).find("ya29"), std::string::npos);
}

TEST(Hidden, TokensInAForm_AreHiddenAsTheyStandAndDecoded) {
  const std::string configuration =
      R"({"#data":"oauth_token=abc%2Fdefgh&oauth_token_secret=ijklmnopq"})";
  EXPECT_EQ(Shown(configuration, "abc%2Fdefgh abc/defgh ijklmnopq oauth_token"),
            "[hidden] [hidden] [hidden] oauth_token");
}

TEST(Hidden, LinesOfAKey_AreHiddenOneByOne) {
  const std::string configuration = R"({"#key":"-----BEGIN KEY-----\nMIIEvQIBADANBg\n"})";
  EXPECT_EQ(Shown(configuration, "  MIIEvQIBADANBg\r\n"), "  [hidden]\r\n");
}

TEST(Hidden, ShortValues_AreNotHidden) {
  EXPECT_EQ(Shown(R"({"#a":"abc","#b":"","#c":null,"#d":true,"#e":12})", "abc null true 12"),
            "abc null true 12");
  EXPECT_EQ(Shown(R"({"#a":"abcd"})", "abcd"), "[hidden]");
  EXPECT_EQ(Shown(R"({"#a":"{\"b\":\"Bearer\",\"c\":\"12345678\"}"})", "Bearer 12345678"),
            "Bearer [hidden]");
}

TEST(Hidden, WhatIsNoJson_IsRefused) {
  EXPECT_FALSE(HideSecretsOf(crypto::SecretBytes::CopyOf("{")));
}

}  // namespace
}  // namespace oauthvault::client
