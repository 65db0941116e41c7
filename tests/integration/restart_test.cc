// Ends and new beginnings: a graceful stop, a kill, and what must have survived it.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

// Generous: a stop may take 1 s by the configuration of these tests.
constexpr std::chrono::seconds kStopBound{5};

std::string StateOf(const Place& place, const std::string& id) {
  const json shown =
      json::parse(place.Cli(OnPair({"attempt", "show", id})).out, nullptr, false);
  return shown.is_object() ? shown.value("state", "") : "";
}

json Started(const Place& place) {
  const Ended started = place.Cli(
      OnPair({"rivery", "authorize", "--account", "main", "--id", "main", "--no-wait"}));
  EXPECT_EQ(started.exit_code, 0) << started.err;
  return json::parse(started.out.substr(0, started.out.find('\n')), nullptr, false);
}

class Restart : public testing::Test {
 protected:
  Restart() {
    place_.Init();
    place_.StartRivery("rivery-token-of-the-test", {"--pending", "202"});
    place_.Serve();
    place_.Register();
    place_.SetAccount();
  }

  void ExpectStopInTime() {
    const auto begin = steady_clock::now();
    const Ended ended = place_.Stop();
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_LT(steady_clock::now() - begin, kStopBound) << ended.err;
    EXPECT_FALSE(std::filesystem::exists(place_.At("socket")));
    EXPECT_NE(ended.err.find(" stopped"), std::string::npos) << ended.err;
  }

  Place place_;
};

TEST_F(Restart, ATermEndsTheDaemonInTimeWhileAStreamIsOpen) {
  auto watching = place_.Background(
      OnPair({"rivery", "authorize", "--account", "main", "--id", "main"}));
  ASSERT_TRUE(Await([&] { return watching->Out().find("auth_uri") != std::string::npos; }));
  ExpectStopInTime();
}

TEST_F(Restart, ATermEndsTheDaemonInTimeWhileRiveryIsSlow) {
  // The daemon knows the types, so that an authorization does not wait for them.
  ASSERT_EQ(place_.Cli({"rivery", "types", "--account", "main"}).exit_code, 0);
  Post(place_.RiveryUrl() + "/standin/faults",
       R"({"operation":"list_types","fault":"commit_late","delay_ms":20000})");
  Post(place_.RiveryUrl() + "/standin/faults",
       R"({"operation":"oauth2_fetch","fault":"commit_late","delay_ms":20000})");
  auto slow = place_.Background({"rivery", "types", "--account", "main", "--refresh"});
  const json started = Started(place_);
  std::string link = started["auth_uri"];
  // The stand-in has taken both faults up: the calls are under way.
  ASSERT_TRUE(Await([&] {
    const std::string state = Get(place_.RiveryUrl() + "/standin/state");
    return state.find("\"faults_left\":[]") != std::string::npos;
  })) << Get(place_.RiveryUrl() + "/standin/state");
  ExpectStopInTime();
  // The attempt is as the last committed step left it, and goes on.
  Get(link.replace(link.find("/consent"), 8, "/consent/allow"));
  place_.Serve();
  EXPECT_TRUE(Await([&] { return StateOf(place_, started["attempt"]) == "stored"; }));
}

TEST_F(Restart, InterruptEndsTheDaemonLikeTerm) {
  place_.Server().Send(SIGINT);
  EXPECT_EQ(place_.Server().Wait().exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(place_.At("socket")));
}

TEST_F(Restart, WhatWasAcknowledgedIsThereAfterAKill) {
  for (int i = 0; i < 5; ++i) {
    const std::string id = "id-" + std::to_string(i);
    const Ended put = place_.Cli(OnPair({"credentials", "put", id, "--data-file", "-"}),
                                 {.input = "data of " + id});
    ASSERT_EQ(put.exit_code, 0) << put.err;
    place_.KillServer();
    place_.Serve();
    for (int k = 0; k <= i; ++k) {
      const std::string before = "id-" + std::to_string(k);
      EXPECT_EQ(
          place_.Cli(OnPair({"credentials", "reveal", before, "--field", "data"})).out,
          "data of " + before);
    }
  }
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(place_.Daemon({"verify-audit"}).exit_code, 0);
}

TEST_F(Restart, AnAuthorizationThatWasPendingGoesOnByItselfAfterAKill) {
  const json started = Started(place_);
  const std::string id = started["attempt"];
  place_.KillServer();
  std::string link = started["auth_uri"];
  Get(link.replace(link.find("/consent"), 8, "/consent/allow"));
  place_.Serve();
  EXPECT_TRUE(Await([&] { return StateOf(place_, id) == "stored"; })) << StateOf(place_, id);
  EXPECT_EQ(place_.Cli(OnPair({"credentials", "reveal", "main"})).exit_code, 0);
}

}  // namespace
}  // namespace oauthvault::integration
