#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "daemon/registry/components.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/identities.h"
#include "daemon/registry/projects.h"
#include "storage/tables/store.h"
#include "tests/storage/memory_engine.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::registry {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;
constexpr char kDomain[] = "vault.test";

ProjectId P(std::string_view text) { return *ProjectId::Parse(text); }
ComponentId C(std::string_view text) { return *ComponentId::Parse(text); }
access::Principal Who(std::string_view path) {
  return *access::Principal::FromSpiffeId("spiffe://vault.test/" + std::string(path), kDomain);
}

template <class T>
Code CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? Code::kCorrupt : result.error().GetCode();
}

// A certificate request with a fresh P-256 key.
std::string Csr() {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                EVP_PKEY_free);
  const std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)> request(X509_REQ_new(), X509_REQ_free);
  X509_REQ_set_pubkey(request.get(), key.get());
  X509_REQ_sign(request.get(), key.get(), EVP_sha256());
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509_REQ(memory.get(), request.get());
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

class RegistryTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(crypto::Prepare());
    keyring_ = *crypto::Keyring::Create(folder_.Path() / "keys", crypto::NewSlotSecret(), "test");
    store_.emplace(engine_, *keyring_);
    grants_ = *Grants::Load(*store_);
  }

  Result<storage::Stored<storage::Project>> Add(std::string_view id) {
    return AddProject(*keyring_, *store_, P(id), "A title", by_, kNow);
  }
  Result<storage::Stored<storage::Component>> Set(std::string_view id, ComponentFields fields,
                                                  IfRegistered if_registered =
                                                      IfRegistered::kChange) {
    return SetComponent(*store_, C(id), std::move(fields), if_registered, by_, kNow);
  }
  bool Allows(const access::Principal& who, access::Right right) {
    return access::Decide(who, right, access::Scope::Pair(P("acme"), C("drive")),
                          *grants_->InForce())
        .has_value();
  }

  const access::Principal by_ = access::Principal::LocalAdmin();
  storage::TemporaryFolder folder_;
  fakes::MemoryEngine engine_;
  std::unique_ptr<crypto::Keyring> keyring_;
  std::optional<storage::Store> store_;
  std::unique_ptr<Grants> grants_;
};

TEST_F(RegistryTest, AddProject_MakesItsKeyAndItsRow) {
  const auto added = Add("acme");
  ASSERT_TRUE(added) << added.error().Message();
  EXPECT_TRUE(keyring_->HasKek(crypto::Owner::Project("acme")));
  EXPECT_EQ(added->row.title, "A title");
  EXPECT_EQ(added->row.created_by, "local/admin");
  EXPECT_EQ(added->row.created_at_s, kNow);
  EXPECT_EQ(CodeOf(Add("acme")), Code::kConflict);
}

TEST_F(RegistryTest, AddProject_RefusesTitlesThatAreNoText) {
  for (const std::string& title :
       {std::string(storage::kMaxTextSize + 1, 'a'), std::string("a\nb"), std::string("\x7f"),
        std::string("\xff"), std::string(1, '\0')}) {
    EXPECT_EQ(CodeOf(AddProject(*keyring_, *store_, P("acme"), title, by_, kNow)),
              Code::kInvalid);
  }
  EXPECT_FALSE(keyring_->HasKek(crypto::Owner::Project("acme")));
  EXPECT_TRUE(AddProject(*keyring_, *store_, P("acme"), std::string(storage::kMaxTextSize, 'a'),
                         by_, kNow));
}

TEST_F(RegistryTest, RemoveProject_RefusesWhileItHoldsAnything) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("nobody"))), Code::kNotFound);

  storage::Batch batch;
  batch.Insert(storage::Credentials{P("acme"), C("drive"), *OauthId::Parse("main")});
  ASSERT_TRUE(store_->Commit(std::move(batch)));
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("acme"))), Code::kConflict);
  EXPECT_EQ(CodeOf(RemoveComponent(*store_, C("drive"))), Code::kConflict);
  const auto credentials = store_->Get<storage::Credentials>(
      storage::Credentials::Names(P("acme"), C("drive"), *OauthId::Parse("main")));
  storage::Batch removal;
  removal.Remove(credentials->row, credentials->version);
  ASSERT_TRUE(store_->Commit(std::move(removal)));

  ASSERT_TRUE(grants_->Add(Who("runner/r"), "acme", "drive", {access::Right::kReveal}, by_, kNow));
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("acme"))), Code::kConflict);
  EXPECT_EQ(CodeOf(RemoveComponent(*store_, C("drive"))), Code::kConflict);
  ASSERT_TRUE(grants_->Remove(Who("runner/r"), "acme", "drive"));
  EXPECT_TRUE(RemoveComponent(*store_, C("drive")));
  EXPECT_TRUE(RemoveProject(*store_, P("acme")));
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("acme"))), Code::kNotFound);
}

TEST_F(RegistryTest, SetComponent_KeepsWhatIsNotGivenTheSecretToo) {
  ComponentFields fields;
  fields.app_key = "key";
  fields.app_secret = crypto::AppSecret(crypto::SecretBytes::CopyOf("secret"));
  fields.token_url = "https://provider.example/token";
  ASSERT_TRUE(Set("drive", std::move(fields)));
  ComponentFields change;
  change.title = "Drive";
  const auto changed = Set("drive", std::move(change));
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->version, 2u);
  EXPECT_EQ(changed->row.title, "Drive");
  EXPECT_EQ(changed->row.app_key, "key");
  EXPECT_EQ(changed->row.token_url, "https://provider.example/token");
  const auto secret = store_->OpenSecret(*changed, crypto::Part::kAppSecret);
  ASSERT_TRUE(secret);
  EXPECT_TRUE(secret->Equals(crypto::SecretBytes::CopyOf("secret")));
  EXPECT_EQ(CodeOf(Set("drive", {}, IfRegistered::kRefuse)), Code::kConflict);
}

TEST_F(RegistryTest, SetComponent_RefusesWhatNoProviderCouldMean) {
  const auto with = [](auto change) {
    ComponentFields fields;
    change(fields);
    return fields;
  };
  std::vector<ComponentFields> bad;
  bad.push_back(with([](auto& f) { f.oauth_version = "3.0"; }));
  bad.push_back(with([](auto& f) { f.token_url = "http://provider.example/token"; }));
  bad.push_back(with([](auto& f) { f.auth_url = "https://"; }));
  bad.push_back(with([](auto& f) { f.auth_url = "https:///path"; }));
  bad.push_back(with([](auto& f) { f.request_token_url = "https://a b"; }));
  bad.push_back(with([](auto& f) { f.app_key = "a\nb"; }));
  bad.push_back(with([](auto& f) { f.rivery_datasource_id = std::string(2000, 'a'); }));
  bad.push_back(with([](auto& f) {
    f.app_secret = crypto::AppSecret(crypto::SecretBytes(kMaxAppSecretSize + 1));
  }));
  bad.push_back(with(
      [](auto& f) { f.app_secret = crypto::AppSecret(crypto::SecretBytes::CopyOf("\xff")); }));
  for (std::size_t i = 0; i < bad.size(); ++i) {
    EXPECT_EQ(CodeOf(Set("drive", std::move(bad[i]))), Code::kInvalid) << i;
  }
  EXPECT_FALSE(*store_->Find<storage::Component>(storage::Component::Names(C("drive"))));
}

TEST_F(RegistryTest, Grants_ActAtOnceAndUntilTheyAreRemoved) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  const access::Principal runner = Who("runner/r");
  EXPECT_FALSE(Allows(runner, access::Right::kReveal));
  ASSERT_TRUE(grants_->Add(runner, "acme", "drive", {access::Right::kReveal}, by_, kNow));
  EXPECT_TRUE(Allows(runner, access::Right::kReveal));
  EXPECT_TRUE(Allows(runner, access::Right::kDescribe));
  // The same three names again: exactly the new rights.
  ASSERT_TRUE(grants_->Add(runner, "acme", "drive", {access::Right::kStore}, by_, kNow));
  EXPECT_FALSE(Allows(runner, access::Right::kReveal));
  EXPECT_TRUE(Allows(runner, access::Right::kStore));
  ASSERT_TRUE(grants_->Remove(runner, "acme", "drive"));
  EXPECT_FALSE(Allows(runner, access::Right::kStore));
  EXPECT_EQ(CodeOf(grants_->Remove(runner, "acme", "drive")), Code::kNotFound);
}

TEST_F(RegistryTest, Grants_NeedARegisteredPairAndAPrincipalThatMayHoldThem) {
  ASSERT_TRUE(Add("acme"));
  const std::vector<access::Right> reveal = {access::Right::kReveal};
  EXPECT_EQ(CodeOf(grants_->Add(Who("runner/r"), "acme", "drive", reveal, by_, kNow)),
            Code::kNotFound);
  ASSERT_TRUE(Set("drive", {}));
  EXPECT_EQ(CodeOf(grants_->Add(Who("runner/r"), "globex", "drive", reveal, by_, kNow)),
            Code::kNotFound);
  EXPECT_EQ(CodeOf(grants_->Add(Who("auditor/a"), "acme", "drive", reveal, by_, kNow)),
            Code::kInvalid);
  EXPECT_EQ(CodeOf(grants_->Add(Who("project/globex/component/drive"), "acme", "drive", reveal,
                                by_, kNow)),
            Code::kInvalid);
  EXPECT_EQ(CodeOf(grants_->Add(Who("runner/r"), "a/b", "drive", reveal, by_, kNow)),
            Code::kInvalid);
  EXPECT_TRUE(grants_->Add(Who("runner/r"), "*", "*", reveal, by_, kNow));
}

TEST_F(RegistryTest, Grants_AreReadAgainAtTheNextStart) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  for (int i = 0; i < 700; ++i) {  // more than a page
    const std::string name = "runner/r" + std::to_string(i);
    ASSERT_TRUE(grants_->Add(Who(name), "acme", "drive", {access::Right::kReveal}, by_, kNow));
  }
  grants_ = *Grants::Load(*store_);
  EXPECT_EQ(grants_->InForce()->Size(), 700u);
  EXPECT_TRUE(Allows(Who("runner/r0"), access::Right::kReveal));
  EXPECT_TRUE(Allows(Who("runner/r699"), access::Right::kReveal));
}

TEST_F(RegistryTest, Identities_IssueListAndRevoke) {
  EXPECT_EQ(CodeOf(Identities::Load(*store_, kDomain)), Code::kNotFound);
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  EXPECT_EQ(CodeOf(CreateAuthority(*store_, kDomain, kNow)), Code::kConflict);
  auto identities = Identities::Load(*store_, kDomain);
  ASSERT_TRUE(identities);

  const auto issued = (*identities)->Issue("runner/r", Csr(), 0, by_, kNow);
  ASSERT_TRUE(issued) << issued.error().Message();
  EXPECT_EQ(issued->identity.row.principal, "spiffe://vault.test/runner/r");
  EXPECT_EQ(issued->identity.row.expires_at_s, kNow + kDefaultIdentityTtlS);
  const std::string serial = issued->identity.row.serial;
  EXPECT_FALSE((*identities)->IsRevoked(serial));

  const auto revoked = (*identities)->Revoke(serial, kNow + 1);
  ASSERT_TRUE(revoked);
  EXPECT_EQ(revoked->row.revoked_at_s, kNow + 1);
  EXPECT_TRUE((*identities)->IsRevoked(serial));
  EXPECT_EQ((*identities)->Revoke(serial, kNow + 9)->row.revoked_at_s, kNow + 1);
  EXPECT_EQ(CodeOf((*identities)->Revoke("00", kNow)), Code::kNotFound);
  // Also after a restart.
  EXPECT_TRUE((*Identities::Load(*store_, kDomain))->IsRevoked(serial));
}

TEST_F(RegistryTest, Identities_AreForRegisteredPairsAndKnownKindsOnly) {
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  auto identities = Identities::Load(*store_, kDomain);
  ASSERT_TRUE(identities);
  const std::string csr = Csr();
  const auto issue = [&](std::string_view path, std::int64_t ttl_s) {
    return (*identities)->Issue(path, csr, ttl_s, by_, kNow);
  };
  EXPECT_EQ(CodeOf(issue("project/acme/component/drive", 0)), Code::kNotFound);
  ASSERT_TRUE(Add("acme"));
  EXPECT_EQ(CodeOf(issue("project/acme/component/drive", 0)), Code::kNotFound);
  ASSERT_TRUE(Set("drive", {}));
  EXPECT_TRUE(issue("project/acme/component/drive", 0));
  for (const char* path : {"", "vault", "root/r", "runner/", "runner/a/b", "../runner/a",
                           "project/acme", "runner/a?b", "Runner/a"}) {
    EXPECT_EQ(CodeOf(issue(path, 0)), Code::kInvalid) << path;
  }
  EXPECT_EQ(CodeOf(issue("runner/r", kMaxIdentityTtlS + 1)), Code::kInvalid);
  EXPECT_EQ(CodeOf(issue("runner/r", 1)), Code::kInvalid);
  EXPECT_EQ(CodeOf((*identities)->Issue("runner/r", "no csr", 0, by_, kNow)), Code::kInvalid);
}

}  // namespace
}  // namespace oauthvault::registry
