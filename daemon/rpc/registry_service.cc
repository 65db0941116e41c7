#include "daemon/rpc/registry_service.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/access/explain.h"
#include "daemon/registry/components.h"
#include "daemon/registry/projects.h"

namespace oauthvault::rpc {
namespace {

void Write(const storage::Project& row, v1::Project& message) {
  message.set_id(row.id.Str());
  message.set_title(row.title);
  message.set_created_at_s(row.created_at_s);
  message.set_created_by(row.created_by);
}

void Write(const storage::Stored<storage::Component>& stored, v1::Component& message) {
  const storage::Component& row = stored.row;
  message.set_id(row.id.Str());
  message.set_title(row.title);
  message.set_oauth_version(row.oauth_version);
  message.set_app_key(row.app_key);
  message.set_has_app_secret(stored.sealed.Has(crypto::Part::kAppSecret));
  message.set_auth_url(row.auth_url);
  message.set_token_url(row.token_url);
  message.set_request_token_url(row.request_token_url);
  message.set_rivery_datasource_id(row.rivery_datasource_id);
  message.set_rivery_connection_type(row.rivery_connection_type);
  message.set_rotating(row.rotating);
  message.set_created_at_s(row.created_at_s);
  message.set_created_by(row.created_by);
}

void Write(const storage::Grant& row, v1::Grant& message) {
  message.set_principal(row.principal);
  message.set_project(row.project);
  message.set_component(row.component);
  for (const std::string& right : row.rights) message.add_rights(right);
  message.set_created_at_s(row.created_at_s);
  message.set_created_by(row.created_by);
}

v1::IdentityState WordOf(registry::IdentityState state) {
  switch (state) {
    case registry::IdentityState::kValid: return v1::IDENTITY_STATE_VALID;
    case registry::IdentityState::kExpired: return v1::IDENTITY_STATE_EXPIRED;
    case registry::IdentityState::kRevoked: return v1::IDENTITY_STATE_REVOKED;
  }
  return v1::IDENTITY_STATE_UNSPECIFIED;
}

void Write(const storage::Identity& row, std::int64_t now_s, v1::Identity& message) {
  message.set_serial(row.serial);
  message.set_principal(row.principal);
  message.set_issued_at_s(row.issued_at_s);
  message.set_expires_at_s(row.expires_at_s);
  message.set_revoked_at_s(row.revoked_at_s);
  message.set_issued_by(row.issued_by);
  message.set_state(WordOf(registry::StateOf(row, now_s)));
  message.set_renewed_from(row.renewed_from);
}

std::string_view WordOf(access::AllowedBy allowed_by) {
  switch (allowed_by) {
    case access::AllowedBy::kNothing: return "nothing";
    case access::AllowedBy::kKind: return "kind";
    case access::AllowedBy::kGrant: return "grant";
  }
  __builtin_unreachable();
}

void Write(const access::Explanation& explained, v1::ExplainResponse& message) {
  message.set_allowed(explained.obstacles.empty());
  message.set_allowed_by(std::string(WordOf(explained.allowed_by)));
  message.set_grant_project(explained.grant.project);
  message.set_grant_component(explained.grant.component);
  for (const access::Obstacle obstacle : explained.obstacles) {
    const access::ObstacleWords words = access::WordsOf(obstacle);
    v1::Obstacle& told = *message.add_obstacles();
    told.set_word(std::string(words.word));
    told.set_what(std::string(words.what));
    told.set_change(std::string(words.change));
  }
}

/// A principal of any trust domain, also of one that nobody vouches for any more: to take what it
/// was granted away, and to ask about it.
Result<access::Principal> AnyPrincipal(const std::string& text) {
  return access::Principal::Parse(text, access::TrustDomainIn(text));
}

Result<registry::IfRegistered> IfRegisteredOf(const v1::SetComponentRequest& asked) {
  if (asked.must_be_new() && asked.must_exist()) {
    return Fail(Code::kInvalid, "a component cannot have to be new and have to exist");
  }
  if (asked.must_be_new()) return registry::IfRegistered::kRefuse;
  if (asked.must_exist()) return registry::IfRegistered::kExpect;
  return registry::IfRegistered::kChange;
}

registry::ComponentFields FieldsOf(const v1::SetComponentRequest& request) {
  registry::ComponentFields fields;
  if (request.has_title()) fields.title = request.title();
  if (request.has_oauth_version()) fields.oauth_version = request.oauth_version();
  if (request.has_app_key()) fields.app_key = request.app_key();
  if (request.has_app_secret()) {
    fields.app_secret = crypto::AppSecret(crypto::SecretBytes::CopyOf(request.app_secret()));
  }
  if (request.has_auth_url()) fields.auth_url = request.auth_url();
  if (request.has_token_url()) fields.token_url = request.token_url();
  if (request.has_request_token_url()) fields.request_token_url = request.request_token_url();
  if (request.has_rivery_datasource_id()) {
    fields.rivery_datasource_id = request.rivery_datasource_id();
  }
  if (request.has_rivery_connection_type()) {
    fields.rivery_connection_type = request.rivery_connection_type();
  }
  if (request.has_rotating()) fields.rotating = request.rotating();
  return fields;
}

}  // namespace

void RegistryService::AddTo(Methods& methods) {
  methods.Add("Registry.AddProject", *this, &RegistryService::AddProject);
  methods.Add("Registry.GetProject", *this, &RegistryService::GetProject);
  methods.Add("Registry.ListProjects", *this, &RegistryService::ListProjects);
  methods.Add("Registry.RemoveProject", *this, &RegistryService::RemoveProject);
  methods.Add("Registry.SetComponent", *this, &RegistryService::SetComponent);
  methods.Add("Registry.GetComponent", *this, &RegistryService::GetComponent);
  methods.Add("Registry.ListComponents", *this, &RegistryService::ListComponents);
  methods.Add("Registry.RemoveComponent", *this, &RegistryService::RemoveComponent);
  methods.Add("Registry.AddGrant", *this, &RegistryService::AddGrant);
  methods.Add("Registry.ListGrants", *this, &RegistryService::ListGrants);
  methods.Add("Registry.RemoveGrant", *this, &RegistryService::RemoveGrant);
  methods.Add("Registry.IssueIdentity", *this, &RegistryService::IssueIdentity);
  methods.Add("Registry.RenewIdentity", *this, &RegistryService::RenewIdentity);
  methods.Add("Registry.ListIdentities", *this, &RegistryService::ListIdentities);
  methods.Add("Registry.RevokeIdentity", *this, &RegistryService::RevokeIdentity);
  methods.Add("Registry.Explain", *this, &RegistryService::Explain);
}

void RegistryService::AddProject(Call& call) {
  edge_.Serve<v1::AddProjectRequest, v1::Project>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = ProjectId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        admitted.entry.project = id->Str();
        auto project = registry::AddProject(keyring_, store_, *id, asked.title(),
                                            admitted.ForCommit(), edge_.NowS());
        if (!project) return Fail(std::move(project));
        Write(project->row, answer);
        return {};
      });
}

void RegistryService::GetProject(Call& call) {
  edge_.Serve<v1::GetProjectRequest, v1::Project>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto id = ProjectId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        auto project =
            store_.Get<storage::Project>(storage::Project::Names(*id));
        if (!project) return Fail(std::move(project));
        Write(project->row, answer);
        return {};
      });
}

void RegistryService::ListProjects(Call& call) {
  edge_.Serve<v1::ListProjectsRequest, v1::ListProjectsResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto page = store_.List<storage::Project>("", "", asked.page_token(),
                                                  asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) {
          Write(stored.row, *answer.add_projects());
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void RegistryService::RemoveProject(Call& call) {
  edge_.Serve<v1::RemoveProjectRequest, v1::RemoveProjectResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
        auto id = ProjectId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        admitted.entry.project = id->Str();
        return registry::RemoveProject(store_, *id, admitted.ForCommit());
      });
}

void RegistryService::SetComponent(Call& call) {
  edge_.Serve<v1::SetComponentRequest, v1::Component>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = ComponentId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        admitted.entry.component = id->Str();
        auto if_registered = IfRegisteredOf(asked);
        if (!if_registered) return Fail(std::move(if_registered));
        auto component = registry::SetComponent(store_, *id, FieldsOf(asked), *if_registered,
                                                admitted.ForCommit(), edge_.NowS());
        if (!component) return Fail(std::move(component));
        Write(*component, answer);
        return {};
      });
}

void RegistryService::GetComponent(Call& call) {
  edge_.Serve<v1::GetComponentRequest, v1::Component>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto id = ComponentId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        auto component =
            store_.Get<storage::Component>(storage::Component::Names(*id));
        if (!component) return Fail(std::move(component));
        Write(*component, answer);
        return {};
      });
}

void RegistryService::ListComponents(Call& call) {
  edge_.Serve<v1::ListComponentsRequest, v1::ListComponentsResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto page = store_.List<storage::Component>("", "", asked.page_token(),
                                                    asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) {
          Write(stored, *answer.add_components());
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void RegistryService::RemoveComponent(Call& call) {
  edge_.Serve<v1::RemoveComponentRequest, v1::RemoveComponentResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
        auto id = ComponentId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        admitted.entry.component = id->Str();
        return registry::RemoveComponent(store_, *id, admitted.ForCommit());
      });
}

void RegistryService::AddGrant(Call& call) {
  edge_.Serve<v1::AddGrantRequest, v1::Grant>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto principal = trusts_.InForce()->PrincipalOf(asked.principal());
        if (!principal) return Fail(std::move(principal));
        std::vector<access::Right> rights;
        for (const std::string& word : asked.rights()) {
          const std::optional<access::Right> right = access::RightOf(word);
          if (!right || !access::IsGrantable(*right)) {
            return Fail(Code::kInvalid,
                        "no such right; grants have store, describe, reveal, encrypt, connect, "
                        "audit");
          }
          rights.push_back(*right);
        }
        auto grant = grants_.Add(*principal, asked.project(), asked.component(), rights,
                                 admitted.ForCommit(), edge_.NowS());
        if (!grant) return Fail(std::move(grant));
        Write(grant->row, answer);
        return {};
      });
}

void RegistryService::ListGrants(Call& call) {
  edge_.Serve<v1::ListGrantsRequest, v1::ListGrantsResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto page =
            store_.List<storage::Grant>(asked.project(), asked.component(),
                                        asked.page_token(), asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) {
          Write(stored.row, *answer.add_grants());
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void RegistryService::RemoveGrant(Call& call) {
  edge_.Serve<v1::RemoveGrantRequest, v1::RemoveGrantResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto&) -> Result<void> {
        auto principal = AnyPrincipal(asked.principal());
        if (!principal) return Fail(std::move(principal));
        return grants_.Remove(*principal, asked.project(), asked.component(),
                              admitted.ForCommit());
      });
}

void RegistryService::IssueIdentity(Call& call) {
  edge_.Serve<v1::IssueIdentityRequest, v1::IssueIdentityResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto issued = identities_.Issue(asked.path(), asked.csr_pem(), asked.ttl_s(),
                                        admitted.ForCommit(), edge_.NowS());
        if (!issued) return Fail(std::move(issued));
        Write(issued->identity.row, edge_.NowS(), *answer.mutable_identity());
        answer.set_certificate_pem(issued->certificate_pem);
        answer.set_ca_pem(identities_.Authority().CertificatePem());
        return {};
      });
}

void RegistryService::RenewIdentity(Call& call) {
  edge_.Serve<v1::RenewIdentityRequest, v1::IssueIdentityResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        std::string serial = asked.serial();
        auto by = registry::Identities::By::kHolder;
        if (serial.empty()) {
          serial = admitted.caller.own_serial;
        } else if (serial != admitted.caller.own_serial) {
          auto permit = edge_.AlsoPermit(admitted, access::Right::kRegister);
          if (!permit) return Fail(std::move(permit));
          by = registry::Identities::By::kAdmin;
        }
        if (!IsValidId(serial)) {
          return Fail(Code::kInvalid,
                      "name a serial, or show the vault's certificate that is to be renewed");
        }
        auto issued = identities_.Renew(serial, by, asked.csr_pem(), asked.ttl_s(),
                                        admitted.ForCommit(), edge_.NowS());
        if (!issued) return Fail(std::move(issued));
        Write(issued->identity.row, edge_.NowS(), *answer.mutable_identity());
        answer.set_certificate_pem(issued->certificate_pem);
        answer.set_ca_pem(identities_.Authority().CertificatePem());
        return {};
      });
}

void RegistryService::ListIdentities(Call& call) {
  edge_.Serve<v1::ListIdentitiesRequest, v1::ListIdentitiesResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto page = store_.List<storage::Identity>("", "", asked.page_token(),
                                                   asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) {
          Write(stored.row, edge_.NowS(), *answer.add_identities());
        }
        answer.set_next_page_token(page->next);
        return {};
      });
}

void RegistryService::RevokeIdentity(Call& call) {
  edge_.Serve<v1::RevokeIdentityRequest, v1::Identity>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        if (!IsValidId(asked.serial())) {
          return Fail(Code::kInvalid, "a serial is hex digits, as `identity list` shows it");
        }
        auto revoked = identities_.Revoke(asked.serial(), admitted.ForCommit(), edge_.NowS());
        if (!revoked) return Fail(std::move(revoked));
        Write(revoked->row, edge_.NowS(), answer);
        return {};
      });
}

void RegistryService::Explain(Call& call) {
  edge_.Serve<v1::ExplainRequest, v1::ExplainResponse>(
      call, workers_, [this](Admitted&, const auto& asked, auto& answer) -> Result<void> {
        auto principal = AnyPrincipal(asked.principal());
        if (!principal) return Fail(std::move(principal));
        const std::optional<access::Right> right = access::RightOf(asked.right());
        if (!right) return Fail(Code::kInvalid, "there is no such right to explain");
        const Rule rule{.act = {}, .right = *right, .lines = {}};
        auto scope = Edge::ScopeOf(rule, asked);
        if (!scope) return Fail(std::move(scope));
        access::Surroundings surroundings;
        auto standing = identities_.StandingOf(*principal, *trusts_.InForce(), edge_.NowS());
        if (!standing) return Fail(std::move(standing));
        surroundings.standing = *standing;
        if (scope->IsPair()) {
          auto project = store_.Find<storage::Project>({scope->project, {}, {}});
          if (!project) return Fail(std::move(project));
          auto component = store_.Find<storage::Component>({{}, scope->component, {}});
          if (!component) return Fail(std::move(component));
          surroundings.project_registered = project->has_value();
          surroundings.project_shredding = *project && (*project)->row.shredding_at_s != 0;
          surroundings.component_registered = component->has_value();
        }
        Write(access::Explain(*principal, *right, *scope, *grants_.InForce(), surroundings),
              answer);
        return {};
      });
}

}  // namespace oauthvault::rpc
