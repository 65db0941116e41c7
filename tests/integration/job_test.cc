// The main job through the CLI, and what the CLI refuses.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

json Parsed(const std::string& text) { return json::parse(text, nullptr, false); }

std::string ConsentLink(Program& authorize) {
  std::string link;
  EXPECT_TRUE(Await([&] {
    const std::string out = authorize.Out();
    const json started = Parsed(out.substr(0, out.find('\n')));
    if (out.find('\n') == std::string::npos || !started.contains("auth_uri")) return false;
    link = started["auth_uri"];
    return true;
  })) << authorize.Err();
  return link;
}

std::string Allowed(std::string link) {
  return link.replace(link.find("/consent"), 8, "/consent/allow");
}

TEST(MainJob, RunsFromAConsentToAConnectionThroughTheCli) {
  Place place;
  place.Init();
  place.StartRivery("rivery-token-of-the-test", {"--pending", "202"});
  place.Serve();
  place.Register();
  place.SetAccount();
  ASSERT_EQ(place.Cli({"component", "add", "ex-other"}).exit_code, 0);
  ASSERT_EQ(place.Cli({"project", "add", "globex"}).exit_code, 0);
  for (const char* who : {"project/acme/component/ex-drive", "project/acme/component/ex-other",
                          "project/globex/component/ex-drive", "auditor/alice"}) {
    std::string folder = who;
    std::ranges::replace(folder, '/', '-');
    const Ended issued = place.Cli({"identity", "issue", who, "--out", place.At(folder).string()});
    ASSERT_EQ(issued.exit_code, 0) << issued.err;
  }
  ASSERT_EQ(place.Cli(OnPair({"grant", "add", "--principal", "project/acme/component/ex-drive",
                              "--right", "reveal"})).exit_code, 0);

  // Authorize: a person consents, and the credentials come home.
  auto authorize = place.Background(OnPair({"rivery", "authorize", "--account", "main", "--id",
                                            "main", "--authorized-for", "Marketing"}));
  Get(Allowed(ConsentLink(*authorize)));
  const Ended authorized = authorize->Wait();
  ASSERT_EQ(authorized.exit_code, 0) << authorized.err;

  // Reveal: whom it was granted to, over TLS; nobody else.
  const std::string ours = "project-acme-component-ex-drive";
  const auto reveal = OnPair({"credentials", "reveal", "main"});
  const Ended revealed = place.CliAs(ours, reveal);
  ASSERT_EQ(revealed.exit_code, 0) << revealed.err;
  const json keys = Parsed(revealed.out);
  ASSERT_EQ(keys.size(), 8U) << revealed.out;
  EXPECT_EQ(keys["authorizedFor"], "Marketing");
  const json tokens = Parsed(keys["#data"]);
  ASSERT_TRUE(tokens.contains("refresh_token"));
  for (const char* other : {"project-acme-component-ex-other", "project-globex-component-ex-drive",
                            "auditor-alice"}) {
    const Ended denied = place.CliAs(other, reveal);
    EXPECT_EQ(denied.exit_code, 1) << other;
    EXPECT_TRUE(denied.out.empty());
    EXPECT_EQ(denied.err.find(tokens["refresh_token"].get<std::string>()), std::string::npos);
  }

  // Inject.
  WriteTo(place.At("config.json"),
          R"({"parameters":{"n":1.50},"authorization":{"oauth_api":{"id":"main"}}})");
  const Ended injected = place.CliAs(
      ours, OnPair({"inject", place.At("config.json").string(), "--out",
                    place.At("injected.json").string()}));
  ASSERT_EQ(injected.exit_code, 0) << injected.err;
  const json config = Parsed(ContentOf(place.At("injected.json")));
  EXPECT_EQ(config["authorization"]["oauth_api"]["credentials"]["#data"], keys["#data"]);
  struct stat status {};
  ASSERT_EQ(stat(place.At("injected.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);

  // Connect, update, list; and what the stand-in holds.
  const Ended connected = place.Cli(OnPair(
      {"connect", "--account", "main", "--id", "main", "--name", "Sheets of Acme"}));
  ASSERT_EQ(connected.exit_code, 0) << connected.err;
  const json connections = Parsed(place.Cli(OnPair({"connection", "list"})).out);
  ASSERT_EQ(connections.size(), 1U);
  const Ended updated =
      place.Cli(OnPair({"connection", "update", connections[0]["id"], "--account", "main",
                        "--name", "Sheets of Acme, anew"}));
  ASSERT_EQ(updated.exit_code, 0) << updated.err;
  const json state = Parsed(Get(place.RiveryUrl() + "/standin/state"));
  ASSERT_EQ(state["connections"].size(), 1U);
  const std::string held = state["connections"].dump();
  EXPECT_NE(held.find(tokens["refresh_token"].get<std::string>()), std::string::npos);
  EXPECT_NE(held.find("Sheets of Acme, anew"), std::string::npos);

  // The trail tells it, to the auditor.
  const Ended shown = place.CliAs("auditor-alice", {"audit", "show"});
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_NE(shown.out.find("denied"), std::string::npos);
  EXPECT_EQ(place.CliAs("auditor-alice", {"audit", "verify"}).exit_code, 0);
  EXPECT_EQ(place.Stop().exit_code, 0);
  EXPECT_EQ(place.Daemon({"verify-audit"}).exit_code, 0);
}

class Limits : public testing::Test {
 protected:
  Limits() {
    place_.Init();
    place_.Serve();
    place_.Register();
  }

  Ended Put(const std::string& id, const std::string& content) {
    WriteTo(place_.At("data"), content);
    return place_.Cli(
        OnPair({"credentials", "put", id, "--data-file", place_.At("data").string()}));
  }

  void ExpectNothingStored() {
    EXPECT_EQ(Parsed(place_.Cli(OnPair({"credentials", "list"})).out), json::array());
  }

  Place place_;
};

TEST_F(Limits, DataOf64KiBIsStoredAndOneByteMoreIsNot) {
  const std::string most(64 * 1024, 'x');
  const Ended refused = Put("over", most + "x");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("65536"), std::string::npos) << refused.err;
  ExpectNothingStored();
  EXPECT_EQ(Put("most", most).exit_code, 0);
  EXPECT_EQ(place_.Cli(OnPair({"credentials", "reveal", "most", "--field", "data"})).out, most);
}

TEST_F(Limits, BadInputsAreRefusedWithOneAndChangeNothing) {
  EXPECT_EQ(Put("a", "\xff\xfe canary-90aa").exit_code, 1);
  EXPECT_EQ(Put("a", "").exit_code, 1);
  EXPECT_EQ(Put("..", "x").exit_code, 1);
  EXPECT_EQ(Put("a/b", "x").exit_code, 1);
  const Ended missing = place_.Cli(
      OnPair({"credentials", "put", "a", "--data-file", place_.At("none").string()}));
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_NE(missing.err.find("No such file"), std::string::npos) << missing.err;
  EXPECT_EQ(place_.Cli(OnPair({"credentials", "put", "a", "--data-file",
                               place_.Folder().string()})).exit_code, 1);
  WriteTo(place_.At("config.json"), R"({"canary-90aa": )");
  const Ended malformed =
      place_.Cli(OnPair({"inject", place_.At("config.json").string(), "--out",
                         place_.At("injected.json").string()}));
  EXPECT_EQ(malformed.exit_code, 1);
  EXPECT_EQ(malformed.err.find("canary-90aa"), std::string::npos) << malformed.err;
  EXPECT_FALSE(std::filesystem::exists(place_.At("injected.json")));
  ExpectNothingStored();
}

TEST_F(Limits, AVaultThatDoesNotAnswerEndsWithTwo) {
  EXPECT_EQ(place_.Stop().exit_code, 0);
  const Ended ended = place_.Cli({"status"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_FALSE(ended.err.empty());
}

TEST_F(Limits, ACorruptRowEndsWithTwoAndLeavesTheOthersReadable) {
  const std::string most(40 * 1024, 'x');
  ASSERT_EQ(Put("hurt", most).exit_code, 0);
  ASSERT_EQ(Put("whole", "small").exit_code, 0);
  ASSERT_EQ(place_.Stop().exit_code, 0);
  // Only a value this large has a run of overflow pages (LMDB: flag 4 at byte 10 of a page's head,
  // the number of pages at byte 12).
  std::string data = ContentOf(place_.At("state/store/data.mdb"));
  std::size_t hurt = 0;
  for (std::size_t page = 0; page + 4096 <= data.size(); page += 4096) {
    const auto pages = static_cast<unsigned char>(data[page + 12]);
    if (data[page + 10] != 4 || pages < 10 || pages > 12) continue;
    data[page + 5 * 4096] = static_cast<char>(data[page + 5 * 4096] ^ 1);
    ++hurt;
  }
  ASSERT_GT(hurt, 0U);
  WriteTo(place_.At("state/store/data.mdb"), data);
  ASSERT_TRUE(place_.ServeUntil(" serving tcp=", {"--fsck", "behind"}));
  const Ended ended = place_.Cli(OnPair({"credentials", "reveal", "hurt"}));
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_TRUE(ended.out.empty());
  EXPECT_NE(ended.err.find("CORRUPT"), std::string::npos) << ended.err;
  EXPECT_EQ(place_.Cli(OnPair({"credentials", "reveal", "whole", "--field", "data"})).out, "small");
}

}  // namespace
}  // namespace oauthvault::integration
