#include "storage/tables/rows.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "crypto/fields.h"

namespace oauthvault::storage {
namespace {

// Field numbers, one enumeration a table. They are stored: a number is never given to another
// meaning. FORMAT.md lists them.
enum class ProjectField : std::uint8_t {
  kId = 1,
  kTitle = 2,
  kCreatedAt = 3,
  kCreatedBy = 4,
  kShreddingAt = 5,
};

enum class ComponentField : std::uint8_t {
  kId = 1,
  kTitle = 2,
  kOauthVersion = 3,
  kAppKey = 4,
  kAuthUrl = 5,
  kTokenUrl = 6,
  kRequestTokenUrl = 7,
  kRiveryDatasourceId = 8,
  kRiveryConnectionType = 9,
  kRotating = 10,
  kCreatedAt = 11,
  kCreatedBy = 12,
};

enum class GrantField : std::uint8_t {
  kPrincipal = 1,
  kProject = 2,
  kComponent = 3,
  kRights = 4,
  kCreatedAt = 5,
  kCreatedBy = 6,
};

enum class IdentityField : std::uint8_t {
  kSerial = 1,
  kPrincipal = 2,
  kIssuedAt = 3,
  kExpiresAt = 4,
  kRevokedAt = 5,
  kIssuedBy = 6,
  kRenewedFrom = 7,
  kKeyHash = 8,
};

enum class CredentialsField : std::uint8_t {
  kProject = 1,
  kComponent = 2,
  kId = 3,
  kAuthorizedFor = 4,
  kCreatorId = 5,
  kCreatorDescription = 6,
  kCreatedAt = 7,
  kOauthVersion = 8,
  kAppKey = 9,
  kTokenEndpoint = 10,
  kClientId = 11,
  kObtainedAt = 12,
  kForeignClient = 13,
  kFingerprints = 20,
};

enum class AccountField : std::uint8_t {
  kId = 1,
  kBaseUrl = 2,
  kProjects = 3,
  kUpdatedAt = 4,
  kUpdatedBy = 5,
  kRefusedAt = 6,
};

enum class AttemptField : std::uint8_t {
  kProject = 1,
  kComponent = 2,
  kId = 3,
  kAccount = 4,
  kOauthId = 5,
  kState = 6,
  kAuthorize = 7,
  kConnect = 8,
  kFailure = 9,
  kConnectionName = 10,
  kAuthorizedFor = 11,
  kPrincipal = 12,
  kCreatedAt = 13,
  kUpdatedAt = 14,
  kExpiresAt = 15,
  kValidity = 16,
  kKnownIds = 17,
  kConnectionId = 18,
  kDeadline = 19,
  kAsked = 20,
  kSuccessor = 21,
  kPredecessor = 22,
};

enum class ConnectionField : std::uint8_t {
  kProject = 1,
  kComponent = 2,
  kAccount = 3,
  kConnectionId = 4,
  kCrossId = 5,
  kName = 6,
  kConnectionType = 7,
  kOauthId = 8,
  kWrittenVersion = 9,
  kWrittenFingerprint = 10,
  kCreatedAt = 11,
  kUpdatedAt = 12,
  kPrincipal = 13,
  kRefusal = 14,
  kRefusedVersion = 15,
  kSeenChangedAt = 16,
  kProperties = 17,
  kWrittenData = 18,
};

enum class AuthorityField : std::uint8_t { kTrustDomain = 1, kCertificate = 2, kCreatedAt = 3 };

enum class AnchorField : std::uint8_t {
  kEpoch = 1,
  kGeneration = 2,
  kPreviousEpoch = 3,
  kPreviousGeneration = 4,
  kActs = 5,
  kRows = 6,
  kSetHash = 7,
  kKeyChanges = 8,
};

enum class SummaryField : std::uint8_t { kPrefix = 1, kRows = 2, kSetHash = 3 };

enum class BackupField : std::uint8_t {
  kFolder = 1,
  kAt = 2,
  kEpoch = 3,
  kGeneration = 4,
  kRows = 5,
  kSize = 6,
};

enum class RewrappingField : std::uint8_t {
  kOwnerKind = 1,
  kOwnerName = 2,
  kStartedAt = 3,
  kStartedBy = 4,
};

enum class TokenField : std::uint8_t {
  kId = 1,
  kHash = 2,
  kTitle = 3,
  kProject = 4,
  kComponent = 5,
  kRights = 6,
  kCreatedAt = 7,
  kCreatedBy = 8,
  kExpiresAt = 9,
};
enum class CredentialsVersionField : std::uint8_t { kVersion = 1, kCredentials = 2 };
enum class TrustAnchorField : std::uint8_t {
  kId = 1,
  kTrustDomain = 2,
  kKinds = 3,
  kCertificate = 4,
  kExpiresAt = 5,
  kCreatedAt = 6,
  kCreatedBy = 7,
};
enum class RevokedKeyField : std::uint8_t { kKeyHash = 1, kRevokedAt = 2, kRevokedBy = 3 };

template <class Field>
constexpr std::uint8_t Number(Field field) {
  return static_cast<std::uint8_t>(field);
}

// Text that must be an id. What is stored was checked once, so another text is damage, not input.
template <class T, class Field>
Result<T> IdIn(const FieldReader& fields, Field field) {
  Result<T> id = T::Parse(fields.Text(Number(field)));
  if (!id) {
    return Fail(Code::kCorrupt, "a row's text is no id where one must stand",
                Subject::Number(Number(field)));
  }
  return id;
}

bool IsIdOrAny(std::string_view text) { return text == "*" || IsValidId(text); }

template <class Field>
void PutTally(FieldWriter& fields, Field rows, Field set_hash, const Tally& tally) {
  fields.Put(Number(rows), tally.rows);
  fields.Put(Number(set_hash), crypto::AsField(tally.set_hash));
}

template <class Field>
Result<Tally> TallyIn(const FieldReader& fields, Field rows, Field set_hash) {
  const std::string hash = fields.Text(Number(set_hash));
  Tally tally{.rows = fields.Number(Number(rows))};
  if (hash.size() != tally.set_hash.size()) {
    return Fail(Code::kCorrupt, "a row's set hash has a wrong size");
  }
  std::copy(hash.begin(), hash.end(), tally.set_hash.begin());
  return tally;
}

}  // namespace

static_assert(kAttemptStates.size() == static_cast<std::size_t>(AttemptState::kUnclear));

std::string_view NameOf(AttemptState state) {
  switch (state) {
    case AttemptState::kNew: return "new";
    case AttemptState::kStarted: return "started";
    case AttemptState::kStored: return "stored";
    case AttemptState::kCreating: return "creating";
    case AttemptState::kCreated: return "created";
    case AttemptState::kFailed: return "failed";
    case AttemptState::kUnclear: return "unclear";
  }
  __builtin_unreachable();
}

void Project::Encode(FieldWriter& fields) const {
  using enum ProjectField;
  fields.Put(Number(kId), id.Str());
  fields.Put(Number(kTitle), title);
  fields.Put(Number(kCreatedAt), created_at_s);
  fields.Put(Number(kCreatedBy), created_by);
  fields.Put(Number(kShreddingAt), shredding_at_s);
}

Result<Project> Project::Decode(const FieldReader& fields) {
  using enum ProjectField;
  Result<ProjectId> id = IdIn<ProjectId>(fields, kId);
  if (!id) return Fail(std::move(id));
  return Project{
      .id = std::move(*id),
      .title = fields.Text(Number(kTitle)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
      .created_by = fields.Text(Number(kCreatedBy)),
      .shredding_at_s = fields.Signed(Number(kShreddingAt)),
  };
}

void Component::Encode(FieldWriter& fields) const {
  using enum ComponentField;
  fields.Put(Number(kId), id.Str());
  fields.Put(Number(kTitle), title);
  fields.Put(Number(kOauthVersion), oauth_version);
  fields.Put(Number(kAppKey), app_key);
  fields.Put(Number(kAuthUrl), auth_url);
  fields.Put(Number(kTokenUrl), token_url);
  fields.Put(Number(kRequestTokenUrl), request_token_url);
  fields.Put(Number(kRiveryDatasourceId), rivery_datasource_id);
  fields.Put(Number(kRiveryConnectionType), rivery_connection_type);
  fields.Put(Number(kRotating), rotating);
  fields.Put(Number(kCreatedAt), created_at_s);
  fields.Put(Number(kCreatedBy), created_by);
}

Result<Component> Component::Decode(const FieldReader& fields) {
  using enum ComponentField;
  Result<ComponentId> id = IdIn<ComponentId>(fields, kId);
  if (!id) return Fail(std::move(id));
  return Component{
      .id = std::move(*id),
      .title = fields.Text(Number(kTitle)),
      .oauth_version = fields.Text(Number(kOauthVersion)),
      .app_key = fields.Text(Number(kAppKey)),
      .auth_url = fields.Text(Number(kAuthUrl)),
      .token_url = fields.Text(Number(kTokenUrl)),
      .request_token_url = fields.Text(Number(kRequestTokenUrl)),
      .rivery_datasource_id = fields.Text(Number(kRiveryDatasourceId)),
      .rivery_connection_type = fields.Text(Number(kRiveryConnectionType)),
      .rotating = fields.Flag(Number(kRotating)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
      .created_by = fields.Text(Number(kCreatedBy)),
  };
}

void Grant::Encode(FieldWriter& fields) const {
  using enum GrantField;
  fields.Put(Number(kPrincipal), principal);
  fields.Put(Number(kProject), project);
  fields.Put(Number(kComponent), component);
  fields.Put(Number(kRights), std::span<const std::string>(rights));
  fields.Put(Number(kCreatedAt), created_at_s);
  fields.Put(Number(kCreatedBy), created_by);
}

Result<Grant> Grant::Decode(const FieldReader& fields) {
  using enum GrantField;
  Grant grant{
      .principal = fields.Text(Number(kPrincipal)),
      .project = fields.Text(Number(kProject)),
      .component = fields.Text(Number(kComponent)),
      .rights = fields.Texts(Number(kRights)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
      .created_by = fields.Text(Number(kCreatedBy)),
  };
  if (!IsIdOrAny(grant.project) || !IsIdOrAny(grant.component)) {
    return Fail(Code::kCorrupt, "a grant's project or component is neither an id nor *");
  }
  return grant;
}

void Identity::Encode(FieldWriter& fields) const {
  using enum IdentityField;
  fields.Put(Number(kSerial), serial);
  fields.Put(Number(kPrincipal), principal);
  fields.Put(Number(kIssuedAt), issued_at_s);
  fields.Put(Number(kExpiresAt), expires_at_s);
  fields.Put(Number(kRevokedAt), revoked_at_s);
  fields.Put(Number(kIssuedBy), issued_by);
  fields.Put(Number(kRenewedFrom), renewed_from);
  fields.Put(Number(kKeyHash), key_hash);
}

Result<Identity> Identity::Decode(const FieldReader& fields) {
  using enum IdentityField;
  return Identity{
      .serial = fields.Text(Number(kSerial)),
      .principal = fields.Text(Number(kPrincipal)),
      .issued_at_s = fields.Signed(Number(kIssuedAt)),
      .expires_at_s = fields.Signed(Number(kExpiresAt)),
      .revoked_at_s = fields.Signed(Number(kRevokedAt)),
      .issued_by = fields.Text(Number(kIssuedBy)),
      .renewed_from = fields.Text(Number(kRenewedFrom)),
      .key_hash = fields.Text(Number(kKeyHash)),
  };
}

void Credentials::Encode(FieldWriter& fields) const {
  using enum CredentialsField;
  fields.Put(Number(kProject), project.Str());
  fields.Put(Number(kComponent), component.Str());
  fields.Put(Number(kId), id.Str());
  fields.Put(Number(kAuthorizedFor), authorized_for);
  fields.Put(Number(kCreatorId), creator_id);
  fields.Put(Number(kCreatorDescription), creator_description);
  fields.Put(Number(kCreatedAt), created_at_s);
  fields.Put(Number(kOauthVersion), oauth_version);
  fields.Put(Number(kAppKey), app_key);
  fields.Put(Number(kTokenEndpoint), token_endpoint);
  fields.Put(Number(kClientId), client_id);
  fields.Put(Number(kObtainedAt), obtained_at_s);
  fields.Put(Number(kForeignClient), foreign_client);
  fields.Put(Number(kFingerprints), std::span<const std::string>(fingerprints));
}

Result<Credentials> Credentials::Decode(const FieldReader& fields) {
  using enum CredentialsField;
  Result<ProjectId> project = IdIn<ProjectId>(fields, kProject);
  if (!project) return Fail(std::move(project));
  Result<ComponentId> component = IdIn<ComponentId>(fields, kComponent);
  if (!component) return Fail(std::move(component));
  Result<OauthId> id = IdIn<OauthId>(fields, kId);
  if (!id) return Fail(std::move(id));
  return Credentials{
      .project = std::move(*project),
      .component = std::move(*component),
      .id = std::move(*id),
      .authorized_for = fields.Text(Number(kAuthorizedFor)),
      .creator_id = fields.Text(Number(kCreatorId)),
      .creator_description = fields.Text(Number(kCreatorDescription)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
      .oauth_version = fields.Text(Number(kOauthVersion)),
      .app_key = fields.Text(Number(kAppKey)),
      .token_endpoint = fields.Text(Number(kTokenEndpoint)),
      .client_id = fields.Text(Number(kClientId)),
      .obtained_at_s = fields.Signed(Number(kObtainedAt)),
      .foreign_client = fields.Flag(Number(kForeignClient)),
      .fingerprints = fields.Texts(Number(kFingerprints)),
  };
}

void Account::Encode(FieldWriter& fields) const {
  using enum AccountField;
  fields.Put(Number(kId), id.Str());
  fields.Put(Number(kBaseUrl), base_url);
  fields.Put(Number(kProjects), std::span<const std::string>(projects));
  fields.Put(Number(kUpdatedAt), updated_at_s);
  fields.Put(Number(kUpdatedBy), updated_by);
  fields.Put(Number(kRefusedAt), refused_at_s);
}

Result<Account> Account::Decode(const FieldReader& fields) {
  using enum AccountField;
  Result<AccountId> id = IdIn<AccountId>(fields, kId);
  if (!id) return Fail(std::move(id));
  Account account{
      .id = std::move(*id),
      .base_url = fields.Text(Number(kBaseUrl)),
      .projects = fields.Texts(Number(kProjects)),
      .updated_at_s = fields.Signed(Number(kUpdatedAt)),
      .updated_by = fields.Text(Number(kUpdatedBy)),
      .refused_at_s = fields.Signed(Number(kRefusedAt)),
  };
  if (!std::all_of(account.projects.begin(), account.projects.end(), IsIdOrAny)) {
    return Fail(Code::kCorrupt, "a project of an account is neither an id nor *");
  }
  return account;
}

void Attempt::Encode(FieldWriter& fields) const {
  using enum AttemptField;
  fields.Put(Number(kProject), project.Str());
  fields.Put(Number(kComponent), component.Str());
  fields.Put(Number(kId), id.Str());
  fields.Put(Number(kAccount), account.Str());
  fields.Put(Number(kOauthId), oauth_id.Str());
  fields.Put(Number(kState), static_cast<std::uint64_t>(state));
  fields.Put(Number(kAuthorize), authorize);
  fields.Put(Number(kConnect), connect);
  fields.Put(Number(kFailure), failure);
  fields.Put(Number(kConnectionName), connection_name);
  fields.Put(Number(kAuthorizedFor), authorized_for);
  fields.Put(Number(kPrincipal), principal);
  fields.Put(Number(kCreatedAt), created_at_s);
  fields.Put(Number(kUpdatedAt), updated_at_s);
  fields.Put(Number(kExpiresAt), expires_at_s);
  fields.Put(Number(kValidity), validity_s);
  fields.Put(Number(kKnownIds), std::span<const std::string>(known_ids));
  fields.Put(Number(kConnectionId), connection_id);
  fields.Put(Number(kDeadline), deadline_s);
  fields.Put(Number(kAsked), asked);
  fields.Put(Number(kSuccessor), successor);
  fields.Put(Number(kPredecessor), predecessor);
}

Result<Attempt> Attempt::Decode(const FieldReader& fields) {
  using enum AttemptField;
  Result<ProjectId> project = IdIn<ProjectId>(fields, kProject);
  if (!project) return Fail(std::move(project));
  Result<ComponentId> component = IdIn<ComponentId>(fields, kComponent);
  if (!component) return Fail(std::move(component));
  Result<AttemptId> id = IdIn<AttemptId>(fields, kId);
  if (!id) return Fail(std::move(id));
  Result<AccountId> account = IdIn<AccountId>(fields, kAccount);
  if (!account) return Fail(std::move(account));
  Result<OauthId> oauth_id = IdIn<OauthId>(fields, kOauthId);
  if (!oauth_id) return Fail(std::move(oauth_id));
  const std::uint64_t state = fields.Number(Number(kState));
  if (state < static_cast<std::uint64_t>(AttemptState::kNew) ||
      state > static_cast<std::uint64_t>(AttemptState::kUnclear)) {
    return Fail(Code::kCorrupt, "an attempt's state is unknown");
  }
  return Attempt{
      .project = std::move(*project),
      .component = std::move(*component),
      .id = std::move(*id),
      .account = std::move(*account),
      .oauth_id = std::move(*oauth_id),
      .state = static_cast<AttemptState>(state),
      .authorize = fields.Flag(Number(kAuthorize)),
      .connect = fields.Flag(Number(kConnect)),
      .failure = fields.Text(Number(kFailure)),
      .connection_name = fields.Text(Number(kConnectionName)),
      .authorized_for = fields.Text(Number(kAuthorizedFor)),
      .principal = fields.Text(Number(kPrincipal)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
      .updated_at_s = fields.Signed(Number(kUpdatedAt)),
      .expires_at_s = fields.Signed(Number(kExpiresAt)),
      .validity_s = fields.Signed(Number(kValidity)),
      .known_ids = fields.Texts(Number(kKnownIds)),
      .connection_id = fields.Text(Number(kConnectionId)),
      .deadline_s = fields.Signed(Number(kDeadline)),
      .asked = fields.Flag(Number(kAsked)),
      .successor = fields.Text(Number(kSuccessor)),
      .predecessor = fields.Text(Number(kPredecessor)),
  };
}

bool IsFinal(const Attempt& attempt) {
  switch (attempt.state) {
    case AttemptState::kCreated:
    case AttemptState::kFailed: return true;
    case AttemptState::kStored: return !attempt.connect;
    case AttemptState::kNew:
    case AttemptState::kStarted:
    case AttemptState::kCreating:
    case AttemptState::kUnclear: return false;
  }
  __builtin_unreachable();
}

void Connection::Encode(FieldWriter& fields) const {
  using enum ConnectionField;
  fields.Put(Number(kProject), project.Str());
  fields.Put(Number(kComponent), component.Str());
  fields.Put(Number(kAccount), account.Str());
  fields.Put(Number(kConnectionId), connection_id);
  fields.Put(Number(kCrossId), cross_id);
  fields.Put(Number(kName), name);
  fields.Put(Number(kConnectionType), connection_type);
  fields.Put(Number(kOauthId), oauth_id.Str());
  fields.Put(Number(kWrittenVersion), written_version);
  fields.Put(Number(kWrittenFingerprint), written_fingerprint);
  fields.Put(Number(kCreatedAt), created_at_s);
  fields.Put(Number(kUpdatedAt), updated_at_s);
  fields.Put(Number(kPrincipal), principal);
  fields.Put(Number(kRefusal), refusal);
  fields.Put(Number(kRefusedVersion), refused_version);
  fields.Put(Number(kSeenChangedAt), seen_changed_at_ms);
  fields.Put(Number(kProperties), properties);
  fields.Put(Number(kWrittenData), written_data);
}

Result<Connection> Connection::Decode(const FieldReader& fields) {
  using enum ConnectionField;
  Result<ProjectId> project = IdIn<ProjectId>(fields, kProject);
  if (!project) return Fail(std::move(project));
  Result<ComponentId> component = IdIn<ComponentId>(fields, kComponent);
  if (!component) return Fail(std::move(component));
  Result<AccountId> account = IdIn<AccountId>(fields, kAccount);
  if (!account) return Fail(std::move(account));
  Result<OauthId> oauth_id = IdIn<OauthId>(fields, kOauthId);
  if (!oauth_id) return Fail(std::move(oauth_id));
  return Connection{
      .project = std::move(*project),
      .component = std::move(*component),
      .account = std::move(*account),
      .connection_id = fields.Text(Number(kConnectionId)),
      .cross_id = fields.Text(Number(kCrossId)),
      .name = fields.Text(Number(kName)),
      .connection_type = fields.Text(Number(kConnectionType)),
      .oauth_id = std::move(*oauth_id),
      .written_version = fields.Number(Number(kWrittenVersion)),
      .written_fingerprint = fields.Text(Number(kWrittenFingerprint)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
      .updated_at_s = fields.Signed(Number(kUpdatedAt)),
      .principal = fields.Text(Number(kPrincipal)),
      .refusal = fields.Text(Number(kRefusal)),
      .refused_version = fields.Number(Number(kRefusedVersion)),
      .seen_changed_at_ms = fields.Signed(Number(kSeenChangedAt)),
      .properties = fields.Text(Number(kProperties)),
      .written_data = fields.Text(Number(kWrittenData)),
  };
}

void Authority::Encode(FieldWriter& fields) const {
  using enum AuthorityField;
  fields.Put(Number(kTrustDomain), trust_domain);
  fields.Put(Number(kCertificate), certificate_pem);
  fields.Put(Number(kCreatedAt), created_at_s);
}

Result<Authority> Authority::Decode(const FieldReader& fields) {
  using enum AuthorityField;
  return Authority{
      .trust_domain = fields.Text(Number(kTrustDomain)),
      .certificate_pem = fields.Text(Number(kCertificate)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
  };
}

void Tally::Add(const std::array<std::uint8_t, 32>& element) {
  ++rows;
  for (std::size_t i = 0; i < element.size(); ++i) set_hash[i] ^= element[i];
}

void Tally::TakeOut(const std::array<std::uint8_t, 32>& element) {
  Add(element);
  rows -= 2;
}

void Anchor::Encode(FieldWriter& fields) const {
  using enum AnchorField;
  fields.Put(Number(kEpoch), position.epoch);
  fields.Put(Number(kGeneration), position.generation);
  fields.Put(Number(kPreviousEpoch), previous.epoch);
  fields.Put(Number(kPreviousGeneration), previous.generation);
  fields.Put(Number(kActs), std::span<const std::string>(acts));
  PutTally(fields, kRows, kSetHash, all);
  fields.Put(Number(kKeyChanges), key_changes);
}

Result<Anchor> Anchor::Decode(const FieldReader& fields) {
  using enum AnchorField;
  Result<Tally> all = TallyIn(fields, kRows, kSetHash);
  if (!all) return Fail(std::move(all));
  return Anchor{
      .position = {fields.Number(Number(kEpoch)), fields.Number(Number(kGeneration))},
      .previous = {fields.Number(Number(kPreviousEpoch)),
                   fields.Number(Number(kPreviousGeneration))},
      .acts = fields.Texts(Number(kActs)),
      .all = *all,
      .key_changes = fields.Number(Number(kKeyChanges)),
  };
}

void Summary::Encode(FieldWriter& fields) const {
  using enum SummaryField;
  fields.Put(Number(kPrefix), prefix);
  PutTally(fields, kRows, kSetHash, rows);
}

Result<Summary> Summary::Decode(const FieldReader& fields) {
  using enum SummaryField;
  Result<Tally> rows = TallyIn(fields, kRows, kSetHash);
  if (!rows) return Fail(std::move(rows));
  Summary summary{.prefix = fields.Text(Number(kPrefix)), .rows = *rows};
  if (summary.prefix.size() != kSummaryPrefixSize) {
    return Fail(Code::kCorrupt, "a summary's prefix has a wrong size");
  }
  return summary;
}

void Backup::Encode(FieldWriter& fields) const {
  using enum BackupField;
  fields.Put(Number(kFolder), folder);
  fields.Put(Number(kAt), at_s);
  fields.Put(Number(kEpoch), position.epoch);
  fields.Put(Number(kGeneration), position.generation);
  fields.Put(Number(kRows), rows);
  fields.Put(Number(kSize), size_bytes);
}

Result<Backup> Backup::Decode(const FieldReader& fields) {
  using enum BackupField;
  return Backup{
      .folder = fields.Text(Number(kFolder)),
      .at_s = fields.Signed(Number(kAt)),
      .position = {fields.Number(Number(kEpoch)), fields.Number(Number(kGeneration))},
      .rows = fields.Number(Number(kRows)),
      .size_bytes = fields.Number(Number(kSize)),
  };
}

void Rewrapping::Encode(FieldWriter& fields) const {
  using enum RewrappingField;
  fields.Put(Number(kOwnerKind), static_cast<std::uint64_t>(owner.kind));
  fields.Put(Number(kOwnerName), owner.name);
  fields.Put(Number(kStartedAt), started_at_s);
  fields.Put(Number(kStartedBy), started_by);
}

Result<Rewrapping> Rewrapping::Decode(const FieldReader& fields) {
  using enum RewrappingField;
  const std::uint64_t kind = fields.Number(Number(kOwnerKind));
  if (kind < static_cast<std::uint64_t>(crypto::OwnerKind::kVault) ||
      kind > static_cast<std::uint64_t>(crypto::OwnerKind::kComponent)) {
    return Fail(Code::kCorrupt, "the owner of a rewrapping is of no known kind");
  }
  return Rewrapping{
      .owner = {static_cast<crypto::OwnerKind>(kind), fields.Text(Number(kOwnerName))},
      .started_at_s = fields.Signed(Number(kStartedAt)),
      .started_by = fields.Text(Number(kStartedBy)),
  };
}

void Token::Encode(FieldWriter& fields) const {
  using enum TokenField;
  fields.Put(Number(kId), id.Str());
  fields.Put(Number(kHash), hash);
  fields.Put(Number(kTitle), title);
  fields.Put(Number(kProject), project);
  fields.Put(Number(kComponent), component);
  fields.Put(Number(kRights), rights);
  fields.Put(Number(kCreatedAt), created_at_s);
  fields.Put(Number(kCreatedBy), created_by);
  fields.Put(Number(kExpiresAt), expires_at_s);
}

Result<Token> Token::Decode(const FieldReader& fields) {
  using enum TokenField;
  Result<TokenId> id = IdIn<TokenId>(fields, kId);
  if (!id) return Fail(std::move(id));
  return Token{
      .id = std::move(*id),
      .hash = fields.Text(Number(kHash)),
      .title = fields.Text(Number(kTitle)),
      .project = fields.Text(Number(kProject)),
      .component = fields.Text(Number(kComponent)),
      .rights = fields.Texts(Number(kRights)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
      .created_by = fields.Text(Number(kCreatedBy)),
      .expires_at_s = fields.Signed(Number(kExpiresAt)),
  };
}

void CredentialsVersion::Encode(FieldWriter& fields) const {
  using enum CredentialsVersionField;
  FieldWriter inner;
  credentials.Encode(inner);
  const std::vector<std::uint8_t> bytes = std::move(inner).TakeBytes();
  fields.Put(Number(kVersion), version);
  fields.Put(Number(kCredentials), crypto::AsField(bytes));
}

Result<CredentialsVersion> CredentialsVersion::Decode(const FieldReader& fields) {
  using enum CredentialsVersionField;
  const std::string bytes = fields.Text(Number(kCredentials));
  Result<FieldReader> inner = FieldReader::Parse(crypto::AsBytes(bytes));
  if (!inner) return Fail(std::move(inner));
  Result<Credentials> credentials = Credentials::Decode(*inner);
  if (!credentials) return Fail(std::move(credentials));
  return CredentialsVersion{
      .version = fields.Number(Number(kVersion)),
      .credentials = std::move(*credentials),
  };
}

void TrustAnchor::Encode(FieldWriter& fields) const {
  using enum TrustAnchorField;
  fields.Put(Number(kId), id);
  fields.Put(Number(kTrustDomain), trust_domain);
  fields.Put(Number(kKinds), kinds);
  fields.Put(Number(kCertificate), certificate_pem);
  fields.Put(Number(kExpiresAt), expires_at_s);
  fields.Put(Number(kCreatedAt), created_at_s);
  fields.Put(Number(kCreatedBy), created_by);
}

Result<TrustAnchor> TrustAnchor::Decode(const FieldReader& fields) {
  using enum TrustAnchorField;
  return TrustAnchor{
      .id = fields.Text(Number(kId)),
      .trust_domain = fields.Text(Number(kTrustDomain)),
      .kinds = fields.Texts(Number(kKinds)),
      .certificate_pem = fields.Text(Number(kCertificate)),
      .expires_at_s = fields.Signed(Number(kExpiresAt)),
      .created_at_s = fields.Signed(Number(kCreatedAt)),
      .created_by = fields.Text(Number(kCreatedBy)),
  };
}

void RevokedKey::Encode(FieldWriter& fields) const {
  using enum RevokedKeyField;
  fields.Put(Number(kKeyHash), key_hash);
  fields.Put(Number(kRevokedAt), revoked_at_s);
  fields.Put(Number(kRevokedBy), revoked_by);
}

Result<RevokedKey> RevokedKey::Decode(const FieldReader& fields) {
  using enum RevokedKeyField;
  return RevokedKey{
      .key_hash = fields.Text(Number(kKeyHash)),
      .revoked_at_s = fields.Signed(Number(kRevokedAt)),
      .revoked_by = fields.Text(Number(kRevokedBy)),
  };
}

}  // namespace oauthvault::storage
