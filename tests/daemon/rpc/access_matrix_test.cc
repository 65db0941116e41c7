// Every method of the contract by every kind of caller. The table is written by hand: it says what
// the design wants, and the option in the .proto has to agree with it.

#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <map>
#include <set>

#include "daemon/http/routes.h"
#include "daemon/rpc/access_rules.h"
#include "oauthvault/v1/audit.pb.h"
#include "tests/daemon/acts.h"
#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

using access::Right;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

// The callers, one column each, from left to right.
constexpr std::array<std::string_view, 15> kCallers = {
    "local admin",
    "admin",
    "auditor",
    "runner with a grant on every pair",
    "runner without a grant",
    "component on its own pair, granted all",
    "component on another project's pair",
    "component on another component's pair",
    "component granted store",
    "component granted describe",
    "component granted reveal",
    "component granted encrypt",
    "component granted connect",
    "admin whose certificate was revoked",
    "admin whose certificate has expired",
};

// Y: allowed. n: PERMISSION_DENIED. u: UNAUTHENTICATED.
struct Row {
  std::string_view method;
  std::string_view outcomes;
};
constexpr Row kMatrix[] = {
    //                            L A U R r C P O s d v e c X T
    {"Registry.AddProject",        "Y Y n n n n n n n n n n n u u"},
    {"Registry.GetProject",        "Y Y n n n n n n n n n n n u u"},
    {"Registry.ListProjects",      "Y Y n n n n n n n n n n n u u"},
    {"Registry.RemoveProject",     "Y Y n n n n n n n n n n n u u"},
    {"Registry.SetComponent",      "Y Y n n n n n n n n n n n u u"},
    {"Registry.GetComponent",      "Y Y n n n n n n n n n n n u u"},
    {"Registry.ListComponents",    "Y Y n n n n n n n n n n n u u"},
    {"Registry.RemoveComponent",   "Y Y n n n n n n n n n n n u u"},
    {"Registry.AddGrant",          "Y Y n n n n n n n n n n n u u"},
    {"Registry.ListGrants",        "Y Y n n n n n n n n n n n u u"},
    {"Registry.RemoveGrant",       "Y Y n n n n n n n n n n n u u"},
    {"Registry.IssueIdentity",     "Y Y n n n n n n n n n n n u u"},
    {"Registry.ListIdentities",    "Y Y n n n n n n n n n n n u u"},
    {"Registry.RenewIdentity",     "Y Y Y Y Y Y Y Y Y Y Y Y Y u u"},
    {"Registry.RevokeIdentity",    "Y Y n n n n n n n n n n n u u"},
    {"Registry.Explain",           "Y Y n n n n n n n n n n n u u"},
    {"Credentials.Store",          "n n n Y n Y n n Y n n n n u u"},
    {"Credentials.Describe",       "Y Y n Y n Y n n n Y Y n n u u"},
    {"Credentials.Reveal",         "n n n Y n Y n n n n Y n n u u"},
    {"Credentials.RevealMany",     "n n n Y n Y n n n n Y n n u u"},
    {"Credentials.Watch",          "Y Y n Y n Y n n n Y Y n n u u"},
    {"Credentials.Inject",         "n n n Y n Y n n n n Y n n u u"},
    {"Credentials.Encrypt",        "n n n Y n Y n n n n n Y n u u"},
    {"Credentials.List",           "Y Y n Y n Y n n n Y Y n n u u"},
    {"Credentials.Delete",         "n n n Y n Y n n Y n n n n u u"},
    {"Credentials.ListVersions",   "Y Y n Y n Y n n n Y Y n n u u"},
    {"Credentials.RollBack",       "n n n Y n Y n n Y n n n n u u"},
    {"Credentials.Prune",          "n n n Y n Y n n Y n n n n u u"},
    {"Accounts.Set",               "Y Y n n n n n n n n n n n u u"},
    {"Accounts.Get",               "Y Y n n n n n n n n n n n u u"},
    {"Accounts.List",              "Y Y n n n n n n n n n n n u u"},
    {"Accounts.Check",             "Y Y n n n n n n n n n n n u u"},
    {"Accounts.ListTypes",         "Y Y n n n n n n n n n n n u u"},
    {"Attempts.Authorize",         "n n n Y n Y n n Y n n n n u u"},
    {"Attempts.Connect",           "n n n Y n Y n n n n n n Y u u"},
    {"Attempts.Get",               "Y Y n Y n Y n n n Y Y n n u u"},
    {"Attempts.GetLink",           "n n n Y n Y n n Y n n n n u u"},
    {"Attempts.List",              "Y Y n Y n Y n n n Y Y n n u u"},
    {"Attempts.Watch",             "Y Y n Y n Y n n n Y Y n n u u"},
    {"Attempts.Cancel",            "n n n Y n Y n n Y n n n n u u"},
    {"Attempts.Resume",            "n n n Y n Y n n Y n n n n u u"},
    {"Connections.Get",            "Y Y n Y n Y n n n Y Y n n u u"},
    {"Connections.List",           "Y Y n Y n Y n n n Y Y n n u u"},
    {"Connections.Update",         "n n n Y n Y n n n n n n Y u u"},
    {"Connections.Verify",         "n n n Y n Y n n n n n n Y u u"},
    {"Connections.Adopt",          "n n n Y n Y n n n n n n Y u u"},
    {"Connections.Delete",         "n n n Y n Y n n n n n n Y u u"},
    {"Operations.Status",          "Y Y Y Y Y Y Y Y Y Y Y Y Y u u"},
    {"Operations.Unseal",          "Y Y n n n n n n n n n n n u u"},
    {"Operations.Seal",            "Y Y n n n n n n n n n n n u u"},
    {"Operations.ListSlots",       "Y Y n n n n n n n n n n n u u"},
    {"Operations.AddSlot",         "Y Y n n n n n n n n n n n u u"},
    {"Operations.ReissueSlot",     "Y Y n n n n n n n n n n n u u"},
    {"Operations.RemoveSlot",      "Y Y n n n n n n n n n n n u u"},
    {"Operations.RotateKeys",      "Y Y n n n n n n n n n n n u u"},
    {"Operations.Rewrap",          "Y Y n n n n n n n n n n n u u"},
    {"Operations.KeysStatus",      "Y Y n n n n n n n n n n n u u"},
    {"Operations.Backup",          "Y Y n n n n n n n n n n n u u"},
    {"Operations.ListBackups",     "Y Y n n n n n n n n n n n u u"},
    {"Operations.Check",           "Y Y n n n n n n n n n n n u u"},
    {"Operations.ShredProject",    "Y Y n n n n n n n n n n n u u"},
    {"Audit.Show",                 "n n Y n n n n n n n n n n u u"},
    {"Audit.Verify",               "n n Y n n n n n n n n n n u u"},
    {"Audit.Find",                 "n n Y n n n n n n n n n n u u"},
    {"Audit.Checkpoint",           "n n Y n n n n n n n n n n u u"},
    {"Audit.Extract",              "n n Y n n n n n n n n n n u u"},
    {"Tokens.Issue",               "Y Y n n n n n n n n n n n u u"},
    {"Tokens.List",                "Y Y n n n n n n n n n n n u u"},
    {"Tokens.Revoke",              "Y Y n n n n n n n n n n n u u"},
    {"Trust.Add",                  "Y Y n n n n n n n n n n n u u"},
    {"Trust.List",                 "Y Y n n n n n n n n n n n u u"},
    {"Trust.ListRevokedKeys",      "Y Y n n n n n n n n n n n u u"},
    {"Trust.Remove",               "Y Y n n n n n n n n n n n u u"},
    {"Trust.RevokeKey",            "Y Y n n n n n n n n n n n u u"},
};

std::string_view ActOf(const MethodDescriptor* method) {
  return std::string_view(method->full_name()).substr(std::string_view("oauthvault.v1.").size());
}

std::vector<const MethodDescriptor*> MethodsOfTheContract() {
  std::vector<const MethodDescriptor*> methods;
  for (const std::string_view name : ContractServices()) {
    const ServiceDescriptor* service =
        DescriptorPool::generated_pool()->FindServiceByName(std::string(name));
    for (int i = 0; i < service->method_count(); ++i) methods.push_back(service->method(i));
  }
  return methods;
}

// A request of the method that names the pair, and things on it that are not there. Requests about
// the vault stay empty: allowed, they find a missing id and change nothing.
std::string RequestOf(const MethodDescriptor* method, const std::string& project,
                      const std::string& component) {
  google::protobuf::DynamicMessageFactory factory;
  const auto* type = method->input_type();
  const std::unique_ptr<google::protobuf::Message> request(factory.GetPrototype(type)->New());
  const bool on_pair = type->FindFieldByName("project") != nullptr &&
                       type->FindFieldByName("component") != nullptr &&
                       method->service()->name() != "Registry";
  if (on_pair) {
    const std::map<std::string, std::string> values = {
        {"project", project}, {"component", component}, {"id", "absent"},
        {"oauth_id", "absent"}, {"account", "absent"}};
    for (const auto& [name, value] : values) {
      const FieldDescriptor* field = type->FindFieldByName(name);
      if (field != nullptr) request->GetReflection()->SetString(request.get(), field, value);
    }
    const FieldDescriptor* ids = type->FindFieldByName("ids");
    if (ids != nullptr) request->GetReflection()->AddString(request.get(), ids, "absent");
  }
  return request->SerializeAsString();
}

struct Caller {
  std::shared_ptr<grpc::Channel> channel;
  std::string principal;
  std::string project = kProject;  // what it asks for
  std::string component = kComponent;
};

class AccessMatrix : public testing::Test {
 protected:
  AccessMatrix() {
    const std::vector<Right> all = {Right::kStore, Right::kDescribe, Right::kReveal,
                                    Right::kEncrypt, Right::kConnect};
    for (const char* id : {"p2", "only-store", "only-describe", "only-reveal", "only-encrypt",
                           "only-connect"}) {
      vault_.AddProject(id);
    }
    vault_.AddComponent("acme.ex-other");
    callers_.push_back({vault_.Unix(), "local/admin"});
    AddCaller("admin/anna");
    AddCaller("auditor/olga");
    vault_.Grant("runner/all", "*", "*", all);
    AddCaller("runner/all");
    AddCaller("runner/none");
    const auto component = [&](const std::string& project, const std::string& id,
                               const std::vector<Right>& rights) -> Caller& {
      const std::string path = "project/" + project + "/component/" + id;
      vault_.Grant(path, project, id, rights);
      AddCaller(path);
      callers_.back().project = project;
      callers_.back().component = id;
      return callers_.back();
    };
    component(kProject, kComponent, all);
    component("p2", kComponent, all).project = kProject;
    component(kProject, "acme.ex-other", all).component = kComponent;
    component("only-store", kComponent, {Right::kStore});
    component("only-describe", kComponent, {Right::kDescribe});
    component("only-reveal", kComponent, {Right::kReveal});
    component("only-encrypt", kComponent, {Right::kEncrypt});
    component("only-connect", kComponent, {Right::kConnect});
    const ClientIdentity revoked = vault_.Issue("admin/revoked");
    callers_.push_back({vault_.Tcp(revoked), "-"});
    EXPECT_TRUE(callers_.back().channel->WaitForConnected(std::chrono::system_clock::now() +
                                                          kPatience));
    EXPECT_TRUE(vault_.Identities().Revoke(revoked.serial, fakes::SetupAct(), 1));
    // The handshake is made while the certificate is good; the daemon's clock goes on then.
    const ClientIdentity expired = vault_.Issue("admin/expired", registry::kMinIdentityTtlS);
    callers_.push_back({vault_.Tcp(expired), "-"});
    EXPECT_TRUE(callers_.back().channel->WaitForConnected(std::chrono::system_clock::now() +
                                                          kPatience));
    EXPECT_TRUE(Ask(callers_.back().channel).ok());
    vault_.clock_ahead_s = 2 * registry::kMinIdentityTtlS;
  }

  void AddCaller(const std::string& path) {
    callers_.push_back({vault_.Tcp(vault_.Issue(path)),
                        "spiffe://" + std::string(kTrustDomain) + "/" + path});
    EXPECT_TRUE(callers_.back().channel->WaitForConnected(std::chrono::system_clock::now() +
                                                          kPatience));
  }

  Vault vault_;
  std::vector<Caller> callers_;
};

TEST_F(AccessMatrix, EveryMethodByEveryCaller_EndsAsTheTableSays) {
  ASSERT_EQ(callers_.size(), kCallers.size());
  std::map<std::string_view, std::string_view> rows;
  for (const Row& row : kMatrix) {
    ASSERT_EQ(row.outcomes.size(), 2 * kCallers.size() - 1) << row.method;
    ASSERT_TRUE(rows.emplace(row.method, row.outcomes).second) << row.method << " stands twice";
  }
  for (const MethodDescriptor* method : MethodsOfTheContract()) {
    const std::string act(ActOf(method));
    const auto row = rows.find(act);
    if (row == rows.end()) {
      ADD_FAILURE() << act << " is in the contract and not in the table";
      continue;
    }
    for (std::size_t i = 0; i < callers_.size(); ++i) {
      SCOPED_TRACE(act + " by the " + std::string(kCallers[i]));
      const Caller& caller = callers_[i];
      const std::uint64_t reads = vault_.Engine().ReadCount();
      const std::uint64_t lines = vault_.Trail().LastSequence();
      const std::string path = "/" + method->service()->full_name() + "/" + method->name();
      const std::string request = RequestOf(method, caller.project, caller.component);
      const RawAnswer answer = method->server_streaming()
                                   ? BeginRaw(caller.channel, path, request)
                                   : CallRaw(caller.channel, path, request);
      const char expected = row->second[2 * i];
      if (expected == 'Y') {
        EXPECT_NE(answer.status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
        EXPECT_NE(answer.status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
        EXPECT_NE(answer.status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
        EXPECT_NE(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE)
            << answer.status.error_message();
        continue;
      }
      EXPECT_EQ(answer.status.error_code(), expected == 'n'
                                                ? grpc::StatusCode::PERMISSION_DENIED
                                                : grpc::StatusCode::UNAUTHENTICATED)
          << answer.status.error_message();
      EXPECT_EQ(answer.code, expected == 'n' ? "DENIED" : "UNAUTHENTICATED");
      EXPECT_EQ(answer.bytes, "");
      EXPECT_EQ(vault_.Engine().ReadCount(), reads) << "a denial reads no row";
      const std::vector<std::string> left = vault_.LinesAfter(lines);
      ASSERT_EQ(left.size(), 1u) << "a denial leaves one line";
      EXPECT_NE(left[0].find("\"outcome\":\"denied\""), std::string::npos) << left[0];
      EXPECT_NE(left[0].find("\"act\":\"" + act + "\""), std::string::npos) << left[0];
      EXPECT_NE(left[0].find("\"principal\":\"" + caller.principal + "\""), std::string::npos)
          << left[0];
    }
    rows.erase(row);
  }
  for (const auto& [method, outcomes] : rows) {
    ADD_FAILURE() << method << " is in the table and not in the contract";
  }
}

TEST(ProjectAudit, AGrantOfAuditOnAProject_GivesItsExtractAndNothingElse) {
  Vault vault;
  vault.AddProject("p2");
  vault.Grant("runner/tenant", kProject, "*", {Right::kAudit});
  const auto channel = vault.Tcp(vault.Issue("runner/tenant"));
  const auto extract_of = [&](const std::string& project) {
    v1::ExtractAuditRequest request;
    request.set_project(project);
    return CallRaw(channel, "/oauthvault.v1.Audit/Extract", request.SerializeAsString());
  };
  ASSERT_TRUE(vault.Trail().CloseSegment());
  const RawAnswer own = extract_of(kProject);
  ASSERT_TRUE(own.status.ok()) << own.status.error_message();
  v1::ExtractAuditResponse extract;
  ASSERT_TRUE(extract.ParseFromString(own.bytes));
  EXPECT_GE(extract.records_size(), 2);
  for (const std::string& other : {std::string("p2"), std::string()}) {
    EXPECT_EQ(extract_of(other).status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << other;
  }
  for (const char* method : {"Show", "Verify", "Find", "Checkpoint"}) {
    const RawAnswer answer = CallRaw(channel, std::string("/oauthvault.v1.Audit/") + method, "");
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << method;
  }
}

TEST(AccessRules, ContractServices_AreAllThatTheProtoFilesDefine) {
  std::set<std::string> defined;
  const std::filesystem::path folder =
      std::filesystem::path(OAUTHVAULT_SOURCE_DIR) / "proto/oauthvault/v1";
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const auto* descriptor = DescriptorPool::generated_pool()->FindFileByName(
        "oauthvault/v1/" + file.path().filename().string());
    ASSERT_NE(descriptor, nullptr) << file.path();
    for (int i = 0; i < descriptor->service_count(); ++i) {
      defined.insert(descriptor->service(i)->full_name());
    }
  }
  const auto served = ContractServices();
  EXPECT_EQ(std::set<std::string>(served.begin(), served.end()), defined);
}

// What a call may be beyond the defaults of 32 KiB and 60 s.
TEST(AccessRules, TheBoundsOfACall_AreThoseOfItsMethod) {
  struct Bounds {
    std::size_t request_bytes;
    std::int64_t deadline_s;
    bool needs_deadline = true;
  };
  const std::map<std::string_view, Bounds> kBeyond = {
      {"Credentials.Store", {96 * 1024, 60}},
      {"Credentials.Inject", {256 * 1024, 60}},
      {"Credentials.Watch", {32 * 1024, 60, false}},
      {"Attempts.Watch", {32 * 1024, 60, false}},
      {"Operations.Unseal", {32 * 1024, 1800}},
      {"Operations.Backup", {32 * 1024, 1800}},
      {"Operations.Check", {32 * 1024, 1800}},
      {"Operations.ShredProject", {32 * 1024, 1800}},
  };
  const auto rules = AccessRules::FromContract(ContractServices());
  ASSERT_TRUE(rules);
  for (const Row& row : kMatrix) {
    const auto found = kBeyond.find(row.method);
    const Bounds expected = found == kBeyond.end() ? Bounds{32 * 1024, 60} : found->second;
    const Rule& rule = rules->Of(row.method);
    EXPECT_EQ(rule.max_request_bytes, expected.request_bytes) << row.method;
    EXPECT_EQ(rule.max_deadline.count(), expected.deadline_s) << row.method;
    EXPECT_EQ(rule.needs_deadline, expected.needs_deadline) << row.method;
    EXPECT_LE(rule.max_request_bytes, static_cast<std::size_t>(kMaxRequestSize)) << row.method;
    EXPECT_LE(rule.max_deadline, kMaxConnectionGrace) << row.method;
  }
}

TEST(AccessRules, AMethodWithoutARule_KeepsTheDaemonFromStarting) {
  constexpr std::array<std::string_view, 1> kServices = {"oauthvault.unruled.Unruled"};
  const auto rules = AccessRules::FromContract(kServices);
  ASSERT_FALSE(rules);
  EXPECT_EQ(rules.error().GetCode(), Code::kInvalid);
  EXPECT_EQ(rules.error().GetSubject(), "oauthvault.unruled.Unruled.Open");
}

TEST(AccessRules, AServiceThatIsNotInTheContract_KeepsTheDaemonFromStarting) {
  constexpr std::array<std::string_view, 1> kServices = {"grpc.health.v1.Health"};
  const auto rules = AccessRules::FromContract(kServices);
  ASSERT_FALSE(rules);
  EXPECT_EQ(rules.error().GetCode(), Code::kInvalid);
}

TEST(AccessRules, AskingForAnUnknownMethod_EndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto rules = AccessRules::FromContract(ContractServices());
  ASSERT_TRUE(rules);
  EXPECT_EQ(rules->Size(), std::size(kMatrix));
  EXPECT_DEATH(rules->Of("Registry.Everything"), "");
}

TEST(HttpRoutes, HaveTheRuleOfTheMethodThatTheyAreCalledAfter) {
  const auto rules = AccessRules::FromContract(ContractServices());
  ASSERT_TRUE(rules);
  int compared = 0;
  for (const http::Route& route : http::Routes()) {
    if (route.shows == http::Shows::kNothing) continue;
    SCOPED_TRACE(std::string(route.method) + " " + std::string(route.path));
    const Rule& rule = rules->Of(route.act);
    EXPECT_EQ(route.right, rule.right);
    EXPECT_EQ(route.lines.revokes, rule.lines.revokes);
    // Showing credentials has a line here and none there: its sealed copy opens somewhere.
    EXPECT_EQ(route.lines.audited, rule.lines.audited || rule.act == "Credentials.Describe");
    ++compared;
  }
  EXPECT_EQ(compared, 10);
}

}  // namespace
}  // namespace oauthvault::rpc
