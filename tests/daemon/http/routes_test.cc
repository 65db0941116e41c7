#include "daemon/http/routes.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace oauthvault::http {
namespace {

Result<Matched> Find(std::string method, std::string path) {
  Request request;
  request.method = std::move(method);
  request.path = std::move(path);
  return Match(request);
}

TEST(Routes, APath_FindsItsRouteAndItsIds) {
  const auto found = Find("GET", "/credentials/keboola.ex-google-drive/main");
  ASSERT_TRUE(found);
  ASSERT_NE(found->route, nullptr);
  EXPECT_EQ(found->route->act, "Credentials.Describe");
  EXPECT_EQ(found->component, "keboola.ex-google-drive");
  EXPECT_EQ(found->id, "main");
  EXPECT_EQ(Find("GET", "/credentials/a%2Eb/c%2dd")->component, "a.b");
}

TEST(Routes, AnotherMethod_HasTheMethodsThatThereAre) {
  const auto found = Find("PUT", "/manage/acme.ex-drive");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->route, nullptr);
  EXPECT_EQ(found->allow, "GET, PATCH, DELETE");
}

TEST(Routes, WhatIsNoPathOfOurs_HasNoRoute) {
  for (const char* path : {"", "/", "*", "manage", "/managed", "/manage/", "/credentials",
                           "/credentials/", "/credentials/c/i/x", "//manage", "/manage//",
                           "/authorize/c/back", "/health/", "/metrics/x", "/Manage"}) {
    const auto found = Find("GET", path);
    const bool no_route = found ? found->route == nullptr
                                : found.error().GetCode() == Code::kInvalid;
    EXPECT_TRUE(no_route) << path;
  }
}

TEST(Routes, AnIdThatIsNone_IsInvalidAndNotEchoed) {
  for (const char* path : {"/manage/..", "/manage/.", "/manage/%2e%2E", "/credentials/a%2Fb",
                           "/credentials/c/%00", "/credentials/c/CANARY%", "/manage/CANARY%zz",
                           "/credentials/CANARY\x01", "/credentials/c/CANARY%20x"}) {
    const auto found = Find("GET", path);
    ASSERT_FALSE(found) << path;
    EXPECT_EQ(found.error().GetCode(), Code::kInvalid);
    EXPECT_EQ(found.error().Message().find("CANARY"), std::string::npos);
  }
}

TEST(Routes, EveryRoute_FindsItself) {
  for (const Route& route : Routes()) {
    std::string path(route.path);
    for (const std::string_view place : {"{component}", "{id}"}) {
      const std::size_t at = path.find(place);
      if (at != std::string::npos) path.replace(at, place.size(), "x");
    }
    const auto found = Find(std::string(route.method), path);
    ASSERT_TRUE(found) << route.path;
    EXPECT_EQ(found->route, &route) << route.path;
  }
}

TEST(Decode, Escapes_AreWholeOrRefused) {
  EXPECT_EQ(Decode("a+b%20c", true), "a b c");
  EXPECT_EQ(Decode("a+b", false), "a+b");
  EXPECT_EQ(Decode("%00", false), std::string(1, '\0'));
  for (const char* broken : {"%", "%1", "%g0", "%0g", "a%"}) EXPECT_FALSE(Decode(broken, false));
}

}  // namespace
}  // namespace oauthvault::http
