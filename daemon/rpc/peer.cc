#include "daemon/rpc/peer.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <sodium.h>

#include <array>
#include <utility>
#include <vector>

#include "crypto/hex.h"
#include "crypto/sabotage.h"
#include "storage/names.h"

namespace oauthvault::rpc {
namespace {

// The caller's own request id where it is an id, else sixteen random hex digits.
std::string RequestId(const grpc::CallbackServerContext& call) {
  const auto found = call.client_metadata().find("x-request-id");
  if (found != call.client_metadata().end()) {
    std::string text(found->second.data(), found->second.size());
    if (IsValidId(text)) return text;
  }
  std::array<unsigned char, 8> random;
  randombytes_buf(random.data(), random.size());
  return crypto::HexOf(random);
}

}  // namespace

Result<registry::Vouched> Peers::Verify(const std::string& leaf_pem, const std::string& chain_pem,
                                        std::int64_t now_s) const {
  const auto table = trusts_.InForce();
  const std::string shown = leaf_pem + '\n' + chain_pem;
  {
    const std::lock_guard lock(guard_);
    if (verified_by_ == table) {
      const auto found = verified_.find(shown);
      if (found != verified_.end()) return found->second;
    }
  }
  auto vouched = table->Verify(leaf_pem, chain_pem, now_s);
  if (!vouched) return vouched;
  const std::lock_guard lock(guard_);
  if (verified_by_ != table || verified_.size() >= kMaxRememberedCertificates) verified_.clear();
  verified_by_ = table;
  verified_.emplace(shown, *vouched);
  return vouched;
}

Result<access::Caller> Peers::Identify(const grpc::CallbackServerContext& call) const {
  const std::shared_ptr<const grpc::AuthContext> auth = call.auth_context();
  const auto transport = auth->FindPropertyValues(GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME);
  if (transport.size() == 1 && transport[0] == "local") {
    return access::Caller{access::Principal::LocalAdmin(), "unix:", RequestId(call)};
  }
  if (crypto::IsSabotaged(crypto::Sabotage::kAnyPeerName)) {
    const std::vector<grpc::string_ref> names = auth->GetPeerIdentity();
    for (const grpc::string_ref& name : names) {
      const std::string_view text(name.data(), name.size());
      auto who = access::Principal::FromSpiffeId(text, access::TrustDomainIn(text));
      if (who) return access::Caller{std::move(*who), call.peer(), RequestId(call)};
    }
  }
  // Exactly one: GetPeerIdentity() would answer with every URI and DNS name of the certificate.
  const auto spiffe_ids = auth->FindPropertyValues(GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
  const auto leaves = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (spiffe_ids.size() != 1 || leaves.size() != 1) {
    return Fail(Code::kUnauthenticated, "the certificate must hold exactly one SPIFFE id");
  }
  // What else the peer sent; nothing where its CA signed the certificate itself.
  const auto chains = auth->FindPropertyValues(GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME);
  std::string chain;
  if (chains.size() == 1) chain.assign(chains[0].data(), chains[0].size());
  const std::int64_t now_s = clock_();
  auto vouched = Verify(std::string(leaves[0].data(), leaves[0].size()), chain, now_s);
  if (!vouched) return Fail(std::move(vouched));
  // The name is read from the certificate that was verified; gRPC has to have read the same.
  if (std::string_view(spiffe_ids[0].data(), spiffe_ids[0].size()) != vouched->who.Str()) {
    return Fail(Code::kUnauthenticated, "the handshake and the certificate name different callers");
  }
  if (now_s >= vouched->expires_at_s) {
    return Fail(Code::kUnauthenticated, "the certificate has expired; issue a new identity");
  }
  if (vouched->built_in && identities_.IsRevoked(vouched->serial)) {
    return Fail(Code::kUnauthenticated, "the certificate was revoked");
  }
  return access::Caller{std::move(vouched->who), call.peer(), RequestId(call),
                        vouched->built_in ? std::move(vouched->serial) : std::string()};
}

}  // namespace oauthvault::rpc
