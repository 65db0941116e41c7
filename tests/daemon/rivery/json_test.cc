#include "daemon/rivery/json.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "daemon/rivery/growing.h"

namespace oauthvault::rivery {
namespace {

constexpr std::array<std::string_view, 6> kFields = {"_id",    "status", "Code",
                                                     "oauth2", "name",   "next_page"};
constexpr std::array<std::string_view, 1> kSecrets = {"pull_id"};

Result<Document> Read(const std::string& text, std::size_t max_items = 10) {
  return ReadDocument(crypto::SecretBytes::CopyOf(text),
                      {.fields = kFields, .secrets = kSecrets, .max_items = max_items});
}

std::string Text(const crypto::SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}

TEST(JsonTest, ReadDocument_TakesOutWantedFieldsOnly) {
  const auto document =
      Read(R"({"_id":"a","status":true,"Code":402,"other":"x","deep":{"name":"no"},"name":null})");
  ASSERT_TRUE(document);
  EXPECT_TRUE(document->is_object);
  EXPECT_FALSE(document->is_list);
  EXPECT_EQ(document->fields.size(), 3U);
  EXPECT_EQ(*document->TextAt("_id"), "a");
  EXPECT_TRUE(IsSet(document->fields, "status"));
  EXPECT_EQ(std::get<std::int64_t>(document->fields.at("Code")), 402);
}

TEST(JsonTest, ReadDocument_ReadsIdsInBothForms) {
  const auto document = Read(R"([{"_id":{"$oid":"0123"}},{"_id":"4567","x":{"$oid":"no"}}])");
  ASSERT_TRUE(document);
  ASSERT_EQ(document->items.size(), 2U);
  EXPECT_EQ(*TextAt(document->items[0], "_id"), "0123");
  EXPECT_EQ(*TextAt(document->items[1], "_id"), "4567");
  EXPECT_EQ(document->items[1].size(), 1U);
}

TEST(JsonTest, ReadDocument_ReadsListsBareAndPaged) {
  const auto bare = Read(R"([{"name":"a"},{"name":"b","sub":[{"name":"c"}]},7])");
  ASSERT_TRUE(bare);
  EXPECT_TRUE(bare->is_list);
  EXPECT_EQ(bare->items.size(), 2U);
  const auto paged = Read(R"({"items":[{"name":"a"}],"others":[{"name":"b"}],"next_page":"u"})");
  ASSERT_TRUE(paged);
  EXPECT_TRUE(paged->is_list);
  ASSERT_EQ(paged->items.size(), 1U);
  EXPECT_EQ(*TextAt(paged->items[0], "name"), "a");
  EXPECT_EQ(*paged->TextAt("next_page"), "u");
  EXPECT_FALSE(Read(R"({"others":[{"name":"b"}]})")->is_list);
  EXPECT_TRUE(Read("")->is_empty);
}

TEST(JsonTest, ReadDocument_KeepsSecretsOutOfTheFields) {
  const auto document = Read(R"({"pull_id":"a\"b","name":"n","deep":{"pull_id":"no"}})");
  ASSERT_TRUE(document);
  EXPECT_EQ(document->fields.size(), 1U);
  ASSERT_EQ(document->secrets.size(), 1U);
  EXPECT_EQ(Text(document->secrets.at("pull_id")), "a\"b");
}

TEST(JsonTest, ReadDocument_SeesTokensByTheirKeys) {
  const struct {
    std::string text;
    bool token;
    bool access_token;
  } rows[] = {
      {R"({"access_token":"x"})", true, true},
      {R"({"refresh_token":"x"})", true, true},
      {R"({"oauth_token":"x"})", true, false},
      {R"({"accessToken":"x"})", true, false},
      {R"({"credentials":{"access_token":"x"}})", true, true},
      {R"({"access_token":""})", false, false},
      {R"({"access_token":null})", false, false},
      {R"({"token_type":"Bearer","message":"access_token"})", false, false},
      {R"(["access_token"])", false, false},
  };
  for (const auto& row : rows) {
    const auto document = Read(row.text);
    ASSERT_TRUE(document) << row.text;
    EXPECT_EQ(document->holds_token, row.token) << row.text;
    EXPECT_EQ(document->holds_access_token, row.access_token) << row.text;
  }
}

TEST(JsonTest, ReadDocument_RefusesWhatIsNotStrict) {
  const std::string rows[] = {
      "{",
      "{}x",
      R"({"a":1,"a":2})",
      R"({"b":{"access_token":"x","access_token":"y"}})",
      R"({"a":1,})",
      "{'a':1}",
      "// c\n{}",
      "{\"a\":\"\xff\"}",
      "\xef\xbb\xbf{}",
      std::string("{}\0{}", 5),
      R"({"a":1e999})",
      "<html></html>",
      std::string(33, '[') + std::string(33, ']'),
      std::string(1'000'000, '['),
      std::string(1'000'000, '{'),
  };
  for (const std::string& row : rows) {
    const auto document = Read(row);
    ASSERT_FALSE(document) << row.substr(0, 40);
    EXPECT_EQ(document.error().GetCode(), Code::kUnavailable) << row.substr(0, 40);
  }
  EXPECT_TRUE(Read(std::string(32, '[') + std::string(32, ']')));
}

TEST(JsonTest, ReadDocument_StopsAtTheMostItems) {
  EXPECT_TRUE(Read("[{},{}]", 2));
  const auto document = Read("[{},{},{}]", 2);
  ASSERT_FALSE(document);
  EXPECT_EQ(document.error().GetCode(), Code::kExhausted);
}

TEST(JsonTest, Quoted_EscapesAndRefusesWhatIsNotUtf8) {
  EXPECT_EQ(Quoted("a\"b\\c\n\xc3\xa9").value_or(""), "\"a\\\"b\\\\c\\u000a\xc3\xa9\"");
  EXPECT_FALSE(Quoted("\xc3"));
  EXPECT_FALSE(Quoted("\xed\xa0\x80"));
}

TEST(JsonTest, ExpiryOfJws_ReadsTheHeaderAsAHint) {
  const auto expiry = [](std::string_view jws) {
    return ExpiryOfJws(crypto::SecretBytes::CopyOf(jws));
  };
  // {"alg":"HS256","iat":1700000000,"exp":1700003600}
  EXPECT_EQ(expiry("eyJhbGciOiJIUzI1NiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAzNjAwfQ.e30.c2ln"),
            1700003600);
  EXPECT_EQ(expiry("e30.e30.c2ln"), 0);
  EXPECT_EQ(expiry("eyJleHAiOi0xfQ.e30.c2ln"), 0);      // {"exp":-1}
  EXPECT_EQ(expiry("eyJleHAiOiJ4In0.e30.c2ln"), 0);     // {"exp":"x"}
  EXPECT_EQ(expiry("not a jws"), 0);
  EXPECT_EQ(expiry("a+b.c.d"), 0);
  EXPECT_EQ(expiry(""), 0);
  EXPECT_EQ(expiry(std::string(5000, 'e') + ".e30.c2ln"), 0);
}

TEST(GrowingTest, Append_GrowsToItsBoundAndNoFurther) {
  GrowingSecret growing(10'000);
  const std::string part(999, 'x');
  std::string expected;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(growing.Append(part));
    expected += part;
  }
  EXPECT_FALSE(growing.Append(std::string_view("0123456789!")));
  EXPECT_EQ(growing.Size(), 9990U);
  EXPECT_EQ(Text(growing.Take()), expected);
  EXPECT_EQ(growing.Size(), 0U);
  EXPECT_TRUE(growing.Append(std::string_view("again")));
  EXPECT_EQ(Text(growing.Take()), "again");
}

TEST(GrowingTest, AppendQuoted_TakesPrintableAsciiOnly) {
  const auto quoted = [](std::string_view text) -> std::string {
    GrowingSecret growing(100);
    const auto bytes = crypto::SecretBytes::CopyOf(text);
    const bool is_taken = bytes.Expose([&](auto span) { return growing.AppendQuoted(span); });
    return is_taken ? Text(growing.Take()) : "refused";
  };
  EXPECT_EQ(quoted("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(quoted("a\nb"), "refused");
  EXPECT_EQ(quoted("\xc3\xa9"), "refused");
  EXPECT_EQ(quoted(std::string(99, 'a')), "refused");
}

}  // namespace
}  // namespace oauthvault::rivery
