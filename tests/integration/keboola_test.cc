// Keboola's documented samples, and its own library for Python as the reader of what this vault
// writes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

constexpr const char* kData = R"({"access_token":"ya29.canary\/1","token_type":"Bearer",)"
                              R"( "refresh_token":"1\/\/canary-\u00e9"})";
constexpr const char* kAppSecret = "canary-app-secret-a\"b";

/// A vault that holds the credentials of the documentation's samples.
class KeboolaTest : public testing::Test {
 protected:
  void SetUp() override {
    place_.Init();
    place_.Serve();
    place_.Register();
    WriteTo(place_.At("data"), kData);
    WriteTo(place_.At("secret"), kAppSecret);
    const Ended put = place_.Cli(OnPair(
        {"credentials", "put", "main", "--data-file", place_.At("data").string(),
         "--authorized-for", "Myself", "--description", "me@keboola.com", "--app-key",
         "w51u7j30oghe412", "--app-secret-file", place_.At("secret").string()}));
    ASSERT_EQ(put.exit_code, 0) << put.err;
  }

  static std::string Sample(const std::string& name) {
    return OAUTHVAULT_SOURCE_DIR "/tests/golden/keboola/" + name;
  }

  /// Injects NAME.in.json and compares with `golden`; the time of storing is that of the sample.
  void ExpectInjected(const std::string& name, const std::string& golden,
                      std::vector<std::string> options = {}) {
    std::vector<std::string> words =
        OnPair({"inject", Sample(name + ".in.json"), "--out", place_.At("injected").string()});
    words.insert(words.end(), options.begin(), options.end());
    const Ended injected = place_.Cli(words);
    ASSERT_EQ(injected.exit_code, 0) << injected.err;
    static const std::regex kCreated(R"re("created":"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")re");
    std::string text = std::regex_replace(ContentOf(place_.At("injected")), kCreated,
                                          R"("created":"2016-01-31 00:13:30")");
    // Sealed anew by every write.
    static const std::regex kSealed(R"(KBC::ProjectSecure::[A-Za-z0-9+/=]{100,})");
    text = std::regex_replace(text, kSealed, "KBC::ProjectSecure::..");
    if (std::getenv("OAUTHVAULT_UPDATE_GOLDEN") != nullptr) WriteTo(Sample(golden), text);
    EXPECT_EQ(text, ContentOf(Sample(golden)));
  }

  Place place_;
};

TEST_F(KeboolaTest, DocumentedSamples_BecomeTheirGoldenFiles) {
  ExpectInjected("initialise", "initialise.out.json");
  ExpectInjected("authorise", "authorise.out.json");
  ExpectInjected("authorise", "authorise.dropped.json", {"--drop-id"});
  ExpectInjected("bypass", "bypass.out.json");
  ExpectInjected("authorise", "sandbox.out.json", {"--sandbox"});
}

TEST_F(KeboolaTest, KeboolasOwnLibrary_OpensWhatRunWritesAndIsHiddenFrom) {
  // Once for a build tree; pip looks for what is pinned and finds it there the next time.
  const std::string packages = OAUTHVAULT_BIN_DIR "/../keboola-reader";
  const std::string folder = OAUTHVAULT_SOURCE_DIR "/tests/integration/keboola/";
  if (ContentOf(packages + "/requirements.txt") != ContentOf(folder + "requirements.txt")) {
    const Ended installed =
        integration::Run("/usr/bin/python3",
            {"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade",
             "--target", packages, "-r", folder + "requirements.txt"},
            place_.Folder());
    ASSERT_EQ(installed.exit_code, 0) << installed.err;
    std::filesystem::copy_file(folder + "requirements.txt", packages + "/requirements.txt",
                               std::filesystem::copy_options::overwrite_existing);
  }
  std::vector<std::string> words = OnPair({"run", Sample("authorise.in.json")});
  for (const char* word : {"--", "/usr/bin/python3"}) words.emplace_back(word);
  words.push_back(folder + "reader.py");
  const Ended ran = place_.Cli(words, {.environment = {{"PYTHONPATH", packages}}});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const json told = json::parse(ran.out, nullptr, false);
  ASSERT_TRUE(told.is_object()) << ran.out;
  EXPECT_EQ(told["id"], "main");
  EXPECT_EQ(told["created"].get<std::string>().size(), 19u);
  EXPECT_EQ(told["oauth_version"], "2.0");
  EXPECT_EQ(told["app_key"], "w51u7j30oghe412");
  EXPECT_EQ(told["parameters"]["fileId"], "1a2B");
  // sha256sum of what was stored
  EXPECT_EQ(told["app_secret"],
            "30c32c5e9aa70fbaafff15c5edc0eb78bb63ae9faec3ce1aa7caef66d9bbe032");
  EXPECT_EQ(told["tokens"]["access_token"],
            "0065781c875202a293760f4e73bc2f83c5d4dfff345a32de41b24f2000e6a0f5");
  EXPECT_EQ(told["tokens"]["refresh_token"],
            "08c7b5223f7cecd58965f86697dccfd6abe9734573919a0fafc0b9c3cd703ae1");
  // It printed the whole configuration, too.
  EXPECT_EQ(ran.err.find("canary"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("[hidden]"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace oauthvault::integration
