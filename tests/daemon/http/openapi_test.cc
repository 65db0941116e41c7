#include "daemon/http/openapi.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "daemon/http/routes.h"

namespace oauthvault::http {
namespace {

using nlohmann::json;

std::string Lower(std::string_view method) {
  std::string lower(method);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

TEST(OpenApi, Describes_EveryRouteAndNoOther) {
  const json document = json::parse(OpenApi(), nullptr, false);
  ASSERT_TRUE(document.is_object());
  EXPECT_EQ(document["openapi"], "3.1.0");
  EXPECT_EQ(document["info"]["version"], OAUTHVAULT_VERSION);
  std::set<std::string> described;
  for (const auto& [path, item] : document["paths"].items()) {
    for (const auto& [method, operation] : item.items()) {
      if (method != "parameters") described.insert(method + " " + path);
    }
  }
  std::set<std::string> served;
  for (const Route& route : Routes()) {
    served.insert(Lower(route.method) + " " + std::string(route.path));
  }
  EXPECT_EQ(described, served);
}

TEST(OpenApi, SaysOfEveryRoute_WhatACallerShows) {
  const json document = json::parse(OpenApi(), nullptr, false);
  for (const Route& route : Routes()) {
    SCOPED_TRACE(route.path);
    const json& operation = document["paths"][std::string(route.path)][Lower(route.method)];
    const json& security = operation["security"];
    switch (route.shows) {
      case Shows::kNothing: EXPECT_TRUE(security.empty()); break;
      case Shows::kProjectToken: EXPECT_TRUE(security.at(0).contains("projectToken")); break;
      case Shows::kManageToken: EXPECT_TRUE(security.at(0).contains("manageToken")); break;
    }
    for (const char* status : {"400", "401", "403", "500", "503"}) {
      if (route.shows == Shows::kNothing) break;
      EXPECT_TRUE(operation["responses"].contains(status)) << status;
    }
  }
}

}  // namespace
}  // namespace oauthvault::http
