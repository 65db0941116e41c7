#include "daemon/rivery/connections.h"

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/registry/components.h"
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
    row.updated_at_s = fakes::kVaultNow;
    storage::Batch batch(fakes::SetupAct());
    batch.Insert(row);
    EXPECT_TRUE(vault_.Store().Commit(std::move(batch)));
    return id;
  }

  Result<storage::Stored<storage::Connection>> Update(std::string_view new_name = "",
                                                      std::string id = "",
                                                      std::string_view project = "acme") {
    return connections_.Update(
        vault_.PermitFor(Right::kConnect, project),
        {.name = {account_, id.empty() ? id_ : id}, .new_name = std::string(new_name)},
        fakes::TestVault::Caller(), fakes::kVaultNow + 5);
  }

  Result<Connections::VerifiedPage> VerifyAll() { return Verify(""); }
  Result<Connections::VerifiedPage> Verify(const std::string& id) {
    return connections_.Verify(vault_.PermitFor(Right::kConnect), {account_, id, "", 0},
                               fakes::TestVault::Caller(), fakes::kVaultNow + 6);
  }
  /// The drift of the one connection, as words.
  std::vector<std::string> DriftOf(const std::string& id) {
    auto page = Verify(id);
    if (!page || page->connections.size() != 1) {
      ADD_FAILURE() << (page ? "not one connection" : page.error().Message());
      return {};
    }
    std::vector<std::string> words;
    for (const Drift drift : page->connections[0].drift) words.emplace_back(NameOf(drift));
    return words;
  }

  Result<storage::Stored<storage::Connection>> Adopt(const std::string& id, bool write) {
    return connections_.Adopt(vault_.PermitFor(Right::kConnect),
                              {{account_, id}, fakes::TestVault::IdOf("one"), write},
                              fakes::TestVault::Caller(), fakes::kVaultNow + 7);
  }
  std::string Delete(const std::string& id) {
    return CodeOf(connections_.Delete(vault_.PermitFor(Right::kConnect), {account_, id},
                                      fakes::TestVault::Caller(), fakes::kVaultNow + 8));
  }

  /// What somebody does in Rivery itself, past the vault.
  void ChangeRemotely(const std::string& id, std::string_view name) {
    standin_->AdvanceClock(std::chrono::seconds(301));
    const crypto::ApiToken token(BytesOf(kApiToken));
    ASSERT_TRUE(client_.Update({standin_->BaseUrl(), token},
                               {.id = id, .connection_type = "gspreadsheet"}, name,
                               BytesOf("{\"a\":2}")));
  }
  void DeleteRemotely(const std::string& id) {
    const crypto::ApiToken token(BytesOf(kApiToken));
    ASSERT_TRUE(client_.Delete({standin_->BaseUrl(), token}, id));
  }
  void SetRotating() {
    registry::ComponentFields fields;
    fields.rotating = true;
    ASSERT_TRUE(registry::SetComponent(vault_.Store(), vault_.component, std::move(fields),
                                       registry::IfRegistered::kChange, fakes::SetupAct(),
                                       fakes::kVaultNow));
  }

  storage::Stored<storage::Connection> Row() {
    return *vault_.Store().Get<storage::Connection>(
        storage::Connection::Names(vault_.project, vault_.component, account_, id_));
  }

  std::string id_;
  Connections connections_{client_, rate_, vault_.Store(), vault_.Trail()};
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
  EXPECT_EQ(CodeOf(connections_.Update(vault_.PermitFor(Right::kDescribe),
                                       {.name = {account_, id_}, .new_name = {}},
                                       fakes::TestVault::Caller(), 1)),
            "DENIED");
}

TEST_F(ConnectionsTest, Update_WritesDownWhatItHoldsAndWhoAnswersForIt) {
  ASSERT_TRUE(Update());
  const std::string first = Row().row.written_fingerprint;
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(first, FingerprintOf(vault_.Keys(), vault_.project, BytesOf(kData)));
  EXPECT_NE(first, FingerprintOf(vault_.Keys(), vault_.other_project, BytesOf(kData)));
  EXPECT_EQ(Row().row.principal, fakes::kRunner);
  vault_.Put("one", "{\"access_token\":\"newer\"}");
  ASSERT_TRUE(Update());
  EXPECT_NE(Row().row.written_fingerprint, first);
}

// In the same second, or after the clock went back: the version and the time are those of before.
TEST_F(ConnectionsTest, StandingOf_TellsCredentialsThatWereStoredAnewByWhatTheyHold) {
  ASSERT_TRUE(Update());
  const auto put_anew = [&](std::string_view data) {
    EXPECT_TRUE(custody::Delete(vault_.PermitFor(Right::kStore), fakes::TestVault::IdOf("one"),
                                fakes::SetupAct(), vault_.Store()));
    vault_.Put("one", data);
    auto credentials = vault_.Store().Get<storage::Credentials>(storage::Credentials::Names(
        vault_.project, vault_.component, fakes::TestVault::IdOf("one")));
    EXPECT_EQ(credentials->version, Row().row.written_version);
    return std::optional(std::move(*credentials));
  };
  EXPECT_EQ(StandingOf(Row().row, put_anew("{\"access_token\":\"newer\"}")).step, Step::kBehind);
  auto same = put_anew(kData);
  EXPECT_EQ(StandingOf(Row().row, same).step, Step::kInStep);
  same->row.created_at_s = Row().row.updated_at_s + 86'400;
  EXPECT_EQ(StandingOf(Row().row, same).step, Step::kInStep) << "stored while a clock was ahead";
  ASSERT_TRUE(Update());
}

TEST_F(ConnectionsTest, Update_OfRotatingCredentialsNeverWritesOlderOnesUnlessAllowed) {
  SetRotating();
  vault_.Put("one", "{\"access_token\":\"newer\"}");
  ASSERT_TRUE(Update());
  ASSERT_EQ(Row().row.written_version, 2u);
  // Deleted and stored anew, they count from 1.
  ASSERT_TRUE(custody::Delete(vault_.PermitFor(Right::kStore), fakes::TestVault::IdOf("one"),
                              fakes::SetupAct(), vault_.Store()));
  vault_.Put("one", kData);
  const int requests = AllRequests();
  const std::size_t lines = vault_.Lines().size();
  EXPECT_EQ(CodeOf(Update()), "STALE");
  EXPECT_EQ(AllRequests(), requests);
  EXPECT_EQ(vault_.Lines().size(), lines) << "no line says that they were sent";
  const auto allowed = connections_.Update(
      vault_.PermitFor(Right::kConnect),
      {.name = {account_, id_}, .new_name = {}, .older = Older::kAllow},
      fakes::TestVault::Caller(), fakes::kVaultNow);
  ASSERT_TRUE(allowed) << allowed.error().Message();
  EXPECT_EQ(allowed->row.written_version, 1u);
}

TEST_F(ConnectionsTest, Update_ThatMeetsARefusedTokenMarksTheAccount) {
  standin_->AddFault({.operation = fakes::Operation::kUpdate, .fault = Fault::kUnauthorized});
  EXPECT_EQ(CodeOf(Update()), "UNAUTHENTICATED");
  EXPECT_EQ(OpenAccountFor(vault_.Store(), account_, std::nullopt)->refused_at_s,
            fakes::kVaultNow + 5);
}

// --- verify ----------------------------------------------------------------------------------

TEST_F(ConnectionsTest, Verify_OfWhatTheVaultWroteFindsNothing) {
  ASSERT_TRUE(Update());
  EXPECT_EQ(DriftOf(id_), std::vector<std::string>{});
  EXPECT_NE(Row().row.seen_changed_at_ms, 0);
  // A second look compares with the first, and writes nothing down.
  const std::uint64_t version = Row().version;
  EXPECT_EQ(DriftOf(id_), std::vector<std::string>{});
  EXPECT_EQ(Row().version, version);
}

TEST_F(ConnectionsTest, Verify_ReportsWhatWasDoneInRivery) {
  ASSERT_EQ(DriftOf(id_), std::vector<std::string>{});
  ChangeRemotely(id_, "sheet");
  EXPECT_EQ(DriftOf(id_), std::vector<std::string>{"changed_elsewhere"});
  ChangeRemotely(id_, "another name");
  EXPECT_EQ(DriftOf(id_), (std::vector<std::string>{"renamed", "changed_elsewhere"}));
  EXPECT_EQ(DriftOf(id_), (std::vector<std::string>{"renamed", "changed_elsewhere"}));
  ASSERT_TRUE(Update());
  EXPECT_EQ(Remote()[0].at("connection_name"), "sheet");
  DeleteRemotely(id_);
  EXPECT_EQ(DriftOf(id_), std::vector<std::string>{"deleted"});
}

TEST_F(ConnectionsTest, Verify_ReportsASecondConnectionThatNobodyHere_Holds) {
  EXPECT_EQ(DriftOf(id_), std::vector<std::string>{});
  const std::string late = MakeRemotely("sheet", kData);
  auto page = Verify(id_);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->connections[0].drift, std::vector<Drift>{Drift::kDuplicate});
  EXPECT_EQ(page->connections[0].duplicates, std::vector<std::string>{late});
  // One that the vault holds is no stray.
  Make("sheet");
  page = Verify(id_);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->connections[0].duplicates, std::vector<std::string>{late});
}

TEST_F(ConnectionsTest, Verify_OfAllListsOnceForATypeAndAsksForWhatIsMissing) {
  const std::string second = Make("second");
  const std::string gone = Make("gone");
  DeleteRemotely(gone);
  const int lists = Requests("list");
  const auto page = VerifyAll();
  ASSERT_TRUE(page) << page.error().Message();
  EXPECT_EQ(page->connections.size(), 3u);
  EXPECT_EQ(Requests("list"), lists + 1);
  EXPECT_EQ(Requests("get"), 1);
  EXPECT_EQ(vault_.Acts().front(), "Connections.Verify allowed");
  EXPECT_EQ(CodeOf(Verify("ffffffffffffffffffffffff")), "NOT_FOUND");
}

// A list that passes it over is followed by a question for it alone.
TEST_F(ConnectionsTest, Verify_WhoseLastQuestionMeetsARefusedTokenMarksTheAccount) {
  DeleteRemotely(id_);
  standin_->AddFault({.operation = fakes::Operation::kGet, .fault = Fault::kUnauthorized});
  EXPECT_EQ(CodeOf(Verify(id_)), "UNAUTHENTICATED");
  EXPECT_NE(OpenAccountFor(vault_.Store(), account_, std::nullopt)->refused_at_s, 0);
}

// --- adopt -----------------------------------------------------------------------------------

TEST_F(ConnectionsTest, Adopt_TakesAConnectionAndWritesOnlyWhenAsked) {
  const std::string id = MakeRemotely("made by hand");
  const auto adopted = Adopt(id, false);
  ASSERT_TRUE(adopted) << adopted.error().Message();
  EXPECT_EQ(adopted->row.name, "made by hand");
  EXPECT_EQ(adopted->row.written_version, 0u);
  EXPECT_EQ(Remote()[1].at("writes"), 1);
  const auto credentials = vault_.Store().Find<storage::Credentials>(
      storage::Credentials::Names(vault_.project, vault_.component,
                                  fakes::TestVault::IdOf("one")));
  EXPECT_EQ(StandingOf(adopted->row, *credentials).step, Step::kRefused);
  EXPECT_EQ(StandingOf(adopted->row, *credentials).why, kAdopted);
  EXPECT_EQ(CodeOf(Adopt(id, true)), "CONFLICT") << "the vault has it already";

  const std::string other = MakeRemotely("another by hand");
  const auto written = Adopt(other, true);
  ASSERT_TRUE(written) << written.error().Message();
  EXPECT_EQ(written->row.written_version, 1u);
  EXPECT_EQ(Remote()[2].at("credentials"), fakes::Json::parse(kData));
}

TEST_F(ConnectionsTest, Adopt_RefusesWhatIsNotThereOrOfAnotherType) {
  EXPECT_EQ(CodeOf(Adopt("ffffffffffffffffffffffff", true)), "NOT_FOUND");
  const crypto::ApiToken token(BytesOf(kApiToken));
  const auto other = client_.Create({standin_->BaseUrl(), token}, "fb", "ads", BytesOf("{}"));
  ASSERT_TRUE(other);
  EXPECT_EQ(CodeOf(Adopt(other->id, true)), "INVALID");
}

// --- delete ----------------------------------------------------------------------------------

TEST_F(ConnectionsTest, Delete_TakesTheRowOnlyWhenRiveryHasItNoMore) {
  standin_->AddFault({.operation = fakes::Operation::kDelete, .fault = Fault::kOkWithCode402});
  EXPECT_EQ(Delete(id_), "CONFLICT");
  standin_->AddFault({.operation = fakes::Operation::kDelete, .fault = Fault::kHtml502});
  EXPECT_EQ(Delete(id_), "UNAVAILABLE");
  EXPECT_EQ(Remote().size(), 1u);
  EXPECT_EQ(Row().row.connection_id, id_);
  // Carried out, and the answer was lost: the next one finds none, and asks whether that is so.
  standin_->AddFault({.operation = fakes::Operation::kDelete, .fault = Fault::kCommitThenDrop});
  EXPECT_EQ(Delete(id_), "UNAVAILABLE");
  EXPECT_EQ(Remote().size(), 0u);
  EXPECT_EQ(Delete(id_), "OK");
  EXPECT_EQ(Delete(id_), "NOT_FOUND");
  EXPECT_EQ(vault_.Acts().back(), "connection.deleted allowed");
}

TEST_F(ConnectionsTest, Delete_WhoseLastQuestionMeetsARefusedTokenMarksTheAccount) {
  DeleteRemotely(id_);
  standin_->AddFault({.operation = fakes::Operation::kGet, .fault = Fault::kUnauthorized});
  EXPECT_EQ(Delete(id_), "UNAUTHENTICATED");
  EXPECT_NE(OpenAccountFor(vault_.Store(), account_, std::nullopt)->refused_at_s, 0);
  EXPECT_EQ(Row().row.connection_id, id_) << "nothing is forgotten";
}

TEST_F(ConnectionsTest, Delete_ByAWrongRouteForgetsNothing) {
  const Client lost({{Operation::kDelete, {"DELETE", "/nowhere?_id={id}"}}}, Limits{}, kLoopback);
  Connections connections(lost, rate_, vault_.Store(), vault_.Trail());
  EXPECT_EQ(CodeOf(connections.Delete(vault_.PermitFor(Right::kConnect), {account_, id_},
                                      fakes::TestVault::Caller(), fakes::kVaultNow)),
            "UNAVAILABLE");
  EXPECT_EQ(Row().row.connection_id, id_);
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
