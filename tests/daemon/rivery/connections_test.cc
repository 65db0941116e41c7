#include "daemon/rivery/connections.h"

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/daemon/rivery/rivery_vault.h"

namespace oauthvault::rivery {
namespace {

using access::Right;
using fakes::BytesOf;
using fakes::CodeOf;
using fakes::TextOf;
using Acts = std::vector<std::string>;
using fakes::Fault;

/// A connection that the vault made, named `sheet`, from the credentials `one`.
class ConnectionsTest : public RiveryVault {
 protected:
  void SetUp() override {
    RiveryVault::SetUp();
    vault_.Put("one", kData);
    id_ = Make("sheet");
  }

  std::string Make(std::string_view name) {
    const std::string id = MakeRemotely(name, kData);
    storage::Connection row{.project = vault_.project,
                            .component = vault_.component,
                            .account = account_,
                            .oauth_id = fakes::TestVault::IdOf("one")};
    row.connection_id = id;
    row.name = name;
    row.connection_type = "gspreadsheet";
    row.written_version = 1;
    storage::Batch batch(fakes::SetupAct());
    batch.Insert(row);
    EXPECT_TRUE(vault_.Store().Commit(std::move(batch)));
    return id;
  }

  Result<storage::Stored<storage::Connection>> Update(std::string_view new_name = "",
                                                      std::string id = "",
                                                      std::string_view project = "acme") {
    return connections_.Update(vault_.PermitFor(Right::kConnect, project), account_,
                               id.empty() ? id_ : id, std::string(new_name),
                               fakes::TestVault::Caller(), fakes::kVaultNow + 5);
  }

  storage::Stored<storage::Connection> Row() {
    return *vault_.Store().Get<storage::Connection>(
        storage::Connection::Names(vault_.project, vault_.component, account_, id_));
  }

  std::string id_;
  Connections connections_{client_, vault_.Store(), vault_.Trail()};
};

TEST_F(ConnectionsTest, Update_WritesTheWholeBodyWithTheCredentials) {
  const auto updated = Update("renamed");
  ASSERT_TRUE(updated) << updated.error().Message();
  EXPECT_EQ(updated->row.name, "renamed");
  EXPECT_EQ(updated->row.written_version, 1u);
  EXPECT_EQ(updated->row.updated_at_s, fakes::kVaultNow + 5);
  const fakes::Json remote = Remote();
  ASSERT_EQ(remote.size(), 1u);
  EXPECT_EQ(remote[0].at("connection_name"), "renamed");
  EXPECT_EQ(remote[0].at("credentials"), fakes::Json::parse(kData));
  EXPECT_EQ(remote[0].at("writes"), 2);
  // The send, and what was committed about it.
  EXPECT_EQ(vault_.Acts(), (Acts{"Connections.Update allowed", "connection.updated allowed"}));
  EXPECT_EQ(vault_.Lines()[0].at("oauth_id"), "one");
  EXPECT_EQ(vault_.Lines()[0].at("right"), "connect");
  EXPECT_EQ(vault_.Lines()[1].at("oauth_id"), "one");
  EXPECT_EQ(vault_.Lines()[1].at("object"), id_);
  EXPECT_EQ(vault_.Lines()[1].at("version"), 1);
}

TEST_F(ConnectionsTest, Update_BringsTheConnectionInStepWithNewCredentials) {
  EXPECT_EQ(vault_.Put("one", "{\"access_token\":\"newer\"}").version, 2u);
  EXPECT_EQ(Row().row.written_version, 1u);
  const auto updated = Update();
  ASSERT_TRUE(updated);
  EXPECT_EQ(updated->row.written_version, 2u);
  EXPECT_EQ(updated->row.name, "sheet");
  EXPECT_EQ(Remote()[0].at("connection_name"), "sheet");
  EXPECT_EQ(Remote()[0].at("credentials").at("access_token"), "newer");
}

TEST_F(ConnectionsTest, Update_OfOneConnectionIsAlone) {
  const std::string second = Make("second");
  vault_.HoldTrail(true);
  const std::uint64_t syncs = vault_.Syncs();
  auto first = std::async(std::launch::async, [&] { return Update("renamed"); });
  while (vault_.Syncs() == syncs) std::this_thread::yield();
  EXPECT_EQ(CodeOf(Update("other")), "CONFLICT");
  EXPECT_EQ(AllRequests(), 2);  // the two creates: nothing leaves before the line
  vault_.HoldTrail(false);
  EXPECT_EQ(CodeOf(first.get()), "OK");
  EXPECT_EQ(CodeOf(Update("other")), "OK");
  EXPECT_EQ(CodeOf(Update("other", second)), "OK");
}

TEST_F(ConnectionsTest, Update_OfAConnectionInUseChangesNothingHere) {
  standin_->AddFault({.operation = fakes::Operation::kUpdate, .fault = Fault::kOkWithCode402});
  vault_.Put("one", "{\"access_token\":\"newer\"}");
  EXPECT_EQ(CodeOf(Update("renamed")), "CONFLICT");
  EXPECT_EQ(Row().version, 1u);
  EXPECT_EQ(Row().row.name, "sheet");
  EXPECT_EQ(Row().row.written_version, 1u);
}

TEST_F(ConnectionsTest, Update_WithoutAnAnswerCanBeSentAgain) {
  standin_->AddFault({.operation = fakes::Operation::kUpdate, .fault = Fault::kCommitThenDrop});
  EXPECT_EQ(CodeOf(Update("renamed")), "UNAVAILABLE");
  EXPECT_EQ(Row().row.name, "sheet");
  EXPECT_EQ(CodeOf(Update("renamed")), "OK");
  EXPECT_EQ(Row().row.name, "renamed");
  EXPECT_EQ(Remote().size(), 1u);
}

TEST_F(ConnectionsTest, Update_ThatTheStoreDoesNotKeepCanBeSentAgain) {
  vault_.Put("one", "{\"access_token\":\"newer\"}");
  vault_.Memory().FailNextCommit(Error(Code::kUnavailable, "the fake's disk went away"));
  EXPECT_EQ(CodeOf(Update()), "UNAVAILABLE");
  EXPECT_EQ(Row().row.written_version, 1u);
  EXPECT_EQ(CodeOf(Update()), "OK");
  EXPECT_EQ(Row().row.written_version, 2u);
}

TEST_F(ConnectionsTest, Update_NamesWhatIsMissing) {
  const int requests = AllRequests();
  EXPECT_EQ(CodeOf(Update("", "ffffffffffffffffffffffff")), "NOT_FOUND");
  EXPECT_EQ(CodeOf(Update("", id_, "other")), "NOT_FOUND");
  EXPECT_EQ(vault_.Acts(), Acts{});
  ASSERT_TRUE(custody::Delete(vault_.PermitFor(Right::kStore), fakes::TestVault::IdOf("one"),
                              fakes::SetupAct(), vault_.Store()));
  EXPECT_EQ(CodeOf(Update()), "NOT_FOUND");
  EXPECT_EQ(vault_.Acts(), (Acts{"Connections.Update failed NOT_FOUND"}));
  EXPECT_EQ(AllRequests(), requests);
}

TEST_F(ConnectionsTest, Update_OfAConnectionThatRiveryLostIsNotFound) {
  storage::Connection row = Row().row;
  row.connection_id = "ffffffffffffffffffffffff";
  storage::Batch batch(fakes::SetupAct());
  batch.Insert(row);
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  EXPECT_EQ(CodeOf(Update("", row.connection_id)), "NOT_FOUND");
}

TEST_F(ConnectionsTest, Update_SendsNothingThatIsNoObject) {
  const int requests = AllRequests();
  for (const std::string_view data :
       {"[1]", "\"text\"", "7", "null", "{\"a\":", "{} {}", "\xef\xbb\xbf{}", "token"}) {
    vault_.Put("one", data);
    EXPECT_EQ(CodeOf(Update()), "INVALID") << data;
  }
  EXPECT_EQ(AllRequests(), requests);
}

TEST_F(ConnectionsTest, Update_ChecksTheNewName) {
  const int requests = AllRequests();
  for (const std::string& name : {std::string(201, 'x'), std::string("a\nb"), std::string("\xff"),
                                  std::string("a\x7f")}) {
    EXPECT_EQ(CodeOf(Update(name)), "INVALID");
  }
  EXPECT_EQ(AllRequests(), requests);
  EXPECT_EQ(CodeOf(Update(std::string(200, 'x'))), "OK");
}

TEST_F(ConnectionsTest, Update_NeedsAnAccountThatTheProjectMayUse) {
  Allow({"other"});
  const int requests = AllRequests();
  EXPECT_EQ(CodeOf(Update()), "DENIED");
  EXPECT_EQ(AllRequests(), requests);
  EXPECT_EQ(vault_.Acts(), Acts{});
}

TEST_F(ConnectionsTest, Update_SendsNothingWhileTheTrailCannotRecord) {
  const int requests = AllRequests();
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(Update()), "UNAVAILABLE");
  EXPECT_EQ(AllRequests(), requests);
}

TEST_F(ConnectionsTest, Update_WhoseCommitCannotBeToldStandsAndCanBeSentAgain) {
  vault_.Put("one", "{\"access_token\":\"newer\"}");
  vault_.FailOneSyncAfter(1);  // the send's line
  EXPECT_EQ(CodeOf(Update()), "UNAVAILABLE");
  EXPECT_EQ(Row().row.written_version, 2u);
  EXPECT_EQ(vault_.Acts(), (Acts{"Connections.Update allowed"}));
  EXPECT_EQ(CodeOf(Update()), "OK");
  EXPECT_EQ(vault_.Acts(), (Acts{"Connections.Update allowed", "Connections.Update allowed",
                                 "connection.updated allowed", "connection.updated allowed"}));
}

TEST_F(ConnectionsTest, Update_NeedsAPermitForConnect) {
  EXPECT_EQ(CodeOf(connections_.Update(vault_.PermitFor(Right::kDescribe), account_, id_, "",
                                       fakes::TestVault::Caller(), 1)),
            "DENIED");
}

TEST(BodyOf, GivesTheObjectByteForByte) {
  const auto body = BodyOf(crypto::CredentialsData(BytesOf(" \r\n\t{\"a\" : 1.50}\n")));
  ASSERT_TRUE(body);
  EXPECT_EQ(TextOf(*body), " \r\n\t{\"a\" : 1.50}\n");
}

TEST(BodyOf, RefusesWhatIsNoObject) {
  for (const std::string_view data : {"", " ", "[1]", "7", "{", "{}}", "\xef\xbb\xbf{}"}) {
    EXPECT_EQ(CodeOf(BodyOf(crypto::CredentialsData(BytesOf(data)))), "INVALID") << data;
  }
}

}  // namespace
}  // namespace oauthvault::rivery
