#include "daemon/http/edge.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/http/routes.h"
#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::http {
namespace {

using access::Right;
using nlohmann::json;

constexpr char kCanary[] = "CANARY-41d7";

/// Who asks, in the order of the table's columns.
enum Caller : std::size_t {
  kNobody,        // shows no token
  kUnknown,       // one of the right form
  kManage,
  kAll,           // store, describe and encrypt on (acme, sheets)
  kStoreOnly,
  kDescribeOnly,
  kEncryptOnly,
  kOther,         // all on (other, *)
  kOtherComponent,  // all on (acme, plain)
  kCallers,
};

/// Y: allowed. n: 403. u: 401. Every request is about the component `sheets`.
struct Row {
  std::string_view method;
  std::string_view path;
  std::string_view outcomes;
};
constexpr Row kMatrix[] = {
    //                                         - ? M A s d e O C
    {"GET", "/manage",                        "u u Y n n n n n n"},
    {"POST", "/manage",                       "u u Y n n n n n n"},
    {"GET", "/manage/{component}",            "u u Y n n n n n n"},
    {"PATCH", "/manage/{component}",          "u u Y n n n n n n"},
    {"DELETE", "/manage/{component}",         "u u Y n n n n n n"},
    {"GET", "/credentials/{component}",       "u u n Y n Y n Y n"},
    {"POST", "/credentials/{component}",      "u u n Y Y n n Y n"},
    {"GET", "/credentials/{component}/{id}",  "u u n Y n Y n Y n"},
    {"DELETE", "/credentials/{component}/{id}", "u u n Y Y n n Y n"},
    {"POST", "/encrypt",                      "u u n Y n n Y Y n"},
    {"POST", "/authorize/{component}",        "Y Y Y Y Y Y Y Y Y"},
    {"GET", "/authorize/{component}/callback", "Y Y Y Y Y Y Y Y Y"},
    {"GET", "/health",                        "Y Y Y Y Y Y Y Y Y"},
    {"GET", "/health/live",                   "Y Y Y Y Y Y Y Y Y"},
    {"GET", "/health/ready",                  "Y Y Y Y Y Y Y Y Y"},
    {"GET", "/metrics",                       "Y Y Y Y Y Y Y Y Y"},
    {"GET", "/openapi.json",                  "Y Y Y Y Y Y Y Y Y"},
};

std::string Filled(std::string_view pattern) {
  std::string path(pattern);
  for (const auto& [place, value] :
       {std::pair<std::string_view, std::string_view>{"{component}", "sheets"},
        {"{id}", "absent"}}) {
    const std::size_t at = path.find(place);
    if (at != std::string::npos) path.replace(at, place.size(), value);
  }
  return path;
}

class HttpEdgeTest : public testing::Test {
 protected:
  explicit HttpEdgeTest(std::uint32_t denial_burst = audit::kDenialBurst)
      : vault_(fakes::TestVault::On::kMemory, denial_burst) {
    const std::vector<Right> all = {Right::kStore, Right::kDescribe, Right::kEncrypt};
    texts_[kUnknown] = "ovt_" + std::string(64, '0');
    texts_[kManage] = Issue({"", "", "", {Right::kRegister}, 0});
    texts_[kAll] = Issue({"ann@acme.example", "acme", "sheets", all, 0});
    texts_[kStoreOnly] = Issue({"", "acme", "sheets", {Right::kStore}, 0});
    texts_[kDescribeOnly] = Issue({"", "acme", "sheets", {Right::kDescribe}, 0});
    texts_[kEncryptOnly] = Issue({"", "acme", "sheets", {Right::kEncrypt}, 0});
    texts_[kOther] = Issue({"", "other", "*", all, 0});
    texts_[kOtherComponent] = Issue({"", "acme", "plain", all, 0});
  }

  std::string Issue(const registry::NewToken& wanted) {
    auto issued = tokens_.Issue(wanted, fakes::SetupAct(), fakes::kVaultNow);
    EXPECT_TRUE(issued) << issued.error().Message();
    return fakes::TextOf(issued->text.Bytes());
  }

  Reply Ask(Caller caller, std::string method, std::string path, std::string_view body = "",
            std::vector<std::pair<std::string, std::string>> query = {}) {
    Request request;
    request.method = std::move(method);
    request.path = std::move(path);
    request.query = std::move(query);
    request.body = crypto::SecretBytes::CopyOf(body);
    request.peer = "http:127.0.0.1:5";
    request.request_id = "r1";
    if (!texts_[caller].empty()) {
      request.storage_token = crypto::SecretBytes::CopyOf(std::string_view(texts_[caller]));
      request.manage_token = crypto::SecretBytes::CopyOf(std::string_view(texts_[caller]));
    }
    return Edge(&parts_, calls_, gauges_).Answer(request);
  }
  Reply Store(Caller caller, const std::string& body) {
    return Ask(caller, "POST", "/credentials/sheets", body);
  }
  std::string DataOf(const ProjectId& project, std::string_view id) {
    auto stored = vault_.Store().Get<storage::Credentials>(storage::Credentials::Names(
        project, vault_.component, fakes::TestVault::IdOf(id)));
    if (!stored) return fakes::CodeOf(stored);
    return fakes::TextOf(*vault_.Store().OpenSecret(*stored, crypto::Part::kData));
  }
  json LastLine() {
    const auto shown = vault_.Trail().Show(vault_.Trail().LastSequence() - 1, 1);
    EXPECT_TRUE(shown);
    return json::parse(shown->at(0).json, nullptr, false);
  }

  fakes::TestVault vault_;
  registry::Tokens tokens_{vault_.Store(), vault_.Keys()};
  Vault parts_{vault_.Keys(), vault_.Store(), tokens_, vault_.Trail(),
               [] { return fakes::kVaultNow; }};
  metrics::Calls calls_;
  Gauges gauges_;
  std::string texts_[kCallers];
};

/// Each denial has a line of its own.
class HttpMatrixTest : public HttpEdgeTest {
 protected:
  HttpMatrixTest() : HttpEdgeTest(1'000'000) {}
};

TEST_F(HttpMatrixTest, EveryRouteByEveryCaller_EndsAsTheTableSays) {
  std::set<std::string> listed;
  for (const Row& row : kMatrix) {
    listed.insert(std::string(row.method) + std::string(row.path));
    const auto* route = std::ranges::find_if(Routes(), [&](const Route& one) {
      return one.method == row.method && one.path == row.path;
    }).base();
    ASSERT_NE(route, Routes().data() + Routes().size()) << row.path;
    for (std::size_t caller = 0; caller < kCallers; ++caller) {
      SCOPED_TRACE(std::string(row.method) + " " + std::string(row.path) + " by caller " +
                   std::to_string(caller));
      const std::uint64_t lines = vault_.Trail().LastSequence();
      const std::uint64_t reads = vault_.Engine().ReadCount();
      const Reply reply = Ask(static_cast<Caller>(caller), std::string(row.method),
                              Filled(row.path), "{}", {{"componentId", "sheets"}});
      const char expected = row.outcomes[2 * caller];
      if (expected == 'Y') {
        EXPECT_NE(reply.status, 401U);
        EXPECT_NE(reply.status, 403U) << reply.body;
        continue;
      }
      EXPECT_EQ(reply.status, expected == 'n' ? 403U : 401U) << reply.body;
      EXPECT_LE(vault_.Engine().ReadCount(), reads + 1) << "a denial reads the token's row only";
      ASSERT_EQ(vault_.Trail().LastSequence(), lines + 1) << "a denial leaves one line";
      const json line = LastLine();
      EXPECT_EQ(line["outcome"], "denied");
      EXPECT_EQ(line["act"], route->act);
      EXPECT_EQ(line["peer"], "http:127.0.0.1:5");
      EXPECT_EQ(line["principal"].get<std::string>().starts_with("token/"), expected == 'n');
    }
  }
  EXPECT_EQ(listed.size(), Routes().size());
}

TEST_F(HttpEdgeTest, Credentials_AreKeptAsTheTextThatCameInBothForms) {
  const std::string object = "{ \"access_token\": \"a\\u0301\", \"n\": 1.50 }";
  const Reply older = Store(kAll, "{\"id\":\"main\",\"authorizedFor\":\"Myself\",\"data\":" +
                                      object + "}");
  EXPECT_EQ(older.status, 201U) << older.body;
  EXPECT_EQ(DataOf(vault_.project, "main"), object);
  const Reply current = Store(kAll, R"({"id":"second","#data":"{\"a\" : \"\u00e9\"}"})");
  EXPECT_EQ(current.status, 201U) << current.body;
  EXPECT_EQ(DataOf(vault_.project, "second"), "{\"a\" : \"\xc3\xa9\"}");
}

TEST_F(HttpEdgeTest, AnAnswer_HasTheEightKeysWithTheCreatorSetHereAndNoSecretInClear) {
  const Reply reply =
      Store(kAll, std::string("{\"id\":\"main\",\"authorizedFor\":\"Myself\",\"#data\":\"") +
                      kCanary + "\",\"appKey\":\"own\",\"appSecret\":\"" + kCanary + "\"}");
  ASSERT_EQ(reply.status, 201U) << reply.body;
  for (const Reply& one : {reply, Ask(kDescribeOnly, "GET", "/credentials/sheets/main")}) {
    EXPECT_EQ(one.body.find(kCanary), std::string::npos) << one.body;
    const json keys = json::parse(one.body, nullptr, false);
    EXPECT_EQ(keys.size(), 8U) << one.body;
    EXPECT_EQ(keys["authorizedFor"], "Myself");
    EXPECT_TRUE(keys["creator"]["id"].get<std::string>().starts_with("token/"));
    EXPECT_EQ(keys["creator"]["description"], "ann@acme.example");
    EXPECT_EQ(keys["appKey"], "own");
    EXPECT_TRUE(keys["#data"].get<std::string>().starts_with("KBC::ProjectSecure::"));
    EXPECT_TRUE(keys["#appSecret"].get<std::string>().starts_with("KBC::"));
  }
  const json unseen = json::parse(Store(kStoreOnly, R"({"id":"x","#data":"y"})").body);
  EXPECT_EQ(unseen["#data"], "") << "who may not describe sees no sealed copy";
  const json list = json::parse(Ask(kAll, "GET", "/credentials/sheets").body, nullptr, false);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].size(), 4U);
}

TEST_F(HttpEdgeTest, ATokenOfAnotherProject_NeverLearnsWhatExists) {
  ASSERT_EQ(Store(kAll, R"({"id":"main","#data":"secret"})").status, 201U);
  for (const char* method : {"GET", "DELETE"}) {
    const Reply there = Ask(kOther, method, "/credentials/sheets/main");
    const Reply not_there = Ask(kOther, method, "/credentials/sheets/absent");
    EXPECT_EQ(there.status, 404U);
    EXPECT_EQ(there.body, not_there.body) << method;
  }
  EXPECT_EQ(Ask(kOther, "GET", "/credentials/sheets").body, "[]");
  // The same id in its own project is another one.
  ASSERT_EQ(Store(kOther, R"({"id":"main","#data":"own"})").status, 201U);
  EXPECT_EQ(DataOf(vault_.project, "main"), "secret");
  EXPECT_EQ(DataOf(vault_.other_project, "main"), "own");
  // A token of another component is refused alike whatever exists.
  EXPECT_EQ(Ask(kOtherComponent, "GET", "/credentials/sheets/main").body,
            Ask(kOtherComponent, "GET", "/credentials/sheets/absent").body);
  EXPECT_EQ(Ask(kAll, "POST", "/encrypt", "{}",
                {{"componentId", "sheets"}, {"projectId", "other"}}).status, 403U);
}

TEST_F(HttpEdgeTest, AnAct_LeavesTheLineThatGrpcLeaves) {
  ASSERT_EQ(Store(kAll, R"({"id":"main","#data":"x"})").status, 201U);
  json line = LastLine();
  EXPECT_EQ(line["act"], "Credentials.Store");
  EXPECT_EQ(line["outcome"], "allowed");
  EXPECT_EQ(line["project"], "acme");
  EXPECT_EQ(line["component"], "sheets");
  EXPECT_EQ(line["oauth_id"], "main");
  EXPECT_EQ(line["version"], 1);
  EXPECT_EQ(line["right"], "store");
  EXPECT_EQ(line["request_id"], "r1");
  ASSERT_EQ(Ask(kAll, "GET", "/credentials/sheets/main").status, 200U);
  EXPECT_EQ(LastLine()["act"], "Credentials.Describe");
  ASSERT_EQ(Ask(kAll, "DELETE", "/credentials/sheets/main").status, 204U);
  EXPECT_EQ(LastLine()["act"], "Credentials.Delete");
  EXPECT_EQ(Ask(kAll, "DELETE", "/credentials/sheets/main").status, 404U);
  line = LastLine();
  EXPECT_EQ(line["outcome"], "failed");
  EXPECT_EQ(line["code"], "NOT_FOUND");
}

TEST_F(HttpEdgeTest, AMistake_IsNeverA5xxAndNothingIsEchoed) {
  const std::string canary(kCanary);
  const std::string bodies[] = {
      "", "[]", "{", canary, "{\"" + canary + "\":1}",
      "{\"id\":\"" + canary + "/\",\"#data\":\"x\"}",
      "{\"id\":\"a\"}", "{\"id\":\"a\",\"#data\":\"\"}", "{\"id\":\"a\",\"data\":\"x\"}",
      "{\"id\":\"a\",\"#data\":{}}", "{\"id\":\"a\",\"#data\":\"x\",\"data\":{}}",
      "{\"id\":\"a\",\"#data\":\"x\",\"appKey\":\"" + canary + "\"}",
      "{\"id\":\"a\",\"#data\":\"x\",\"appSecret\":\"" + canary + "\"}",
      "{\"id\":\"a\",\"#data\":\"x\",\"creator\":{\"id\":\"" + canary + "\"}}",
      "{\"id\":\"a\",\"#data\":\"x\",\"authorizedFor\":\"\\n\"}",
      "{\"id\":\"a\",\"#data\":\"" + std::string(70'000, 'x') + "\"}"};
  for (const std::string& body : bodies) {
    const Reply reply = Store(kAll, body);
    EXPECT_EQ(reply.status, 400U) << body.substr(0, 80) << reply.body;
    EXPECT_EQ(reply.body.find(canary), std::string::npos) << reply.body;
    const json error = json::parse(reply.body, nullptr, false);
    EXPECT_EQ(error["error"], "User error");
    EXPECT_EQ(error["code"], 400);
    EXPECT_EQ(error["exceptionId"], "oauthvault-r1");
  }
  EXPECT_EQ(Ask(kAll, "POST", "/credentials/absent", "{}").status, 403U);
  EXPECT_EQ(Ask(kOther, "POST", "/credentials/absent", R"({"id":"a","#data":"x"})").status, 404U);
  EXPECT_EQ(Ask(kAll, "PUT", "/credentials/sheets").status, 405U);
  EXPECT_EQ(Ask(kAll, "PUT", "/credentials/sheets").allow, "GET, POST");
  EXPECT_EQ(Ask(kAll, "GET", "/v2").status, 404U);
  EXPECT_EQ(Ask(kNobody, "POST", "/authorize/sheets").status, 501U);
}

TEST_F(HttpEdgeTest, AComponent_IsRegisteredShownChangedAndRemoved) {
  const std::string body =
      std::string(R"({"component_id":"new","friendly_name":"New","app_key":"k","app_secret":")") +
      kCanary + R"(","oauth_version":"2.0","auth_url":"https://a.example/?c=%%client_id%%",)" +
      R"("token_url":"https://a.example/token"})";
  const Reply created = Ask(kManage, "POST", "/manage", body);
  EXPECT_EQ(created.status, 201U);
  EXPECT_EQ(created.body, R"({"status":"created","component_id":"new"})");
  EXPECT_EQ(Ask(kManage, "POST", "/manage", body).status, 409U);
  const Reply changed = Ask(kManage, "PATCH", "/manage/new", R"({"friendly_name":"Newer"})");
  EXPECT_EQ(changed.status, 200U) << changed.body;
  EXPECT_EQ(changed.body,
            R"({"component_id":"new","id":"new","friendly_name":"Newer","app_key":"k",)"
            R"("oauth_version":"2.0","auth_url":"https://a.example/?c=%%client_id%%",)"
            R"("token_url":"https://a.example/token","request_token_url":""})");
  EXPECT_EQ(Ask(kManage, "GET", "/manage/new").body, changed.body);
  EXPECT_EQ(json::parse(Ask(kManage, "GET", "/manage").body).size(), 3U);
  EXPECT_EQ(Ask(kManage, "PATCH", "/manage/absent", "{}").status, 404U);
  EXPECT_EQ(Ask(kManage, "PATCH", "/manage/new", R"({"id":"other"})").status, 400U);
  EXPECT_EQ(Ask(kManage, "DELETE", "/manage/new").status, 204U);
  EXPECT_EQ(Ask(kManage, "GET", "/manage/new").status, 404U);
  EXPECT_EQ(Ask(kManage, "DELETE", "/manage/sheets").status, 409U) << "a token names it";
}

TEST_F(HttpEdgeTest, Encrypt_SealsForWhatTheQueryNames) {
  using Query = std::vector<std::pair<std::string, std::string>>;
  const auto ask = [&](Query query) {
    query.emplace_back("componentId", "sheets");
    return Ask(kEncryptOnly, "POST", "/encrypt", R"({"#a":"b"})", std::move(query)).status;
  };
  const auto prefix = [&](Query query) {
    query.emplace_back("componentId", "sheets");
    const Reply reply = Ask(kEncryptOnly, "POST", "/encrypt", R"({"#a":"b"})", std::move(query));
    const json sealed = json::parse(reply.body, nullptr, false);
    if (!sealed.contains("#a")) return reply.body;
    const std::string text = sealed["#a"];
    return text.substr(0, text.rfind("::"));
  };
  EXPECT_EQ(prefix({}), "KBC::ComponentSecure");
  EXPECT_EQ(prefix({{"projectId", "acme"}}), "KBC::ProjectSecure");
  EXPECT_EQ(LastLine()["act"], "Credentials.Encrypt");
  EXPECT_EQ(prefix({{"projectId", "acme"}, {"configId", "12"}}), "KBC::ConfigSecure");
  EXPECT_EQ(prefix({{"projectId", "acme"}, {"branchType", "dev"}}), "KBC::BranchTypeSecure");
  EXPECT_EQ(ask({{"configId", "12"}}), 400U);
  EXPECT_EQ(ask({{"projectId", "acme"}, {"configId", "12"}, {"branchType", "dev"}}), 400U);
  EXPECT_EQ(ask({{"projectId", "acme"}, {"configId", "a/b"}}), 400U);
  EXPECT_EQ(ask({{"projectId", "acme"}, {"branchType", "x"}}), 400U);
  EXPECT_EQ(ask({{"other", "x"}}), 400U);
  EXPECT_EQ(Ask(kEncryptOnly, "POST", "/encrypt", "{}").status, 400U);
}

TEST_F(HttpEdgeTest, ARevokedToken_IsRefusedOnTheNextCall) {
  ASSERT_EQ(Ask(kAll, "GET", "/credentials/sheets").status, 200U);
  const TokenId id = tokens_.Recognize(texts_[kAll], fakes::kVaultNow)->token.id;
  ASSERT_TRUE(tokens_.Revoke(id, fakes::SetupAct()));
  EXPECT_EQ(Ask(kAll, "GET", "/credentials/sheets").status, 401U);
}

TEST_F(HttpEdgeTest, AnActThatCannotBeRecorded_IsNotAnsweredAsDone) {
  vault_.FailTrail(true);
  EXPECT_EQ(Store(kAll, R"({"id":"main","#data":"x"})").status, 503U);
  EXPECT_EQ(Ask(kAll, "GET", "/credentials/sheets/absent").status, 503U);
  EXPECT_EQ(Ask(kNobody, "GET", "/credentials/sheets").status, 503U);
  EXPECT_EQ(Ask(kNobody, "GET", "/health").status, 503U);
  EXPECT_EQ(Ask(kNobody, "GET", "/health/live").status, 200U);
  vault_.FailTrail(false);
  EXPECT_EQ(Ask(kNobody, "GET", "/credentials/sheets").status, 401U);
  EXPECT_EQ(Ask(kNobody, "GET", "/health").status, 200U);
}

TEST_F(HttpEdgeTest, ManyDenialsOfOneCaller_ShareALine) {
  constexpr std::uint64_t kDenials = 200;
  for (const Caller caller : {kNobody, kOther}) {
    const std::uint64_t lines = vault_.Trail().LastSequence();
    for (std::uint64_t i = 0; i < kDenials; ++i) {
      ASSERT_EQ(Ask(caller, "GET", "/manage").status, caller == kNobody ? 401U : 403U);
    }
    EXPECT_LT(vault_.Trail().LastSequence(), lines + kDenials / 2) << "caller " << caller;
  }
}

TEST_F(HttpEdgeTest, AStoryThatDenies_LeavesTheWordOfADenial) {
  ASSERT_EQ(Store(kAll, R"({"id":"main","#data":"x"})").status, 201U);
  vault_.Memory().FailNextCommit(Error(Code::kDenied, "the test's own denial"));
  EXPECT_EQ(Ask(kAll, "DELETE", "/credentials/sheets/main").status, 403U);
  EXPECT_EQ(LastLine()["outcome"], "denied");
  EXPECT_EQ(LastLine()["code"], "DENIED");
}

TEST_F(HttpEdgeTest, OnAFullAuditDisk_WhatHasALineIsRefusedBeforeItBeginsUnlessItRevokes) {
  ASSERT_EQ(Store(kAll, R"({"id":"main","#data":"x"})").status, 201U);
  const std::string component = R"({"component_id":"new","app_key":"k"})";
  ASSERT_EQ(Ask(kManage, "POST", "/manage", component).status, 201U);
  vault_.FillTrail();
  EXPECT_EQ(Store(kAll, R"({"id":"second","#data":"x"})").status, 503U);
  EXPECT_EQ(DataOf(vault_.project, "second"), "NOT_FOUND");
  EXPECT_EQ(Ask(kManage, "PATCH", "/manage/new", R"({"app_key":"other"})").status, 503U);
  EXPECT_EQ(json::parse(Ask(kManage, "GET", "/manage/new").body)["app_key"], "k");
  EXPECT_EQ(Ask(kAll, "GET", "/credentials/sheets/main").status, 503U);
  EXPECT_EQ(Ask(kAll, "GET", "/credentials/sheets").status, 200U) << "it has no line";
  EXPECT_EQ(Ask(kAll, "DELETE", "/credentials/sheets/main").status, 204U);
  EXPECT_EQ(Ask(kAll, "DELETE", "/credentials/sheets/main").status, 404U);
  EXPECT_EQ(LastLine()["outcome"], "failed") << "a removal that failed may use the reserve, too";
  EXPECT_EQ(Ask(kManage, "DELETE", "/manage/new").status, 204U);
}

TEST_F(HttpEdgeTest, ASealedVault_AnswersHealthMetricsAndItsDescriptionOnly) {
  const Edge sealed(nullptr, calls_, gauges_);
  for (const Route& route : Routes()) {
    Request request;
    request.method = route.method;
    request.path = Filled(route.path);
    request.request_id = "r1";
    const unsigned status = sealed.Answer(request).status;
    const bool is_ready = route.path == "/health" || route.path == "/health/ready";
    EXPECT_EQ(status, route.while_sealed && !is_ready ? 200U : 503U) << route.path;
  }
  EXPECT_TRUE(std::ranges::count_if(Routes(), &Route::while_sealed) == 5);
}

TEST_F(HttpEdgeTest, Metrics_CountCallsAndHaveNoIdInALabel) {
  ASSERT_EQ(Store(kAll, R"({"id":"main","#data":"x"})").status, 201U);
  EXPECT_EQ(Ask(kNobody, "GET", "/no-such-route").status, 404U);
  EXPECT_EQ(Ask(kAll, "DELETE", "/credentials/sheets/absent").status, 404U);
  storage::Batch batch(fakes::SetupAct());
  batch.Insert(storage::Attempt{.project = vault_.project,
                                .component = vault_.component,
                                .id = *AttemptId::Parse("attempt-1"),
                                .account = *AccountId::Parse("account-1"),
                                .oauth_id = fakes::TestVault::IdOf("main"),
                                .state = storage::AttemptState::kUnclear});
  batch.Insert(storage::Backup{.folder = "/backups/monday", .at_s = 1'700'000'000});
  batch.Insert(storage::Backup{.folder = "/backups/sunday", .at_s = 1'600'000'000});
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  gauges_.version = "1.2.3";
  gauges_.started_at_s = 1'750'000'000;
  gauges_.write_doors = [](metrics::Exposition& out) { out.Gauge("of_the_doors", "One.", 1); };
  gauges_.connections_behind = [] { return std::uint64_t{4}; };
  gauges_.last_check = [] { return Gauges::Check{"damaged", 1'780'000'000}; };
  gauges_.connections = [] { return std::uint64_t{3}; };
  gauges_.http_certificate_expires_at_s = 1'900'000'000;
  const Reply page = Ask(kNobody, "GET", "/metrics");
  ASSERT_EQ(page.status, 200U);
  for (const char* line : {
           "oauthvault_calls_total{door=\"http\",method=\"Credentials.Store\",outcome=\"OK\"} 1\n",
           "oauthvault_calls_total{door=\"http\",method=\"other\",outcome=\"NOT_FOUND\"} 1\n",
           "oauthvault_calls_total{door=\"http\",method=\"Credentials.Delete\","
           "outcome=\"NOT_FOUND\"} 1\n",
           "oauthvault_build_info{version=\"1.2.3\"} 1\n",
           "oauthvault_start_time_seconds 1750000000\n", "of_the_doors 1\n",
           "oauthvault_connections_behind 4\n",
           "oauthvault_check_info{result=\"damaged\"} 1\n",
           "oauthvault_last_check_timestamp_seconds 1780000000\n",
           "oauthvault_last_backup_timestamp_seconds 1700000000\n",
           "oauthvault_sealed 0\n", "oauthvault_http_connections 3\n",
           "oauthvault_attempts{state=\"unclear\"} 1\n", "oauthvault_attempts{state=\"new\"} 0\n",
           "oauthvault_audit_lines_waiting 0\n", "oauthvault_store_used_bytes ",
           "oauthvault_expiry_timestamp_seconds{kind=\"token\"} ",
           "oauthvault_expiry_timestamp_seconds{kind=\"http_certificate\"} 1900000000\n"}) {
    EXPECT_NE(page.body.find(line), std::string::npos) << line << page.body;
  }
  // Every value of a label is one of ours: a method, a code, a state, a number.
  for (const char* id : {"acme", "sheets", "plain", "main", "absent", "attempt-1", "account-1",
                         "token/", "no-such", "monday", "runner", "ann@"}) {
    EXPECT_EQ(page.body.find(id), std::string::npos) << id;
  }
}

}  // namespace
}  // namespace oauthvault::http
