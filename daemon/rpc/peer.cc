#include "daemon/rpc/peer.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <sodium.h>

#include <array>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/hex.h"
#include "crypto/sabotage.h"
#include "storage/names.h"

namespace oauthvault::rpc {
namespace {

// Sixteen random hex digits. They name a request and guard nothing, so one question to the system
// is enough for many.
std::string NewRequestId() {
  constexpr std::size_t kSize = 8;
  thread_local std::array<unsigned char, 64 * kSize> random;
  thread_local std::size_t used = random.size();
  if (used == random.size()) {
    randombytes_buf(random.data(), random.size());
    used = 0;
  }
  used += kSize;
  return crypto::HexOf(std::span(random).subspan(used - kSize, kSize));
}

// The caller's own request id where it is an id.
std::string RequestId(const grpc::ServerContextBase& call) {
  const auto found = call.client_metadata().find("x-request-id");
  if (found != call.client_metadata().end()) {
    std::string text(found->second.data(), found->second.size());
    if (IsValidId(text)) return text;
  }
  return NewRequestId();
}

std::string_view TextOf(const grpc::string_ref& text) { return {text.data(), text.size()}; }

// What the handshake left, each that we ask for: how often it stands there, and its text.
struct Handshake {
  struct Property {
    int count = 0;
    std::string_view text;
  };
  explicit Handshake(const grpc::AuthContext& auth) {
    const std::pair<std::string_view, Property*> wanted[] = {
        {GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME, &transport},
        {GRPC_PEER_SPIFFE_ID_PROPERTY_NAME, &spiffe_id},
        {GRPC_X509_PEM_CERT_PROPERTY_NAME, &leaf},
        {GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME, &chain}};
    for (auto at = auth.begin(); at != auth.end(); ++at) {
      const grpc::AuthProperty found = *at;
      for (const auto& [name, property] : wanted) {
        if (TextOf(found.first) != name) continue;
        ++property->count;
        property->text = TextOf(found.second);
      }
    }
  }

  Property transport;
  Property spiffe_id;
  Property leaf;
  Property chain;  // what else the peer sent; nothing where its CA signed the certificate itself
};

}  // namespace

Result<Peers::SharedVouched> Peers::Verify(const Shown<std::string_view>& shown,
                                           std::int64_t now_s) const {
  const auto table = trusts_.InForce();
  {
    const std::lock_guard lock(guard_);
    if (verified_by_ == table) {
      const auto found = verified_.find(shown);
      if (found != verified_.end()) return found->second;
    }
  }
  Shown<std::string> kept{std::string(shown.leaf), std::string(shown.chain)};
  auto verified = table->Verify(kept.leaf, kept.chain, now_s);
  if (!verified) return Fail(std::move(verified));
  auto vouched = std::make_shared<const registry::Vouched>(std::move(*verified));
  const std::lock_guard lock(guard_);
  if (verified_by_ != table || verified_.size() >= kMaxRememberedCertificates) verified_.clear();
  verified_by_ = table;
  verified_.insert_or_assign(std::move(kept), vouched);
  return vouched;
}

Result<access::Caller> Peers::Identify(const grpc::ServerContextBase& call) const {
  const std::shared_ptr<const grpc::AuthContext> auth = call.auth_context();
  const Handshake handshake(*auth);
  if (handshake.transport.count == 1 && handshake.transport.text == "local") {
    return access::Caller{access::Principal::LocalAdmin(), "unix:", RequestId(call)};
  }
  if (crypto::IsSabotaged(crypto::Sabotage::kAnyPeerName)) {
    const std::vector<grpc::string_ref> names = auth->GetPeerIdentity();
    for (const grpc::string_ref& name : names) {
      const std::string_view text = TextOf(name);
      auto who = access::Principal::FromSpiffeId(text, access::TrustDomainIn(text));
      if (who) return access::Caller{std::move(*who), call.peer(), RequestId(call)};
    }
  }
  // Exactly one: GetPeerIdentity() would answer with every URI and DNS name of the certificate.
  if (handshake.spiffe_id.count != 1 || handshake.leaf.count != 1) {
    return Fail(Code::kUnauthenticated, "the certificate must hold exactly one SPIFFE id");
  }
  const std::int64_t now_s = clock_();
  const std::string_view chain =
      handshake.chain.count == 1 ? handshake.chain.text : std::string_view();
  auto verified = Verify({handshake.leaf.text, chain}, now_s);
  if (!verified) return Fail(std::move(verified));
  const registry::Vouched& vouched = **verified;
  // The name is read from the certificate that was verified; gRPC has to have read the same.
  if (handshake.spiffe_id.text != vouched.who.Str()) {
    return Fail(Code::kUnauthenticated, "the handshake and the certificate name different callers");
  }
  if (now_s >= vouched.expires_at_s) {
    return Fail(Code::kUnauthenticated, "the certificate has expired; issue a new identity");
  }
  if (vouched.built_in && identities_.IsRevoked(vouched.serial)) {
    return Fail(Code::kUnauthenticated, "the certificate was revoked");
  }
  return access::Caller{vouched.who, call.peer(), RequestId(call),
                        vouched.built_in ? vouched.serial : std::string()};
}

}  // namespace oauthvault::rpc
