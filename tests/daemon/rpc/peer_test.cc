// Who may come in at the doors, and whom the daemon takes them for.

#include "daemon/rpc/peer.h"

#include <gtest/gtest.h>

#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

class PeerTest : public testing::Test {
 protected:
  static v1::StatusResponse StatusBy(const std::shared_ptr<grpc::Channel>& channel) {
    v1::StatusResponse response;
    const auto status =
        v1::Operations::NewStub(channel)->Status(NewContext().get(), {}, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  Vault vault_;
};

TEST_F(PeerTest, TheUnixSocketsOpener_IsTheLocalAdmin) {
  const auto status = StatusBy(vault_.Unix());
  EXPECT_EQ(status.principal(), "local/admin");
  EXPECT_EQ(status.address(), vault_.Address());
}

TEST_F(PeerTest, OnTcp_ItIsTheCertificatesSpiffeId) {
  const auto status = StatusBy(vault_.Tcp(vault_.Issue("runner/r")));
  EXPECT_EQ(status.principal(), "spiffe://vault.test/runner/r");
  EXPECT_EQ(status.vault_id(), "") << "for those who may operate only";
}

TEST_F(PeerTest, WithoutACertificate_TlsRefuses) {
  const std::uint64_t lines = vault_.Trail().LastSequence();
  EXPECT_EQ(Ask(vault_.Tcp({})).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(vault_.Trail().LastSequence(), lines) << "no call came as far as a decision";
}

TEST_F(PeerTest, InPlaintext_NobodyIsServed) {
  const auto channel =
      grpc::CreateChannel(vault_.Address(), grpc::InsecureChannelCredentials());
  EXPECT_EQ(Ask(channel).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(PeerTest, ACertificateOfAnotherCa_IsRefusedByTls) {
  const ClientIdentity foreign = Forge(NewAuthority(), {"spiffe://vault.test/admin/anna"});
  EXPECT_EQ(Ask(vault_.Tcp(foreign)).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(PeerTest, OneGoodUriOfTheRightCa_IsKnown) {
  const ClientIdentity good = Forge(vault_.Authority(), {"spiffe://vault.test/runner/forged"});
  EXPECT_EQ(StatusBy(vault_.Tcp(good)).principal(), "spiffe://vault.test/runner/forged");
}

TEST_F(PeerTest, NamesThatAreNotExactlyOnePrincipalOfTheTrustDomain_AreUnauthenticated) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"spiffe://vault.test/admin/anna", "spiffe://vault.test/runner/r"},
      {"spiffe://vault.test/admin/anna", "https://vault.test/"},
      {"https://vault.test/admin/anna"},
      {"spiffe://other.test/admin/anna"},
      {"spiffe://vault.test.evil/admin/anna"},
      {"spiffe://VAULT.test/admin/anna"},
      {"spiffe://vault.test/admin/../runner/r"},
      {"spiffe://vault.test/admin/"},
      {"spiffe://vault.test/admin/anna/"},
      {"spiffe://vault.test/admin/anna?x=1"},
      {"spiffe://vault.test/admin/%61nna"},
      {"spiffe://vault.test/root/anna"},
      {"spiffe://vault.test/vault"},
      {"spiffe://vault.test"},
      {"local/admin"},
  };
  for (const auto& uris : wrong) {
    std::string shown;
    for (const std::string& uri : uris) shown += uri + " ";
    const std::uint64_t reads = vault_.Engine().ReadCount();
    const auto status = Ask(vault_.Tcp(Forge(vault_.Authority(), uris)));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED)
        << shown << status.error_message();
    EXPECT_EQ(vault_.Engine().ReadCount(), reads);
  }
}

TEST_F(PeerTest, TheDaemonsOwnCertificate_IsNoClients) {
  auto own = vault_.Identities().Authority().IssueServer({"localhost"}, kTrustDomain, 3600,
                                                         std::time(nullptr));
  ASSERT_TRUE(own);
  ClientIdentity stolen;
  stolen.certificate_pem = own->certificate_pem;
  own->key.Bytes().Expose([&stolen](std::span<const std::uint8_t> pem) {
    stolen.key_pem.assign(reinterpret_cast<const char*>(pem.data()), pem.size());
  });
  EXPECT_FALSE(Ask(vault_.Tcp(stolen)).ok());
}

TEST_F(PeerTest, Revocation_ActsOnTheNextCallOfAnOpenConnection) {
  const ClientIdentity identity = vault_.Issue("runner/r");
  const auto channel = vault_.Tcp(identity);
  EXPECT_TRUE(Ask(channel).ok());
  v1::RevokeIdentityRequest request;
  request.set_serial(identity.serial);
  v1::Identity revoked;
  ASSERT_TRUE(v1::Registry::NewStub(vault_.Unix())
                  ->RevokeIdentity(NewContext().get(), request, &revoked)
                  .ok());
  EXPECT_EQ(Ask(channel).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Ask(vault_.Tcp(identity)).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(PeerTest, Expiry_ActsOnAnOpenConnection) {
  const auto channel = vault_.Tcp(vault_.Issue("runner/r", registry::kMinIdentityTtlS));
  EXPECT_TRUE(Ask(channel).ok());
  vault_.clock_ahead_s = registry::kMinIdentityTtlS + 1;
  EXPECT_EQ(Ask(channel).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(PeerTest, AGrantThatIsTaken_ActsOnTheNextCall) {
  vault_.Grant("runner/r", kProject, kComponent, {access::Right::kReveal});
  vault_.PutCredentials(kProject, kComponent, "main", "{}");
  const auto channel = vault_.Tcp(vault_.Issue("runner/r"));
  EXPECT_TRUE(Reveal(channel, "main").status.ok());
  vault_.RemoveGrant("runner/r", kProject, kComponent);
  EXPECT_EQ(Reveal(channel, "main").status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(PeerTest, WhetherCredentialsExist_ADeniedCallerCannotTell) {
  vault_.PutCredentials(kProject, kComponent, "main", "{}");
  const auto channel = vault_.Tcp(vault_.Issue("runner/stranger"));
  const auto there = Reveal(channel, "main").status;
  const auto absent = Reveal(channel, "absent").status;
  EXPECT_EQ(there.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(there.error_code(), absent.error_code());
  EXPECT_EQ(there.error_message(), absent.error_message());
}

}  // namespace
}  // namespace oauthvault::rpc
