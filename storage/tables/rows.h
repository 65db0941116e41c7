#pragma once

#include <array>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "storage/names.h"
#include "storage/tables/fields.h"

/// The rows of the vault, one struct a table. Each says its table number, its names (which make the
/// row key and stand inside, too, so that a moved row is noticed), the owner whose KEK seals it,
/// and the numbered fields of its meta part. What is secret stands in no struct: it goes in and out
/// beside it as SecretBytes (`Secrets`). FORMAT.md lists the numbers.
namespace oauthvault::storage {

/// Table numbers, the first byte of each row key. Never used again for another table.
enum class TableId : std::uint8_t {
  kProjects = 1,
  kComponents = 2,
  kGrants = 3,
  kIdentities = 4,
  kCredentials = 5,
  kAccounts = 6,
  kAttempts = 7,
  kConnections = 8,
  kAuthority = 9,
  kAnchor = 10,
  kSummaries = 11,
  kBackups = 12,
  kRewrappings = 13,
  kTokens = 14,
  kCredentialsVersions = 15,
  kTrustAnchors = 20,
  kRevokedKeys = 21,
};

/// A tenant.
struct Project {
  static constexpr TableId kTable = TableId::kProjects;
  static constexpr Text kNotFound = "no such project";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  ProjectId id;
  std::string title;  ///< for people, at most kMaxTextSize
  std::int64_t created_at_s = 0;
  std::string created_by;          ///< principal
  std::int64_t shredding_at_s = 0;  ///< 0: not being shredded; else its keys may be gone already

  static crypto::RowNames Names(const ProjectId& id) { return {id.Str(), {}, {}}; }
  crypto::RowNames Names() const { return Names(id); }
  void Encode(FieldWriter& fields) const;
  static Result<Project> Decode(const FieldReader& fields);
  bool operator==(const Project&) const = default;
};

/// A registered extension: its OAuth app and its Rivery names. Secret part kAppSecret: the app
/// secret.
struct Component {
  static constexpr TableId kTable = TableId::kComponents;
  static constexpr Text kNotFound = "no such component";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  ComponentId id;
  std::string title;
  std::string oauth_version = "2.0";  ///< 1.0, 2.0, facebook, quickbooks
  std::string app_key;                ///< the OAuth client id
  std::string auth_url;               ///< authorization endpoint
  std::string token_url;              ///< token endpoint
  std::string request_token_url;      ///< OAuth 1.0 only
  std::string rivery_datasource_id;   ///< `gspreadsheet`; empty: not for Rivery
  std::string rivery_connection_type;
  bool rotating = false;  ///< the provider gives a new refresh token with every refresh
  std::int64_t created_at_s = 0;
  std::string created_by;

  static crypto::RowNames Names(const ComponentId& id) { return {{}, id.Str(), {}}; }
  crypto::RowNames Names() const { return Names(id); }
  void Encode(FieldWriter& fields) const;
  static Result<Component> Decode(const FieldReader& fields);
  bool operator==(const Component&) const = default;
};

/// Principal P has rights R on (project, component).
struct Grant {
  static constexpr TableId kTable = TableId::kGrants;
  static constexpr Text kNotFound = "no such grant";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  std::string principal;            ///< canonical text of a principal, at most 512 bytes
  std::string project;              ///< an id, or `*` (runners and automation)
  std::string component;            ///< an id, or `*`
  std::vector<std::string> rights;  ///< store, describe, reveal, encrypt, connect, audit; sorted
  std::int64_t created_at_s = 0;
  std::string created_by;

  static crypto::RowNames Names(const std::string& principal, const std::string& project,
                                const std::string& component) {
    return {project, component, {principal}};
  }
  crypto::RowNames Names() const { return Names(principal, project, component); }
  void Encode(FieldWriter& fields) const;
  static Result<Grant> Decode(const FieldReader& fields);
  bool operator==(const Grant&) const = default;
};

/// A certificate that the built-in CA issued.
struct Identity {
  static constexpr TableId kTable = TableId::kIdentities;
  static constexpr Text kNotFound = "no such identity";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  std::string serial;     ///< lower-case hex, 32 digits
  std::string principal;  ///< the SPIFFE id in it
  std::int64_t issued_at_s = 0;
  std::int64_t expires_at_s = 0;
  std::int64_t revoked_at_s = 0;  ///< 0: not revoked
  std::string issued_by;
  std::string renewed_from;  ///< serial of the certificate that this one follows; empty: none
  std::string key_hash;      ///< SHA-256 of its public key, hex; empty in rows of before

  static crypto::RowNames Names(const std::string& serial) { return {{}, {}, {serial}}; }
  crypto::RowNames Names() const { return Names(serial); }
  void Encode(FieldWriter& fields) const;
  static Result<Identity> Decode(const FieldReader& fields);
  bool operator==(const Identity&) const = default;
};

/// One stored authorization. Secret parts: kData (`#data`), and kAppSecret where these credentials
/// have an app of their own.
struct Credentials {
  static constexpr TableId kTable = TableId::kCredentials;
  static constexpr Text kNotFound = "no such credentials";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kProject;
  ProjectId project;
  ComponentId component;
  OauthId id;
  std::string authorized_for;
  std::string creator_id;           ///< principal, set by the daemon
  std::string creator_description;  ///< free text, at most kMaxTextSize
  std::int64_t created_at_s = 0;
  std::string oauth_version;
  std::string app_key;         ///< their own client id; empty: the component's
  std::string token_endpoint;  ///< granted_through: where the authorization came from
  std::string client_id;       ///< granted_through: for which OAuth client
  std::int64_t obtained_at_s = 0;
  bool foreign_client = false;  ///< authorized for Rivery's OAuth client: cannot be refreshed here
  /// Of `#data` and of its longer texts, 16 bytes each, made when it was stored; none in rows that
  /// were stored before there were any.
  std::vector<std::string> fingerprints = {};

  static crypto::RowNames Names(const ProjectId& project, const ComponentId& component,
                                const OauthId& id) {
    return {project.Str(), component.Str(), {id.Str()}};
  }
  crypto::RowNames Names() const { return Names(project, component, id); }
  void Encode(FieldWriter& fields) const;
  static Result<Credentials> Decode(const FieldReader& fields);
  bool operator==(const Credentials&) const = default;
};

/// A Rivery account. Secret part kData: the API token.
struct Account {
  static constexpr TableId kTable = TableId::kAccounts;
  static constexpr Text kNotFound = "no such account";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  AccountId id;
  std::string base_url;               ///< without a trailing slash
  std::vector<std::string> projects;  ///< who may use it: ids, or one `*`
  std::int64_t updated_at_s = 0;
  std::string updated_by;
  std::int64_t refused_at_s = 0;  ///< since when Rivery does not take its token; 0: it does

  static crypto::RowNames Names(const AccountId& id) { return {{}, {}, {id.Str()}}; }
  crypto::RowNames Names() const { return Names(id); }
  void Encode(FieldWriter& fields) const;
  static Result<Account> Decode(const FieldReader& fields);
  bool operator==(const Account&) const = default;
};

/// One durable run of the Rivery flow, or of a part. The numbers are stored.
enum class AttemptState : std::uint8_t {
  kNew = 1,
  kStarted = 2,
  kStored = 3,
  kCreating = 4,
  kCreated = 5,
  kFailed = 6,
  kUnclear = 7,
};
/// All of them, in the order of their numbers.
inline constexpr std::array kAttemptStates = {
    AttemptState::kNew,     AttemptState::kStarted, AttemptState::kStored, AttemptState::kCreating,
    AttemptState::kCreated, AttemptState::kFailed,  AttemptState::kUnclear};
/// `new`, `started`, ..
std::string_view NameOf(AttemptState state);

/// Secret part kData, while it is started only: pull_id, a line feed, auth_uri.
struct Attempt {
  static constexpr TableId kTable = TableId::kAttempts;
  static constexpr Text kNotFound = "no such attempt";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kProject;
  ProjectId project;
  ComponentId component;
  AttemptId id;
  AccountId account;
  OauthId oauth_id;             ///< under which the credentials are, or will be, stored
  AttemptState state = AttemptState::kNew;
  bool authorize = false;       ///< begins at new, and obtains credentials
  bool connect = false;         ///< ends at created, and makes a connection
  std::string failure;          ///< the reason, when failed: a fixed word (`cancelled`, ..)
  std::string connection_name;  ///< where connect
  std::string authorized_for;
  std::string principal;               ///< who asked; decided again before each use of a secret
  std::int64_t created_at_s = 0;
  std::int64_t updated_at_s = 0;
  std::int64_t expires_at_s = 0;       ///< when the consent link ends
  std::int64_t validity_s = 0;         ///< how long the link was asked for
  std::vector<std::string> known_ids;  ///< connections of this type and name before the create
  std::string connection_id;           ///< Rivery's `_id`, when created
  std::int64_t deadline_s = 0;         ///< when it ends by itself, where no create is out; 0: never
  bool asked = false;                  ///< credentials may be on their way since it was started
  std::string successor;               ///< id of the attempt that goes on instead of a failed one
  std::string predecessor;             ///< id of the failed attempt that it goes on for

  static crypto::RowNames Names(const ProjectId& project, const ComponentId& component,
                                const AttemptId& id) {
    return {project.Str(), component.Str(), {id.Str()}};
  }
  crypto::RowNames Names() const { return Names(project, component, id); }
  void Encode(FieldWriter& fields) const;
  static Result<Attempt> Decode(const FieldReader& fields);
  bool operator==(const Attempt&) const = default;
};

/// Whether an attempt has ended: created; failed; stored where no connection was asked for.
bool IsFinal(const Attempt& attempt);

/// What a stored authorization became in Rivery.
struct Connection {
  static constexpr TableId kTable = TableId::kConnections;
  static constexpr Text kNotFound = "no such connection";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kProject;
  ProjectId project;
  ComponentId component;
  AccountId account;
  std::string connection_id;  ///< Rivery's `_id`, 24 hex digits
  std::string cross_id;
  std::string name;
  std::string connection_type;
  OauthId oauth_id;                    ///< the credentials it holds
  std::uint64_t written_version = 0;   ///< record version of them last written to Rivery
  std::string written_fingerprint;     ///< hex, keyed, of the credentials last written
  std::int64_t created_at_s = 0;
  std::int64_t updated_at_s = 0;
  std::string principal;  ///< who answers for it: made, adopted or updated it; empty: not known
  std::string refusal;    ///< why it is not brought in step: a fixed word; empty: it is
  std::uint64_t refused_version = 0;  ///< record version of the credentials that was refused
  /// When Rivery says that it was last changed, in ms, as seen when it was last looked at; 0: not
  /// looked at since it was last written.
  std::int64_t seen_changed_at_ms = 0;
  std::string properties;  ///< a JSON object of what else each write carries; empty: nothing
  /// The fingerprint of the `#data` last written, as `Credentials` has it; empty in rows of before.
  std::string written_data;

  static crypto::RowNames Names(const ProjectId& project, const ComponentId& component,
                                const AccountId& account, const std::string& connection_id) {
    return {project.Str(), component.Str(), {account.Str(), connection_id}};
  }
  crypto::RowNames Names() const { return Names(project, component, account, connection_id); }
  void Encode(FieldWriter& fields) const;
  static Result<Connection> Decode(const FieldReader& fields);
  bool operator==(const Connection&) const = default;
};

/// The built-in CA. Secret part kData: its private key in PEM.
struct Authority {
  static constexpr TableId kTable = TableId::kAuthority;
  static constexpr Text kNotFound = "the vault has no certificate authority";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  std::string trust_domain;
  std::string certificate_pem;
  std::int64_t created_at_s = 0;

  static crypto::RowNames Names(const std::string& trust_domain) {
    return {{}, {}, {trust_domain}};
  }
  crypto::RowNames Names() const { return Names(trust_domain); }
  void Encode(FieldWriter& fields) const;
  static Result<Authority> Decode(const FieldReader& fields);
  bool operator==(const Authority&) const = default;
};

/// Where a store stands. Every restore raises the epoch, every commit the generation.
struct Position {
  std::uint64_t epoch = 0;
  std::uint64_t generation = 0;
  auto operator<=>(const Position&) const = default;
};

/// What many rows come to: how many, and the exclusive or of their elements
/// (`Keyring::ElementOf`). Order does not matter, and a row is added and taken out at no cost.
struct Tally {
  std::uint64_t rows = 0;
  std::array<std::uint8_t, 32> set_hash{};

  /// Counts a row in, or out again.
  void Add(const std::array<std::uint8_t, 32>& element);
  void TakeOut(const std::array<std::uint8_t, 32>& element);
  bool operator==(const Tally&) const = default;
};

/// The store's one anchor, written with every transaction: where it stands, where it stood before,
/// why it was committed, and what all rows come to (its own and the summaries apart).
struct Anchor {
  static constexpr TableId kTable = TableId::kAnchor;
  static constexpr Text kNotFound = "the store has no anchor";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  Position position;               ///< of the last batch of the transaction
  Position previous;               ///< of the transaction before
  std::vector<std::string> acts;   ///< as EncodeAct writes them, one for each batch
  Tally all;
  std::uint64_t key_changes = 0;   ///< `Keyring::Changes` when it was written

  static crypto::RowNames Names() { return {{}, {}, {"anchor"}}; }
  void Encode(FieldWriter& fields) const;
  static Result<Anchor> Decode(const FieldReader& fields);
  bool operator==(const Anchor&) const = default;
};

/// What the rows of one table and project come to; where a table has no projects, all of its rows.
struct Summary {
  static constexpr TableId kTable = TableId::kSummaries;
  static constexpr Text kNotFound = "no such summary";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  std::string prefix;  ///< the first kSummaryPrefixSize bytes that their row keys share
  Tally rows;

  static crypto::RowNames Names(const std::string& prefix) { return {{}, {}, {prefix}}; }
  crypto::RowNames Names() const { return Names(prefix); }
  void Encode(FieldWriter& fields) const;
  static Result<Summary> Decode(const FieldReader& fields);
  bool operator==(const Summary&) const = default;
};

/// Table and project tag of a row key: what a summary is about.
inline constexpr std::size_t kSummaryPrefixSize = 17;

/// A backup that was made, as far as this vault knows.
struct Backup {
  static constexpr TableId kTable = TableId::kBackups;
  static constexpr Text kNotFound = "no such backup";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  std::string folder;
  std::int64_t at_s = 0;
  Position position;  ///< of the store in it
  std::uint64_t rows = 0;
  std::uint64_t size_bytes = 0;

  static crypto::RowNames Names(const std::string& folder) { return {{}, {}, {folder}}; }
  crypto::RowNames Names() const { return Names(folder); }
  void Encode(FieldWriter& fields) const;
  static Result<Backup> Decode(const FieldReader& fields);
  bool operator==(const Backup&) const = default;
};

/// Rewrapping of an owner's rows that is under way; it goes when the last row is done.
struct Rewrapping {
  static constexpr TableId kTable = TableId::kRewrappings;
  static constexpr Text kNotFound = "nothing of this owner is being rewrapped";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  crypto::Owner owner;
  std::int64_t started_at_s = 0;
  std::string started_by;  ///< principal

  static crypto::RowNames Names(const crypto::Owner& owner) {
    return {{}, {}, {std::to_string(static_cast<int>(owner.kind)), owner.name}};
  }
  crypto::RowNames Names() const { return Names(owner); }
  void Encode(FieldWriter& fields) const;
  static Result<Rewrapping> Decode(const FieldReader& fields);
};

/// An opaque token of the HTTP interface. Its text is kept nowhere, only a keyed hash of it. A row
/// that is there is in force until it expires: revoking removes it.
struct Token {
  static constexpr TableId kTable = TableId::kTokens;
  static constexpr Text kNotFound = "no such token";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  TokenId id;                       ///< the first half of `hash`, in hex
  std::string hash;                 ///< keyed hash of the text, lower-case hex, 64 digits
  std::string title;                ///< for people, at most kMaxTextSize
  std::string project;              ///< an id; empty: a manage token
  std::string component;            ///< an id, or `*`; empty: a manage token
  std::vector<std::string> rights;  ///< rights on the pair but reveal, sorted; or `register` alone
  std::int64_t created_at_s = 0;
  std::string created_by;           ///< principal
  std::int64_t expires_at_s = 0;

  static crypto::RowNames Names(const TokenId& id) { return {{}, {}, {id.Str()}}; }
  crypto::RowNames Names() const { return Names(id); }
  void Encode(FieldWriter& fields) const;
  static Result<Token> Decode(const FieldReader& fields);
  bool operator==(const Token&) const = default;
};

/// What credentials were before the write that gave them version `version` + 1. Secret parts: those
/// of the credentials.
struct CredentialsVersion {
  static constexpr TableId kTable = TableId::kCredentialsVersions;
  static constexpr Text kNotFound = "this version of the credentials is not kept";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kProject;
  std::uint64_t version = 0;  ///< the record version that the credentials had
  Credentials credentials;

  static crypto::RowNames Names(const ProjectId& project, const ComponentId& component,
                                const OauthId& id, std::uint64_t version) {
    return {project.Str(), component.Str(), {id.Str(), std::to_string(version)}};
  }
  crypto::RowNames Names() const {
    return Names(credentials.project, credentials.component, credentials.id, version);
  }
  void Encode(FieldWriter& fields) const;
  static Result<CredentialsVersion> Decode(const FieldReader& fields);
  bool operator==(const CredentialsVersion&) const = default;
};

/// A CA outside of the vault that may vouch for callers of one trust domain.
struct TrustAnchor {
  static constexpr TableId kTable = TableId::kTrustAnchors;
  static constexpr Text kNotFound = "no such trust anchor";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  std::string id;            ///< SHA-256 of the certificate, 64 lower-case hex digits
  std::string trust_domain;  ///< not the vault's own
  std::vector<std::string> kinds;  ///< component, runner; sorted
  std::string certificate_pem;
  std::int64_t expires_at_s = 0;  ///< the certificate's end
  std::int64_t created_at_s = 0;
  std::string created_by;

  static crypto::RowNames Names(const std::string& id) { return {{}, {}, {id}}; }
  crypto::RowNames Names() const { return Names(id); }
  void Encode(FieldWriter& fields) const;
  static Result<TrustAnchor> Decode(const FieldReader& fields);
  bool operator==(const TrustAnchor&) const = default;
};

/// A public key that no certificate is believed for any more, whoever signed it.
struct RevokedKey {
  static constexpr TableId kTable = TableId::kRevokedKeys;
  static constexpr Text kNotFound = "no such revoked key";
  static constexpr crypto::OwnerKind kOwner = crypto::OwnerKind::kVault;
  std::string key_hash;  ///< SHA-256 of the SubjectPublicKeyInfo, 64 lower-case hex digits
  std::int64_t revoked_at_s = 0;
  std::string revoked_by;  ///< principal

  static crypto::RowNames Names(const std::string& key_hash) { return {{}, {}, {key_hash}}; }
  crypto::RowNames Names() const { return Names(key_hash); }
  void Encode(FieldWriter& fields) const;
  static Result<RevokedKey> Decode(const FieldReader& fields);
  bool operator==(const RevokedKey&) const = default;
};

/// Free text of a row has at most this many bytes of UTF-8.
inline constexpr std::size_t kMaxTextSize = 1024;

/// What a table needs of its row type.
template <class R>
concept Row = requires(const R& row, FieldWriter& writer, const FieldReader& reader) {
  { R::kTable } -> std::convertible_to<TableId>;
  { row.Names() } -> std::same_as<crypto::RowNames>;
  { R::kOwner } -> std::convertible_to<crypto::OwnerKind>;
  { R::kNotFound } -> std::convertible_to<Text>;
  row.Encode(writer);
  { R::Decode(reader) } -> std::same_as<Result<R>>;
};

/// Calls `use.template operator()<R>()` for the row type of every table, in order of their numbers.
template <class F>
void ForEachRowType(F&& use) {
  [&]<class... R>(std::type_identity<std::tuple<R...>>) {
    (use.template operator()<R>(), ...);
  }(std::type_identity<
      std::tuple<Project, Component, Grant, Identity, Credentials, Account, Attempt, Connection,
                 Authority, Anchor, Summary, Backup, Rewrapping, Token, CredentialsVersion,
                 TrustAnchor, RevokedKey>>());
}

}  // namespace oauthvault::storage
