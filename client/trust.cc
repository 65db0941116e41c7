#include "client/input.h"
#include "client/session.h"
#include "oauthvault/v1/trust.pb.h"

namespace oauthvault::client {
namespace {

constexpr std::size_t kMaxCertificateFileSize = 16 * 1024;

Outcome<std::string> CertificateIn(const std::string& file) {
  auto pem = ReadBounded(file, {"certificate", "FILE", kMaxCertificateFileSize});
  if (!pem) return Refuse(std::move(pem));
  return pem->Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(bytes.begin(), bytes.end());
  });
}

}  // namespace

void AddTrustVerbs(CLI::App& identity, Session& session) {
  CLI::App& noun = AddNoun(identity, "trust", "CAs outside that may vouch for callers");
  {
    struct Given {
      v1::AddTrustRequest request;
      std::string file;
      std::vector<std::string> kinds;
    };
    const auto given = std::make_shared<Given>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"add", "Trust a CA to vouch for components, runners or both of one trust domain",
         "oauthvault identity trust add spire-ca.pem --trust-domain prod.example --kind runner"},
        [given](Session& run) -> Outcome<void> {
          auto pem = CertificateIn(given->file);
          if (!pem) return Refuse(std::move(pem));
          given->request.set_certificate_pem(std::move(*pem));
          for (auto& kind : given->kinds) given->request.add_kinds(std::move(kind));
          return run.Show(given->request);
        });
    verb.add_option("FILE", given->file, "The CA's certificate, PEM, or - for standard input")
        ->required();
    verb.add_option("--trust-domain", *given->request.mutable_trust_domain(),
                    "The SPIFFE trust domain that it speaks for; not the vault's own")
        ->required();
    verb.add_option("--kind", given->kinds, "component, runner; both, or a list with a comma")
        ->required()
        ->delimiter(',')
        ->check(CLI::IsMember({"component", "runner"}));
  }
  {
    const auto request = NewRequest<v1::ListTrustRequest>();
    AddVerb(noun, session, {"list", "All CAs that are trusted", "oauthvault identity trust list"},
            [request](Session& run) {
              return run.List(*request, {"id", "trust_domain", "kinds", "expires_at_s",
                                         "created_at_s", "created_by"});
            });
  }
  {
    const auto request = NewRequest<v1::RemoveTrustRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"remove", "Trust a CA no more, from the next call on",
         "oauthvault identity trust remove "
         "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        [request](Session& run) { return run.Do(*request, "removed the CA " + request->id()); });
    verb.add_option("ID", *request->mutable_id(), "As `identity trust list` shows it")->required();
  }
  {
    struct Given {
      v1::RevokeKeyRequest request;
      std::string file;
    };
    const auto given = std::make_shared<Given>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"revoke", "Refuse a key, whoever signed for it, from the next call on and for good",
         "oauthvault identity trust revoke stolen-runner.pem"},
        [given](Session& run) -> Outcome<void> {
          auto pem = CertificateIn(given->file);
          if (!pem) return Refuse(std::move(pem));
          given->request.set_certificate_pem(std::move(*pem));
          return run.Show(given->request);
        });
    verb.add_option("FILE", given->file, "A certificate of the key, PEM, or - for standard input")
        ->required();
  }
  {
    const auto request = NewRequest<v1::ListRevokedKeysRequest>();
    AddVerb(noun, session,
            {"revoked", "All keys that were revoked", "oauthvault identity trust revoked"},
            [request](Session& run) {
              return run.List(*request, {"key_sha256", "revoked_at_s", "revoked_by"});
            });
  }
}

}  // namespace oauthvault::client
