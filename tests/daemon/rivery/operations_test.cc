// Every route that configuration may give an operation, and every form of what comes back.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "daemon/rivery/client.h"
#include "tests/fakes/rivery/standin.h"

namespace oauthvault::rivery {
namespace {

using fakes::StandIn;

constexpr std::string_view kToken = "canary-api-token-5b1f";
constexpr std::string_view kFirst = R"({"access_token":"canary-access-77aa"})";
constexpr std::string_view kSecond = R"({"access_token":"canary-access-88bb"})";

struct UpdateRow {
  fakes::UpdateRoute only;
  Route route;
};
const Route kCreates[] = {{"PUT", "/connections"}, {"PUT", "/connections/create/data"}};
const UpdateRow kUpdates[] = {
    {fakes::UpdateRoute::kPutPath, {"PUT", "/connections/{id}"}},
    {fakes::UpdateRoute::kPutQuery, {"PUT", "/connections?_id={id}"}},
    {fakes::UpdateRoute::kPatchQuery, {"PATCH", "/connections?_id={cross_id}"}},
};

class OperationsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto started = StandIn::Start({.tokens = {{.token = std::string(kToken)}}});
    ASSERT_TRUE(started);
    standin_ = *std::move(started);
  }
  Endpoint Account() const { return {.base_url = standin_->BaseUrl(), .token = token_}; }
  static Client NewClient(Routes routes) {
    return {std::move(routes), Limits{}, Reach{.allow_loopback = true}};
  }
  static crypto::SecretBytes Bytes(std::string_view text) {
    return crypto::SecretBytes::CopyOf(text);
  }

  crypto::ApiToken token_{crypto::SecretBytes::CopyOf(kToken)};
  std::unique_ptr<StandIn> standin_;
};

TEST_F(OperationsTest, EveryRouteInEveryForm_LeadsAConnectionThroughItsLife) {
  int lives = 0;
  for (const Route& create : kCreates) {
    for (const UpdateRow& update : kUpdates) {
      for (const fakes::IdForm id_form : {fakes::IdForm::kPlain, fakes::IdForm::kOid}) {
        for (const fakes::DateForm date_form :
             {fakes::DateForm::kText, fakes::DateForm::kMilliseconds,
              fakes::DateForm::kExtended}) {
          SCOPED_TRACE(create.path + " " + update.route.verb + " " + update.route.path + " " +
                       std::to_string(static_cast<int>(id_form)) + " " +
                       std::to_string(static_cast<int>(date_form)));
          fakes::Knobs knobs;
          knobs.update_route = update.only;
          knobs.id_form = id_form;
          knobs.date_form = date_form;
          standin_->SetKnobs(knobs);
          const Client client =
              NewClient({{Operation::kCreate, create}, {Operation::kUpdate, update.route}});
          const auto created = client.Create(Account(), "gspreadsheet", "life", Bytes(kFirst));
          ASSERT_TRUE(created) << created.error().error.Message();
          const auto before = client.Get(Account(), created->id, {});
          ASSERT_TRUE(before) << before.error().error.Message();
          EXPECT_EQ(before->name, "life");
          EXPECT_EQ(before->cross_id, created->cross_id);
          EXPECT_TRUE(before->credentials_exist);
          EXPECT_FALSE(before->credentials_missing);
          EXPECT_GT(before->changed_at_ms, 1'600'000'000'000);
          standin_->AdvanceClock(std::chrono::seconds(2));
          ASSERT_TRUE(client.Update(Account(), *before, "life goes on", Bytes(kSecond)));
          const auto listed = client.List(Account(), "gspreadsheet");
          ASSERT_TRUE(listed);
          ASSERT_EQ(listed->size(), 1u);
          EXPECT_EQ(listed->front().id, created->id);
          EXPECT_EQ(listed->front().name, "life goes on");
          EXPECT_GT(listed->front().changed_at_ms, before->changed_at_ms);
          ASSERT_TRUE(client.Delete(Account(), created->id));
          const auto gone = client.Get(Account(), created->id, {});
          ASSERT_FALSE(gone);
          EXPECT_EQ(gone.error().error.GetCode(), Code::kNotFound);
          const auto again = client.Delete(Account(), created->id);
          ASSERT_FALSE(again);
          EXPECT_EQ(again.error().error.GetCode(), Code::kNotFound);
          ++lives;
        }
      }
    }
  }
  EXPECT_EQ(lives, 36);
}

TEST_F(OperationsTest, EveryOperation_GoesWhereConfigurationSends) {
  const Routes defaults = DefaultRoutes();
  for (const auto& [operation, route] : defaults) {
    SCOPED_TRACE(NameOf(operation));
    // One that no server has: that it is asked for shows in the answer.
    const Client client = NewClient({{operation, {route.verb, "/nowhere"}}});
    const auto refused = [&]() -> std::optional<Failure> {
      const auto failure = [](auto reply) -> std::optional<Failure> {
        if (reply) return std::nullopt;
        return std::move(reply.error());
      };
      const std::string id(24, 'a');
      switch (operation) {
        case Operation::kTypes: return failure(client.Types(Account()));
        case Operation::kOauthStart:
          return failure(client.StartOauth(Account(), "gspreadsheet", std::chrono::seconds(300)));
        case Operation::kOauthFetch:
          return failure(client.FetchOauth(Account(), Bytes("pull"), Bytes("uri")));
        case Operation::kCreate:
          return failure(client.Create(Account(), "gspreadsheet", "n", Bytes(kFirst)));
        case Operation::kUpdate:
          return failure(client.Update(
              Account(), {.id = id, .connection_type = "gspreadsheet"}, "n", Bytes(kFirst)));
        case Operation::kList: return failure(client.List(Account(), "gspreadsheet"));
        case Operation::kGet: return failure(client.Get(Account(), id, {}));
        case Operation::kDelete: return failure(client.Delete(Account(), id));
        case Operation::kProperties: return failure(client.Properties(Account(), "jira"));
        case Operation::kMe: return failure(client.Me(Account()));
      }
      return std::nullopt;
    }();
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->http_status, 404);
    EXPECT_EQ(refused->error.GetCode(), Code::kNotFound);
  }
  EXPECT_EQ(standin_->State().at("connections").size(), 0u);
}

TEST_F(OperationsTest, Properties_ComeAsAListOrAsAnObject) {
  const Client client = NewClient({});
  for (const fakes::PropertiesForm form :
       {fakes::PropertiesForm::kArray, fakes::PropertiesForm::kObject}) {
    fakes::Knobs knobs;
    knobs.properties_form = form;
    standin_->SetKnobs(knobs);
    const auto properties = client.Properties(Account(), "klaviyo");
    ASSERT_TRUE(properties) << properties.error().error.Message();
    ASSERT_EQ(properties->size(), 2u);
    EXPECT_EQ((*properties)[0].name, "description");
    EXPECT_FALSE((*properties)[0].is_secret);
    EXPECT_EQ((*properties)[1].name, "private_key");
    EXPECT_TRUE((*properties)[1].is_secret);
    const auto jira = client.Properties(Account(), "jira");
    ASSERT_TRUE(jira);
    EXPECT_TRUE((*jira)[1].is_required);
  }
}

TEST_F(OperationsTest, Get_BringsWhatAnUpdateMustCarryAndNamesWhatItCannot) {
  const Client client = NewClient({});
  const auto properties = client.Properties(Account(), "klaviyo");
  ASSERT_TRUE(properties);
  const auto created = client.Create(Account(), "klaviyo", "mail", Bytes(kFirst));
  ASSERT_TRUE(created);
  RemoteConnection changed = *created;
  changed.properties = R"({"description":"of \"ours\"","private_key":"canary-3c"})";
  ASSERT_TRUE(client.Update(Account(), changed, "mail", Bytes(kFirst)));
  const auto got = client.Get(Account(), created->id, *properties);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->properties, R"({"description":"of \"ours\""})");
  EXPECT_EQ(got->hidden, std::vector<std::string>{"private_key"});
  // Carried on, it is still there.
  ASSERT_TRUE(client.Update(Account(), *got, "mail", Bytes(kSecond)));
  const auto state = standin_->State().at("connections")[0];
  EXPECT_EQ(state.at("properties").at("description"), "of \"ours\"");
  EXPECT_EQ(state.at("credentials"), fakes::Json::parse(kSecond));
}

TEST_F(OperationsTest, Delete_OfAConnectionInUseIsAConflictAndDeletesNothing) {
  const Client client = NewClient({});
  const auto created = client.Create(Account(), "fb", "ads", Bytes(kFirst));
  ASSERT_TRUE(created);
  standin_->AddFault({.operation = fakes::Operation::kDelete,
                      .fault = fakes::Fault::kOkWithCode402});
  const auto deleted = client.Delete(Account(), created->id);
  ASSERT_FALSE(deleted);
  EXPECT_EQ(deleted.error().error.GetCode(), Code::kConflict);
  EXPECT_EQ(deleted.error().fate, Fate::kRefused);
  EXPECT_TRUE(client.Get(Account(), created->id, {}));
  for (const std::string_view id :
       {"", "../me", "5f2b8c0d1e3a4b5c6d7e8f9", "zzzzzzzzzzzzzzzzzzzzzzzz"}) {
    EXPECT_EQ(client.Delete(Account(), id).error().fate, Fate::kNeverSent);
  }
}

}  // namespace
}  // namespace oauthvault::rivery
