#include "daemon/http/body.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "crypto/fields.h"

namespace oauthvault::http {
namespace {

constexpr std::array<std::string_view, 4> kKnown = {"id", "data", "#data", "title"};
constexpr char kCanary[] = "CANARY-8f2a";

Result<Body> Parse(std::string_view text) {
  return Body::Parse(crypto::SecretBytes::CopyOf(text), kKnown);
}

std::string TextOf(const crypto::SecretBytes& bytes) {
  return bytes.Expose(
      [](std::span<const std::uint8_t> plain) { return std::string(crypto::AsField(plain)); });
}

TEST(Body, AString_IsDecodedAndAnObjectStaysTheBytesThatCame) {
  const std::string object = "{ \"b\" : [1.50, \"\\u00e9\", {}],\n\t\"a\":null }";
  auto body = Parse("{\"id\":\"m\\u00e9\\n\", \"data\": " + object + " ,\"title\":null}");
  ASSERT_TRUE(body) << body.error().Message();
  EXPECT_EQ(**body->TakeText("id"), "m\xc3\xa9\n");
  EXPECT_EQ(TextOf(**body->TakeRaw("data")), object);
  EXPECT_FALSE(body->Has("title"));
  EXPECT_FALSE(*body->TakeText("title"));
  EXPECT_FALSE(*body->TakeSecret("#data"));
}

TEST(Body, AListAtTheTopLevelsMember_IsKeptAsItCame) {
  auto body = Parse("{\"data\":[[],{\"x\":[]}],\"id\":\"a\"}");
  ASSERT_TRUE(body);
  EXPECT_EQ(TextOf(**body->TakeRaw("data")), "[[],{\"x\":[]}]");
  EXPECT_EQ(**body->TakeText("id"), "a");
}

TEST(Body, AMemberOfAnotherKind_IsInvalid) {
  auto body = Parse("{\"id\":1,\"data\":\"x\",\"title\":{}}");
  ASSERT_TRUE(body);
  EXPECT_EQ(body->TakeText("id").error().GetCode(), Code::kInvalid);
  EXPECT_EQ(body->TakeRaw("data").error().GetCode(), Code::kInvalid);
  EXPECT_EQ(body->TakeSecret("title").error().GetCode(), Code::kInvalid);
}

TEST(Body, WhatIsNotOneObjectOfKnownNamesOnce_IsRefusedWithoutAnEcho) {
  const std::string canary(kCanary);
  const std::string deep(kMaxBodyDepth, '[');
  const std::string refused[] = {
      "",
      " ",
      canary,
      "\"" + canary + "\"",
      "[\"" + canary + "\"]",
      "null",
      "{\"" + canary + "\":1}",
      "{\"id\":\"a\",\"id\":\"" + canary + "\"}",
      "{\"data\":{\"" + canary + "\":1,\"" + canary + "\":2}}",
      "{\"id\":\"" + canary + "\"} x",
      "{\"id\":\"" + canary,
      "{\"id\":\"" + canary + "\xff\"}",
      "{\"id\":" + canary + "}",
      "{\"data\":" + deep + "\"" + canary + "\"" + std::string(kMaxBodyDepth, ']') + "}",
      std::string("{\"id\":\"a\"}\0{}", 13),
  };
  for (const std::string& text : refused) {
    const auto body = Parse(text);
    ASSERT_FALSE(body) << text;
    EXPECT_EQ(body.error().GetCode(), Code::kInvalid);
    EXPECT_EQ(body.error().Message().find(kCanary), std::string::npos);
  }
}

TEST(Body, ADepthUpToTheBound_IsTaken) {
  const std::string text = "{\"data\":" + std::string(kMaxBodyDepth - 1, '[') +
                           std::string(kMaxBodyDepth - 1, ']') + "}";
  EXPECT_TRUE(Parse(text));
}

}  // namespace
}  // namespace oauthvault::http
