#include "daemon/rpc/peer.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <sodium.h>

#include <array>
#include <utility>
#include <vector>

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
  std::array<char, 17> hex;
  sodium_bin2hex(hex.data(), hex.size(), random.data(), random.size());
  return hex.data();
}

}  // namespace

Result<registry::PeerCertificate> Peers::Read(const std::string& certificate_pem) const {
  {
    const std::lock_guard lock(guard_);
    const auto found = read_.find(certificate_pem);
    if (found != read_.end()) return found->second;
  }
  auto certificate = registry::ReadPeerCertificate(certificate_pem);
  if (!certificate) return certificate;
  const std::lock_guard lock(guard_);
  if (read_.size() >= kMaxRememberedCertificates) read_.clear();
  read_.emplace(certificate_pem, *certificate);
  return certificate;
}

Result<access::Caller> Peers::Identify(const grpc::CallbackServerContext& call) const {
  const std::shared_ptr<const grpc::AuthContext> auth = call.auth_context();
  const auto transport = auth->FindPropertyValues(GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME);
  if (transport.size() == 1 && transport[0] == "local") {
    return access::Caller{access::Principal::LocalAdmin(), "unix:", RequestId(call)};
  }
  // Exactly one: GetPeerIdentity() would answer with every URI and DNS name of the certificate.
  const auto spiffe_ids = auth->FindPropertyValues(GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
  const auto certificates = auth->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (spiffe_ids.size() != 1 || certificates.size() != 1) {
    return Fail(Code::kUnauthenticated, "the certificate must hold exactly one SPIFFE id");
  }
  auto certificate = Read(std::string(certificates[0].data(), certificates[0].size()));
  if (!certificate) return Fail(std::move(certificate));
  if (clock_() >= certificate->expires_at_s) {
    return Fail(Code::kUnauthenticated, "the certificate has expired; issue a new identity");
  }
  if (identities_.IsRevoked(certificate->serial)) {
    return Fail(Code::kUnauthenticated, "the certificate was revoked");
  }
  auto who = access::Principal::FromSpiffeId(
      std::string_view(spiffe_ids[0].data(), spiffe_ids[0].size()), identities_.TrustDomain());
  if (!who) return Fail(std::move(who));
  return access::Caller{std::move(*who), call.peer(), RequestId(call)};
}

}  // namespace oauthvault::rpc
