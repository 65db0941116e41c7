#pragma once

#include <type_traits>

// The messages are only named here: whoever calls a method includes the .pb.h that it uses.
namespace oauthvault::v1 {
class Account;
class AddGrantRequest;
class AddProjectRequest;
class AddSlotRequest;
class AdoptConnectionRequest;
class AddTrustRequest;
class Attempt;
class AuthorizeRequest;
class BackupInfo;
class BackupRequest;
class CancelAttemptRequest;
class CheckAccountRequest;
class CheckAccountResponse;
class CheckRequest;
class CheckResponse;
class CheckpointRequest;
class CheckpointResponse;
class Component;
class ConnectRequest;
class Connection;
class CredentialsInfo;
class DeleteConnectionRequest;
class DeleteConnectionResponse;
class DeleteRequest;
class DeleteResponse;
class DescribeRequest;
class ExplainRequest;
class ExplainResponse;
class EncryptRequest;
class EncryptResponse;
class ExtractAuditRequest;
class ExtractAuditResponse;
class FindAuditRequest;
class FindAuditResponse;
class GetAccountRequest;
class GetAttemptRequest;
class GetComponentRequest;
class GetConnectionRequest;
class GetLinkRequest;
class GetLinkResponse;
class GetProjectRequest;
class Grant;
class Identity;
class IssueIdentityRequest;
class IssueIdentityResponse;
class KeysStatusRequest;
class KeysStatusResponse;
class ListAccountsRequest;
class ListAccountsResponse;
class ListAttemptsRequest;
class ListAttemptsResponse;
class ListBackupsRequest;
class ListBackupsResponse;
class ListComponentsRequest;
class ListComponentsResponse;
class ListConnectionsRequest;
class ListConnectionsResponse;
class ListGrantsRequest;
class ListGrantsResponse;
class ListIdentitiesRequest;
class ListIdentitiesResponse;
class ListProjectsRequest;
class ListProjectsResponse;
class ListRequest;
class ListResponse;
class ListRevokedKeysRequest;
class ListRevokedKeysResponse;
class ListSlotsRequest;
class ListSlotsResponse;
class ListTrustRequest;
class ListTrustResponse;
class IssueTokenRequest;
class ListTokensRequest;
class ListTokensResponse;
class ListTypesRequest;
class ListTypesResponse;
class ListVersionsRequest;
class ListVersionsResponse;
class Project;
class PruneRequest;
class PruneResponse;
class ReissueSlotRequest;
class RemoveComponentRequest;
class RemoveComponentResponse;
class RemoveGrantRequest;
class RemoveGrantResponse;
class RemoveProjectRequest;
class RemoveProjectResponse;
class RemoveSlotRequest;
class RemoveSlotResponse;
class RemoveTrustRequest;
class RemoveTrustResponse;
class RenewIdentityRequest;
class RevokeIdentityRequest;
class ResumeAttemptRequest;
class RevokeKeyRequest;
class RevokeTokenRequest;
class RevokeTokenResponse;
class RevokedKey;
class RewrapRequest;
class RewrapResponse;
class RollBackRequest;
class RotateKeysRequest;
class RotateKeysResponse;
class SealRequest;
class SealResponse;
class SetAccountRequest;
class SetComponentRequest;
class ShredProjectRequest;
class ShredProjectResponse;
class ShowAuditRequest;
class ShowAuditResponse;
class StatusRequest;
class StatusResponse;
class StoreRequest;
class TrustAnchor;
class UnsealRequest;
class UnsealResponse;
class UpdateConnectionRequest;
class VerifyAuditRequest;
class VerifyAuditResponse;
class VerifyConnectionsRequest;
class VerifyConnectionsResponse;
}  // namespace oauthvault::v1

namespace oauthvault::client {

/// Whether a call may be sent again after the connection broke under it: reads may; a write, whose
/// first copy may have arrived, may not.
enum class Repeat : bool { kNever, kWhenTheConnectionBreaks };

/// Where a call goes: its path on the wire, and whether it may be repeated.
struct Method {
  const char* path;
  Repeat repeat;
};

/// A method that answers with `Reply`.
template <class Reply>
struct MethodTo : Method {
  using Response = Reply;
};

/// The method that takes this request: every method of the contract has a request type of its own,
/// so the request alone says where it goes and what comes back. There is none for `RevealRequest`,
/// `RevealManyRequest`, `InjectRequest`, `AddSlotRequest`, `ReissueSlotRequest` and
/// `IssueTokenRequest` (their answers are secrets and never become a generated message, see
/// `Vault::Reveal`), nor for `WatchAttemptRequest` and `WatchCredentialsRequest` (streams).
template <class Request>
inline constexpr std::false_type kMethod{};

/// A read.
template <class Reply>
constexpr MethodTo<Reply> Read(const char* path) {
  return {{path, Repeat::kWhenTheConnectionBreaks}};
}
/// A write, a call that reaches Rivery, or one that is too heavy to be made twice unasked.
template <class Reply>
constexpr MethodTo<Reply> Write(const char* path) {
  return {{path, Repeat::kNever}};
}

/// Accounts.Set
template <>
inline constexpr auto kMethod<v1::SetAccountRequest> =
    Write<v1::Account>("/oauthvault.v1.Accounts/Set");
/// Accounts.Get
template <>
inline constexpr auto kMethod<v1::GetAccountRequest> =
    Read<v1::Account>("/oauthvault.v1.Accounts/Get");
/// Accounts.List
template <>
inline constexpr auto kMethod<v1::ListAccountsRequest> =
    Read<v1::ListAccountsResponse>("/oauthvault.v1.Accounts/List");
/// Accounts.ListTypes
template <>
inline constexpr auto kMethod<v1::ListTypesRequest> =
    Write<v1::ListTypesResponse>("/oauthvault.v1.Accounts/ListTypes");
/// Accounts.Check
template <>
inline constexpr auto kMethod<v1::CheckAccountRequest> =
    Write<v1::CheckAccountResponse>("/oauthvault.v1.Accounts/Check");
/// Attempts.Authorize
template <>
inline constexpr auto kMethod<v1::AuthorizeRequest> =
    Write<v1::Attempt>("/oauthvault.v1.Attempts/Authorize");
/// Attempts.Connect
template <>
inline constexpr auto kMethod<v1::ConnectRequest> =
    Write<v1::Attempt>("/oauthvault.v1.Attempts/Connect");
/// Attempts.Get
template <>
inline constexpr auto kMethod<v1::GetAttemptRequest> =
    Read<v1::Attempt>("/oauthvault.v1.Attempts/Get");
/// Attempts.GetLink
template <>
inline constexpr auto kMethod<v1::GetLinkRequest> =
    Write<v1::GetLinkResponse>("/oauthvault.v1.Attempts/GetLink");
/// Attempts.List
template <>
inline constexpr auto kMethod<v1::ListAttemptsRequest> =
    Read<v1::ListAttemptsResponse>("/oauthvault.v1.Attempts/List");
/// Attempts.Cancel
template <>
inline constexpr auto kMethod<v1::CancelAttemptRequest> =
    Write<v1::Attempt>("/oauthvault.v1.Attempts/Cancel");
/// Attempts.Resume
template <>
inline constexpr auto kMethod<v1::ResumeAttemptRequest> =
    Write<v1::Attempt>("/oauthvault.v1.Attempts/Resume");
/// Audit.Show
template <>
inline constexpr auto kMethod<v1::ShowAuditRequest> =
    Read<v1::ShowAuditResponse>("/oauthvault.v1.Audit/Show");
/// Audit.Find
template <>
inline constexpr auto kMethod<v1::FindAuditRequest> =
    Read<v1::FindAuditResponse>("/oauthvault.v1.Audit/Find");
/// Audit.Checkpoint
template <>
inline constexpr auto kMethod<v1::CheckpointRequest> =
    Write<v1::CheckpointResponse>("/oauthvault.v1.Audit/Checkpoint");
/// Audit.Extract
template <>
inline constexpr auto kMethod<v1::ExtractAuditRequest> =
    Read<v1::ExtractAuditResponse>("/oauthvault.v1.Audit/Extract");
/// Audit.Verify
template <>
inline constexpr auto kMethod<v1::VerifyAuditRequest> =
    Read<v1::VerifyAuditResponse>("/oauthvault.v1.Audit/Verify");
/// Connections.Get
template <>
inline constexpr auto kMethod<v1::GetConnectionRequest> =
    Read<v1::Connection>("/oauthvault.v1.Connections/Get");
/// Connections.List
template <>
inline constexpr auto kMethod<v1::ListConnectionsRequest> =
    Read<v1::ListConnectionsResponse>("/oauthvault.v1.Connections/List");
/// Connections.Update
template <>
inline constexpr auto kMethod<v1::UpdateConnectionRequest> =
    Write<v1::Connection>("/oauthvault.v1.Connections/Update");
/// Connections.Verify
template <>
inline constexpr auto kMethod<v1::VerifyConnectionsRequest> =
    Write<v1::VerifyConnectionsResponse>("/oauthvault.v1.Connections/Verify");
/// Connections.Adopt
template <>
inline constexpr auto kMethod<v1::AdoptConnectionRequest> =
    Write<v1::Connection>("/oauthvault.v1.Connections/Adopt");
/// Connections.Delete
template <>
inline constexpr auto kMethod<v1::DeleteConnectionRequest> =
    Write<v1::DeleteConnectionResponse>("/oauthvault.v1.Connections/Delete");
/// Credentials.Store
template <>
inline constexpr auto kMethod<v1::StoreRequest> =
    Write<v1::CredentialsInfo>("/oauthvault.v1.Credentials/Store");
/// Credentials.Describe
template <>
inline constexpr auto kMethod<v1::DescribeRequest> =
    Read<v1::CredentialsInfo>("/oauthvault.v1.Credentials/Describe");
/// Credentials.Encrypt; sealing again does no harm.
template <>
inline constexpr auto kMethod<v1::EncryptRequest> =
    Read<v1::EncryptResponse>("/oauthvault.v1.Credentials/Encrypt");
/// Credentials.List
template <>
inline constexpr auto kMethod<v1::ListRequest> =
    Read<v1::ListResponse>("/oauthvault.v1.Credentials/List");
/// Credentials.Delete
template <>
inline constexpr auto kMethod<v1::DeleteRequest> =
    Write<v1::DeleteResponse>("/oauthvault.v1.Credentials/Delete");
/// Credentials.ListVersions
template <>
inline constexpr auto kMethod<v1::ListVersionsRequest> =
    Read<v1::ListVersionsResponse>("/oauthvault.v1.Credentials/ListVersions");
/// Credentials.RollBack
template <>
inline constexpr auto kMethod<v1::RollBackRequest> =
    Write<v1::CredentialsInfo>("/oauthvault.v1.Credentials/RollBack");
/// Credentials.Prune
template <>
inline constexpr auto kMethod<v1::PruneRequest> =
    Write<v1::PruneResponse>("/oauthvault.v1.Credentials/Prune");
/// Operations.Status
template <>
inline constexpr auto kMethod<v1::StatusRequest> =
    Read<v1::StatusResponse>("/oauthvault.v1.Operations/Status");
/// Operations.Unseal
template <>
inline constexpr auto kMethod<v1::UnsealRequest> =
    Write<v1::UnsealResponse>("/oauthvault.v1.Operations/Unseal");
/// Operations.Seal
template <>
inline constexpr auto kMethod<v1::SealRequest> =
    Write<v1::SealResponse>("/oauthvault.v1.Operations/Seal");
/// Operations.ListSlots
template <>
inline constexpr auto kMethod<v1::ListSlotsRequest> =
    Read<v1::ListSlotsResponse>("/oauthvault.v1.Operations/ListSlots");
/// Operations.RemoveSlot
template <>
inline constexpr auto kMethod<v1::RemoveSlotRequest> =
    Write<v1::RemoveSlotResponse>("/oauthvault.v1.Operations/RemoveSlot");
/// Operations.RotateKeys
template <>
inline constexpr auto kMethod<v1::RotateKeysRequest> =
    Write<v1::RotateKeysResponse>("/oauthvault.v1.Operations/RotateKeys");
/// Operations.Rewrap
template <>
inline constexpr auto kMethod<v1::RewrapRequest> =
    Write<v1::RewrapResponse>("/oauthvault.v1.Operations/Rewrap");
/// Operations.KeysStatus
template <>
inline constexpr auto kMethod<v1::KeysStatusRequest> =
    Read<v1::KeysStatusResponse>("/oauthvault.v1.Operations/KeysStatus");
/// Operations.Backup
template <>
inline constexpr auto kMethod<v1::BackupRequest> =
    Write<v1::BackupInfo>("/oauthvault.v1.Operations/Backup");
/// Operations.ListBackups
template <>
inline constexpr auto kMethod<v1::ListBackupsRequest> =
    Read<v1::ListBackupsResponse>("/oauthvault.v1.Operations/ListBackups");
/// Operations.Check
template <>
inline constexpr auto kMethod<v1::CheckRequest> =
    Write<v1::CheckResponse>("/oauthvault.v1.Operations/Check");
/// Operations.ShredProject
template <>
inline constexpr auto kMethod<v1::ShredProjectRequest> =
    Write<v1::ShredProjectResponse>("/oauthvault.v1.Operations/ShredProject");
/// Registry.AddProject
template <>
inline constexpr auto kMethod<v1::AddProjectRequest> =
    Write<v1::Project>("/oauthvault.v1.Registry/AddProject");
/// Registry.GetProject
template <>
inline constexpr auto kMethod<v1::GetProjectRequest> =
    Read<v1::Project>("/oauthvault.v1.Registry/GetProject");
/// Registry.ListProjects
template <>
inline constexpr auto kMethod<v1::ListProjectsRequest> =
    Read<v1::ListProjectsResponse>("/oauthvault.v1.Registry/ListProjects");
/// Registry.RemoveProject
template <>
inline constexpr auto kMethod<v1::RemoveProjectRequest> =
    Write<v1::RemoveProjectResponse>("/oauthvault.v1.Registry/RemoveProject");
/// Registry.SetComponent
template <>
inline constexpr auto kMethod<v1::SetComponentRequest> =
    Write<v1::Component>("/oauthvault.v1.Registry/SetComponent");
/// Registry.GetComponent
template <>
inline constexpr auto kMethod<v1::GetComponentRequest> =
    Read<v1::Component>("/oauthvault.v1.Registry/GetComponent");
/// Registry.ListComponents
template <>
inline constexpr auto kMethod<v1::ListComponentsRequest> =
    Read<v1::ListComponentsResponse>("/oauthvault.v1.Registry/ListComponents");
/// Registry.RemoveComponent
template <>
inline constexpr auto kMethod<v1::RemoveComponentRequest> =
    Write<v1::RemoveComponentResponse>("/oauthvault.v1.Registry/RemoveComponent");
/// Registry.AddGrant
template <>
inline constexpr auto kMethod<v1::AddGrantRequest> =
    Write<v1::Grant>("/oauthvault.v1.Registry/AddGrant");
/// Registry.ListGrants
template <>
inline constexpr auto kMethod<v1::ListGrantsRequest> =
    Read<v1::ListGrantsResponse>("/oauthvault.v1.Registry/ListGrants");
/// Registry.RemoveGrant
template <>
inline constexpr auto kMethod<v1::RemoveGrantRequest> =
    Write<v1::RemoveGrantResponse>("/oauthvault.v1.Registry/RemoveGrant");
/// Registry.IssueIdentity
template <>
inline constexpr auto kMethod<v1::IssueIdentityRequest> =
    Write<v1::IssueIdentityResponse>("/oauthvault.v1.Registry/IssueIdentity");
/// Registry.ListIdentities
template <>
inline constexpr auto kMethod<v1::ListIdentitiesRequest> =
    Read<v1::ListIdentitiesResponse>("/oauthvault.v1.Registry/ListIdentities");
/// Registry.RevokeIdentity
template <>
inline constexpr auto kMethod<v1::RevokeIdentityRequest> =
    Write<v1::Identity>("/oauthvault.v1.Registry/RevokeIdentity");
/// Tokens.List
template <>
inline constexpr auto kMethod<v1::ListTokensRequest> =
    Read<v1::ListTokensResponse>("/oauthvault.v1.Tokens/List");
/// Tokens.Revoke
template <>
inline constexpr auto kMethod<v1::RevokeTokenRequest> =
    Write<v1::RevokeTokenResponse>("/oauthvault.v1.Tokens/Revoke");

/// Registry.RenewIdentity
template <>
inline constexpr auto kMethod<v1::RenewIdentityRequest> =
    Write<v1::IssueIdentityResponse>("/oauthvault.v1.Registry/RenewIdentity");
/// Registry.Explain
template <>
inline constexpr auto kMethod<v1::ExplainRequest> =
    Read<v1::ExplainResponse>("/oauthvault.v1.Registry/Explain");
/// Trust.Add
template <>
inline constexpr auto kMethod<v1::AddTrustRequest> =
    Write<v1::TrustAnchor>("/oauthvault.v1.Trust/Add");
/// Trust.List
template <>
inline constexpr auto kMethod<v1::ListTrustRequest> =
    Read<v1::ListTrustResponse>("/oauthvault.v1.Trust/List");
/// Trust.Remove
template <>
inline constexpr auto kMethod<v1::RemoveTrustRequest> =
    Write<v1::RemoveTrustResponse>("/oauthvault.v1.Trust/Remove");
/// Trust.RevokeKey
template <>
inline constexpr auto kMethod<v1::RevokeKeyRequest> =
    Write<v1::RevokedKey>("/oauthvault.v1.Trust/RevokeKey");
/// Trust.ListRevokedKeys
template <>
inline constexpr auto kMethod<v1::ListRevokedKeysRequest> =
    Read<v1::ListRevokedKeysResponse>("/oauthvault.v1.Trust/ListRevokedKeys");

}  // namespace oauthvault::client
