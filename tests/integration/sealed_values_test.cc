// Sealed values from the command line to the injected file, through rotations and a kill.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

constexpr const char* kCanary = "canary-5e41ed";

class SealedValues : public testing::Test {
 protected:
  SealedValues() {
    place_.Init();
    place_.Serve();
    place_.Register();
  }

  std::string Sealed(const std::vector<std::string>& words) {
    std::vector<std::string> all = {"encrypt", "-"};
    all.insert(all.end(), words.begin(), words.end());
    const Ended ended = place_.Cli(OnPair(all), {.input = std::string(kCanary) + "\n"});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_EQ(ended.out.find(kCanary), std::string::npos);
    return ended.out.substr(0, ended.out.size() - 1);
  }

  Ended Inject(const std::string& document, std::vector<std::string> words = {}) {
    WriteTo(place_.At("config.json"), document);
    words.insert(words.begin(), {"inject", place_.At("config.json").string(), "--out", "-"});
    return place_.Cli(OnPair(words));
  }

  Place place_;
};

TEST_F(SealedValues, WhatWasSealed_OpensInItsScopeAfterRotationsAndAKill) {
  const std::string document = json{{"#component", Sealed({"--plain", "--scope", "component"})},
                                    {"#project", Sealed({"--plain"})},
                                    {"#wide", Sealed({"--plain", "--scope", "project-wide"})},
                                    {"#config", Sealed({"--plain", "--config", "c-1"})}}
                                   .dump();
  EXPECT_EQ(document.find(kCanary), std::string::npos);
  for (const auto& owner : std::vector<std::vector<std::string>>{
           {"--project", "acme"}, {"--component", "ex-drive"}, {"--vault"}, {"--root"}}) {
    std::vector<std::string> words = {"keys", "rotate"};
    words.insert(words.end(), owner.begin(), owner.end());
    const Ended rotated = place_.Cli(words);
    ASSERT_EQ(rotated.exit_code, 0) << rotated.err;
  }
  place_.KillServer();
  place_.Serve();

  const Ended elsewhere = Inject(document, {"--config", "c-2"});
  EXPECT_EQ(elsewhere.exit_code, 1);
  EXPECT_EQ(elsewhere.out, "");
  EXPECT_NE(elsewhere.err.find("does not open here"), std::string::npos) << elsewhere.err;
  const Ended injected = Inject(document, {"--config", "c-1"});
  ASSERT_EQ(injected.exit_code, 0) << injected.err;
  const json opened = json::parse(injected.out);
  for (const char* key : {"#component", "#project", "#wide", "#config"}) {
    EXPECT_EQ(opened.at(key), kCanary) << key;
  }
  for (const auto& [path, content] : Files(place_.At("state"))) {
    EXPECT_EQ(content.find(kCanary), std::string::npos) << path;
  }
}

TEST_F(SealedValues, ASandboxesCopy_IsABypassThatOpensForARealRun) {
  ASSERT_EQ(place_.Put("main", kCanary).exit_code, 0);
  const Ended sandbox =
      Inject(R"({"authorization":{"oauth_api":{"id":"main"}}})", {"--sandbox", "--drop-id"});
  ASSERT_EQ(sandbox.exit_code, 0) << sandbox.err;
  EXPECT_EQ(sandbox.out.find(kCanary), std::string::npos);
  const Ended run = Inject(sandbox.out);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json keys = json::parse(run.out).at("authorization").at("oauth_api").at("credentials");
  EXPECT_EQ(keys.size(), 8U);
  EXPECT_EQ(keys.at("#data"), kCanary);
}

}  // namespace
}  // namespace oauthvault::integration
