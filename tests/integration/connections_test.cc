// Connections that stay true: kept in step over a kill, looked after, made by the dozen.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

constexpr const char* kToken = "rivery-token-of-the-test";

class ConnectionsTest : public testing::Test {
 protected:
  ConnectionsTest() {
    place_.Init();
    place_.StartRivery(kToken, {"--pending", "202"});
    place_.Serve();
    place_.Register();
    place_.SetAccount();
  }

  json State() const {
    return json::parse(Get(place_.RiveryUrl() + "/standin/state"), nullptr, false);
  }
  /// Makes the connection `Sheets` of the credentials `main`; its id.
  std::string Connect() {
    EXPECT_EQ(place_.Put("main", R"({"access_token":"first"})").exit_code, 0);
    const Ended connected = place_.Cli(
        OnPair({"connect", "--account", "main", "--id", "main", "--name", "Sheets"}));
    EXPECT_EQ(connected.exit_code, 0) << connected.err;
    const json connections = place_.Asked(OnPair({"connection", "list"}));
    return connections.empty() ? "" : connections[0].value("id", "");
  }
  std::string StepNow() const {
    return place_.Asked(OnPair({"connection", "list"}))[0].value("step", "");
  }
  Ended AtRivery(const std::string& verb, const std::string& path, const std::string& body = "") {
    return integration::Run("/usr/bin/curl",
                            {"-s", "-X", verb, "-H", std::string("Authorization: Bearer ") + kToken,
                             "-d", body, place_.RiveryUrl() + "/api" + path},
                            place_.Folder());
  }
  std::vector<std::string> Named(const std::string& id) const {
    return OnPair({"connection", "verify", id, "--account", "main"});
  }

  Place place_;
};

TEST_F(ConnectionsTest, NewCredentialsReachTheConnectionAlsoOverAKill) {
  const std::string id = Connect();
  EXPECT_EQ(StepNow(), "in_step");
  Post(place_.RiveryUrl() + "/standin/faults",
       R"({"operation":"update","fault":"reset_before_commit","times":2})");
  ASSERT_EQ(place_.Put("main", R"({"access_token":"second"})").exit_code, 0);
  ASSERT_TRUE(Await([&] { return State()["requests"]["update"] == 1; }));
  EXPECT_EQ(StepNow(), "behind");
  place_.KillServer();
  EXPECT_EQ(State()["connections"][0]["credentials"]["access_token"], "first");
  place_.Serve();
  EXPECT_TRUE(Await([&] { return StepNow() == "in_step"; })) << StepNow();
  EXPECT_EQ(State()["connections"][0]["credentials"]["access_token"], "second");
  EXPECT_EQ(State()["connections"].size(), 1u);
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(place_.Daemon({"verify-audit"}).exit_code, 0);
}

TEST_F(ConnectionsTest, VerifyTellsWhatWasDoneInRiveryAndAnUpdateMendsIt) {
  const std::string id = Connect();
  EXPECT_EQ(place_.Cli(Named(id)).exit_code, 0);
  Post(place_.RiveryUrl() + "/standin/clock", R"({"advance_s":301})");
  AtRivery("PUT", "/connections/" + id,
           R"({"connection_type":"gspreadsheet","connection_name":"Mine"})");
  const Ended drifted = place_.Cli(Named(id));
  EXPECT_EQ(drifted.exit_code, 1);
  const json found = json::parse(drifted.out, nullptr, false);
  ASSERT_EQ(found.size(), 1u) << drifted.out;
  EXPECT_EQ(found[0]["drift"], json({"renamed", "no_credentials", "changed_elsewhere"}));
  EXPECT_EQ(found[0]["remote_name"], "Mine");
  EXPECT_EQ(
      place_.Cli(OnPair({"connection", "update", id, "--account", "main"})).exit_code, 0);
  EXPECT_EQ(State()["connections"][0]["connection_name"], "Sheets");
  AtRivery("DELETE", "/connections?_id=" + id);
  const Ended deleted = place_.Cli(OnPair({"connection", "verify", "--account", "main"}));
  EXPECT_EQ(json::parse(deleted.out, nullptr, false)[0]["drift"], json({"deleted"}));
  // What Rivery has no more can be forgotten here, too.
  EXPECT_EQ(
      place_.Cli(OnPair({"connection", "delete", id, "--account", "main"})).exit_code, 0);
  EXPECT_EQ(place_.Asked(OnPair({"connection", "list"})), json::array());
}

TEST_F(ConnectionsTest, AWrongNameIsRefusedWithTheRightOneBeforeAnythingIsSent) {
  ASSERT_EQ(place_.Cli({"component", "set", "ex-drive", "--datasource", "gspredsheet"}).exit_code,
            0);
  const Ended refused = place_.Cli(
      OnPair({"rivery", "authorize", "--account", "main", "--id", "main", "--no-wait"}));
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("gspreadsheet"), std::string::npos) << refused.err;
  EXPECT_EQ(State()["requests"]["oauth2_start"], 0);
  EXPECT_EQ(place_.Asked({"rivery", "account", "check", "main"})["ok"], true);
}

TEST_F(ConnectionsTest, ABatchConnectsManyAndRunAgainMakesNothingTwice) {
  WriteTo(place_.At("batch.csv"),
          "project,component,account,id,name\n"
          "acme,ex-drive,main,ann,\"Sheets of Ann\"\n"
          "acme,ex-drive,main,bob,\"Sheets of Bob\"\n");
  const std::vector<std::string> words = {"connect",  "--authorize",
                                          "--batch",  place_.At("batch.csv").string(),
                                          "--links",  place_.At("links.json").string()};
  const auto links = [&] {
    return json::parse(ContentOf(place_.At("links.json")), nullptr, false);
  };
  auto first = place_.Background(words);
  ASSERT_TRUE(Await([&] { return links().is_array() && links().size() == 2; })) << first->Err();
  struct stat status {};
  ASSERT_EQ(stat(place_.At("links.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  // Interrupted, and run again: the same two attempts go on.
  first->Send(SIGINT);
  EXPECT_EQ(first->Wait().exit_code, 130);
  auto second = place_.Background(words);
  ASSERT_TRUE(Await([&] { return links().is_array() && links().size() == 2; })) << second->Err();
  EXPECT_EQ(State()["requests"]["oauth2_start"], 2);
  for (const json& link : links()) {
    std::string uri = link["auth_uri"];
    Get(uri.replace(uri.find("/consent"), 8, "/consent/allow"));
  }
  const Ended ended = second->Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out.find("consent?"), std::string::npos);
  EXPECT_EQ(State()["connections"].size(), 2u);
  const Ended again = place_.Cli(words);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(State()["requests"]["oauth2_start"], 2);
  EXPECT_EQ(State()["connections"].size(), 2u);
}

}  // namespace
}  // namespace oauthvault::integration
