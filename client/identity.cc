#include <sys/stat.h>

#include <ctime>
#include <filesystem>

#include "client/identity_key.h"
#include "client/input.h"
#include "client/private_file.h"
#include "client/session.h"
#include "oauthvault/v1/registry.pb.h"

namespace oauthvault::client {
namespace {

constexpr std::size_t kMaxKeyFileSize = 16 * 1024;

struct Issue {
  v1::IssueIdentityRequest request;
  std::filesystem::path folder;
  std::string ttl = "24h";
  bool renew = false;
};

std::span<const std::uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// The key of an identity that is renewed stays: then only the certificate is replaced, in one
/// rename, and no crash leaves a key beside another key's certificate.
Outcome<crypto::SecretBytes> KeyFor(const Issue& issue, bool key_exists) {
  if (!key_exists) return MakeKey();
  return ReadBounded((issue.folder / "key.pem").string(), {"key", "--out", kMaxKeyFileSize});
}

Outcome<void> IssueInto(Session& run, Issue& issue) {
  auto ttl = ParseDuration(issue.ttl, "--ttl");
  if (!ttl) return Refuse(std::move(ttl));
  issue.request.set_ttl_s(ttl->count());

  std::error_code error;
  const bool key_exists = std::filesystem::exists(issue.folder / "key.pem", error);
  if (!issue.renew) {
    for (const char* name : {"key.pem", "cert.pem", "ca.pem"}) {
      if (std::filesystem::exists(issue.folder / name, error)) {
        return Refuse(Code::kConflict, (issue.folder / name).string() +
                                           " exists: choose another folder, or renew the identity "
                                           "in this one with --renew");
      }
    }
  }
  auto key = KeyFor(issue, key_exists);
  if (!key) return Refuse(std::move(key));
  auto csr = MakeCertificateRequest(*key);
  if (!csr) return Refuse(std::move(csr));
  issue.request.set_csr_pem(*std::move(csr));

  // The key is kept before the daemon is asked: no certificate is issued that nobody can use.
  if (issue.folder.has_parent_path()) {
    std::filesystem::create_directories(issue.folder.parent_path(), error);
  }
  const bool made = ::mkdir(issue.folder.c_str(), 0700) == 0;
  if (!made && !std::filesystem::is_directory(issue.folder, error)) {
    return Refuse(Code::kInvalid, "cannot make the folder " + issue.folder.string() + " (--out)");
  }
  if (!key_exists) {
    auto kept = key->Expose([&](std::span<const std::uint8_t> bytes) {
      return WritePrivateFile(issue.folder / "key.pem", bytes, Existing::kRefuse);
    });
    if (!kept) return kept;
  }
  auto issued = run.Call(issue.request);
  if (!issued) {
    if (!key_exists) std::filesystem::remove(issue.folder / "key.pem", error);
    if (made) std::filesystem::remove(issue.folder, error);
    return Refuse(std::move(issued));
  }
  for (const auto& [name, pem] : {std::pair("ca.pem", issued->ca_pem()),
                                  std::pair("cert.pem", issued->certificate_pem())}) {
    auto written = WritePrivateFile(issue.folder / name, BytesOf(pem), Existing::kReplace);
    if (!written) return written;
  }
  return WriteOut(RenderOne(AsJson(issued->identity()), run.style));
}

struct Renewal {
  v1::RenewIdentityRequest request;
  std::filesystem::path folder;
  std::string ttl;
  std::string renew_before;
};

constexpr const char* kNextKey = "key.next.pem";
constexpr const char* kNextCertificate = "cert.next.pem";

/// Puts the next key and certificate in the place of those that stand, or finishes doing so: with
/// `cert.next.pem` both are complete, and what is still called next has not been moved yet.
Outcome<void> PutNextInPlace(const std::filesystem::path& folder) {
  std::error_code error;
  for (const auto& [next, place] :
       {std::pair(kNextKey, "key.pem"), std::pair(kNextCertificate, "cert.pem")}) {
    if (!std::filesystem::exists(folder / next, error)) continue;
    std::filesystem::rename(folder / next, folder / place, error);
    if (error) {
      return Refuse(Code::kInvalid, "cannot replace " + (folder / place).string() +
                                        "; run identity renew again");
    }
  }
  return {};
}

/// What a renewal left that was cut off: finished where the answer had come, else dropped.
Outcome<void> Recover(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::exists(folder / kNextCertificate, error)) return PutNextInPlace(folder);
  std::filesystem::remove(folder / kNextKey, error);
  return {};
}

Outcome<void> TellNotDue(Session& run, const CertificateFacts& facts) {
  nlohmann::ordered_json told;
  told["renewed"] = false;
  told["serial"] = facts.serial;
  told["expires_at_s"] = facts.expires_at_s;
  return WriteOut(RenderOne(told, run.style));
}

Outcome<void> RenewIn(Session& run, Renewal& renewal) {
  if (auto recovered = Recover(renewal.folder); !recovered) return recovered;
  auto certificate = ReadBounded((renewal.folder / "cert.pem").string(),
                                 {"certificate", "FOLDER", kMaxKeyFileSize});
  if (!certificate) return Refuse(std::move(certificate));
  auto facts = ReadCertificateFacts(*certificate);
  if (!facts) return Refuse(std::move(facts));
  if (!renewal.renew_before.empty()) {
    auto before = ParseDuration(renewal.renew_before, "--renew-before");
    if (!before) return Refuse(std::move(before));
    if (facts->expires_at_s - before->count() > std::time(nullptr)) return TellNotDue(run, *facts);
  }
  if (!renewal.ttl.empty()) {
    auto ttl = ParseDuration(renewal.ttl, "--ttl");
    if (!ttl) return Refuse(std::move(ttl));
    renewal.request.set_ttl_s(ttl->count());
  }
  // Its holder asks with it, unless the command line names another identity.
  Options& options = run.options;
  if (!options.address.empty() && options.identity.empty() && options.certificate.empty() &&
      options.key.empty()) {
    options.identity = renewal.folder;
  }
  renewal.request.set_serial(facts->serial);
  auto key = MakeKey();
  if (!key) return Refuse(std::move(key));
  auto csr = MakeCertificateRequest(*key);
  if (!csr) return Refuse(std::move(csr));
  renewal.request.set_csr_pem(*std::move(csr));
  // The key is kept before the daemon is asked, beside the one that is good until then.
  auto kept = key->Expose([&](std::span<const std::uint8_t> bytes) {
    return WritePrivateFile(renewal.folder / kNextKey, bytes, Existing::kReplace);
  });
  if (!kept) return kept;
  auto renewed = run.Call(renewal.request);
  if (!renewed) {
    std::error_code error;
    std::filesystem::remove(renewal.folder / kNextKey, error);
    return Refuse(std::move(renewed));
  }
  for (const auto& [name, pem] : {std::pair("ca.pem", renewed->ca_pem()),
                                  std::pair(kNextCertificate, renewed->certificate_pem())}) {
    auto written = WritePrivateFile(renewal.folder / name, BytesOf(pem), Existing::kReplace);
    if (!written) return written;
  }
  if (auto placed = PutNextInPlace(renewal.folder); !placed) return placed;
  nlohmann::ordered_json told = AsJson(renewed->identity());
  told["renewed"] = true;
  return WriteOut(RenderOne(told, run.style));
}

}  // namespace

void AddIdentityVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "identity", "Identities: certificates that callers show");
  {
    const auto issue = std::make_shared<Issue>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"issue", "Make a key here and have the vault's CA sign it; the key stays here",
         "oauthvault identity issue project/123/component/acme.ex-drive --out my-identity"},
        [issue](Session& run) { return IssueInto(run, *issue); });
    verb.add_option("PATH", *issue->request.mutable_path(),
                    "project/P/component/C, runner/N, admin/N or auditor/N")
        ->required();
    verb.add_option("--out", issue->folder, "Folder for key.pem (mode 0600), cert.pem and ca.pem")
        ->required();
    verb.add_option("--ttl", issue->ttl, "How long it is valid: 60s to 90d")->capture_default_str();
    verb.add_flag("--renew", issue->renew, "Put a new certificate beside the key that is there");
  }
  {
    const auto renewal = std::make_shared<Renewal>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"renew", "Make a new key for an identity and have it signed, in its folder",
         "oauthvault identity renew my-identity --renew-before 8h"},
        [renewal](Session& run) { return RenewIn(run, *renewal); });
    verb.add_option("FOLDER", renewal->folder, "Folder with cert.pem, key.pem, ca.pem")->required();
    verb.add_option("--ttl", renewal->ttl,
                    "How long the new one is valid: 60s to 90d; as long as the one before when not "
                    "given");
    verb.add_option("--renew-before", renewal->renew_before,
                    "Do nothing while it is valid for longer than this: 30m, 8h, 7d");
  }
  AddTrustVerbs(noun, session);
  {
    const auto request = NewRequest<v1::ListIdentitiesRequest>();
    AddVerb(noun, session, {"list", "All identities", "oauthvault identity list"},
            [request](Session& run) {
              return run.List(*request, {"serial", "principal", "state", "issued_at_s",
                                         "expires_at_s", "revoked_at_s", "issued_by"});
            });
  }
  {
    const auto request = NewRequest<v1::RevokeIdentityRequest>();
    CLI::App& verb =
        AddVerb(noun, session,
                {"revoke", "Refuse an identity and its renewals from the next call on",
                 "oauthvault identity revoke 4f1c09aa"},
                [request](Session& run) { return run.Show(*request); });
    verb.add_option("SERIAL", *request->mutable_serial(), "As `identity list` shows it")
        ->required();
  }
}

}  // namespace oauthvault::client
