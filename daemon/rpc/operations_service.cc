#include "daemon/rpc/operations_service.h"

#include <sodium.h>

#include <string>
#include <utility>

namespace oauthvault::rpc {

grpc::ServerUnaryReactor* OperationsService::Status(grpc::CallbackServerContext* call,
                                                    const v1::StatusRequest* request,
                                                    v1::StatusResponse* response) {
  return edge_.Serve(
      call, "Operations.Status", workers_, request, response,
      [this](Admitted& admitted, const auto&, auto& answer) -> Result<void> {
        answer.set_version(facts_.version);
        answer.set_sealed(false);
        answer.set_principal(admitted.caller.who.Str());
        answer.set_trust_domain(facts_.trust_domain);
        // The rest only for those who may operate; no line about who may not, it was not asked for.
        if (!access::Decide(admitted.caller.who, access::Right::kOperate, access::Scope::Vault(),
                            *grants_.InForce())) {
          return {};
        }
        auto fill = store_.GetEngine().GetFill();
        if (!fill) return Fail(std::move(fill));
        const crypto::VaultId& id = keyring_.Id();
        std::string hex(2 * id.size() + 1, '\0');
        sodium_bin2hex(hex.data(), hex.size(), id.data(), id.size());
        hex.pop_back();
        answer.set_vault_id(hex);
        answer.set_generation(store_.GetEngine().Generation());
        answer.set_audit_sequence(edge_.GetTrail().LastSequence());
        answer.set_store_used_bytes(fill->used_bytes);
        answer.set_store_capacity_bytes(fill->capacity_bytes);
        answer.set_rows(fill->rows);
        answer.set_started_at_s(facts_.started_at_s);
        answer.set_root_epoch(keyring_.RootEpoch());
        answer.set_address(facts_.address);
        return {};
      });
}

}  // namespace oauthvault::rpc
