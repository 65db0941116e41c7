#include "daemon/custody/fingerprints.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "crypto/sealed.h"

namespace oauthvault::custody {
namespace {

const crypto::SecretBytes& Key() {
  static const crypto::SecretBytes key = crypto::RandomKey();
  return key;
}
crypto::SecretBytes Bytes(std::string_view text) { return crypto::SecretBytes::CopyOf(text); }
std::vector<std::string> Of(std::string_view data) {
  return FingerprintsOf(Key(), "acme", Bytes(data));
}
bool Has(const std::vector<std::string>& all, std::string_view value) {
  return std::ranges::find(all, FingerprintOf(Key(), "acme", Bytes(value))) != all.end();
}

TEST(Fingerprints, AreOfTheWholeValueAndOfItsLongerTexts) {
  const std::string data = R"({"access_token":"ya29.a-long-access-token","type":"Bearer",)"
                           R"("deep":[{"refresh_token":"1//a-longer-refresh-token"}]})";
  const auto all = Of(data);
  EXPECT_EQ(all.size(), 3U);
  EXPECT_TRUE(Has(all, data));
  EXPECT_TRUE(Has(all, "ya29.a-long-access-token"));
  EXPECT_TRUE(Has(all, "1//a-longer-refresh-token"));
  EXPECT_FALSE(Has(all, "Bearer"));
}

TEST(Fingerprints, AnEscapedTextIsFoundAsItReads) {
  EXPECT_TRUE(Has(Of(R"(["a\/token\u0041with-escapes"])"), "a/tokenAwith-escapes"));
}

TEST(Fingerprints, OfManyTextsTheLongestAreTaken) {
  std::string data = "[";
  for (int i = 0; i < 40; ++i) {
    if (i != 0) data += ',';
    data += '"' + std::string(static_cast<std::size_t>(20 + i), 'x') + '"';
  }
  data += "]";
  const auto all = Of(data);
  EXPECT_EQ(all.size(), 1 + kMaxLeaves);
  EXPECT_TRUE(Has(all, std::string(59, 'x')));
  EXPECT_FALSE(Has(all, std::string(43, 'x')));
}

TEST(Fingerprints, WhatIsNotJsonHasOneOfTheWhole) {
  EXPECT_EQ(Of("a token that is no JSON").size(), 1U);
  EXPECT_EQ(Of("[\"a-long-text-of-a-document\"").size(), 1U);
}

TEST(Fingerprints, AValueHasAnotherOneInEachProjectAndUnderEachKey) {
  const auto value = Bytes("the same value");
  EXPECT_NE(FingerprintOf(Key(), "acme", value), FingerprintOf(Key(), "other", value));
  EXPECT_NE(FingerprintOf(Key(), "acme", value),
            FingerprintOf(crypto::RandomKey(), "acme", value));
  EXPECT_EQ(FingerprintOf(Key(), "acme", value), FingerprintOf(Key(), "acme", value));
}

TEST(Fingerprints, StandInALineAsHexadecimalTexts) {
  EXPECT_EQ(TextOf({std::string("\x00\xff", 2), "a"}), "00ff 61");
  EXPECT_EQ(TextOf({}), "");
}

}  // namespace
}  // namespace oauthvault::custody
