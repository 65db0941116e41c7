// What every call goes through: limits, malformed requests, errors, the line before the answer.

#include "daemon/rpc/edge.h"

#include <gtest/gtest.h>

#include <future>
#include <latch>
#include <set>
#include <stdexcept>

#include "daemon/rpc/status.h"
#include "tests/daemon/acts.h"
#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

using access::Right;

constexpr char kReveal[] = "/oauthvault.v1.Credentials/Reveal";
constexpr char kInject[] = "/oauthvault.v1.Credentials/Inject";
constexpr char kSecret[] = R"({"access_token":"planted-secret"})";

class EdgeTest : public testing::Test {
 protected:
  explicit EdgeTest(Vault::Settings settings = {}) : vault_(settings) {
    vault_.Grant("runner/r", "*", "*",
                 {Right::kStore, Right::kDescribe, Right::kReveal, Right::kConnect});
    vault_.PutCredentials(kProject, kComponent, "main", kSecret);
    runner_ = vault_.Tcp(vault_.Issue("runner/r"));
  }

  static std::string RevealRequest(const std::string& id, const std::string& project = kProject) {
    v1::RevealRequest request;
    request.set_project(project);
    request.set_component(kComponent);
    request.set_id(id);
    return request.SerializeAsString();
  }

  Vault vault_;
  std::shared_ptr<grpc::Channel> runner_;
};

TEST(StatusOf, EveryCodeHasItsStatus) {
  EXPECT_EQ(StatusCodeOf(Code::kNotFound), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(StatusCodeOf(Code::kUnauthenticated), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(StatusCodeOf(Code::kDenied), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(StatusCodeOf(Code::kInvalid), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(StatusCodeOf(Code::kConflict), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(StatusCodeOf(Code::kStale), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(StatusCodeOf(Code::kCorrupt), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(StatusCodeOf(Code::kSealed), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(StatusCodeOf(Code::kUnavailable), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(StatusCodeOf(Code::kExhausted), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(EdgeTest, EveryErrorOfTheStore_ReachesTheCallerWithItsCode) {
  for (const Code code :
       {Code::kNotFound, Code::kUnauthenticated, Code::kInvalid, Code::kConflict, Code::kStale,
        Code::kCorrupt, Code::kSealed, Code::kUnavailable, Code::kExhausted, Code::kDenied}) {
    vault_.Engine().Rows().FailReads(Error(code, "the test's own error"));
    for (const char* method : {kReveal, "/oauthvault.v1.Credentials/Describe"}) {
      const RawAnswer answer = CallRaw(runner_, method, RevealRequest("main"));
      EXPECT_EQ(answer.status.error_code(), StatusCodeOf(code)) << method;
      EXPECT_EQ(answer.code, NameOf(code)) << method;
      EXPECT_EQ(answer.status.error_message(), "the test's own error") << method;
      EXPECT_EQ(answer.bytes, "") << method;
    }
  }
}

TEST_F(EdgeTest, ARequestBeyondTheLimit_IsRefused) {
  v1::InjectRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_configuration(std::string(kMaxRequestSize + 1, ' '));
  const RawAnswer answer = CallRaw(runner_, kInject, request.SerializeAsString());
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Ask(runner_).ok()) << "the connection goes on";
}

TEST_F(EdgeTest, MalformedBytes_AreInvalid) {
  for (const char* method : {kReveal, kInject, "/oauthvault.v1.Credentials/Describe",
                             "/oauthvault.v1.Attempts/Watch"}) {
    for (const std::string& bytes : {std::string("\xff\xff\xff"), std::string("\x0a\x7f" "x"),
                                    std::string("\x0a\x02\xc3\x28", 4)}) {
      const RawAnswer answer = CallRaw(runner_, method, bytes);
      EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
      EXPECT_EQ(answer.code, "INVALID") << method;
    }
  }
}

TEST_F(EdgeTest, AnEmptyRequest_IsInvalidAndReadsNothing) {
  const std::uint64_t reads = vault_.Engine().ReadCount();
  for (const char* method : {kReveal, kInject, "/oauthvault.v1.Credentials/Describe",
                             "/oauthvault.v1.Attempts/Watch"}) {
    const RawAnswer answer = CallRaw(runner_, method, "");
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
  }
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
}

TEST_F(EdgeTest, IdsOutOfForm_AreInvalid) {
  const std::uint64_t reads = vault_.Engine().ReadCount();
  for (const std::string& wrong : {std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("*"), std::string(129, 'x'), std::string("a b"),
                                  std::string("a\0b", 3), std::string("\xc3\xa4")}) {
    EXPECT_EQ(CallRaw(runner_, kReveal, RevealRequest(wrong)).status.error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(CallRaw(runner_, kReveal, RevealRequest("main", wrong)).status.error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
}

TEST_F(EdgeTest, DamagedCredentials_AreEntriesWithoutNamesAndHideNoOthers) {
  std::set<std::string> whole = {"main"};
  for (int i = 0; i < 7; ++i) {
    vault_.PutCredentials(kProject, kComponent, "id-" + std::to_string(i), kSecret);
    whole.insert("id-" + std::to_string(i));
  }
  const auto listed = vault_.Store().List<storage::Credentials>(kProject, kComponent, "", 8);
  ASSERT_TRUE(listed);
  // The first in the order of keys gets the bytes of the last.
  std::vector<storage::Change> changes;
  changes.push_back({listed->rows.front().key, {}, listed->rows.back().sealed});
  ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), fakes::SetupActBytes()));
  whole.erase(listed->rows.front().row.id.Str());

  const auto stub = v1::Credentials::NewStub(runner_);
  v1::ListRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_page_size(3);
  std::set<std::string> ids;
  int damaged = 0;
  do {
    v1::ListResponse response;
    ASSERT_TRUE(stub->List(NewContext().get(), request, &response).ok());
    for (const auto& each : response.credentials()) {
      if (!each.damaged()) ids.insert(each.id());
      damaged += each.damaged();
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(ids, whole);
  EXPECT_EQ(damaged, 1);
}

TEST_F(EdgeTest, PageTokens_LeadThroughAllRowsOnceAndOthersAreInvalid) {
  for (int i = 0; i < 7; ++i) {
    vault_.PutCredentials(kProject, kComponent, "id-" + std::to_string(i), kSecret);
  }
  const auto stub = v1::Credentials::NewStub(runner_);
  v1::ListRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_page_size(3);
  std::vector<std::string> ids;
  int pages = 0;
  do {
    v1::ListResponse response;
    ASSERT_TRUE(stub->List(NewContext().get(), request, &response).ok());
    for (const auto& each : response.credentials()) ids.push_back(each.id());
    request.set_page_token(response.next_page_token());
    ASSERT_LT(++pages, 10);
  } while (!request.page_token().empty());
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids.size(), 8u);
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
  for (const char* wrong : {"x", "00", "../../etc", "-1"}) {
    request.set_page_token(wrong);
    v1::ListResponse response;
    EXPECT_EQ(stub->List(NewContext().get(), request, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT) << wrong;
  }
}

TEST_F(EdgeTest, TheTrailsPages_EndAndWrongTokensAreInvalid) {
  const auto auditor = vault_.Tcp(vault_.Issue("auditor/o"));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Reveal(runner_, "main").status.ok());
  const auto stub = v1::Audit::NewStub(auditor);
  v1::ShowAuditRequest request;
  request.set_page_size(2);
  std::uint64_t sequence = 0;
  int pages = 0;
  do {
    v1::ShowAuditResponse response;
    ASSERT_TRUE(stub->Show(NewContext().get(), request, &response).ok());
    for (const auto& line : response.lines()) EXPECT_EQ(line.sequence(), ++sequence);
    request.set_page_token(response.next_page_token());
    ASSERT_LT(++pages, 20);
  } while (!request.page_token().empty());
  EXPECT_EQ(sequence, vault_.Trail().LastSequence());
  // The newest only, whatever the size of a page; more than there are is all of them.
  for (const std::uint64_t newest : {std::uint64_t{3}, sequence, sequence + 1, UINT64_MAX}) {
    std::uint64_t shown = 0;
    request.set_newest(newest);
    do {
      v1::ShowAuditResponse response;
      ASSERT_TRUE(stub->Show(NewContext().get(), request, &response).ok());
      shown += static_cast<std::uint64_t>(response.lines_size());
      if (request.page_token().empty()) {
        EXPECT_EQ(response.lines(0).sequence(), sequence - std::min(newest, sequence) + 1);
      }
      request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty());
    EXPECT_EQ(shown, std::min(newest, sequence));
  }
  for (const char* wrong : {"x", "-1", "1x", " 1", "99999999999999999999999"}) {
    request.set_page_token(wrong);
    v1::ShowAuditResponse response;
    EXPECT_EQ(stub->Show(NewContext().get(), request, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT) << wrong;
  }
}

TEST_F(EdgeTest, AStoryThatThrows_IsUnavailableAndTheDaemonGoesOn) {
  vault_.Engine().after_read = [] { throw std::runtime_error("planted-secret"); };
  v1::InjectRequest inject;
  inject.set_project(kProject);
  inject.set_component(kComponent);
  inject.set_configuration(R"({"authorization":{"oauth_api":{"id":"main"}}})");
  const std::vector<std::pair<std::string, std::string>> calls = {
      {"/oauthvault.v1.Credentials/Describe", RevealRequest("main")},
      {kReveal, RevealRequest("main")},
      {kInject, inject.SerializeAsString()},
      {"/oauthvault.v1.Attempts/Watch", RevealRequest("main")},
  };
  for (const auto& [method, request] : calls) {
    const RawAnswer answer = CallRaw(runner_, method, request);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE) << method;
    EXPECT_EQ(answer.code, "UNAVAILABLE") << method;
    EXPECT_EQ(answer.status.error_message().find("planted-secret"), std::string::npos) << method;
  }
  vault_.Engine().after_read = nullptr;
  EXPECT_TRUE(Reveal(runner_, "main").status.ok());
}

TEST_F(EdgeTest, WhileTheTrailCannotWrite_NothingSecretLeavesAndItRecovers) {
  v1::InjectRequest inject;
  inject.set_project(kProject);
  inject.set_component(kComponent);
  inject.set_configuration(R"({"authorization":{"oauth_api":{"id":"main"}}})");
  const auto stranger = vault_.Tcp(vault_.Issue("runner/stranger"));
  vault_.disk_full = true;
  for (const auto& [method, request] :
       {std::pair<std::string, std::string>{kReveal, RevealRequest("main")},
        {kInject, inject.SerializeAsString()}}) {
    const RawAnswer answer = CallRaw(runner_, method, request);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE) << method;
    EXPECT_EQ(answer.bytes, "") << method;
    EXPECT_EQ(answer.status.error_message().find("planted-secret"), std::string::npos);
  }
  // A denial and an administrative act have lines, too.
  EXPECT_EQ(Reveal(stranger, "main").status.error_code(), grpc::StatusCode::UNAVAILABLE);
  v1::AddProjectRequest project;
  project.set_id("while-full");
  v1::Project added;
  EXPECT_EQ(v1::Registry::NewStub(vault_.Unix())
                ->AddProject(NewContext().get(), project, &added)
                .error_code(),
            grpc::StatusCode::UNAVAILABLE);
  vault_.disk_full = false;
  EXPECT_TRUE(Reveal(runner_, "main").status.ok());
}

TEST_F(EdgeTest, ACommitThatTheTrailCouldNotTell_StandsAndHasItsLineBeforeTheNext) {
  const auto admin = v1::Registry::NewStub(vault_.Unix());
  v1::AddProjectRequest request;
  request.set_id("untold");
  v1::Project added;
  const std::uint64_t before = vault_.Trail().LastSequence();
  vault_.disk_full = true;
  EXPECT_EQ(admin->AddProject(NewContext().get(), request, &added).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  vault_.disk_full = false;
  v1::GetProjectRequest get;
  get.set_id("untold");
  EXPECT_TRUE(admin->GetProject(NewContext().get(), get, &added).ok());
  request.set_id("next");
  ASSERT_TRUE(admin->AddProject(NewContext().get(), request, &added).ok());
  const auto lines = vault_.LinesAfter(before);
  ASSERT_EQ(lines.size(), 2u);
  for (const auto& [line, project] : {std::pair(lines[0], "untold"), std::pair(lines[1], "next")}) {
    EXPECT_NE(line.find(R"("outcome":"allowed")"), std::string::npos) << line;
    EXPECT_NE(line.find("\"project\":\"" + std::string(project) + "\""), std::string::npos) << line;
  }
}

TEST_F(EdgeTest, AFailureBehindTheCommit_HasALineOfItsOwnBesideTheCommits) {
  const auto admin = v1::Registry::NewStub(vault_.Unix());
  v1::AddProjectRequest request;
  request.set_id("p9");
  v1::Project added;
  const std::uint64_t before = vault_.Trail().LastSequence();
  // Before the commit it is looked for; behind it the project is read, for the answer.
  vault_.Engine().after_read = [reads = 0]() mutable {
    if (++reads == 2) throw std::runtime_error("planted-secret");
  };
  EXPECT_EQ(admin->AddProject(NewContext().get(), request, &added).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  vault_.Engine().after_read = nullptr;
  const auto lines = vault_.LinesAfter(before);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find(R"("outcome":"allowed")"), std::string::npos) << lines[0];
  EXPECT_NE(lines[1].find(R"("outcome":"failed")"), std::string::npos) << lines[1];
  EXPECT_NE(lines[1].find(R"("code":"UNAVAILABLE")"), std::string::npos) << lines[1];
}

// A slot's secret is said once: behind the line before the change nothing may keep it back.
TEST_F(EdgeTest, ANewSlotsSecretIsAnswered_AlsoWhereOnlyTheLineBeforeTheChangeIsWritten) {
  const auto admin = v1::Operations::NewStub(vault_.Unix());
  std::atomic<int> writes = 0;
  vault_.before_write = [&] { vault_.disk_full = ++writes > 1; };
  v1::AddSlotRequest add;
  add.set_kind("shares");
  add.set_label("board");
  add.set_threshold(2);
  add.set_total(3);
  const std::uint64_t before = vault_.Trail().LastSequence();
  v1::AddSlotResponse added;
  const grpc::Status status = admin->AddSlot(NewContext().get(), add, &added);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(added.texts_size(), 3);

  writes = 0;
  v1::ReissueSlotRequest reissue;
  reissue.set_id(added.slot().id());
  v1::AddSlotResponse reissued;
  const grpc::Status again = admin->ReissueSlot(NewContext().get(), reissue, &reissued);
  EXPECT_TRUE(again.ok()) << again.error_message();
  EXPECT_EQ(reissued.texts_size(), 3);
  EXPECT_GT(writes, 1) << "the second line was tried";

  // Where nothing can be written there is no change either.
  writes = 1;
  EXPECT_EQ(admin->AddSlot(NewContext().get(), add, &added).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  vault_.before_write = nullptr;
  vault_.disk_full = false;
  const auto lines = vault_.LinesAfter(before);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find(R"("object":"begin shares")"), std::string::npos) << lines[0];
  EXPECT_NE(lines[1].find(R"("object":"begin slot:)"), std::string::npos) << lines[1];
}

TEST_F(EdgeTest, AReadOfNoSecret_LeavesNoLine) {
  const auto admin = v1::Registry::NewStub(vault_.Unix());
  const std::uint64_t before = vault_.Trail().LastSequence();
  v1::GetProjectRequest request;
  request.set_id(kProject);
  v1::Project project;
  EXPECT_TRUE(admin->GetProject(NewContext().get(), request, &project).ok());
  request.set_id("absent");
  EXPECT_EQ(admin->GetProject(NewContext().get(), request, &project).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(vault_.Trail().LastSequence(), before);
}

TEST_F(EdgeTest, AnAllowedActLeavesOneLine_AndAFailedOneSaysSo) {
  const auto admin = v1::Registry::NewStub(vault_.Unix());
  v1::AddProjectRequest request;
  request.set_id("p9");
  v1::Project added;
  std::uint64_t before = vault_.Trail().LastSequence();
  ASSERT_TRUE(admin->AddProject(NewContext().get(), request, &added).ok());
  auto lines = vault_.LinesAfter(before);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find(R"("outcome":"allowed")"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find(R"("project":"p9")"), std::string::npos) << lines[0];
  before = vault_.Trail().LastSequence();
  EXPECT_EQ(admin->AddProject(NewContext().get(), request, &added).error_code(),
            grpc::StatusCode::ALREADY_EXISTS);
  lines = vault_.LinesAfter(before);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find(R"("outcome":"failed")"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find(R"("code":"CONFLICT")"), std::string::npos) << lines[0];
}

TEST_F(EdgeTest, AComponentThatMustExist_IsNotRegisteredByAMistypedId) {
  const auto admin = v1::Registry::NewStub(vault_.Unix());
  v1::SetComponentRequest request;
  request.set_id("mistyped");
  request.set_must_exist(true);
  v1::Component component;
  const auto status = admin->SetComponent(NewContext().get(), request, &component);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_NE(status.error_message().find("component add"), std::string::npos);
  request.set_must_be_new(true);
  EXPECT_EQ(admin->SetComponent(NewContext().get(), request, &component).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  request.set_must_exist(false);
  EXPECT_TRUE(admin->SetComponent(NewContext().get(), request, &component).ok());
  request.set_must_be_new(false);
  request.set_must_exist(true);
  EXPECT_TRUE(admin->SetComponent(NewContext().get(), request, &component).ok());
}

TEST_F(EdgeTest, AMethodThatNeedsTwoRights_LeavesOneLineThatNamesTheMissingOne) {
  vault_.Grant("runner/store-only", kProject, kComponent, {Right::kStore});
  const auto channel = vault_.Tcp(vault_.Issue("runner/store-only"));
  v1::AuthorizeRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_account("main");
  request.set_oauth_id("new");
  request.set_connection_name("Drive");
  v1::Attempt attempt;
  const std::uint64_t before = vault_.Trail().LastSequence();
  EXPECT_EQ(v1::Attempts::NewStub(channel)
                ->Authorize(NewContext().get(), request, &attempt)
                .error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  const auto lines = vault_.LinesAfter(before);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find(R"("outcome":"denied")"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find(R"("right":"connect")"), std::string::npos) << lines[0];
}

TEST_F(EdgeTest, TheCallersRequestId_StandsInTheLineWhereItIsAnId) {
  for (const auto& [sent, stands] :
       {std::pair<std::string, bool>{"req-1", true}, {"not an id", false}}) {
    v1::RevealRequest request;
    request.set_project(kProject);
    request.set_component(kComponent);
    request.set_id("main");
    const auto context = NewContext();
    context->AddMetadata("x-request-id", sent);
    v1::RevealResponse response;
    const std::uint64_t before = vault_.Trail().LastSequence();
    ASSERT_TRUE(v1::Credentials::NewStub(runner_)->Reveal(context.get(), request, &response).ok());
    const auto lines = vault_.LinesAfter(before);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_EQ(lines[0].find("\"" + sent + "\"") != std::string::npos, stands) << lines[0];
  }
}

TEST_F(EdgeTest, CallersThatGoAway_LeaveTheDaemonWhole) {
  for (int i = 0; i < 50; ++i) {
    v1::RevealRequest request;
    request.set_project(kProject);
    request.set_component(kComponent);
    request.set_id("main");
    grpc::ClientContext context;
    v1::RevealResponse response;
    std::promise<void> ended;
    const auto stub = v1::Credentials::NewStub(runner_);
    stub->async()->Reveal(&context, &request, &response,
                          [&ended](const grpc::Status&) { ended.set_value(); });
    context.TryCancel();
    ended.get_future().wait();
  }
  EXPECT_TRUE(Reveal(runner_, "main").status.ok());
}

class SmallQueue : public EdgeTest {
 protected:
  SmallQueue() : EdgeTest({.call_threads = 1, .call_queue = 1}) {}
};

TEST_F(SmallQueue, WhenItIsFull_ACallIsRefusedAtOnce) {
  std::latch busy(1);
  const auto end = std::make_shared<std::latch>(1);  // the worker may look at it behind the test
  Workers::Work block = [&busy, end] {
    busy.count_down();
    end->wait();
  };
  ASSERT_TRUE(vault_.CallWorkers().Post(block));
  busy.wait();
  Workers::Work waiting = [] {};
  EXPECT_TRUE(vault_.CallWorkers().Post(waiting));
  const RawAnswer answer = CallRaw(runner_, "/oauthvault.v1.Operations/Status", "");
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(answer.code, "EXHAUSTED");
  EXPECT_TRUE(Reveal(runner_, "main").status.ok()) << "a reveal needs no worker";
  end->count_down();
  vault_.TheServer().Stop(std::chrono::milliseconds(0));
}

TEST_F(SmallQueue, WorkWhoseDeadlinePassedWhileItWaited_IsNotBegun) {
  std::latch busy(1);
  std::latch end(1);
  Workers::Work block = [&] {
    busy.count_down();
    end.wait();
  };
  ASSERT_TRUE(vault_.CallWorkers().Post(block));
  busy.wait();
  const std::uint64_t reads = vault_.Engine().ReadCount();
  v1::DescribeRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_id("main");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  v1::CredentialsInfo answer;
  const auto status = v1::Credentials::NewStub(runner_)->Describe(&context, request, &answer);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  // The server counts from when the call came in, which nothing here can see.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  end.count_down();
  vault_.TheServer().Stop(kPatience);  // waits for the call's end
  EXPECT_EQ(vault_.GetCounters().calls.too_late, 1u);
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
}

class FewCalls : public EdgeTest {
 protected:
  FewCalls() : EdgeTest({.call_threads = 2, .max_calls_per_principal = 1}) {}
};

TEST_F(FewCalls, APrincipalBeyondItsShare_IsRefusedAndOthersAreServed) {
  std::latch busy(1);
  std::latch end(1);
  vault_.Engine().after_read = [&, once = std::make_shared<std::atomic_flag>()] {
    if (once->test_and_set()) return;
    busy.count_down();
    end.wait();
  };
  // A method that reads on a worker: others are served beside it.
  std::thread caller([&] {
    const RawAnswer described =
        CallRaw(runner_, "/oauthvault.v1.Credentials/Describe", RevealRequest("main"));
    EXPECT_TRUE(described.status.ok()) << described.status.error_message();
  });
  busy.wait();
  const std::uint64_t lines = vault_.Trail().LastSequence();
  const RawAnswer answer = CallRaw(runner_, kReveal, RevealRequest("main"));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(answer.code, "EXHAUSTED");
  EXPECT_EQ(vault_.Trail().LastSequence(), lines) << "nothing was decided";
  EXPECT_TRUE(Ask(vault_.Unix()).ok());
  EXPECT_EQ(vault_.GetCounters().calls.too_many, 1u);
  end.count_down();
  caller.join();
  // A place is free a little after its answer was read.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (int i = 0; i < 3; ++i) {
    while (!Ask(vault_.Unix()).ok()) ASSERT_LT(std::chrono::steady_clock::now(), until);
  }
}

grpc::StatusCode AskUntil(const std::shared_ptr<grpc::Channel>& channel,
                          std::optional<std::chrono::seconds> ahead) {
  grpc::ClientContext context;
  if (ahead) context.set_deadline(std::chrono::system_clock::now() + *ahead);
  v1::StatusResponse response;
  return v1::Operations::NewStub(channel)->Status(&context, {}, &response).error_code();
}

TEST_F(EdgeTest, ACallWithoutADeadlineOrWithOneTooFarAhead_IsInvalid) {
  EXPECT_EQ(AskUntil(runner_, std::chrono::seconds(60)), grpc::StatusCode::OK);
  EXPECT_EQ(AskUntil(runner_, std::nullopt), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(AskUntil(runner_, std::chrono::seconds(70)), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(AskUntil(runner_, std::chrono::hours(24 * 365 * 100)),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(vault_.GetCounters().calls.out_of_bounds, 3u);
}

TEST_F(EdgeTest, ALongDeadline_MayArriveRoundedUp) {
  const auto shred = [&](std::chrono::milliseconds ahead) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + ahead);
    v1::ShredProjectRequest request;
    request.set_id("nobody");
    request.set_confirm("nobody");
    v1::ShredProjectResponse response;
    return v1::Operations::NewStub(vault_.Unix())
        ->ShredProject(&context, request, &response)
        .error_code();
  };
  EXPECT_EQ(shred(std::chrono::milliseconds(1'801'000)), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(shred(std::chrono::milliseconds(1'900'000)), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(EdgeTest, ARequestBeyondItsMethodsOwnSize_IsRefusedBeforeAnythingIsDecided) {
  const std::uint64_t lines = vault_.Trail().LastSequence();
  v1::StoreRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_id("large");
  request.set_data(std::string(100 * 1024, 'x'));
  const RawAnswer store =
      CallRaw(runner_, "/oauthvault.v1.Credentials/Store", request.SerializeAsString());
  EXPECT_EQ(store.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(store.code, "EXHAUSTED");
  const RawAnswer reveal = CallRaw(runner_, kReveal, request.SerializeAsString());
  EXPECT_EQ(reveal.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(vault_.Trail().LastSequence(), lines);
}

TEST(Workers, RunWhatWaitsBeforeTheyEnd) {
  std::atomic<int> ran = 0;
  {
    Workers workers("test", 2, 100);
    for (int i = 0; i < 100; ++i) {
      Workers::Work work = [&ran] { ++ran; };
      ASSERT_TRUE(workers.Post(work));
    }
  }
  EXPECT_EQ(ran, 100);
}

TEST(Workers, WorkThatWasRefused_IsStillTheCallers) {
  std::latch busy(1);
  std::latch end(1);
  Workers workers("test", 1, 1);
  Workers::Work block = [&] {
    busy.count_down();
    end.wait();
  };
  ASSERT_TRUE(workers.Post(block));
  busy.wait();
  bool ran = false;
  Workers::Work first = [] {};
  Workers::Work second = [&ran] { ran = true; };
  EXPECT_TRUE(workers.Post(first));
  EXPECT_FALSE(workers.Post(second));
  ASSERT_TRUE(second);
  second();
  EXPECT_TRUE(ran);
  end.count_down();
}

TEST(Ticker, CallsAgainAndAgainUntilRemoved) {
  Ticker ticker(std::chrono::milliseconds(1));
  std::atomic<int> ticks = 0;
  std::latch thrice(3);
  const int who = 0;
  ticker.Add(&who, [&] {
    if (++ticks <= 3) thrice.count_down();
  });
  thrice.wait();
  ticker.Remove(&who);
  const int then = ticks;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(ticks, then);
  ticker.Remove(&who);
}

}  // namespace
}  // namespace oauthvault::rpc
