#include "daemon/rivery/url.h"

#include <gtest/gtest.h>

#include <string>

#include "daemon/rivery/routes.h"

namespace oauthvault::rivery {
namespace {

constexpr Reach kLoopback{.allow_loopback = true};

TEST(UrlTest, NormalizeBaseUrl_WritesOneFormOfTheSameAddress) {
  const struct {
    std::string given;
    std::string normal;
  } rows[] = {
      {"https://console.rivery.io/api", "https://console.rivery.io/api"},
      {"https://console.rivery.io/api/", "https://console.rivery.io/api"},
      {"https://console.rivery.io/api//", "https://console.rivery.io/api"},
      {"HTTPS://Console.Rivery.IO:443/api", "https://console.rivery.io/api"},
      {"https://console.rivery.io", "https://console.rivery.io"},
      {"https://console.rivery.io:8443/a/../api", "https://console.rivery.io:8443/api"},
  };
  for (const auto& row : rows) {
    const Result<std::string> normal = NormalizeBaseUrl(row.given, {});
    ASSERT_TRUE(normal) << row.given;
    EXPECT_EQ(*normal, row.normal);
  }
  EXPECT_EQ(NormalizeBaseUrl("http://127.0.0.1:8080/api/", kLoopback).value_or(""),
            "http://127.0.0.1:8080/api");
  EXPECT_EQ(NormalizeBaseUrl("http://localhost/api", kLoopback).value_or(""),
            "http://localhost/api");
  EXPECT_EQ(NormalizeBaseUrl("http://[::1]:1/api", kLoopback).value_or(""), "http://[::1]:1/api");
}

TEST(UrlTest, NormalizeBaseUrl_RefusesWhatIsNoPlainHttpsAddress) {
  const std::string rows[] = {
      "",
      "console.rivery.io/api",
      "http://console.rivery.io/api",
      "ftp://console.rivery.io/api",
      "file:///etc/passwd",
      "https://",
      "https:///api",
      "https://user@console.rivery.io/api",
      "https://user:word@console.rivery.io/api",
      "https://console.rivery.io/api?x=1",
      "https://console.rivery.io/api?",
      "https://console.rivery.io/api#x",
      "https://console.rivery.io/a pi",
      "https://console.rivery.io/api\r\nX: y",
      "https://console.rivery.io\\@evil.example/api",
      "https://console.rivery.io/%2e%2e/api",
      "https://console.rivery.io/a//b",
      "https://console.rivery.io:99999/api",
      "https://\xc3\xa9.example/api",
      "https://[fe80::1%25eth0]/api",
      "https://127.0.0.1/api",
      "http://127.0.0.1/api",
      "https://localhost/api",
      "https://" + std::string(600, 'a') + ".example/api",
  };
  for (const std::string& row : rows) {
    const Result<std::string> normal = NormalizeBaseUrl(row, {});
    ASSERT_FALSE(normal) << row;
    EXPECT_EQ(normal.error().GetCode(), Code::kInvalid) << row;
  }
  EXPECT_FALSE(NormalizeBaseUrl("http://console.rivery.io/api", kLoopback));
  EXPECT_FALSE(NormalizeBaseUrl("http://10.0.0.1/api", {.allow_private = true}));
  EXPECT_TRUE(NormalizeBaseUrl("https://10.0.0.1/api", {.allow_private = true}));
}

TEST(UrlTest, ResolveOnOrigin_StaysOnSchemeHostAndPort) {
  const std::string from = "https://console.rivery.io/api/connections?connection_type=fb";
  const auto resolve = [&](std::string_view reference) {
    return ResolveOnOrigin(from, reference).value_or("refused");
  };
  EXPECT_EQ(resolve("?page=2"), "https://console.rivery.io/api/connections?page=2");
  EXPECT_EQ(resolve("/api/x"), "https://console.rivery.io/api/x");
  EXPECT_EQ(resolve("https://console.rivery.io/y"), "https://console.rivery.io/y");
  EXPECT_EQ(resolve("https://CONSOLE.rivery.io:443/y#z").substr(0, 8), "https://");
  for (const std::string_view other :
       {"http://console.rivery.io/y", "https://console.rivery.io:444/y", "https://rivery.io/y",
        "//evil.example/y", "https://console.rivery.io@evil.example/y",
        "https://console.rivery.io.evil.example/y", "https://eu-west-1.console.rivery.io/y",
        "https:\\\\evil.example/y", "ftp://console.rivery.io/", "javascript:alert(1)", "", " /y",
        "/y\r\nX: y"}) {
    EXPECT_EQ(resolve(other), "refused") << other;
  }
}

TEST(RoutesTest, FillPath_EncodesWhatStandsForAPlaceholder) {
  const Routes routes = DefaultRoutes();
  const RouteNames names{.id = "5f00", .cross_id = "6a00", .type = "a b&c=d/../é"};
  EXPECT_EQ(FillPath(routes.at(Operation::kUpdate), names).value_or(""), "/connections/5f00");
  EXPECT_EQ(FillPath(routes.at(Operation::kList), names).value_or(""),
            "/connections?connection_type=a%20b%26c%3Dd%2F..%2F%C3%A9");
  EXPECT_EQ(FillPath({"PATCH", "/connections?_id={cross_id}"}, names).value_or(""),
            "/connections?_id=6a00");
}

TEST(RoutesTest, FillPath_RefusesWhatCannotBeSent) {
  const RouteNames names{.id = "5f00", .cross_id = {}, .type = ".."};
  for (const Route& route : {Route{"PUT", "/c/{cross_id}"}, Route{"PUT", "/c/{type}"},
                             Route{"PUT", "/c/{name}"}, Route{"PUT", "/c/{id"},
                             Route{"PUT", "c/{id}"}, Route{"put", "/c"}, Route{"HEAD", "/c"},
                             Route{"PUT\r\nX: y", "/c"}, Route{"PUT", "/c d"},
                             Route{"PUT", "/../c"},
                             Route{"PUT", "//evil.example/c"}, Route{"PUT", "/c#d"},
                             Route{"PUT", "/" + std::string(400, 'c')}}) {
    const Result<std::string> path = FillPath(route, names);
    ASSERT_FALSE(path) << route.verb << ' ' << route.path;
    EXPECT_EQ(path.error().GetCode(), Code::kInvalid);
  }
}

TEST(RoutesTest, DefaultRoutes_HasEveryOperationUnderItsOwnName) {
  const Routes routes = DefaultRoutes();
  std::map<std::string_view, int> names;
  for (const auto& [operation, route] : routes) ++names[NameOf(operation)];
  EXPECT_EQ(routes.size(), 10U);
  EXPECT_EQ(names.size(), 10U);
}

}  // namespace
}  // namespace oauthvault::rivery
