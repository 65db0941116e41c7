#include "daemon/rivery/client.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/fakes/rivery/standin.h"

namespace oauthvault::rivery {
namespace {

using fakes::Fault;
using fakes::StandIn;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::string_view kToken = "canary-api-token-5b1f";
constexpr std::string_view kCredentials =
    R"({"access_token":"canary-access-77aa","refresh_token":"canary-refresh-88bb","expires_in":1})";
constexpr Reach kLoopback{.allow_loopback = true};
constexpr Limits kLimits{.connect_timeout = milliseconds(2000),
                         .call_timeout = milliseconds(8000),
                         .max_reply_bytes = std::size_t{64} * 1024,
                         .max_header_bytes = std::size_t{16} * 1024,
                         .low_speed_bytes = 100,
                         .low_speed_time = seconds(1)};

std::string Text(const crypto::SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}

/// A stand-in and an account on it.
class ClientTest : public ::testing::Test {
 protected:
  void Start(fakes::Knobs knobs = {}, std::string scope = {}) {
    fakes::ApiToken token{.token = std::string(kToken)};
    if (!scope.empty()) token.scopes.insert(scope);
    auto started = StandIn::Start({.tokens = {token}, .knobs = knobs});
    ASSERT_TRUE(started);
    standin_ = *std::move(started);
  }

  Client NewClient(Routes routes = {}) const { return {std::move(routes), kLimits, kLoopback}; }
  Endpoint Account() const { return {.base_url = standin_->BaseUrl(), .token = token_}; }

  /// A consent that was given.
  StartedOauth Consent(const Client& client) const {
    auto started = client.StartOauth(Account(), "gspreadsheet", seconds(600));
    EXPECT_TRUE(started);
    EXPECT_TRUE(standin_->Click(Text(started->auth_uri), fakes::Decision::kAllow));
    return *std::move(started);
  }

  RemoteConnection Created(const Client& client, std::string_view name = "sheets") const {
    auto created = client.Create(Account(), "gspreadsheet", name, credentials_);
    EXPECT_TRUE(created);
    return created.value_or(RemoteConnection{});
  }

  std::size_t ConnectionCount() const { return standin_->State().at("connections").size(); }

  crypto::ApiToken token_{crypto::SecretBytes::CopyOf(kToken)};
  crypto::SecretBytes credentials_ = crypto::SecretBytes::CopyOf(kCredentials);
  std::unique_ptr<StandIn> standin_;
};

TEST_F(ClientTest, Types_ReadsTheCatalogueWithItsDatasources) {
  Start();
  const auto types = NewClient().Types(Account());
  ASSERT_TRUE(types);
  std::map<std::string, ConnectionType> by_name;
  for (const ConnectionType& type : *types) by_name[type.connection_type] = type;
  EXPECT_TRUE(by_name.at("gspreadsheet").oauth2);
  EXPECT_EQ(by_name.at("gspreadsheet").datasource_id, "gspreadsheet");
  EXPECT_EQ(by_name.at("snowflake").datasource_id, "snowflake_src");
  EXPECT_FALSE(by_name.at("mysql").oauth2);
}

TEST_F(ClientTest, StartOauth_ReadsTheExpiryFromThePullId) {
  fakes::Knobs knobs;
  knobs.oauth_token = true;
  Start(knobs);
  const auto before_s = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  const auto started = NewClient().StartOauth(Account(), "gspreadsheet", seconds(600));
  ASSERT_TRUE(started);
  EXPECT_GE(started->expires_at_s, before_s + 600);
  EXPECT_LE(started->expires_at_s, before_s + 660);
  const auto state = standin_->State();
  EXPECT_EQ(Text(started->pull_id), state.at("attempts")[0].at("pull_id").get<std::string>());
  EXPECT_EQ(Text(started->auth_uri), state.at("attempts")[0].at("auth_uri").get<std::string>());
}

TEST_F(ClientTest, StartOauth_RefusesAValidityOutsideOfItsBoundsBeforeSending) {
  Start();
  for (const seconds validity : {seconds(0), seconds(299), seconds(43'201)}) {
    const auto started = NewClient().StartOauth(Account(), "gspreadsheet", validity);
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().error.GetCode(), Code::kInvalid);
    EXPECT_EQ(started.error().fate, Fate::kNeverSent);
  }
  EXPECT_EQ(standin_->State().at("requests").at("oauth2_start"), 0);
}

TEST_F(ClientTest, StartOauth_AnswersInvalidForATypeWithoutTheFlow) {
  Start();
  const auto started = NewClient().StartOauth(Account(), "mysql", seconds(600));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().error.GetCode(), Code::kInvalid);
  EXPECT_EQ(started.error().http_status, 402);
  EXPECT_EQ(started.error().body_code, 402);
}

TEST_F(ClientTest, FetchOauth_KeepsTheReplyByteForByte) {
  Start();
  const Client client = NewClient();
  const StartedOauth started = Consent(client);
  const auto fetched = client.FetchOauth(Account(), started.pull_id, started.auth_uri);
  ASSERT_TRUE(fetched);
  ASSERT_FALSE(fetched->pending);
  EXPECT_EQ(Text(fetched->data.Bytes()),
            standin_->State().at("attempts")[0].at("credentials").dump());
  EXPECT_EQ(fetched->client_id, "000000000000-standin.apps.googleusercontent.com");
}

TEST_F(ClientTest, FetchOauth_JudgesEveryFormOfWaitingByItsContent) {
  const struct {
    fakes::ReplyForm form;
    std::optional<Code> code;  // nothing: pending
  } rows[] = {
      {fakes::ReplyForm::kOkWithoutCode, std::nullopt},
      {fakes::ReplyForm::kAccepted, std::nullopt},
      {fakes::ReplyForm::kNotFound, Code::kNotFound},
      {fakes::ReplyForm::kBadRequest, Code::kInvalid},
      {fakes::ReplyForm::kOkWithErrorCode, Code::kInvalid},
  };
  Start();
  const Client client = NewClient();
  for (const auto& row : rows) {
    fakes::Knobs knobs;
    knobs.pending = row.form;
    standin_->SetKnobs(knobs);
    const auto started = client.StartOauth(Account(), "gspreadsheet", seconds(600));
    ASSERT_TRUE(started);
    const auto fetched = client.FetchOauth(Account(), started->pull_id, started->auth_uri);
    ASSERT_EQ(fetched.has_value(), !row.code);
    if (!row.code) {
      EXPECT_TRUE(fetched->pending);
      EXPECT_TRUE(fetched->data.Empty());
      continue;
    }
    EXPECT_EQ(fetched.error().error.GetCode(), *row.code);
    EXPECT_EQ(fetched.error().fate, Fate::kRefused);
  }
}

TEST_F(ClientTest, FetchOauth_ReportsASecondReadOfWhatCanBeReadOnce) {
  fakes::Knobs knobs;
  knobs.credentials_once = true;
  Start(knobs);
  const Client client = NewClient();
  const StartedOauth started = Consent(client);
  EXPECT_TRUE(client.FetchOauth(Account(), started.pull_id, started.auth_uri));
  const auto again = client.FetchOauth(Account(), started.pull_id, started.auth_uri);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().error.GetCode(), Code::kNotFound);
  EXPECT_EQ(again.error().fate, Fate::kRefused);
}

TEST_F(ClientTest, Create_WritesTheCredentialsAsTheyStand) {
  Start();
  const RemoteConnection created = Created(NewClient(), "Sheets \"of\" \xc3\x89va");
  const auto written = standin_->State().at("connections")[0];
  EXPECT_EQ(written.at("credentials").dump(), kCredentials);
  EXPECT_EQ(written.at("connection_name"), "Sheets \"of\" \xc3\x89va");
  EXPECT_EQ(written.at("_id"), created.id);
  EXPECT_EQ(written.at("cross_id"), created.cross_id);
}

TEST_F(ClientTest, Create_RefusesWhatIsNoJsonObjectBeforeSending) {
  Start();
  const Client client = NewClient();
  const std::string rows[] = {"",
                              "null",
                              "[]",
                              "{",
                              "{}{}",
                              R"({"a":1,"a":2})",
                              "\xef\xbb\xbf{}",
                              std::string("{}\0", 3),
                              R"({},"connection_type":{})"};
  for (const std::string& row : rows) {
    const auto created = client.Create(Account(), "fb", "n", crypto::SecretBytes::CopyOf(row));
    ASSERT_FALSE(created) << row;
    EXPECT_EQ(created.error().error.GetCode(), Code::kInvalid);
    EXPECT_EQ(created.error().fate, Fate::kNeverSent);
  }
  for (const std::string& name : {std::string(), std::string("\xff"), std::string(513, 'n')}) {
    const auto created = client.Create(Account(), "fb", name, credentials_);
    ASSERT_FALSE(created);
    EXPECT_EQ(created.error().fate, Fate::kNeverSent);
  }
  EXPECT_EQ(standin_->State().at("requests").at("create"), 0);
}

TEST_F(ClientTest, List_ReadsEveryPageAndBothFormsOfIds) {
  Start();
  const Client client = NewClient();
  std::vector<std::string> ids;
  for (const std::string_view name : {"a", "b", "c", "d", "e"}) {
    ids.push_back(Created(client, name).id);
  }
  ASSERT_TRUE(client.Create(Account(), "fb", "other", credentials_));
  for (const std::size_t page_size : {0U, 1U, 2U, 5U}) {
    for (const fakes::IdForm form : {fakes::IdForm::kPlain, fakes::IdForm::kOid}) {
      fakes::Knobs knobs;
      knobs.page_size = page_size;
      knobs.id_form = form;
      standin_->SetKnobs(knobs);
      const auto listed = client.List(Account(), "gspreadsheet");
      ASSERT_TRUE(listed);
      ASSERT_EQ(listed->size(), 5U);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        EXPECT_EQ((*listed)[i].id, ids[i]);
        EXPECT_EQ((*listed)[i].cross_id.size(), 24U);
        EXPECT_EQ((*listed)[i].connection_type, "gspreadsheet");
        EXPECT_TRUE((*listed)[i].credentials_exist);
      }
      EXPECT_EQ((*listed)[4].name, "e");
    }
  }
}

TEST_F(ClientTest, Update_TakesTheRouteThatConfigurationGives) {
  const struct {
    fakes::UpdateRoute only;
    Route route;
  } rows[] = {
      {fakes::UpdateRoute::kPutPath, {"PUT", "/connections/{id}"}},
      {fakes::UpdateRoute::kPutQuery, {"PUT", "/connections?_id={id}"}},
      {fakes::UpdateRoute::kPatchQuery, {"PATCH", "/connections?_id={cross_id}"}},
  };
  Start();
  const RemoteConnection connection = Created(NewClient());
  const auto fresh = crypto::SecretBytes::CopyOf(R"({"access_token":"fresh"})");
  for (const auto& row : rows) {
    fakes::Knobs knobs;
    knobs.update_route = row.only;
    standin_->SetKnobs(knobs);
    const Client client = NewClient({{Operation::kUpdate, row.route}});
    const auto updated = client.Update(Account(), connection, row.route.path, fresh);
    ASSERT_TRUE(updated) << row.route.path;
    EXPECT_EQ(updated->id, connection.id);
    EXPECT_EQ(updated->cross_id, connection.cross_id);
    const auto written = standin_->State().at("connections")[0];
    EXPECT_EQ(written.at("connection_name"), row.route.path);
    EXPECT_EQ(written.at("credentials").at("access_token"), "fresh");
  }
  // The wrong route is an answer, not a silent nothing.
  const auto missed = NewClient().Update(Account(), connection, "n", fresh);
  ASSERT_FALSE(missed);
  EXPECT_EQ(missed.error().error.GetCode(), Code::kNotFound);
}

TEST_F(ClientTest, Create_NamesAMissingScopeAndAWrongToken) {
  Start({}, "connection:list");
  const Client client = NewClient();
  const auto denied = client.Create(Account(), "fb", "n", credentials_);
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().error.GetCode(), Code::kDenied);
  EXPECT_EQ(denied.error().http_status, 403);
  const crypto::ApiToken wrong(crypto::SecretBytes::CopyOf("canary-wrong-token"));
  const auto unknown = client.Types({.base_url = standin_->BaseUrl(), .token = wrong});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().error.GetCode(), Code::kUnauthenticated);
}

// ---- every operation under every fault

struct Expected {
  Code code;
  Fate fate;
};
/// Nothing: a success.
using Outcome = std::optional<Expected>;

/// What a fault makes of an operation. The table that decides whether a create is sent again.
Outcome OutcomeOf(Operation operation, Fault fault) {
  const Outcome unclear = Expected{Code::kUnavailable, Fate::kUnclear};
  const bool walks = operation == Operation::kTypes || operation == Operation::kList;
  switch (fault) {
    case Fault::kCommitLate: return std::nullopt;
    case Fault::kCommitThenDrop:
    case Fault::kCommitThen502:
    case Fault::kDropThenCommitLate:
    case Fault::kResetBeforeCommit:
    case Fault::kResetAfterCommit:
    case Fault::kHtml500:
    case Fault::kHtml502:
    case Fault::kTruncatedJson:
    case Fault::kWrongContentLength:
    case Fault::kSlowDrip: return unclear;
    case Fault::kHugeBody: return Expected{Code::kExhausted, Fate::kUnclear};
    case Fault::kOkWithCode402:
      switch (operation) {
        case Operation::kOauthStart:
        case Operation::kOauthFetch: return Expected{Code::kInvalid, Fate::kRefused};
        case Operation::kUpdate:
        case Operation::kDelete: return Expected{Code::kConflict, Fate::kRefused};
        case Operation::kTypes:
        case Operation::kCreate:
        case Operation::kList:
        case Operation::kGet:
        case Operation::kProperties:
        case Operation::kMe: return Expected{Code::kDenied, Fate::kRefused};
      }
      break;
    case Fault::kUnauthorized: return Expected{Code::kUnauthenticated, Fate::kRefused};
    case Fault::kForbidden: return Expected{Code::kDenied, Fate::kRefused};
    case Fault::kRateLimited:
      if (operation == Operation::kOauthStart) return Expected{Code::kInvalid, Fate::kRefused};
      return Expected{Code::kExhausted, Fate::kRefused};
    case Fault::kRateLimitedRetryAfter: return Expected{Code::kExhausted, Fate::kRefused};
    case Fault::kRedirectElsewhere: return Expected{Code::kInvalid, Fate::kRefused};
    case Fault::kNextPageElsewhere:
      if (walks) return Expected{Code::kInvalid, Fate::kRefused};
      return std::nullopt;
  }
  ADD_FAILURE() << "a fault without a row";
  return std::nullopt;
}

class FaultTest : public ClientTest, public ::testing::WithParamInterface<Operation> {
 protected:
  static fakes::Operation Asked(Operation operation) {
    switch (operation) {
      case Operation::kTypes: return fakes::Operation::kListTypes;
      case Operation::kOauthStart: return fakes::Operation::kOauth2Start;
      case Operation::kOauthFetch: return fakes::Operation::kOauth2Fetch;
      case Operation::kCreate: return fakes::Operation::kCreate;
      case Operation::kUpdate: return fakes::Operation::kUpdate;
      case Operation::kList: return fakes::Operation::kList;
      case Operation::kGet: return fakes::Operation::kGet;
      case Operation::kDelete: return fakes::Operation::kDelete;
      case Operation::kProperties: return fakes::Operation::kGetProperties;
      case Operation::kMe: return fakes::Operation::kMe;
    }
    __builtin_unreachable();
  }

  /// The failure of a call; nothing for a success.
  template <class T>
  static std::optional<Failure> FailureIn(Reply<T>&& reply) {
    if (reply) return std::nullopt;
    return std::move(reply.error());
  }

  std::optional<Failure> Call(const Client& client, Operation operation) {
    switch (operation) {
      case Operation::kTypes: return FailureIn(client.Types(Account()));
      case Operation::kOauthStart:
        return FailureIn(client.StartOauth(Account(), "gspreadsheet", seconds(600)));
      case Operation::kOauthFetch:
        return FailureIn(client.FetchOauth(Account(), consent_.pull_id, consent_.auth_uri));
      case Operation::kCreate:
        return FailureIn(client.Create(Account(), "gspreadsheet", "made", credentials_));
      case Operation::kUpdate:
        return FailureIn(client.Update(Account(), connection_, "renamed", credentials_));
      case Operation::kList: return FailureIn(client.List(Account(), "gspreadsheet"));
      case Operation::kGet: return FailureIn(client.Get(Account(), connection_.id, {}));
      case Operation::kDelete: return FailureIn(client.Delete(Account(), connection_.id));
      case Operation::kProperties:
        return FailureIn(client.Properties(Account(), "gspreadsheet"));
      case Operation::kMe: return FailureIn(client.Me(Account()));
    }
    __builtin_unreachable();
  }

  /// No secret of this test stands in what people read.
  void ExpectNoSecretIn(const Failure& failure) const {
    const std::string message = failure.error.Message();
    EXPECT_FALSE(message.contains("canary"));
    EXPECT_FALSE(message.contains(Text(consent_.pull_id)));
    EXPECT_FALSE(message.contains(Text(consent_.auth_uri)));
    // Nor what the vendor wrote.
    EXPECT_FALSE(message.contains("Stand-in"));
    EXPECT_FALSE(message.contains("There are some"));
  }

  StartedOauth consent_;
  RemoteConnection connection_;
};

TEST_P(FaultTest, EveryFault_GivesItsCodeAndItsFateAndIsSentOnce) {
  Start();
  const Operation operation = GetParam();
  consent_ = Consent(NewClient());
  connection_ = Created(NewClient());
  const std::string asked(fakes::NameOf(Asked(operation)));
  for (const fakes::FaultRow& row : fakes::Faults()) {
    SCOPED_TRACE(std::string(row.name));
    if (operation == Operation::kDelete) connection_ = Created(NewClient());
    standin_->AddFault({.operation = Asked(operation),
                        .fault = row.fault,
                        .delay = row.fault == Fault::kSlowDrip ? milliseconds(200)
                                                               : milliseconds(100)});
    const auto requests = standin_->State().at("requests").at(asked).get<int>();
    const std::size_t connections = ConnectionCount();
    const std::optional<Failure> failure = Call(NewClient(), operation);
    const Outcome expected = OutcomeOf(operation, row.fault);

    ASSERT_EQ(failure.has_value(), expected.has_value());
    if (failure) {
      EXPECT_EQ(NameOf(failure->error.GetCode()), NameOf(expected->code))
          << failure->error.Message();
      EXPECT_EQ(failure->fate, expected->fate);
      EXPECT_EQ(failure->retry_after,
                row.fault == Fault::kRateLimitedRetryAfter ? seconds(7) : seconds(0));
      ExpectNoSecretIn(*failure);
    }
    const auto state = standin_->State();
    EXPECT_TRUE(state.at("faults_left").empty());
    EXPECT_EQ(state.at("requests").at(asked).get<int>(), requests + 1);
    EXPECT_EQ(state.at("elsewhere").at("requests"), 0);
    EXPECT_EQ(state.at("elsewhere").at("with_token"), 0);
    if (row.fault != Fault::kDropThenCommitLate) {
      const bool is_done = row.commits || !failure;
      EXPECT_EQ(ConnectionCount(), connections + (operation == Operation::kCreate && is_done) -
                                       (operation == Operation::kDelete && is_done));
    }
    // A refusal and what never left did nothing: the claim by which a create is sent again.
    if (failure && failure->fate != Fate::kUnclear && operation == Operation::kCreate) {
      EXPECT_FALSE(row.commits);
    }
    if (row.fault == Fault::kDropThenCommitLate) std::this_thread::sleep_for(milliseconds(200));
  }
}

INSTANTIATE_TEST_SUITE_P(Operations, FaultTest,
                         ::testing::Values(Operation::kTypes, Operation::kOauthStart,
                                           Operation::kOauthFetch, Operation::kCreate,
                                           Operation::kUpdate, Operation::kList,
                                           Operation::kGet, Operation::kDelete,
                                           Operation::kProperties, Operation::kMe),
                         [](const auto& each) { return std::string(NameOf(each.param)); });

}  // namespace
}  // namespace oauthvault::rivery
