// Encrypt, Inject and the sandbox as a client of the contract sees them.

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

using access::Right;

constexpr std::string_view kDocument = R"({"#a":"canary","b":1.50})";

class SealedValuesTest : public testing::Test {
 protected:
  SealedValuesTest() {
    vault_.Grant("runner/seals", kProject, kComponent, {Right::kEncrypt});
    vault_.Grant("runner/reveals", kProject, kComponent, {Right::kReveal});
    vault_.Grant("runner/describes", kProject, kComponent, {Right::kDescribe});
    seals_ = vault_.Tcp(vault_.Issue("runner/seals"));
    reveals_ = vault_.Tcp(vault_.Issue("runner/reveals"));
    describes_ = vault_.Tcp(vault_.Issue("runner/describes"));
  }

  static v1::EncryptRequest ToSeal(std::string_view document) {
    v1::EncryptRequest request;
    request.set_project(kProject);
    request.set_component(kComponent);
    request.set_document(std::string(document));
    return request;
  }
  static grpc::Status Encrypt(const std::shared_ptr<grpc::Channel>& channel,
                              const v1::EncryptRequest& request, std::string& sealed) {
    v1::EncryptResponse response;
    const auto status =
        v1::Credentials::NewStub(channel)->Encrypt(NewContext().get(), request, &response);
    sealed = response.sealed();
    return status;
  }
  static v1::InjectRequest ToInject(const std::string& configuration) {
    v1::InjectRequest request;
    request.set_project(kProject);
    request.set_component(kComponent);
    request.set_configuration(configuration);
    return request;
  }
  static grpc::Status Inject(const std::shared_ptr<grpc::Channel>& channel,
                             const v1::InjectRequest& request, std::string& injected) {
    v1::InjectResponse response;
    const auto status =
        v1::Credentials::NewStub(channel)->Inject(NewContext().get(), request, &response);
    injected = response.configuration();
    return status;
  }

  Vault vault_;
  std::shared_ptr<grpc::Channel> seals_;
  std::shared_ptr<grpc::Channel> reveals_;
  std::shared_ptr<grpc::Channel> describes_;
};

TEST_F(SealedValuesTest, WhatOneSeals_AnotherWhoMayRevealInjects_AndBothLeaveALine) {
  const std::uint64_t before = vault_.Trail().LastSequence();
  std::string sealed;
  ASSERT_TRUE(Encrypt(seals_, ToSeal(kDocument), sealed).ok());
  EXPECT_EQ(sealed.find("canary"), std::string::npos);
  std::string injected;
  EXPECT_EQ(Inject(seals_, ToInject(sealed), injected).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(injected, "");
  ASSERT_TRUE(Inject(reveals_, ToInject(sealed), injected).ok());
  EXPECT_EQ(injected, R"({"#a":"canary","b":1.50,"authorization":{}})");
  const auto lines = vault_.LinesAfter(before);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_NE(lines[0].find(R"("act":"Credentials.Encrypt")"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find(R"("outcome":"allowed")"), std::string::npos) << lines[0];
  EXPECT_NE(lines[1].find(R"("outcome":"denied")"), std::string::npos) << lines[1];
  EXPECT_NE(lines[2].find(R"("object":"values:1")"), std::string::npos) << lines[2];
  for (const std::string& line : lines) EXPECT_EQ(line.find("canary"), std::string::npos);
}

TEST_F(SealedValuesTest, Encrypt_SealsForTheScopeThatIsAskedForOrMeant) {
  struct Row {
    v1::ValueScope scope;
    std::string configuration;
    std::string branch_type;
    std::string_view prefix;  // empty: refused
  };
  const Row rows[] = {
      {v1::VALUE_SCOPE_UNSPECIFIED, "", "", "ProjectSecure"},
      {v1::VALUE_SCOPE_UNSPECIFIED, "c-1", "", "ConfigSecure"},
      {v1::VALUE_SCOPE_UNSPECIFIED, "", "dev", "BranchTypeSecure"},
      {v1::VALUE_SCOPE_UNSPECIFIED, "c-1", "dev", ""},
      {v1::VALUE_SCOPE_COMPONENT, "", "", "ComponentSecure"},
      {v1::VALUE_SCOPE_PROJECT, "", "", "ProjectSecure"},
      {v1::VALUE_SCOPE_CONFIGURATION, "c-1", "", "ConfigSecure"},
      {v1::VALUE_SCOPE_PROJECT_WIDE, "", "", "ProjectWideSecure"},
      {v1::VALUE_SCOPE_BRANCH_TYPE, "", "default", "BranchTypeSecure"},
      {v1::VALUE_SCOPE_PROJECT, "c-1", "", ""},
      {v1::VALUE_SCOPE_CONFIGURATION, "", "", ""},
      {v1::VALUE_SCOPE_CONFIGURATION, "no id", "", ""},
      {v1::VALUE_SCOPE_BRANCH_TYPE, "", "main", ""},
      {static_cast<v1::ValueScope>(99), "", "", ""},
  };
  for (const Row& row : rows) {
    v1::EncryptRequest request = ToSeal(kDocument);
    request.set_scope(row.scope);
    request.set_configuration_id(row.configuration);
    request.set_branch_type(row.branch_type);
    std::string sealed;
    const grpc::Status status = Encrypt(seals_, request, sealed);
    if (row.prefix.empty()) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << request.DebugString();
      continue;
    }
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_NE(sealed.find("\"KBC::" + std::string(row.prefix) + "::"), std::string::npos) << sealed;
    // It opens where these names are said, and not without them.
    v1::InjectRequest inject = ToInject(sealed);
    std::string injected;
    const bool narrow = !row.configuration.empty() || !row.branch_type.empty();
    EXPECT_EQ(Inject(reveals_, inject, injected).ok(), !narrow);
    inject.set_configuration_id(row.configuration);
    inject.set_branch_type(row.branch_type);
    EXPECT_TRUE(Inject(reveals_, inject, injected).ok());
    EXPECT_NE(injected.find("canary"), std::string::npos);
  }
}

TEST_F(SealedValuesTest, Encrypt_SealsATextAsAWhole) {
  v1::EncryptRequest request = ToSeal("");
  request.set_text("canary");
  std::string sealed;
  ASSERT_TRUE(Encrypt(seals_, request, sealed).ok());
  ASSERT_TRUE(sealed.starts_with("KBC::ProjectSecure::")) << sealed;
  std::string injected;
  ASSERT_TRUE(Inject(reveals_, ToInject("{\"#a\":\"" + sealed + "\"}"), injected).ok());
  EXPECT_EQ(injected, R"({"#a":"canary","authorization":{}})");
}

TEST_F(SealedValuesTest, ASandbox_AsksForDescribeAndShowsNothingInClear) {
  vault_.PutCredentials(kProject, kComponent, "main", "canary");
  v1::InjectRequest request = ToInject(R"({"authorization":{"oauth_api":{"id":"main"}}})");
  std::string injected;
  EXPECT_EQ(Inject(describes_, request, injected).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  request.set_sandbox(true);
  EXPECT_EQ(Inject(seals_, request, injected).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  const std::uint64_t before = vault_.Trail().LastSequence();
  ASSERT_TRUE(Inject(describes_, request, injected).ok());
  EXPECT_EQ(injected.find("canary"), std::string::npos);
  EXPECT_NE(injected.find(R"("#data":"KBC::ProjectSecure::)"), std::string::npos) << injected;
  const auto lines = vault_.LinesAfter(before);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find(R"("right":"describe")"), std::string::npos) << lines[0];
  // The copy is what a later run opens.
  std::string run;
  ASSERT_TRUE(Inject(reveals_, ToInject(injected), run).ok());
  EXPECT_NE(run.find(R"("#data":"canary")"), std::string::npos);
}

}  // namespace
}  // namespace oauthvault::rpc
