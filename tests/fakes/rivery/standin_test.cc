#include "tests/fakes/rivery/standin.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace oauthvault::fakes {
namespace {

constexpr const char* kToken = "standin-test-token";
constexpr long kTimeout_ms = 20'000;

/// What a client saw.
struct Seen {
  CURLcode end = CURLE_OK;
  long status = 0;
  std::string body;
  std::string headers;

  Json Parsed() const { return Json::parse(body, nullptr, false); }
};

std::size_t Append(char* data, std::size_t size, std::size_t count, void* into) {
  static_cast<std::string*>(into)->append(data, size * count);
  return size * count;
}

/// What of a call differs from the usual.
struct Call {
  std::string token = kToken;
  bool follow = false;
  long timeout_ms = kTimeout_ms;
};

using Handle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

Handle NewHandle() {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  EXPECT_EQ(initialised, CURLE_OK);
  return Handle(curl_easy_init(), &curl_easy_cleanup);
}

/// Sends on `handle`, which keeps its connection for the next call.
Seen SendOn(CURL* handle, const std::string& method, const std::string& url,
            const std::string& body, const Call& call) {
  curl_easy_reset(handle);
  Seen seen;
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &seen.body);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, Append);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &seen.headers);
  curl_easy_setopt(handle, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, call.timeout_ms);
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, call.follow ? 1L : 0L);
  if (!body.empty()) {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.c_str());
  }
  curl_slist* headers = nullptr;
  if (!call.token.empty()) {
    headers = curl_slist_append(headers, ("Authorization: Bearer " + call.token).c_str());
  }
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
  seen.end = curl_easy_perform(handle);
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &seen.status);
  curl_slist_free_all(headers);
  return seen;
}

/// Sends on a connection of its own.
Seen Send(const std::string& method, const std::string& url, const std::string& body = {},
          const Call& call = {}) {
  const Handle handle = NewHandle();
  return SendOn(handle.get(), method, url, body, call);
}

class RiveryStandIn : public testing::Test {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<StandIn>> started =
        StandIn::Start({.tokens = {{.token = kToken},
                                   {.token = "sees-only", .scopes = {"connection:list"}}},
                        .log = &log_});
    ASSERT_TRUE(started);
    server_ = *std::move(started);
  }

  Seen Api(const std::string& method, const std::string& path, const Json& body = {},
           const Call& call = {}) {
    return Send(method, server_->BaseUrl() + path, body.is_null() ? "" : body.dump(), call);
  }

  Json Begin(const std::string& datasource = "gspreadsheet", int validity_s = 300) {
    const Seen seen =
        Api("POST", "/oauth2", {{"datasource_id", datasource}, {"validity_duration", validity_s}});
    EXPECT_EQ(seen.status, 200) << seen.body;
    return seen.Parsed();
  }

  Seen Fetch(const Json& started) {
    return Api("POST", "/oauth2/credentials",
               {{"pull_id", started["pull_id"]}, {"auth_uri", started["auth_uri"]}});
  }

  static std::string UriOf(const Json& started) {
    return started["auth_uri"].get<std::string>();
  }

  Json Saved(const std::string& name, const Json& credentials = {{"refresh_token", "s3cret"}}) {
    const Seen seen = Api("PUT", "/connections", Body(name, credentials));
    EXPECT_EQ(seen.status, 200) << seen.body;
    return seen.Parsed();
  }

  static Json Body(const std::string& name,
                   const Json& credentials = {{"refresh_token", "s3cret"}}) {
    return {{"connection_type", "gspreadsheet"},
            {"connection_name", name},
            {"credentials", credentials}};
  }

  void Knob(std::string_view name, std::string_view value) {
    Knobs knobs = server_->GetKnobs();
    ASSERT_TRUE(SetKnob(knobs, name, value)) << name;
    server_->SetKnobs(knobs);
  }

  std::size_t Written() { return server_->State()["connections"].size(); }

  /// Waits until so many connections are there, or ten seconds.
  void AwaitWritten(std::size_t count) {
    for (int i = 0; i < 2000 && Written() < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  /// A create that meets the fault.
  Seen CreateWith(Fault fault) {
    server_->AddFault({.operation = Operation::kCreate, .fault = fault});
    return Api("PUT", "/connections", Body("with a fault"));
  }

  std::ostringstream log_;
  std::unique_ptr<StandIn> server_;
};

std::string FromBase64Url(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string bytes;
  unsigned bits = 0;
  unsigned held = 0;
  for (const char c : text) {
    bits = ((bits << 6U) | static_cast<unsigned>(kDigits.find(c))) & 0xffffU;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes += static_cast<char>((bits >> held) & 0xffU);
    }
  }
  return bytes;
}

std::vector<std::string> KeysOf(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

// ---- the tables ----

TEST(RiveryStandInTables, EveryFaultAndOperationIsFoundByItsName) {
  for (const FaultRow& row : Faults()) {
    EXPECT_EQ(ParseFault(row.name), row.fault) << row.name;
    EXPECT_EQ(RowOf(row.fault).name, row.name);
  }
  for (const OperationRow& row : Operations()) {
    EXPECT_EQ(ParseOperation(row.name), row.operation) << row.name;
    EXPECT_EQ(NameOf(row.operation), row.name);
  }
  EXPECT_FALSE(ParseFault("no_such"));
  EXPECT_FALSE(ParseOperation("no_such"));
}

TEST(RiveryStandInTables, EveryKnobTakesEveryValueThatItNames) {
  for (const KnobName& knob : KnobNames()) {
    Knobs knobs;
    std::stringstream values(knob.values);
    for (std::string value; std::getline(values, value, '|');) {
      if (value == "seconds" || value == "number") value = "12";
      EXPECT_TRUE(SetKnob(knobs, knob.name, value)) << knob.name << " " << value;
    }
    EXPECT_FALSE(SetKnob(knobs, knob.name, "12 nonsense")) << knob.name;
  }
}

TEST(RiveryStandInTables, ATokenIsReadWithItsScopes) {
  const std::optional<ApiToken> token = ParseApiToken("abc:connection:list,connection:edit");
  ASSERT_TRUE(token);
  EXPECT_EQ(token->token, "abc");
  EXPECT_EQ(token->scopes, (std::set<std::string>{"connection:edit", "connection:list"}));
  EXPECT_TRUE(ParseApiToken("abc")->scopes.empty());
  EXPECT_FALSE(ParseApiToken(":connection:list"));
  EXPECT_FALSE(ParseApiToken("abc:"));
}

// ---- who may ask ----

TEST_F(RiveryStandIn, ABadTokenGets401AndAMissingScope403) {
  EXPECT_EQ(Api("GET", "/me", {}, {.token = "wrong"}).status, 401);
  EXPECT_EQ(Api("GET", "/me", {}, {.token = ""}).status, 401);
  EXPECT_EQ(Api("GET", "/connections/list", {}, {.token = "sees-only"}).status, 200);
  EXPECT_EQ(Api("PUT", "/connections", Body("a"), {.token = "sees-only"}).status, 403);
  EXPECT_EQ(Api("DELETE", "/connections?_id=0", {}, {.token = "sees-only"}).status, 403);
  EXPECT_EQ(Written(), 0U);
}

TEST_F(RiveryStandIn, MeNamesAccountAndEnvironment) {
  EXPECT_EQ(KeysOf(Api("GET", "/me").Parsed()),
            (std::vector<std::string>{"account_id", "environment_id"}));
}

TEST_F(RiveryStandIn, ARouteThatDoesNotExistGets404) {
  EXPECT_EQ(Api("GET", "/nothing").status, 404);
  EXPECT_EQ(Api("POST", "/connections", Body("a")).status, 404);
  EXPECT_EQ(Send("GET", server_->Origin() + "/").status, 404);
}

// ---- the catalogue ----

TEST_F(RiveryStandIn, TheCatalogueIsABareArrayThatMarksOauth2) {
  const Json types = Api("GET", "/connection_types").Parsed();
  ASSERT_TRUE(types.is_array());
  std::map<std::string, Json> by_name;
  for (const Json& type : types) by_name[type["connection_type"].get<std::string>()] = type;
  EXPECT_EQ(by_name["gspreadsheet"]["oauth2"], true);
  EXPECT_FALSE(by_name["mysql"].contains("oauth2"));
  EXPECT_EQ(by_name["snowflake"]["datasource_id"], "snowflake_src");
}

TEST_F(RiveryStandIn, PropertiesMarkSecretsByTheTypePassword) {
  const Json properties = Api("GET", "/connections/properties/mysql").Parsed();
  ASSERT_TRUE(properties.is_array());
  bool found = false;
  for (const Json& property : properties) {
    if (property["name"] == "password") found = property["type"] == "password";
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(Api("GET", "/connection_types/mysql").Parsed()["properties"], properties);
  EXPECT_EQ(Api("GET", "/connection_types/no_such").status, 404);
  EXPECT_EQ(Api("GET", "/connections/properties/no_such").status, 404);
  Knob("properties_form", "object");
  EXPECT_EQ(Api("GET", "/connections/properties/mysql").Parsed()["password"]["type"], "password");
}

// ---- the consent flow ----

TEST_F(RiveryStandIn, ThePullIdIsAJwsWhoseHeaderHoldsTheTimes) {
  const auto pull_id = Begin("gspreadsheet", 4000)["pull_id"].get<std::string>();
  const std::size_t first = pull_id.find('.');
  const std::size_t second = pull_id.find('.', first + 1);
  ASSERT_NE(second, std::string::npos);
  const Json header = Json::parse(FromBase64Url(pull_id.substr(0, first)), nullptr, false);
  EXPECT_EQ(KeysOf(header), (std::vector<std::string>{"alg", "exp", "iat"}));
  EXPECT_EQ(header["exp"].get<int>() - header["iat"].get<int>(), 4000);
  const std::string payload = FromBase64Url(pull_id.substr(first + 1, second - first - 1));
  EXPECT_TRUE(payload.starts_with("{\"pull_id\":\"")) << payload;
  EXPECT_EQ(Json::parse(payload, nullptr, false)["pull_id"].get<std::string>().size(), 24U);
}

TEST_F(RiveryStandIn, TheConsentPageHasALinkThatAllows) {
  const Json started = Begin();
  const Seen page = Send("GET", UriOf(started), {}, {.token = ""});
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.headers.find("text/html"), std::string::npos);
  const std::size_t begin = page.body.find("http://");
  ASSERT_NE(begin, std::string::npos);
  const std::string link = page.body.substr(begin, page.body.find('"', begin) - begin);
  EXPECT_NE(link.find("/consent/allow?state="), std::string::npos);
  EXPECT_EQ(Fetch(started).Parsed().contains("access_token"), false);
  const Seen clicked = Send("GET", link, {}, {.token = ""});
  EXPECT_EQ(clicked.status, 200);
  EXPECT_EQ(clicked.Parsed()["Connected"], "True");
  EXPECT_TRUE(Fetch(started).Parsed().contains("access_token"));
  EXPECT_EQ(Send("GET", link, {}, {.token = ""}).status, 409) << "a consent is given once";
  EXPECT_EQ(Send("GET", server_->Origin() + "/consent?state=00").status, 404);
}

TEST_F(RiveryStandIn, CredentialsOfSheetsHaveTheDocumentedKeysInTheirOrder) {
  const Json started = Begin();
  ASSERT_TRUE(server_->Click(UriOf(started), Decision::kAllow));
  const Json credentials = Fetch(started).Parsed();
  EXPECT_EQ(KeysOf(credentials),
            (std::vector<std::string>{"application_id", "access_token", "status_code", "expires_in",
                                      "token_type", "client_id", "scope", "message",
                                      "refresh_token"}));
  EXPECT_TRUE(credentials["application_id"].is_null());
  EXPECT_EQ(credentials["status_code"], 200);
  EXPECT_EQ(credentials["expires_in"], 3599);
  EXPECT_EQ(credentials["token_type"], "Bearer");
  EXPECT_EQ(credentials["message"], "Connected to Google");
  EXPECT_EQ(Fetch(started).Parsed(), credentials) << "readable many times unless told otherwise";

  const Json other = Begin();
  ASSERT_TRUE(server_->Click(UriOf(other), Decision::kAllow));
  const Json others = Fetch(other).Parsed();
  EXPECT_NE(others["access_token"], credentials["access_token"]);
  EXPECT_NE(others["refresh_token"], credentials["refresh_token"]);
}

TEST_F(RiveryStandIn, KeysDifferByProvider) {
  const Json started = Begin("fb");
  ASSERT_TRUE(server_->Click(UriOf(started), Decision::kAllow));
  EXPECT_FALSE(Fetch(started).Parsed().contains("refresh_token"));
  const Json snowflake = Begin("snowflake_src");
  ASSERT_TRUE(server_->Click(UriOf(snowflake), Decision::kAllow));
  EXPECT_TRUE(Fetch(snowflake).Parsed().contains("refresh_token"));
}

TEST_F(RiveryStandIn, TheReplyBeforeConsentIsAKnob) {
  const std::map<std::string, long> statuses = {
      {"200", 200}, {"202", 202}, {"404", 404}, {"400", 400}, {"200-with-code", 200}};
  const Json started = Begin();
  for (const auto& [value, status] : statuses) {
    Knob("pending", value);
    const Seen seen = Fetch(started);
    EXPECT_EQ(seen.status, status) << value;
    EXPECT_FALSE(seen.Parsed().contains("status_code")) << value;
    EXPECT_EQ(seen.Parsed().contains("Code"), value == "200-with-code");
  }
  Knob("pending", "400");
  EXPECT_TRUE(Fetch(started).Parsed()["detail"][0].contains("msg"));
}

TEST_F(RiveryStandIn, ARefusalAnswersByItsKnob) {
  const Json started = Begin();
  ASSERT_TRUE(server_->Click(UriOf(started), Decision::kDeny));
  const Seen seen = Fetch(started);
  EXPECT_EQ(seen.status, 200);
  EXPECT_EQ(seen.Parsed()["Code"], 400) << "the body contradicts the status";
  Knob("refused", "404");
  EXPECT_EQ(Fetch(started).status, 404);
  EXPECT_FALSE(server_->Click(UriOf(started), Decision::kAllow)) << "decided before";
}

TEST_F(RiveryStandIn, AnExpiredPullIdGivesNothingEvenAfterConsent) {
  const Json unused = Begin();
  const Json allowed = Begin();
  ASSERT_TRUE(server_->Click(UriOf(allowed), Decision::kAllow));
  server_->AdvanceClock(std::chrono::seconds(299));
  EXPECT_EQ(Fetch(allowed).status, 200);
  server_->AdvanceClock(std::chrono::seconds(2));
  EXPECT_EQ(Fetch(allowed).status, 404);
  EXPECT_EQ(Fetch(unused).status, 404);
  EXPECT_EQ(Send("GET", UriOf(unused)).status, 410);
  EXPECT_FALSE(server_->Click(UriOf(unused), Decision::kAllow));
  Knob("expired", "202");
  EXPECT_EQ(Fetch(unused).status, 202);
}

TEST_F(RiveryStandIn, CredentialsCanBeReadableOnce) {
  Knob("credentials_once", "on");
  const Json started = Begin();
  ASSERT_TRUE(server_->Click(UriOf(started), Decision::kAllow));
  EXPECT_TRUE(Fetch(started).Parsed().contains("access_token"));
  EXPECT_EQ(Fetch(started).status, 404);
  Knob("read_again", "200-with-code");
  EXPECT_FALSE(Fetch(started).Parsed().contains("access_token"));
}

TEST_F(RiveryStandIn, AConsentDelayKeepsTheReplyPending) {
  Knob("consent_delay", "60");
  const Json started = Begin();
  ASSERT_TRUE(server_->Click(UriOf(started), Decision::kAllow));
  EXPECT_FALSE(Fetch(started).Parsed().contains("access_token"));
  server_->AdvanceClock(std::chrono::seconds(60));
  EXPECT_TRUE(Fetch(started).Parsed().contains("access_token"));
}

TEST_F(RiveryStandIn, AutoAllowClicksByItself) {
  Knob("auto_allow", "60");
  const Json started = Begin();
  EXPECT_FALSE(Fetch(started).Parsed().contains("access_token"));
  server_->AdvanceClock(std::chrono::seconds(60));
  EXPECT_TRUE(Fetch(started).Parsed().contains("access_token"));
}

TEST_F(RiveryStandIn, AWrongParameterOfTheStartGets429AndAWrongDatasource402) {
  const auto start = [&](const Json& body) { return Api("POST", "/oauth2", body); };
  for (const int validity_s : {299, 43201}) {
    const Seen seen = start({{"datasource_id", "fb"}, {"validity_duration", validity_s}});
    EXPECT_EQ(seen.status, 429) << validity_s;
  }
  for (const int validity_s : {300, 43200}) Begin("fb", validity_s);
  EXPECT_EQ(start({{"datasource_id", "fb"}, {"validity_duration", "300"}}).status, 429);
  EXPECT_EQ(start({{"validity_duration", 300}}).status, 429);
  const Seen refused = start({{"datasource_id", "mysql"}, {"validity_duration", 300}});
  EXPECT_EQ(refused.status, 402);
  EXPECT_EQ(KeysOf(refused.Parsed()), (std::vector<std::string>{"status", "message"}));
  EXPECT_EQ(refused.Parsed()["status"], 402);
  EXPECT_EQ(start({{"datasource_id", "snowflake"}, {"validity_duration", 300}}).status, 402)
      << "the datasource is snowflake_src";
}

TEST_F(RiveryStandIn, AFetchNeedsBothHalvesOfOneConsent) {
  const Json one = Begin();
  const Json two = Begin();
  ASSERT_TRUE(server_->Click(UriOf(one), Decision::kAllow));
  const Seen mixed = Api("POST", "/oauth2/credentials",
                         {{"pull_id", one["pull_id"]}, {"auth_uri", two["auth_uri"]}});
  EXPECT_EQ(mixed.status, 402);
  EXPECT_EQ(Api("POST", "/oauth2/credentials", {{"pull_id", one["pull_id"]}}).status, 402);
}

TEST_F(RiveryStandIn, TheStartCanCarryAnOauthToken) {
  EXPECT_FALSE(Begin().contains("oauth_token"));
  Knob("oauth_token", "on");
  EXPECT_TRUE(Begin().contains("oauth_token"));
}

// ---- connections ----

TEST_F(RiveryStandIn, ACreateAnswersConnectionSavedOnBothRoutes) {
  const Json saved = Saved("first");
  EXPECT_EQ(KeysOf(saved), (std::vector<std::string>{"cross_id", "status_code", "message", "_id",
                                                     "connection_name"}));
  EXPECT_EQ(saved["message"], "connection saved");
  EXPECT_EQ(saved["status_code"], 200);
  EXPECT_EQ(saved["_id"].get<std::string>().size(), 24U);
  EXPECT_EQ(Api("PUT", "/connections/create/data", Body("first")).status, 200);
  EXPECT_EQ(Written(), 2U) << "a name need not be unique";
}

TEST_F(RiveryStandIn, AnIdCanComeAsAnOid) {
  Knob("id_form", "oid");
  const Json saved = Saved("first");
  const auto id = saved["_id"]["$oid"].get<std::string>();
  EXPECT_EQ(Api("GET", "/connections/" + id).Parsed()["_id"]["$oid"], id);
}

TEST_F(RiveryStandIn, ADateComesInThreeForms) {
  Saved("first");
  EXPECT_TRUE(Api("GET", "/connections").Parsed()[0]["created_at"].is_string());
  Knob("date_form", "ms");
  EXPECT_TRUE(Api("GET", "/connections").Parsed()[0]["created_at"].is_number());
  Knob("date_form", "extended");
  EXPECT_TRUE(Api("GET", "/connections").Parsed()[0]["created_at"].contains("$date"));
}

TEST_F(RiveryStandIn, AnUnknownFieldIsRefusedByName) {
  Json body = Body("first");
  body["conection_nonce"] = "x";
  const Seen refused = Api("PUT", "/connections", body);
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.body.find("conection_nonce"), std::string::npos);
  EXPECT_EQ(Api("POST", "/oauth2",
                {{"datasource_id", "fb"}, {"validity_duration", 300}, {"extra", 1}})
                .status,
            400);
  EXPECT_EQ(Written(), 0U);
  Knob("strict_fields", "off");
  EXPECT_EQ(Api("PUT", "/connections", body).status, 200) << "as the vendor does";
}

TEST_F(RiveryStandIn, AnUnknownOrNestedPropertyIsDroppedWithASuccess) {
  Json body = Body("first");
  body["description"] = "kept";
  body["properties"] = {{"no_such_property", "x"}};
  EXPECT_EQ(Api("PUT", "/connections", body).status, 200);
  body["description"] = {{"nested", "x"}};
  EXPECT_EQ(Api("PUT", "/connections", body).status, 200);
  const Json written = server_->State()["connections"];
  EXPECT_EQ(written[0]["properties"], (Json{{"description", "kept"}}));
  EXPECT_TRUE(written[1]["properties"].empty());
}

TEST_F(RiveryStandIn, AWrongBodyIsRefused) {
  EXPECT_EQ(Send("PUT", server_->BaseUrl() + "/connections", "{not json").status, 400);
  EXPECT_EQ(Api("PUT", "/connections", Json::array({1})).status, 400);
  EXPECT_EQ(Api("PUT", "/connections", {{"connection_name", "a"}}).status, 400);
  Json body = Body("a");
  body["connection_type"] = "no_such";
  EXPECT_EQ(Api("PUT", "/connections", body).status, 400);
  EXPECT_EQ(Api("PUT", "/connections", Body("")).status, 400);
  EXPECT_EQ(Api("PUT", "/connections", Body("a", "text")).status, 400);
  EXPECT_EQ(Send("PUT", server_->BaseUrl() + "/connections", std::string(2U << 20U, 'x')).status,
            413);
  EXPECT_EQ(Written(), 0U);
}

TEST_F(RiveryStandIn, AGetNeverReturnsASecret) {
  const Json saved = Saved("sheet", {{"refresh_token", "sheet-s3cret"}});
  const Seen made = Api("PUT", "/connections",
                        {{"connection_type", "mysql"},
                         {"connection_name", "db"},
                         {"host", "db.example"},
                         {"password", "db-s3cret"}});
  ASSERT_EQ(made.status, 200) << made.body;
  const auto sheet_id = saved["_id"].get<std::string>();
  const auto db_id = made.Parsed()["_id"].get<std::string>();
  const std::vector<std::string> paths = {
      "/connections/list",  "/connections",  "/connections?connection_type=mysql",
      "/connections/mysql", "/connections/" + sheet_id, "/connections/" + db_id};
  for (const std::string& path : paths) {
    const Seen seen = Api("GET", path);
    EXPECT_EQ(seen.status, 200) << path;
    EXPECT_EQ(seen.body.find("s3cret"), std::string::npos) << path;
  }
  EXPECT_EQ(Api("GET", "/connections/" + sheet_id).Parsed()["credentials_exists"], true);
  const Json db = Api("GET", "/connections/" + db_id).Parsed();
  EXPECT_EQ(db["credentials_exists"], false);
  EXPECT_EQ(db["is_password_encrypted"], true);
  EXPECT_EQ(db["host"], "db.example");
  EXPECT_NE(server_->State().dump().find("db-s3cret"), std::string::npos) << "the test may look";
}

TEST_F(RiveryStandIn, AListCanBeNarrowedToAType) {
  Saved("a");
  Api("PUT", "/connections", {{"connection_type", "mysql"}, {"connection_name", "b"}});
  EXPECT_EQ(Api("GET", "/connections/list").Parsed().size(), 2U);
  EXPECT_EQ(Api("GET", "/connections?connection_type=mysql").Parsed().size(), 1U);
  EXPECT_EQ(Api("GET", "/connections/gspreadsheet").Parsed()[0]["connection_name"], "a");
  EXPECT_EQ(Api("GET", "/connections/0123456789abcdef01234567").status, 404);
}

TEST_F(RiveryStandIn, PagesLeadToEachOther) {
  Knob("page_size", "2");
  for (const char* name : {"a", "b", "c"}) Saved(name);
  const Json first = Api("GET", "/connections?connection_type=gspreadsheet").Parsed();
  EXPECT_EQ(first["items"].size(), 2U);
  const auto next = first["next_page"].get<std::string>();
  EXPECT_TRUE(next.starts_with(server_->BaseUrl()));
  const Json second = Send("GET", next).Parsed();
  EXPECT_EQ(second["items"][0]["connection_name"], "c");
  EXPECT_TRUE(second["next_page"].is_null());
}

TEST_F(RiveryStandIn, AllThreeUpdateRoutesWorkUnlessOneIsAskedFor) {
  const Json saved = Saved("old");
  const auto id = saved["_id"].get<std::string>();
  const auto cross_id = saved["cross_id"].get<std::string>();
  const std::map<std::string, std::pair<std::string, std::string>> routes = {
      {"put-path", {"PUT", "/connections/" + id}},
      {"put-query", {"PUT", "/connections?_id=" + id}},
      {"patch-query", {"PATCH", "/connections?_id=" + cross_id}},
  };
  for (const auto& [name, route] : routes) {
    EXPECT_EQ(Api(route.first, route.second, Body(name)).status, 200) << name;
    EXPECT_EQ(server_->State()["connections"][0]["connection_name"], name);
  }
  for (const auto& [only, unused] : routes) {
    Knob("update_route", only);
    for (const auto& [name, route] : routes) {
      EXPECT_EQ(Api(route.first, route.second, Body(name)).status, name == only ? 200 : 404);
    }
  }
  Knob("update_route", "any");
  EXPECT_EQ(Api("PATCH", "/connections?_id=" + cross_id, Body("x")).Parsed(),
            (Json{{"status", true}, {"count", 1}, {"Code", 200}}));
  EXPECT_EQ(Api("PUT", "/connections/" + cross_id, Body("x")).status, 404);
  EXPECT_EQ(Written(), 1U);
}

TEST_F(RiveryStandIn, AnUpdateWithoutCredentialsWipesThem) {
  const Json saved = Saved("a");
  const std::string path = "/connections/" + saved["_id"].get<std::string>();
  EXPECT_FALSE(server_->State()["connections"][0]["credentials"].is_null());
  const Seen seen =
      Api("PUT", path, {{"connection_type", "gspreadsheet"}, {"connection_name", "a"}});
  EXPECT_EQ(seen.status, 200);
  EXPECT_TRUE(server_->State()["connections"][0]["credentials"].is_null());
  EXPECT_EQ(Api("GET", path).Parsed()["credentials_exists"], false);
}

TEST_F(RiveryStandIn, AnUpdateMayCarryItsOwnIdsInEitherForm) {
  const Json saved = Saved("a");
  const std::string path = "/connections/" + saved["_id"].get<std::string>();
  Json body = Body("a");
  body["_id"] = {{"$oid", saved["_id"]}};
  body["cross_id"] = saved["cross_id"];
  EXPECT_EQ(Api("PUT", path, body).status, 200);
  body["_id"] = "0123456789abcdef01234567";
  EXPECT_EQ(Api("PUT", path, body).status, 400);
}

TEST_F(RiveryStandIn, ADeleteTakesOneConnectionAway) {
  const Json saved = Saved("a");
  Saved("b");
  const std::string path = "/connections?_id=" + saved["_id"].get<std::string>();
  EXPECT_EQ(Api("DELETE", path).status, 200);
  EXPECT_EQ(Api("DELETE", path).status, 404);
  EXPECT_EQ(server_->State()["connections"][0]["connection_name"], "b");
}

TEST_F(RiveryStandIn, AShareLinkWorksOnce) {
  const Json link = Api("GET", "/connections/share_creation_link/fb").Parsed();
  const auto url = link["url"].get<std::string>();
  EXPECT_EQ(Send("GET", url).status, 200);
  EXPECT_EQ(Send("GET", url).status, 410);
}

// ---- faults ----

TEST_F(RiveryStandIn, EveryFaultCommitsOrNotAsItsRowSays) {
  for (const FaultRow& row : Faults()) {
    const std::size_t before = Written();
    server_->AddFault({.operation = Operation::kCreate,
                       .fault = row.fault,
                       .delay = std::chrono::milliseconds(1)});
    Api("PUT", "/connections", Body(std::string(row.name)));
    // A dropped connection that commits late is over for the client before the commit.
    if (row.commits) AwaitWritten(before + 1);
    EXPECT_EQ(Written() - before, row.commits ? 1U : 0U) << row.name;
  }
  EXPECT_TRUE(server_->State()["faults_left"].empty());
}

TEST_F(RiveryStandIn, ALostReplyLeavesTheConnectionBehind) {
  const Seen seen = CreateWith(Fault::kCommitThenDrop);
  EXPECT_EQ(seen.end, CURLE_GOT_NOTHING);
  EXPECT_EQ(seen.status, 0);
  EXPECT_EQ(server_->State()["connections"][0]["connection_name"], "with a fault");
  EXPECT_EQ(Api("GET", "/connections?connection_type=gspreadsheet").Parsed().size(), 1U);
}

TEST_F(RiveryStandIn, AReusedConnectionMakesCurlSendADroppedCreateAgain) {
  // No promise of this server, but what makes the fault bite: a client that keeps connections
  // open and does not know this makes two of one.
  const Handle handle = NewHandle();
  SendOn(handle.get(), "GET", server_->BaseUrl() + "/me", {}, {});
  server_->AddFault({.operation = Operation::kCreate, .fault = Fault::kCommitThenDrop});
  const Seen seen =
      SendOn(handle.get(), "PUT", server_->BaseUrl() + "/connections", Body("twice").dump(), {});
  EXPECT_EQ(seen.status, 200);
  EXPECT_EQ(Written(), 2U);
}

TEST_F(RiveryStandIn, AResetIsAReset) {
  EXPECT_EQ(CreateWith(Fault::kResetBeforeCommit).end, CURLE_RECV_ERROR);
  EXPECT_EQ(Written(), 0U);
  EXPECT_EQ(CreateWith(Fault::kResetAfterCommit).end, CURLE_RECV_ERROR);
  EXPECT_EQ(Written(), 1U);
}

TEST_F(RiveryStandIn, ALateCommitComesAfterTheClientGaveUp) {
  server_->AddFault({.operation = Operation::kCreate,
                     .fault = Fault::kCommitLate,
                     .delay = std::chrono::milliseconds(600)});
  Api("PUT", "/connections", Body("late"), {.timeout_ms = 100});
  AwaitWritten(1);
  EXPECT_EQ(Written(), 1U);
}

TEST_F(RiveryStandIn, ACommitThatIsStillLateAtTheStopDoesNotHappen) {
  for (const Fault fault : {Fault::kCommitLate, Fault::kDropThenCommitLate}) {
    server_->AddFault({.operation = Operation::kCreate,
                       .fault = fault,
                       .delay = std::chrono::minutes(10)});
    const Seen seen = Api("PUT", "/connections", Body("late"), {.timeout_ms = 1000});
    EXPECT_EQ(seen.end,
              fault == Fault::kCommitLate ? CURLE_OPERATION_TIMEDOUT : CURLE_GOT_NOTHING);
    EXPECT_EQ(Written(), 0U);
  }
  server_->Stop();
  EXPECT_EQ(Written(), 0U);
}

TEST_F(RiveryStandIn, StopWakesAFaultThatWaits) {
  server_->AddFault({.operation = Operation::kMe,
                     .fault = Fault::kCommitLate,
                     .delay = std::chrono::minutes(10)});
  std::thread client([&] { EXPECT_NE(Api("GET", "/me").end, CURLE_OK); });
  while (server_->State()["requests"]["me"] == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  server_->Stop();
  client.join();
}

TEST_F(RiveryStandIn, AStatusFaultAnswersWithItsStatus) {
  const std::map<Fault, long> statuses = {
      {Fault::kUnauthorized, 401}, {Fault::kForbidden, 403}, {Fault::kRateLimited, 429},
      {Fault::kRateLimitedRetryAfter, 429}, {Fault::kHtml500, 500}, {Fault::kHtml502, 502},
      {Fault::kCommitThen502, 502}, {Fault::kOkWithCode402, 200}};
  for (const auto& [fault, status] : statuses) {
    const Seen seen = CreateWith(fault);
    EXPECT_EQ(seen.status, status) << RowOf(fault).name;
    EXPECT_EQ(seen.headers.find("text/html") != std::string::npos, status >= 500);
    EXPECT_EQ(seen.Parsed().is_discarded(), status >= 500);
    EXPECT_EQ(seen.headers.find("Retry-After: 7") != std::string::npos,
              fault == Fault::kRateLimitedRetryAfter);
  }
}

TEST_F(RiveryStandIn, AnOkWithCode402KeepsTheConnection) {
  const Json saved = Saved("a");
  server_->AddFault({.operation = Operation::kDelete, .fault = Fault::kOkWithCode402});
  const Seen seen = Api("DELETE", "/connections?_id=" + saved["_id"].get<std::string>());
  EXPECT_EQ(seen.status, 200);
  EXPECT_EQ(seen.Parsed()["Code"], 402);
  const auto message = seen.Parsed()["message"].get<std::string>();
  EXPECT_TRUE(message.starts_with("There are some rivers that")) << message;
  EXPECT_TRUE(seen.Parsed()["rivers"].is_string());
  EXPECT_EQ(Written(), 1U);
}

TEST_F(RiveryStandIn, ABodyFaultSpoilsTheBody) {
  const Seen truncated = CreateWith(Fault::kTruncatedJson);
  EXPECT_EQ(truncated.end, CURLE_OK);
  EXPECT_TRUE(truncated.Parsed().is_discarded());
  const Seen wrong = CreateWith(Fault::kWrongContentLength);
  EXPECT_EQ(wrong.end, CURLE_PARTIAL_FILE);
  EXPECT_FALSE(wrong.Parsed().is_discarded()) << "the body itself is whole";
  const Seen huge = CreateWith(Fault::kHugeBody);
  EXPECT_EQ(huge.body.size(), kHugeBodyBytes);
  EXPECT_EQ(huge.Parsed()["message"], "connection saved");
}

TEST_F(RiveryStandIn, ASlowDripOutlastsAShortTimeout) {
  server_->AddFault({.operation = Operation::kMe,
                     .fault = Fault::kSlowDrip,
                     .delay = std::chrono::milliseconds(200)});
  const Seen seen = Api("GET", "/me", {}, {.timeout_ms = 2000});
  EXPECT_EQ(seen.end, CURLE_OPERATION_TIMEDOUT);
  EXPECT_EQ(seen.status, 200) << "the head had come";
  server_->AddFault({.operation = Operation::kMe,
                     .fault = Fault::kSlowDrip,
                     .delay = std::chrono::milliseconds(1)});
  EXPECT_TRUE(Api("GET", "/me").Parsed().contains("account_id"));
}

TEST_F(RiveryStandIn, ARedirectElsewhereShowsWhoFollowsItWithAToken) {
  server_->AddFault({.operation = Operation::kMe, .fault = Fault::kRedirectElsewhere, .times = 2});
  const Seen stayed = Api("GET", "/me");
  EXPECT_EQ(stayed.status, 307);
  EXPECT_NE(stayed.headers.find("Location: http://localhost:"), std::string::npos);
  EXPECT_EQ(server_->State()["elsewhere"], (Json{{"requests", 0}, {"with_token", 0}}));
  Api("GET", "/me", {}, {.follow = true});
  EXPECT_EQ(server_->State()["elsewhere"]["requests"], 1);
}

TEST_F(RiveryStandIn, ANextPageElsewhereShowsWhoFollowsItWithAToken) {
  Saved("a");
  server_->AddFault({.operation = Operation::kList, .fault = Fault::kNextPageElsewhere});
  const Json page = Api("GET", "/connections").Parsed();
  EXPECT_EQ(page["items"].size(), 1U);
  const auto next = page["next_page"].get<std::string>();
  EXPECT_TRUE(next.starts_with("http://localhost:"));
  Send("GET", next);
  EXPECT_EQ(server_->State()["elsewhere"], (Json{{"requests", 1}, {"with_token", 1}}));
}

TEST_F(RiveryStandIn, AFaultWaitsForItsOperationAndServesItsCount) {
  server_->AddFault({.operation = Operation::kList, .fault = Fault::kHtml500, .times = 2});
  server_->AddFault({.operation = {}, .fault = Fault::kForbidden});
  EXPECT_EQ(Api("GET", "/me").status, 403) << "any operation";
  EXPECT_EQ(Api("GET", "/me").status, 200);
  EXPECT_EQ(Api("GET", "/connections").status, 500);
  EXPECT_EQ(Api("GET", "/connections").status, 500);
  EXPECT_EQ(Api("GET", "/connections").status, 200);
  server_->AddFault({.operation = {}, .fault = Fault::kForbidden});
  server_->ClearFaults();
  EXPECT_EQ(Api("GET", "/me").status, 200);
}

// ---- control routes and log ----

TEST_F(RiveryStandIn, TheControlRoutesDoWhatTheCallsDo) {
  const std::string control = server_->Origin() + "/standin";
  const auto post = [&](const std::string& path, const Json& body) {
    return Send("POST", control + path, body.dump(), {.token = ""}).status;
  };
  EXPECT_EQ(post("/faults", {{"operation", "create"}, {"fault", "commit_then_drop"}}), 200);
  EXPECT_EQ(Api("PUT", "/connections", Body("a")).end, CURLE_GOT_NOTHING);
  EXPECT_EQ(post("/faults", {{"operation", "any"}, {"fault", "html_500"}, {"times", 3}}), 200);
  EXPECT_EQ(Send("DELETE", control + "/faults").status, 200);
  EXPECT_EQ(Api("GET", "/me").status, 200);
  EXPECT_EQ(post("/knobs", {{"pending", "202"}, {"credentials_once", "on"}}), 200);
  EXPECT_EQ(server_->GetKnobs().pending, ReplyForm::kAccepted);
  EXPECT_TRUE(server_->GetKnobs().credentials_once);
  const Json started = Begin();
  EXPECT_EQ(post("/clock", {{"advance_s", 301}}), 200);
  EXPECT_EQ(Fetch(started).status, 404);

  EXPECT_EQ(post("/faults", {{"operation", "create"}, {"fault", "no_such"}}), 400);
  EXPECT_EQ(post("/faults", {{"operation", "no_such"}, {"fault", "html_500"}}), 400);
  EXPECT_EQ(post("/faults", {{"fault", "html_500"}}), 400);
  EXPECT_EQ(post("/faults", {{"operation", "any"}, {"fault", "html_500"}, {"times", 0}}), 400);
  EXPECT_EQ(post("/faults", {{"operation", "any"}, {"fault", "html_500"}, {"time", 1}}), 400);
  EXPECT_EQ(post("/knobs", {{"pending", "203"}}), 400);
  EXPECT_EQ(post("/clock", {{"advance_s", -1}}), 400);
  EXPECT_EQ(post("/nothing", Json::object()), 404);
}

TEST_F(RiveryStandIn, TheStateShowsWhatWasWrittenAndCountsRequests) {
  const Json started = Begin();
  ASSERT_TRUE(server_->Click(UriOf(started), Decision::kAllow));
  const Json credentials = Fetch(started).Parsed();
  Saved("a", credentials);
  CreateWith(Fault::kResetBeforeCommit);
  const Json state = Send("GET", server_->Origin() + "/standin/state").Parsed();
  EXPECT_EQ(state, server_->State());
  EXPECT_EQ(state["connections"][0]["credentials"].dump(), credentials.dump())
      << "verbatim, in order";
  EXPECT_EQ(state["requests"]["create"], 2);
  EXPECT_EQ(state["requests"]["oauth2_fetch"], 1);
  EXPECT_EQ(state["attempts"][0]["decision"], "allow");
  EXPECT_EQ(state["attempts"][0]["reads"], 1);
}

TEST_F(RiveryStandIn, WhatCameIsKeptInItsOrderAlsoWhereItWasNotCarriedOut) {
  Saved("a", {{"access_token", "first"}});
  CreateWith(Fault::kResetBeforeCommit);
  Send("PUT", server_->BaseUrl() + "/connections", "{not json");
  const Json received = Send("GET", server_->Origin() + "/standin/received").Parsed();
  EXPECT_EQ(received, server_->Received());
  ASSERT_EQ(received.size(), 3U);
  EXPECT_EQ(received[0]["operation"], "create");
  EXPECT_EQ(received[0]["body"]["credentials"], (Json{{"access_token", "first"}}));
  EXPECT_EQ(received[1]["body"]["connection_name"], "with a fault");
  EXPECT_TRUE(received[2]["body"].is_null());
}

TEST_F(RiveryStandIn, TheLogHoldsMethodPathAndStatusAndNoSecret) {
  const Json started = Begin();
  Send("GET", UriOf(started));
  const Json link = Api("GET", "/connections/share_creation_link/fb").Parsed();
  const auto url = link["url"].get<std::string>();
  Send("GET", url);
  Send("GET", server_->Origin() + "/a%0ab");
  server_->Stop();
  const std::string log = log_.str();
  EXPECT_NE(log.find("POST /api/oauth2 200\n"), std::string::npos) << log;
  EXPECT_NE(log.find("GET /consent 200\n"), std::string::npos) << log;
  EXPECT_NE(log.find("GET /a?b 404\n"), std::string::npos) << log;
  const std::string uri = UriOf(started);
  EXPECT_EQ(log.find(uri.substr(uri.find('=') + 1)), std::string::npos);
  EXPECT_EQ(log.find(url.substr(url.rfind('/') + 1)), std::string::npos);
  EXPECT_EQ(log.find(kToken), std::string::npos);
}

TEST_F(RiveryStandIn, APortThatIsTakenIsAnError) {
  const std::string& origin = server_->Origin();
  const auto port = static_cast<std::uint16_t>(std::stoi(origin.substr(origin.rfind(':') + 1)));
  const auto second = StandIn::Start({.port = port, .tokens = {{.token = kToken}}});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().GetCode(), Code::kUnavailable);
  const auto without_token = StandIn::Start({.port = 0, .tokens = {}});
  ASSERT_FALSE(without_token);
  EXPECT_EQ(without_token.error().GetCode(), Code::kInvalid);
}

// ---- the program ----

/// The program as a child process, with its standard output.
struct Program {
  pid_t pid = -1;
  int output = -1;

  explicit Program(std::vector<std::string> arguments) {
    std::string path = OAUTHVAULT_BIN_DIR "/rivery-standin";
    std::vector<char*> argv = {path.data()};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execv(path.c_str(), argv.data());
      _exit(127);
    }
    close(ends[1]);
    output = ends[0];
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (pid > 0) {
      kill(pid, SIGKILL);
      Wait();
    }
    close(output);
  }

  std::string ReadLine() const {
    std::string line;
    char c = 0;
    while (read(output, &c, 1) == 1 && c != '\n') line += c;
    return line;
  }

  /// The exit code, or minus the signal.
  int Wait() {
    int status = 0;
    waitpid(pid, &status, 0);
    pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
};

TEST(RiveryStandInProgram, PrintsItsReadyLineServesAndEndsOnSigterm) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Program program({"--token", kToken, "--quiet", "--pending", "202"});
    const std::string line = program.ReadLine();
    constexpr std::string_view kReady = "rivery-standin: listening on ";
    ASSERT_TRUE(line.starts_with(kReady)) << line;
    const std::string url = line.substr(kReady.size());
    EXPECT_TRUE(url.starts_with("http://127.0.0.1:")) << url;
    EXPECT_TRUE(url.ends_with("/api")) << url;
    EXPECT_EQ(Send("GET", url + "/me").status, 200);
    const std::string start = R"({"datasource_id":"fb","validity_duration":300})";
    const Json started = Send("POST", url + "/oauth2", start).Parsed();
    EXPECT_EQ(Send("POST", url + "/oauth2/credentials", started.dump()).status, 202);
    kill(program.pid, signal);
    EXPECT_EQ(program.Wait(), 0);
  }
}

TEST(RiveryStandInProgram, TakesItsTokensFromAFile) {
  std::string folder = (std::filesystem::temp_directory_path() / "standin-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string file = folder + "/tokens";
  std::ofstream(file) << "# tokens of the demonstration\n\nfirst\nsecond:connection:list\n";
  {
    Program program({"--token-file", file, "--quiet"});
    const std::string line = program.ReadLine();
    const std::string url = line.substr(line.rfind(' ') + 1);
    EXPECT_EQ(Send("GET", url + "/connections", {}, {.token = "first"}).status, 200);
    EXPECT_EQ(Send("GET", url + "/connections", {}, {.token = "second"}).status, 200);
    EXPECT_EQ(Send("GET", url + "/connections/share_creation_link/fb", {}, {.token = "second"})
                  .status,
              403);
    kill(program.pid, SIGTERM);
    EXPECT_EQ(program.Wait(), 0);
  }
  std::filesystem::remove_all(folder);
}

TEST(RiveryStandInProgram, RefusesToStartWithoutAToken) {
  Program program({"--quiet"});
  EXPECT_EQ(program.Wait(), 1);
}

}  // namespace
}  // namespace oauthvault::fakes
