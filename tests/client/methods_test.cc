#include "client/methods.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <set>

#include "oauthvault/v1/accounts.pb.h"
#include "oauthvault/v1/attempts.pb.h"
#include "oauthvault/v1/audit.pb.h"
#include "oauthvault/v1/connections.pb.h"
#include "oauthvault/v1/credentials.pb.h"
#include "oauthvault/v1/operations.pb.h"
#include "oauthvault/v1/registry.pb.h"
#include "oauthvault/v1/tokens.pb.h"
#include "oauthvault/v1/trust.pb.h"

namespace oauthvault::client {
namespace {

/// Compares the table's entry for a request with the contract, and notes the method as seen.
template <class Request>
void Check(std::set<std::string>& seen) {
  const std::string path = kMethod<Request>.path;
  std::string name = path.substr(1);
  name[name.find('/')] = '.';
  const auto* method = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
  ASSERT_NE(method, nullptr) << path;
  EXPECT_EQ(method->input_type(), Request::descriptor()) << path;
  EXPECT_EQ(method->output_type(), decltype(kMethod<Request>)::Response::descriptor()) << path;
  seen.insert(method->full_name());
}

template <class... Requests>
std::set<std::string> CheckAll() {
  std::set<std::string> seen;
  (Check<Requests>(seen), ...);
  return seen;
}

TEST(Methods, Table_AgreesWithTheContractAndLeavesNothingOut) {
  std::set<std::string> seen = CheckAll<
      v1::SetAccountRequest, v1::GetAccountRequest, v1::ListAccountsRequest, v1::ListTypesRequest,
      v1::AuthorizeRequest, v1::ConnectRequest, v1::GetAttemptRequest, v1::GetLinkRequest,
      v1::ListAttemptsRequest, v1::CancelAttemptRequest, v1::ResumeAttemptRequest,
      v1::ShowAuditRequest,
      v1::VerifyAuditRequest, v1::FindAuditRequest, v1::CheckpointRequest, v1::ExtractAuditRequest,
      v1::GetConnectionRequest, v1::ListConnectionsRequest,
      v1::UpdateConnectionRequest, v1::VerifyConnectionsRequest, v1::AdoptConnectionRequest,
      v1::DeleteConnectionRequest, v1::CheckAccountRequest, v1::StoreRequest,
      v1::DescribeRequest, v1::ListRequest, v1::DeleteRequest, v1::EncryptRequest,
      v1::ListVersionsRequest, v1::RollBackRequest, v1::PruneRequest,
      v1::StatusRequest, v1::AddProjectRequest, v1::GetProjectRequest,
      v1::ListProjectsRequest, v1::RemoveProjectRequest, v1::SetComponentRequest,
      v1::GetComponentRequest, v1::ListComponentsRequest, v1::RemoveComponentRequest,
      v1::AddGrantRequest, v1::ListGrantsRequest, v1::RemoveGrantRequest,
      v1::IssueIdentityRequest, v1::ListIdentitiesRequest, v1::RevokeIdentityRequest,
      v1::RenewIdentityRequest, v1::ExplainRequest, v1::AddTrustRequest, v1::ListTrustRequest,
      v1::RemoveTrustRequest, v1::RevokeKeyRequest, v1::ListRevokedKeysRequest,
      v1::UnsealRequest, v1::SealRequest, v1::ListSlotsRequest, v1::RemoveSlotRequest,
      v1::RotateKeysRequest, v1::RewrapRequest, v1::KeysStatusRequest, v1::BackupRequest,
      v1::ListBackupsRequest, v1::CheckRequest, v1::ShredProjectRequest, v1::ListTokensRequest,
      v1::RevokeTokenRequest>();
  // These have functions of their own.
  seen.insert({"oauthvault.v1.Operations.AddSlot", "oauthvault.v1.Operations.ReissueSlot",
               "oauthvault.v1.Credentials.Reveal", "oauthvault.v1.Credentials.RevealMany",
               "oauthvault.v1.Credentials.Watch", "oauthvault.v1.Credentials.Inject",
               "oauthvault.v1.Attempts.Watch", "oauthvault.v1.Tokens.Issue"});
  std::set<std::string> contract;
  for (const auto* file :
       {v1::Account::descriptor()->file(), v1::Attempt::descriptor()->file(),
        v1::AuditLine::descriptor()->file(), v1::Connection::descriptor()->file(),
        v1::Creator::descriptor()->file(), v1::StatusRequest::descriptor()->file(),
        v1::Project::descriptor()->file(), v1::Token::descriptor()->file(),
        v1::TrustAnchor::descriptor()->file()}) {
    for (int service = 0; service < file->service_count(); ++service) {
      for (int method = 0; method < file->service(service)->method_count(); ++method) {
        contract.insert(file->service(service)->method(method)->full_name());
      }
    }
  }
  EXPECT_EQ(seen, contract);
}

TEST(Methods, Writes_AreNeverRepeated) {
  EXPECT_EQ(kMethod<v1::StoreRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::RollBackRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::PruneRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::IssueIdentityRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::RenewIdentityRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::AddTrustRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::ConnectRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::UnsealRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::BackupRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::ShredProjectRequest>.repeat, Repeat::kNever);
  EXPECT_EQ(kMethod<v1::GetProjectRequest>.repeat, Repeat::kWhenTheConnectionBreaks);
}

}  // namespace
}  // namespace oauthvault::client
