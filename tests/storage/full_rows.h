#pragma once

#include <vector>

#include "storage/tables/rows.h"

namespace oauthvault::storage {

/// The tables whose rows a project owns.
inline std::vector<TableId> TablesOfProjects() {
  std::vector<TableId> tables;
  ForEachRowType([&]<Row R>() {
    if (R::kOwner == crypto::OwnerKind::kProject) tables.push_back(R::kTable);
  });
  return tables;
}

// One row of each type with every field set, no two fields alike.

inline ProjectId ProjectNamed(std::string_view text) { return *ProjectId::Parse(text); }
inline ComponentId ComponentNamed(std::string_view text) { return *ComponentId::Parse(text); }
inline OauthId OauthNamed(std::string_view text) { return *OauthId::Parse(text); }
inline AccountId AccountNamed(std::string_view text) { return *AccountId::Parse(text); }
inline AttemptId AttemptNamed(std::string_view text) { return *AttemptId::Parse(text); }

inline Project FullProject() {
  return {.id = ProjectNamed("project-acme"),
          .title = "title of acme",
          .created_at_s = 101,
          .created_by = "local/project-maker",
          .shredding_at_s = 118};
}

inline Component FullComponent() {
  return {.id = ComponentNamed("keboola.ex-acme"),
          .title = "title of component",
          .oauth_version = "quickbooks",
          .app_key = "app-key-of-component",
          .auth_url = "https://auth.example/authorize",
          .token_url = "https://auth.example/token",
          .request_token_url = "https://auth.example/request",
          .rivery_datasource_id = "gspreadsheet",
          .rivery_connection_type = "gspreadsheet-type",
          .rotating = true,
          .created_at_s = 102,
          .created_by = "local/component-maker"};
}

inline Grant FullGrant() {
  return {.principal = "spiffe://vault.example/runner/acme-runner",
          .project = "project-granted",
          .component = "component-granted",
          .rights = {"describe", "reveal"},
          .created_at_s = 103,
          .created_by = "local/grant-maker"};
}

inline Identity FullIdentity() {
  return {.serial = "00112233445566778899aabbccddeeff",
          .principal = "spiffe://vault.example/admin/identity-holder",
          .issued_at_s = 104,
          .expires_at_s = 105,
          .revoked_at_s = 106,
          .issued_by = "local/identity-maker"};
}

inline Credentials FullCredentials() {
  return {.project = ProjectNamed("project-acme"),
          .component = ComponentNamed("keboola.ex-acme"),
          .id = OauthNamed("oauth-main"),
          .authorized_for = "someone@acme.example",
          .creator_id = "spiffe://vault.example/admin/creator",
          .creator_description = "the creator's description",
          .created_at_s = 107,
          .oauth_version = "1.0",
          .app_key = "app-key-of-credentials",
          .token_endpoint = "https://granted.example/token",
          .client_id = "client-id-granted",
          .obtained_at_s = -108,
          .foreign_client = true};
}

inline Account FullAccount() {
  return {.id = AccountNamed("account-acme"),
          .base_url = "https://console.rivery.example",
          .projects = {"project-acme", "project-other"},
          .updated_at_s = 109,
          .updated_by = "local/account-maker"};
}

inline Attempt FullAttempt() {
  return {.project = ProjectNamed("project-acme"),
          .component = ComponentNamed("keboola.ex-acme"),
          .id = AttemptNamed("attempt-one"),
          .account = AccountNamed("account-acme"),
          .oauth_id = OauthNamed("oauth-attempted"),
          .state = AttemptState::kUnclear,
          .authorize = true,
          .connect = true,
          .failure = "cancelled-for-test",
          .connection_name = "connection to make",
          .authorized_for = "attempted@acme.example",
          .principal = "spiffe://vault.example/admin/attempter",
          .created_at_s = 110,
          .updated_at_s = 111,
          .expires_at_s = 112,
          .validity_s = 113,
          .known_ids = {"id-known-one", "id-known-two"},
          .connection_id = "64b000000000000000000001"};
}

inline Connection FullConnection() {
  return {.project = ProjectNamed("project-acme"),
          .component = ComponentNamed("keboola.ex-acme"),
          .account = AccountNamed("account-acme"),
          .connection_id = "64b000000000000000000002",
          .cross_id = "64b000000000000000000003",
          .name = "connection that was made",
          .connection_type = "connection-type-made",
          .oauth_id = OauthNamed("oauth-connected"),
          .written_version = 114,
          .written_fingerprint = "fingerprint-written",
          .created_at_s = 115,
          .updated_at_s = 116};
}

inline Authority FullAuthority() {
  return {.trust_domain = "vault.example",
          .certificate_pem = "-----BEGIN CERTIFICATE-----acme",
          .created_at_s = 117};
}

inline Anchor FullAnchor() {
  Anchor anchor{.position = {2, 119},
                .previous = {1, 117},
                .acts = {"act-of-one-batch", "", "act-of-the-next"},
                .all = {.rows = 120},
                .key_changes = 118};
  anchor.all.set_hash.fill(121);
  return anchor;
}

inline Summary FullSummary() {
  Summary summary{.prefix = std::string(17, 'p'), .rows = {.rows = 122}};
  summary.rows.set_hash.fill(123);
  return summary;
}

inline Backup FullBackup() {
  return {.folder = "/backups/of-acme",
          .at_s = 124,
          .position = {3, 125},
          .rows = 126,
          .size_bytes = 127};
}

inline Rewrapping FullRewrapping() {
  return {.owner = crypto::Owner::Project("project-rewrapped"),
          .started_at_s = 128,
          .started_by = "local/rewrapper"};
}

inline Token FullToken() {
  return {.id = *TokenId::Parse("0123456789abcdef0123456789abcdef"),
          .hash = "hash-of-a-token",
          .title = "token of somebody",
          .project = "project-tokened",
          .component = "keboola.ex-tokened",
          .rights = {"describe", "store"},
          .created_at_s = 129,
          .created_by = "local/issuer",
          .expires_at_s = 130};
}

inline CredentialsVersion FullCredentialsVersion() {
  return {.version = 129, .credentials = FullCredentials()};
}

inline TrustAnchor FullTrustAnchor() {
  return {.id = "ab12",
          .trust_domain = "partner.example",
          .kinds = {"component", "runner"},
          .certificate_pem = "-----BEGIN CERTIFICATE-----partner",
          .expires_at_s = 129,
          .created_at_s = 130,
          .created_by = "local/truster"};
}

inline RevokedKey FullRevokedKey() {
  return {.key_hash = "cd34", .revoked_at_s = 131, .revoked_by = "local/revoker"};
}

}  // namespace oauthvault::storage
