#pragma once

#include "crypto/keyring.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/identities.h"
#include "daemon/registry/trust.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/registry.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// registry.proto: projects, components, grants, identities; explain.
class RegistryService final {
 public:
  RegistryService(const Edge& edge, Workers& workers, crypto::Keyring& keyring,
                  storage::Store& store, registry::Grants& grants,
                  registry::Identities& identities, const registry::Trusts& trusts)
      : edge_(edge), workers_(workers), keyring_(keyring), store_(store), grants_(grants),
        identities_(identities), trusts_(trusts) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void AddProject(Call& call);
  void GetProject(Call& call);
  void ListProjects(Call& call);
  void RemoveProject(Call& call);
  void SetComponent(Call& call);
  void GetComponent(Call& call);
  void ListComponents(Call& call);
  void RemoveComponent(Call& call);
  void AddGrant(Call& call);
  void ListGrants(Call& call);
  void RemoveGrant(Call& call);
  void IssueIdentity(Call& call);
  void RenewIdentity(Call& call);
  void ListIdentities(Call& call);
  void RevokeIdentity(Call& call);
  void Explain(Call& call);

  const Edge& edge_;
  Workers& workers_;
  crypto::Keyring& keyring_;
  storage::Store& store_;
  registry::Grants& grants_;
  registry::Identities& identities_;
  const registry::Trusts& trusts_;
};

}  // namespace oauthvault::rpc
