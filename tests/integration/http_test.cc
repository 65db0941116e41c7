// The HTTP interface of a real daemon, by a client that is none of ours.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

std::string Golden() { return OAUTHVAULT_SOURCE_DIR "/tests/golden/http/client.txt"; }

class HttpInterface : public testing::Test {
 protected:
  HttpInterface() {
    std::ofstream(place_.Config(), std::ios::app) << "[http]\nlisten = \"127.0.0.1:0\"\n";
    place_.Init();
    place_.Serve();
    place_.Asked({"project", "add", "acme"});
    place_.Asked({"project", "add", "other"});
  }
  std::string Origin() const {
    const std::string log = Log();
    const std::size_t at = log.rfind("http origin=");
    if (at == std::string::npos) return "";
    const std::size_t begin = at + std::string("http origin=").size();
    return log.substr(begin, log.find('\n', begin) - begin);
  }
  std::string Log() const { return const_cast<Place&>(place_).Server().Err(); }
  std::string Token(const std::string& project) const {
    return place_
        .Asked({"token", "issue", "--project", project, "--right", "store,describe,encrypt",
                "--title", "jobs@" + project + ".example"})
        .value("token", "");
  }
  std::string Answer(const std::string& path) const { return Get(Origin() + path); }

  Place place_;
};

TEST_F(HttpInterface, AClientOfTheOriginal_FindsWhatItKnows) {
  const std::string manage = place_.Asked({"token", "issue", "--manage"}).value("token", "");
  const Ended client =
      integration::Run("/usr/bin/python3",
                       {OAUTHVAULT_SOURCE_DIR "/tests/integration/http_client.py", Origin(),
                        manage, Token("acme"), Token("other")},
                       place_.Folder());
  EXPECT_EQ(client.exit_code, 0) << client.err;
  if (std::getenv("UPDATE_GOLDEN") != nullptr) std::ofstream(Golden()) << client.out;
  EXPECT_EQ(client.out, ContentOf(Golden()));
  // What was stored opens for who may reveal, byte for byte.
  place_.Asked({"grant", "add", "--principal", "local/admin", "--project", "acme", "--component",
                "acme.ex-drive", "--right", "reveal"});
  const Ended revealed = place_.Cli({"credentials", "reveal", "own-app", "--project", "acme",
                                     "--component", "acme.ex-drive"});
  const json keys = json::parse(revealed.out, nullptr, false);
  EXPECT_EQ(keys.value("#data", ""), "{\"access_token\":\"canary-2\"}") << revealed.err;
  EXPECT_EQ(keys.value("#appSecret", ""), "canary-3");
}

TEST_F(HttpInterface, ARevokedToken_IsRefusedAtOnceAndARestartKeepsTheOthers) {
  const std::string kept = Token("acme");
  const std::string revoked = Token("acme");
  place_.Asked({"component", "add", "acme.ex-drive"});
  const auto status = [&](const std::string& token) {
    const Ended asked =
        integration::Run("/usr/bin/curl",
                         {"-s", "-o", "/dev/null", "-w", "%{http_code}", "-H",
                          "X-StorageApi-Token: " + token,
                          Origin() + "/credentials/acme.ex-drive"},
                         place_.Folder());
    return asked.out;
  };
  EXPECT_EQ(status(revoked), "200");
  const json tokens = place_.Asked({"token", "list"});
  ASSERT_EQ(tokens.size(), 2U);
  for (const json& token : tokens) EXPECT_EQ(token.dump().find("ovt_"), std::string::npos);
  // Which of the two it is shows by trying.
  place_.Asked({"token", "revoke", tokens[0].value("id", "")});
  std::vector<std::string> after = {status(kept), status(revoked)};
  std::ranges::sort(after);
  EXPECT_EQ(after, (std::vector<std::string>{"200", "401"}));
  place_.Stop();
  place_.Serve();
  std::vector<std::string> again = {status(kept), status(revoked)};
  std::ranges::sort(again);
  EXPECT_EQ(again, after);
}

TEST_F(HttpInterface, ASealedVault_AnswersItsHealthAndNothingElse) {
  EXPECT_EQ(json::parse(Answer("/health"), nullptr, false).value("status", ""), "ready");
  place_.Asked({"seal"});
  ASSERT_TRUE(Await([&] {
    return json::parse(Answer("/health"), nullptr, false).value("status", "") == "sealed";
  }));
  EXPECT_EQ(json::parse(Answer("/health/live"), nullptr, false).value("status", ""), "live");
  EXPECT_NE(Answer("/metrics").find("oauthvault_sealed 1\n"), std::string::npos);
  EXPECT_EQ(json::parse(Answer("/manage"), nullptr, false).value("code", 0), 503);
}

TEST_F(HttpInterface, Metrics_CountTheCallsOfBothDoors) {
  place_.Asked({"project", "list"});
  Answer("/no-such-route");
  const std::string page = Answer("/metrics");
  EXPECT_NE(page.find("{door=\"grpc\",method=\"Registry.ListProjects\",outcome=\"OK\"} 1\n"),
            std::string::npos) << page;
  EXPECT_NE(page.find("{door=\"http\",method=\"other\",outcome=\"NOT_FOUND\"} 1\n"),
            std::string::npos);
  EXPECT_NE(place_.Cli({"project", "show", "absent"}).exit_code, 0);
  EXPECT_NE(Answer("/metrics").find(
                "{door=\"grpc\",method=\"Registry.GetProject\",outcome=\"NOT_FOUND\"} 1\n"),
            std::string::npos);
  for (const char* of_the_daemon :
       {"oauthvault_expiry_timestamp_seconds{kind=\"grpc_certificate\"} ",
        "oauthvault_build_info{version=\"", "oauthvault_start_time_seconds 1",
        "oauthvault_connections_refused_total{reason=\"of_address\"} 0\n",
        "oauthvault_connections_behind 0\n", "oauthvault_check_info{result=\"whole\"} 1\n"}) {
    EXPECT_NE(page.find(of_the_daemon), std::string::npos) << of_the_daemon << page;
  }
}

TEST(HttpInterfaceRefused, PlainHttp_ElsewhereThanOnLoopbackKeepsTheDaemonFromStarting) {
  const Place place;
  place.Init();
  const Ended ended = place.Daemon({"--http-listen", "0.0.0.0:0"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("loopback only"), std::string::npos) << ended.err;
}

}  // namespace
}  // namespace oauthvault::integration
