#pragma once

#include "crypto/keyring.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/identities.h"
#include "daemon/registry/trust.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/registry.grpc.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// registry.proto: projects, components, grants, identities; explain.
class RegistryService final : public v1::Registry::CallbackService {
 public:
  RegistryService(const Edge& edge, Workers& workers, crypto::Keyring& keyring,
                  storage::Store& store, registry::Grants& grants,
                  registry::Identities& identities, const registry::Trusts& trusts)
      : edge_(edge), workers_(workers), keyring_(keyring), store_(store), grants_(grants),
        identities_(identities), trusts_(trusts) {}

  grpc::ServerUnaryReactor* AddProject(grpc::CallbackServerContext*, const v1::AddProjectRequest*,
                                       v1::Project*) override;
  grpc::ServerUnaryReactor* GetProject(grpc::CallbackServerContext*, const v1::GetProjectRequest*,
                                       v1::Project*) override;
  grpc::ServerUnaryReactor* ListProjects(grpc::CallbackServerContext*,
                                         const v1::ListProjectsRequest*,
                                         v1::ListProjectsResponse*) override;
  grpc::ServerUnaryReactor* RemoveProject(grpc::CallbackServerContext*,
                                          const v1::RemoveProjectRequest*,
                                          v1::RemoveProjectResponse*) override;
  grpc::ServerUnaryReactor* SetComponent(grpc::CallbackServerContext*,
                                         const v1::SetComponentRequest*, v1::Component*) override;
  grpc::ServerUnaryReactor* GetComponent(grpc::CallbackServerContext*,
                                         const v1::GetComponentRequest*, v1::Component*) override;
  grpc::ServerUnaryReactor* ListComponents(grpc::CallbackServerContext*,
                                           const v1::ListComponentsRequest*,
                                           v1::ListComponentsResponse*) override;
  grpc::ServerUnaryReactor* RemoveComponent(grpc::CallbackServerContext*,
                                            const v1::RemoveComponentRequest*,
                                            v1::RemoveComponentResponse*) override;
  grpc::ServerUnaryReactor* AddGrant(grpc::CallbackServerContext*, const v1::AddGrantRequest*,
                                     v1::Grant*) override;
  grpc::ServerUnaryReactor* ListGrants(grpc::CallbackServerContext*, const v1::ListGrantsRequest*,
                                       v1::ListGrantsResponse*) override;
  grpc::ServerUnaryReactor* RemoveGrant(grpc::CallbackServerContext*,
                                        const v1::RemoveGrantRequest*,
                                        v1::RemoveGrantResponse*) override;
  grpc::ServerUnaryReactor* IssueIdentity(grpc::CallbackServerContext*,
                                          const v1::IssueIdentityRequest*,
                                          v1::IssueIdentityResponse*) override;
  grpc::ServerUnaryReactor* RenewIdentity(grpc::CallbackServerContext*,
                                          const v1::RenewIdentityRequest*,
                                          v1::IssueIdentityResponse*) override;
  grpc::ServerUnaryReactor* ListIdentities(grpc::CallbackServerContext*,
                                           const v1::ListIdentitiesRequest*,
                                           v1::ListIdentitiesResponse*) override;
  grpc::ServerUnaryReactor* RevokeIdentity(grpc::CallbackServerContext*,
                                           const v1::RevokeIdentityRequest*,
                                           v1::Identity*) override;
  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext*, const v1::ExplainRequest*,
                                    v1::ExplainResponse*) override;

 private:
  const Edge& edge_;
  Workers& workers_;
  crypto::Keyring& keyring_;
  storage::Store& store_;
  registry::Grants& grants_;
  registry::Identities& identities_;
  const registry::Trusts& trusts_;
};

}  // namespace oauthvault::rpc
