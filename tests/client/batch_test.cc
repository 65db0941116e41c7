// `connect --authorize --batch`: the file, and what is asked of the daemon for it.

#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "oauthvault/v1/attempts.pb.h"
#include "oauthvault/v1/connections.pb.h"
#include "oauthvault/v1/registry.pb.h"
#include "tests/client/command_line.h"

namespace oauthvault::client {
namespace {

using nlohmann::json;

constexpr const char* kHeader = "project,component,account,id,name\n";
constexpr const char* kCommand =
    "connect --authorize --batch batch.csv --links links.csv --no-wait";

Answer Gives(const google::protobuf::MessageLite& message) {
  return {.messages = {message.SerializeAsString()}};
}

v1::Attempt AttemptOf(const std::string& id, v1::AttemptState state, const std::string& oauth_id,
                      const std::string& name) {
  v1::Attempt attempt;
  attempt.set_project("acme");
  attempt.set_component("drive");
  attempt.set_id(id);
  attempt.set_account("main");
  attempt.set_oauth_id(oauth_id);
  attempt.set_connection_name(name);
  attempt.set_state(state);
  attempt.set_final(state == v1::ATTEMPT_STATE_CREATED || state == v1::ATTEMPT_STATE_FAILED);
  return attempt;
}

class BatchTest : public CommandLineTest {
 protected:
  BatchTest() {
    fake_.Set("Connections/List", Gives(v1::ListConnectionsResponse()));
    fake_.Set("Attempts/List", Gives(v1::ListAttemptsResponse()));
    const v1::Attempt started = AttemptOf("a1", v1::ATTEMPT_STATE_STARTED, "one", "First");
    fake_.Set("Attempts/Authorize", Gives(started));
    fake_.Set("Attempts/Get", Gives(started));
    v1::GetLinkResponse link;
    link.set_auth_uri("https://consent.example/?state=" + std::string(kCanary));
    link.set_expires_at_s(1'800'000'000);
    fake_.Set("Attempts/GetLink", Gives(link));
  }
  Ran RunBatch(const std::string& batch, const std::string& command = kCommand) {
    WriteText(folder_ / "batch.csv", batch);
    return Run(command);
  }
  std::size_t Authorized() const { return fake_.Requests("Attempts/Authorize").size(); }
};

TEST_F(BatchTest, Links_GoToAFileOfMode0600AndNowhereElse) {
  const Ran ran = RunBatch(std::string(kHeader) + "acme,drive,main,one,First\n");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(ModeOf(folder_ / "links.csv"), 0600u);
  const std::string links = ReadText(folder_ / "links.csv");
  EXPECT_NE(links.find("a1,1800000000,\"https://consent.example/?state="), std::string::npos)
      << links;
  EXPECT_EQ((ran.out + ran.err).find(kCanary), std::string::npos) << ran.out << ran.err;
  EXPECT_NE(ran.err.find("row 1 acme/drive/one: started"), std::string::npos) << ran.err;
  v1::AuthorizeRequest request;
  ASSERT_EQ(Authorized(), 1u);
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Attempts/Authorize")[0]));
  EXPECT_EQ(request.connection_name(), "First");
  EXPECT_EQ(request.oauth_id(), "one");
  EXPECT_EQ(request.validity_s(), 12 * 3600);
}

TEST_F(BatchTest, JsonIsTakenAndGivenToo) {
  WriteText(folder_ / "batch.json",
            R"([{"project":"acme","component":"drive","account":"main","id":"one",)"
            R"("name":"First","authorized_for":"Ann"}])");
  const Ran ran =
      Run("--json connect --authorize --batch batch.json --links links.json --no-wait");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  const json links = json::parse(ReadText(folder_ / "links.json"), nullptr, false);
  ASSERT_EQ(links.size(), 1u);
  EXPECT_EQ(links[0]["attempt"], "a1");
  const json rows = json::parse(ran.out, nullptr, false);
  ASSERT_EQ(rows.size(), 1u) << ran.out;
  EXPECT_EQ(rows[0]["state"], "started");
  EXPECT_EQ(ran.out.find(kCanary), std::string::npos);
}

TEST_F(BatchTest, RowsThatHaveAnAttemptOrAConnectionAreNotMadeTwice) {
  v1::ListConnectionsResponse connections;
  auto& connection = *connections.add_connections();
  connection.set_id("5f2b8c0d1e3a4b5c6d7e8f90");
  connection.set_account("main");
  connection.set_oauth_id("two");
  connection.set_name("Second");
  fake_.Set("Connections/List", Gives(connections));
  v1::ListAttemptsResponse attempts;
  *attempts.add_attempts() = AttemptOf("a1", v1::ATTEMPT_STATE_STARTED, "one", "First");
  *attempts.add_attempts() = AttemptOf("a0", v1::ATTEMPT_STATE_FAILED, "three", "Third");
  fake_.Set("Attempts/List", Gives(attempts));
  const Ran ran = RunBatch(std::string(kHeader) +
                           "acme,drive,main,one,First\nacme,drive,main,two,Second\n"
                           "acme,drive,main,three,Third\n");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  ASSERT_EQ(Authorized(), 1u) << "what failed is tried anew, nothing else";
  v1::AuthorizeRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Attempts/Authorize")[0]));
  EXPECT_EQ(request.oauth_id(), "three");
  EXPECT_NE(ran.out.find("connected"), std::string::npos) << ran.out;
}

TEST_F(BatchTest, EveryRowIsCheckedBeforeTheFirstCall) {
  const std::string good = "acme,drive,main,one,First\n";
  const struct {
    std::string batch;
    std::string says;
  } rows[] = {
      {"", "no rows"},
      {kHeader, "no rows"},
      {"project,component,account,id\nacme,drive,main,one\n", "row 1: name"},
      {"project,component,account,id,name,color\n" + good, "column 6 of the header"},
      {"project,project,account,id,name\n" + good, "column 2 of the header"},
      {kHeader + good + "acme,drive,main,two\n", "row 2: does not have as many fields"},
      {kHeader + good + "ac me,drive,main,two,Second\n", "row 2: project"},
      {kHeader + good + "acme,drive,main,two,\n", "row 2: name"},
      {kHeader + good + good, "row 2: stores under the same project, component and id as row 1"},
      {kHeader + good + "acme,drive,main,two,\"Second\n", "is not strict CSV"},
      {kHeader + good + "acme,drive,main,two,\"Sec\"ond\n", "is not strict CSV"},
      {kHeader + good + "acme,drive,main,two,\xff\n", "not UTF-8"},
      {"[{\"project\":7}]", "row 1: project is not a text"},
      {"[{\"canary-5f2b8c0d1e3a\":\"x\"}]", "row 1: has an unknown key"},
      {"[7]", "row 1: is not an object"},
      {"[", "not a JSON array"},
      {"[]", "1 to 1000 rows"},
      {std::string(1024 * 1024 + 1, 'x'), "1048576"},
  };
  for (const auto& row : rows) {
    const Ran ran = RunBatch(row.batch);
    EXPECT_EQ(ran.exit, 1) << row.says;
    EXPECT_NE(ran.err.find(row.says), std::string::npos) << row.says << " / " << ran.err;
    EXPECT_EQ(ran.err.find(kCanary), std::string::npos);
  }
  std::string many = kHeader;
  for (int i = 0; i < 1001; ++i) many += "acme,drive,main,id-" + std::to_string(i) + ",N\n";
  EXPECT_NE(RunBatch(many).err.find("more than 1000 rows"), std::string::npos);
  EXPECT_EQ(fake_.Requests("Attempts/List").size(), 0u);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "links.csv"));
}

TEST_F(BatchTest, QuotesAndAByteOrderMarkAreRead) {
  const Ran ran = RunBatch("\xef\xbb\xbf" + std::string(kHeader) +
                           "acme,drive,main,one,\"First, \"\"of\"\" all\"\r\n");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  v1::AuthorizeRequest request;
  ASSERT_EQ(Authorized(), 1u);
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Attempts/Authorize")[0]));
  EXPECT_EQ(request.connection_name(), "First, \"of\" all");
}

TEST_F(BatchTest, ADatasourceMustBeTheComponents) {
  v1::Component component;
  component.set_rivery_datasource_id("gspreadsheet");
  fake_.Set("Registry/GetComponent", Gives(component));
  const std::string header = "project,component,account,id,name,datasource\n";
  const Ran wrong = RunBatch(header + "acme,drive,main,one,First,fb\n");
  EXPECT_EQ(wrong.exit, 1);
  EXPECT_NE(wrong.err.find("gspreadsheet"), std::string::npos) << wrong.err;
  EXPECT_EQ(Authorized(), 0u);
  EXPECT_EQ(RunBatch(header + "acme,drive,main,one,First,gspreadsheet\n").exit, 0);
}

TEST_F(BatchTest, ARowThatIsRefusedFailsAloneAndTheOthersGoOn) {
  const v1::Attempt created = AttemptOf("a2", v1::ATTEMPT_STATE_CREATED, "two", "Second");
  fake_.SetInTurn("Attempts/Authorize",
                  {{.messages = {}, .code = Code::kDenied, .text = "not allowed"},
                   Gives(created)});
  const Ran ran = RunBatch(std::string(kHeader) +
                           "acme,drive,main,one,First\nacme,drive,main,two,Second\n");
  EXPECT_EQ(ran.exit, 1);
  EXPECT_NE(ran.err.find("row 1 acme/drive/one: refused (not allowed"), std::string::npos)
      << ran.err;
  EXPECT_NE(ran.err.find("1 of 2 have consented, 1 are connected, 1 failed"), std::string::npos)
      << ran.err;
  EXPECT_EQ(Authorized(), 2u);
}

TEST_F(BatchTest, TheAttemptThatGoesOnForALostOneIsFollowedAndItsLinkWritten) {
  v1::Attempt lost = AttemptOf("a1", v1::ATTEMPT_STATE_FAILED, "one", "First");
  lost.set_failure("lost_in_transit");
  lost.set_successor("a2");
  v1::Attempt next = AttemptOf("a2", v1::ATTEMPT_STATE_STARTED, "one", "First");
  next.set_predecessor("a1");
  v1::Attempt created = AttemptOf("a2", v1::ATTEMPT_STATE_CREATED, "one", "First");
  created.set_predecessor("a1");
  v1::GetLinkResponse second;
  second.set_auth_uri("https://consent.example/second");
  const std::string batch = std::string(kHeader) + "acme,drive,main,one,First\n";

  fake_.SetInTurn("Attempts/Get", {Gives(lost), Gives(next)});
  fake_.Set("Attempts/GetLink", Gives(second));
  const Ran linked = RunBatch(batch);
  EXPECT_EQ(linked.exit, 0) << linked.err;
  EXPECT_NE(ReadText(folder_ / "links.csv").find("a2,0,\"https://consent.example/second\""),
            std::string::npos)
      << ReadText(folder_ / "links.csv");

  const v1::Attempt started = AttemptOf("a1", v1::ATTEMPT_STATE_STARTED, "one", "First");
  fake_.SetInTurn("Attempts/Get", {Gives(started), Gives(lost), Gives(next), Gives(created)});
  const Ran waited = RunBatch(batch, "connect --authorize --batch batch.csv --links links.csv");
  EXPECT_EQ(waited.exit, 0) << waited.err;
  EXPECT_NE(waited.err.find("row 1 acme/drive/one: started (a new link: the one before it failed)\n"
                            "row 1 acme/drive/one: created\n"),
            std::string::npos)
      << waited.err;
  std::vector<std::string> linked_attempts;
  for (const std::string& text : fake_.Requests("Attempts/GetLink")) {
    v1::GetLinkRequest request;
    ASSERT_TRUE(request.ParseFromString(text));
    linked_attempts.push_back(request.id());
  }
  EXPECT_EQ(linked_attempts, (std::vector<std::string>{"a2", "a1", "a2"}));
  EXPECT_EQ(Authorized(), 2u) << "one for each run: nothing is authorized twice";
}

TEST_F(BatchTest, NothingBeginsWithoutAPlaceForTheLinks) {
  WriteText(folder_ / "batch.csv", std::string(kHeader) + "acme,drive,main,one,First\n");
  const Ran ran = Run("connect --authorize --batch batch.csv --links nowhere/links.csv");
  EXPECT_EQ(ran.exit, 1);
  EXPECT_EQ(Authorized(), 0u);
  EXPECT_EQ(Run("connect --authorize --batch batch.csv").exit, 1);
  EXPECT_EQ(Run("connect --batch batch.csv --links links.csv").exit, 1);
  EXPECT_EQ(Run("connect --project acme --component drive --account main --id one").exit, 1);
}

}  // namespace
}  // namespace oauthvault::client
