// Identities over the wire: renewed, revoked with their renewals, vouched for by CAs outside; the
// door's own certificate; and explain.

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "daemon/rpc/door_certificate.h"
#include "daemon/rpc/probe.h"
#include "tests/daemon/acts.h"
#include "tests/daemon/rpc/forged.h"
#include "tests/daemon/rpc/vault_fixture.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::rpc {
namespace {

using access::Right;

constexpr char kOutsideRunner[] = "spiffe://partner.test/runner/r";

bool Await(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// A renewal by whoever the channel is; the new identity is complete where it comes about.
struct Renewed {
  grpc::Status status;
  ClientIdentity identity;
  v1::Identity row;
};
Renewed Renew(const std::shared_ptr<grpc::Channel>& channel, const std::string& serial = "",
              std::int64_t ttl_s = 0, const std::string& key_pem = NewKeyPem()) {
  v1::RenewIdentityRequest request;
  request.set_csr_pem(CsrOf(key_pem));
  request.set_serial(serial);
  request.set_ttl_s(ttl_s);
  v1::IssueIdentityResponse response;
  Renewed renewed;
  renewed.status =
      v1::Registry::NewStub(channel)->RenewIdentity(NewContext().get(), request, &response);
  renewed.identity = {response.certificate_pem(), key_pem, response.identity().serial()};
  renewed.row = response.identity();
  return renewed;
}

class IdentityTest : public testing::Test {
 protected:
  IdentityTest() : IdentityTest(Vault::Settings{.tick = std::chrono::milliseconds(50)}) {}
  explicit IdentityTest(Vault::Settings settings) : vault_(std::move(settings)) {}

  // Believes a CA outside; its id.
  std::string Believe(const ForgedCa& ca, std::vector<std::string> kinds = {"runner"}) {
    v1::AddTrustRequest request;
    request.set_certificate_pem(ca.certificate_pem);
    request.set_trust_domain("partner.test");
    for (std::string& kind : kinds) request.add_kinds(std::move(kind));
    v1::TrustAnchor anchor;
    const auto status =
        v1::Trust::NewStub(vault_.Unix())->Add(NewContext().get(), request, &anchor);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return anchor.id();
  }
  grpc::Status Disbelieve(const std::string& id) {
    v1::RemoveTrustRequest request;
    request.set_id(id);
    v1::RemoveTrustResponse response;
    return v1::Trust::NewStub(vault_.Unix())->Remove(NewContext().get(), request, &response);
  }
  grpc::Status GrantTo(const std::string& principal, const char* right) {
    v1::AddGrantRequest request;
    request.set_principal(principal);
    request.set_project(kProject);
    request.set_component(kComponent);
    request.add_rights(right);
    v1::Grant grant;
    return v1::Registry::NewStub(vault_.Unix())->AddGrant(NewContext().get(), request, &grant);
  }
  grpc::Status RevokeSerial(const std::string& serial) {
    v1::RevokeIdentityRequest request;
    request.set_serial(serial);
    v1::Identity revoked;
    return v1::Registry::NewStub(vault_.Unix())
        ->RevokeIdentity(NewContext().get(), request, &revoked);
  }
  v1::ExplainResponse Explain(const std::string& principal, const std::string& right) {
    v1::ExplainRequest request;
    request.set_principal(principal);
    request.set_right(right);
    request.set_project(kProject);
    request.set_component(kComponent);
    v1::ExplainResponse response;
    const auto status =
        v1::Registry::NewStub(vault_.Unix())->Explain(NewContext().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  std::size_t Lines(const char* act) {
    std::size_t found = 0;
    for (const std::string& line : vault_.LinesAfter(0)) {
      found += line.find(std::string("\"act\":\"") + act) != std::string::npos;
    }
    return found;
  }
  static std::string Words(const v1::ExplainResponse& response) {
    std::string words = response.allowed_by();
    for (const auto& obstacle : response.obstacles()) words += " " + obstacle.word();
    return words;
  }

  Vault vault_;
};

TEST_F(IdentityTest, AHolder_RenewsItsOwnAndBothAreGoodUntilTheirEnds) {
  const ClientIdentity old = vault_.Issue("runner/r", 3600);
  const Renewed renewed = Renew(vault_.Tcp(old));
  ASSERT_TRUE(renewed.status.ok()) << renewed.status.error_message();
  EXPECT_EQ(renewed.row.principal(), "spiffe://vault.test/runner/r");
  EXPECT_EQ(renewed.row.renewed_from(), old.serial);
  EXPECT_EQ(renewed.row.issued_by(), "spiffe://vault.test/runner/r");
  EXPECT_EQ(renewed.row.state(), v1::IDENTITY_STATE_VALID);
  EXPECT_EQ(renewed.row.expires_at_s() - renewed.row.issued_at_s(), 3600);
  EXPECT_TRUE(Ask(vault_.Tcp(renewed.identity)).ok());
  EXPECT_TRUE(Ask(vault_.Tcp(old)).ok());
}

TEST_F(IdentityTest, AHolder_RenewsNothingElse) {
  const ClientIdentity mine = vault_.Issue("runner/r", 3600);
  const ClientIdentity others = vault_.Issue("admin/anna", 3600);
  const auto channel = vault_.Tcp(mine);
  EXPECT_EQ(Renew(channel, others.serial).status.error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Renew(channel, "", 7200).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
      << "longer than before";
  EXPECT_EQ(Renew(channel, "", 0, mine.key_pem).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT)
      << "the same key";
  EXPECT_EQ(Renew(vault_.Unix()).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
      << "the local admin has no certificate";
  const ForgedCa partner = ForgeCa("partner CA");
  Believe(partner);
  const auto outside = vault_.Tcp(
      Forge(Forgery{.issuer = &partner, .names = {std::string("URI:") + kOutsideRunner}}));
  EXPECT_EQ(Renew(outside).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
      << "its own CA renews it";
}

TEST_F(IdentityTest, AnAdmin_RenewsWhatHasEndedAndNotWhatWasRevoked) {
  const ClientIdentity ended = vault_.Issue("runner/r", registry::kMinIdentityTtlS);
  const ClientIdentity revoked = vault_.Issue("runner/q");
  ASSERT_TRUE(RevokeSerial(revoked.serial).ok());
  // No further: what is issued begins a minute before, and the client's clock stays.
  vault_.clock_ahead_s = registry::kMinIdentityTtlS;
  const Renewed renewed = Renew(vault_.Unix(), ended.serial, 7200);
  ASSERT_TRUE(renewed.status.ok()) << renewed.status.error_message();
  EXPECT_TRUE(Ask(vault_.Tcp(renewed.identity)).ok());
  EXPECT_EQ(Renew(vault_.Unix(), revoked.serial).status.error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(IdentityTest, Revocation_TakesWhatWasRenewedWithIt) {
  const ClientIdentity first = vault_.Issue("runner/r");
  const ClientIdentity other = vault_.Issue("runner/r");
  const Renewed second = Renew(vault_.Tcp(first));
  const Renewed third = Renew(vault_.Tcp(second.identity));
  const auto open = vault_.Tcp(third.identity);
  ASSERT_TRUE(Ask(open).ok());
  ASSERT_TRUE(RevokeSerial(first.serial).ok());
  for (const ClientIdentity* one : {&first, &second.identity, &third.identity}) {
    EXPECT_EQ(Ask(vault_.Tcp(*one)).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  }
  EXPECT_EQ(Ask(open).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(Ask(vault_.Tcp(other)).ok()) << "issued apart from it";
}

TEST_F(IdentityTest, ACaOutside_IsBelievedAtOnceAndDisbelievedOnTheNextCall) {
  const ForgedCa partner = ForgeCa("partner CA");
  const ClientIdentity runner =
      Forge(Forgery{.issuer = &partner, .names = {std::string("URI:") + kOutsideRunner}});
  vault_.PutCredentials(kProject, kComponent, "main", "{}");
  EXPECT_FALSE(Ask(vault_.Tcp(runner)).ok());
  EXPECT_FALSE(GrantTo(kOutsideRunner, "reveal").ok()) << "nobody vouches for it";
  const std::string id = Believe(partner);
  const auto channel = vault_.Tcp(runner);
  EXPECT_EQ(Reveal(channel, "main").status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  ASSERT_TRUE(GrantTo(kOutsideRunner, "reveal").ok());
  EXPECT_TRUE(Reveal(channel, "main").status.ok());
  ASSERT_TRUE(Disbelieve(id).ok());
  EXPECT_EQ(Reveal(channel, "main").status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Ask(vault_.Tcp(runner)).error_code(), grpc::StatusCode::UNAVAILABLE)
      << "the handshake knows, too";
  EXPECT_EQ(Disbelieve(id).error_code(), grpc::StatusCode::NOT_FOUND);
  Believe(partner);
  EXPECT_TRUE(Reveal(vault_.Tcp(runner), "main").status.ok()) << "its grant stood meanwhile";
}

TEST_F(IdentityTest, ACaThatIsRemoved_EndsTheStreamsOfItsCallers) {
  const ForgedCa partner = ForgeCa("partner CA");
  const std::string anchor = Believe(partner);
  ASSERT_TRUE(GrantTo(kOutsideRunner, "describe").ok());
  vault_.Grant("local/admin", kProject, kComponent, {Right::kStore});
  v1::WatchAttemptRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_id(vault_.StartAttempt(kProject, kComponent));
  const auto stub = v1::Attempts::NewStub(vault_.Tcp(
      Forge(Forgery{.issuer = &partner, .names = {std::string("URI:") + kOutsideRunner}})));
  const auto context = NewContext();
  const auto reader = stub->Watch(context.get(), request);
  v1::Attempt attempt;
  ASSERT_TRUE(reader->Read(&attempt));
  ASSERT_TRUE(Disbelieve(anchor).ok());
  EXPECT_FALSE(reader->Read(&attempt));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(IdentityTest, ARunner_HasEachOfItsGrantsAndNothingBesideThem) {
  vault_.AddProject("p2");
  vault_.AddComponent("acme.ex-other");
  vault_.Grant("runner/r", kProject, kComponent, {Right::kReveal});
  vault_.Grant("runner/r", "p2", "*", {Right::kDescribe});
  vault_.PutCredentials(kProject, kComponent, "main", "{}");
  vault_.PutCredentials("p2", "acme.ex-other", "main", "{}");
  const auto stub = v1::Credentials::NewStub(vault_.Tcp(vault_.Issue("runner/r")));
  const auto code = [&stub](bool reveal, const char* project, const char* component) {
    if (reveal) {
      v1::RevealRequest request;
      request.set_project(project);
      request.set_component(component);
      request.set_id("main");
      v1::RevealResponse response;
      return stub->Reveal(NewContext().get(), request, &response).error_code();
    }
    v1::DescribeRequest request;
    request.set_project(project);
    request.set_component(component);
    request.set_id("main");
    v1::CredentialsInfo response;
    return stub->Describe(NewContext().get(), request, &response).error_code();
  };
  EXPECT_EQ(code(true, kProject, kComponent), grpc::StatusCode::OK);
  EXPECT_EQ(code(false, "p2", "acme.ex-other"), grpc::StatusCode::OK);
  EXPECT_EQ(code(true, "p2", "acme.ex-other"), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(code(false, kProject, "acme.ex-other"), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(IdentityTest, Explain_NamesTheRuleAndWhatIsInTheWay) {
  EXPECT_EQ(Words(Explain("local/admin", "register")), "kind");
  EXPECT_EQ(Words(Explain("local/admin", "reveal")), "nothing no_grant");
  EXPECT_EQ(Words(Explain("spiffe://vault.test/runner/r", "reveal")),
            "nothing no_certificate no_grant");
  const ClientIdentity runner = vault_.Issue("runner/r");
  vault_.Grant("runner/r", "*", kComponent, {Right::kReveal});
  const v1::ExplainResponse allowed = Explain("spiffe://vault.test/runner/r", "describe");
  EXPECT_TRUE(allowed.allowed());
  EXPECT_EQ(Words(allowed), "grant");
  EXPECT_EQ(allowed.grant_project(), "*");
  EXPECT_EQ(allowed.grant_component(), kComponent);
  ASSERT_TRUE(RevokeSerial(runner.serial).ok());
  const v1::ExplainResponse revoked = Explain("spiffe://vault.test/runner/r", "describe");
  EXPECT_FALSE(revoked.allowed());
  EXPECT_EQ(Words(revoked), "grant revoked");
  EXPECT_EQ(Words(Explain("spiffe://partner.test/runner/r", "reveal")),
            "nothing not_vouched no_grant");
}

// The certificate that the daemon shows to a new connection.
std::string ShownTo(const std::shared_ptr<grpc::Channel>& channel) {
  v1::StatusResponse response;
  const auto context = NewContext();
  const auto status = v1::Operations::NewStub(channel)->Status(context.get(), {}, &response);
  if (!status.ok()) return "refused: " + status.error_message();
  const auto shown = context->auth_context()->FindPropertyValues("x509_pem_cert");
  return shown.size() == 1 ? std::string(shown[0].data(), shown[0].size()) : "none";
}

// Made before the vault that looks into it.
class CertificateFolderOfATest {
 protected:
  storage::TemporaryFolder certificates_;
};

class DoorCertificateTest : public CertificateFolderOfATest, public IdentityTest {
 protected:
  DoorCertificateTest() : IdentityTest(SettingsWith(certificates_.Path())) {}
  static Vault::Settings SettingsWith(const std::filesystem::path& folder) {
    Vault::Settings settings;
    settings.certificate_folder = folder;
    return settings;
  }

  // As an operator does it: the files appear under their names, whole.
  void Stage(const ClientIdentity& pair) {
    const std::filesystem::path staging = certificates_.Path() / "staging";
    for (const auto& [name, text] : {std::pair("cert.pem", pair.certificate_pem),
                                     std::pair("key.pem", pair.key_pem)}) {
      const std::filesystem::path temporary = staging / (std::string(name) + ".tmp");
      std::ofstream(temporary) << text;
      std::filesystem::permissions(temporary, std::filesystem::perms::owner_read);
      std::filesystem::rename(temporary, staging / name);
    }
  }
  static ClientIdentity Server(const ForgedCa& ca,
                               std::vector<std::string> names = {"DNS:localhost",
                                                                 "IP:127.0.0.1"}) {
    return Forge(Forgery{.issuer = &ca, .names = std::move(names),
                         .extended_key_usage = "serverAuth"});
  }
  // The channel checks the daemon against these CAs.
  std::shared_ptr<grpc::Channel> Believing(const std::string& roots) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(
        vault_.Address(),
        grpc::SslCredentials({roots, identity_.key_pem, identity_.certificate_pem}), arguments);
  }
  const ClientIdentity identity_ = vault_.Issue("runner/r");
  const ForgedCa operators_ = ForgeCa("operator's CA");
};

TEST_F(DoorCertificateTest, AStagedPair_IsShownToNewConnectionsAndOpenOnesGoOn) {
  const auto open = vault_.Tcp(identity_);
  const std::string before = ShownTo(open);
  const ClientIdentity pair = Server(operators_);
  Stage(pair);
  ASSERT_TRUE(Await([this] { return Lines("certificate.installed") == 1; }));
  EXPECT_EQ(ShownTo(Believing(operators_.certificate_pem)), pair.certificate_pem);
  EXPECT_EQ(ShownTo(open), before);
  EXPECT_TRUE(std::filesystem::exists(certificates_.Path() / "current" / "key.pem"));
  EXPECT_TRUE(std::filesystem::is_empty(certificates_.Path() / "staging"));
}

TEST_F(DoorCertificateTest, TheProbeBelievesWhatTheDoorShows_WhicheverCaSignedIt) {
  const DoorCounters counters;
  std::string shown = vault_.ShownPem();
  const Probe probe(vault_.Socket(),
                    Probe::Tcp{vault_.Address(), "localhost", [&shown] { return shown; },
                               [this]() -> Result<registry::ClientKeyPair> {
                                 return registry::ClientKeyPair{
                                     identity_.certificate_pem,
                                     registry::PrivateKeyPem(
                                         crypto::SecretBytes::CopyOf(identity_.key_pem))};
                               }},
                    counters);
  const std::string before = shown;
  EXPECT_TRUE(probe.Ask(kPatience));
  Stage(Server(operators_));
  ASSERT_TRUE(Await([this] { return Lines("certificate.installed") == 1; }));
  EXPECT_FALSE(probe.Ask(kPatience)) << "another certificate than the one it is told of";
  shown = vault_.ShownPem();
  EXPECT_NE(shown, before);
  EXPECT_TRUE(probe.Ask(kPatience));
}

TEST_F(DoorCertificateTest, ABadPair_IsRefusedOnceAndTheOneBeforeStays) {
  const ClientIdentity pair = Server(operators_);
  Stage(pair);
  ASSERT_TRUE(Await([this] { return Lines("certificate.installed") == 1; }));
  Stage(Server(operators_, {"DNS:elsewhere.test"}));
  ASSERT_TRUE(Await([this] { return Lines("certificate.refused") == 1; }));
  EXPECT_EQ(ShownTo(Believing(operators_.certificate_pem)), pair.certificate_pem);
  EXPECT_EQ(Lines("certificate.refused"), 1u);
  const ClientIdentity next = Server(operators_);
  Stage(next);
  ASSERT_TRUE(Await([this] { return Lines("certificate.installed") == 2; }));
  EXPECT_EQ(ShownTo(Believing(operators_.certificate_pem)), next.certificate_pem);
}

TEST_F(DoorCertificateTest, AnOperatorsCertificateThatEnds_GivesWayToTheBuiltInCas) {
  Stage(Forge(Forgery{.issuer = &operators_, .names = {"DNS:localhost", "IP:127.0.0.1"},
                      .extended_key_usage = "serverAuth", .ends_in_s = 50}));
  ASSERT_TRUE(Await([this] { return Lines("certificate.installed") == 1; }));
  vault_.clock_ahead_s = 55;  // the built-in CA's begins a minute before
  ASSERT_TRUE(Await([this] { return Lines("certificate.installed") == 2; }));
  EXPECT_TRUE(Ask(vault_.Tcp(identity_)).ok());
}

TEST_F(IdentityTest, TheBuiltInCertificateOfTheDoor_IsMadeAnewInTime) {
  const std::string before = ShownTo(vault_.Tcp(vault_.Issue("runner/r")));
  EXPECT_TRUE(before.starts_with("-----BEGIN")) << before;
  EXPECT_EQ(Lines("certificate.installed"), 0u);
  vault_.clock_ahead_s = kDoorCertificateTtlS - kDoorCertificateRenewS + 60;
  EXPECT_TRUE(Await([this] { return Lines("certificate.installed") == 1; }));
}

}  // namespace
}  // namespace oauthvault::rpc
