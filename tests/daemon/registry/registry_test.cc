#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/fields.h"
#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "daemon/registry/components.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/identities.h"
#include "daemon/registry/projects.h"
#include "storage/tables/store.h"
#include "tests/daemon/acts.h"
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

// Notes the act of each commit; where it fails the commit stands and is answered Unavailable, as
// when its audit line cannot be written.
class NotingWitness final : public storage::Witness {
 public:
  Result<void> Settle() override { return {}; }
  Result<std::vector<storage::Change>> Attest(const storage::Transaction& transaction,
                                              const Look&) override {
    for (const std::string& bytes : transaction.acts) {
      acts.push_back(*storage::DecodeAct(crypto::AsBytes(bytes)));
    }
    return std::vector<storage::Change>();
  }
  Result<void> Announce(const storage::Transaction&) override {
    if (fails) return Fail(Code::kUnavailable, "this test's commits are not told");
    return {};
  }

  std::vector<storage::Act> acts;
  bool fails = false;
};

class RegistryTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(crypto::Prepare());
    keyring_ = *crypto::Keyring::Create(folder_.Path() / "keys", crypto::NewSlotSecret(), "test");
    store_.emplace(engine_, *keyring_);
    grants_ = *Grants::Load(*store_);
  }

  Result<storage::Stored<storage::Project>> Add(std::string_view id) {
    return AddProject(*keyring_, *store_, P(id), "A title", ActBy(), kNow);
  }
  Result<storage::Stored<storage::Component>> Set(std::string_view id, ComponentFields fields,
                                                  IfRegistered if_registered =
                                                      IfRegistered::kChange) {
    return SetComponent(*store_, C(id), std::move(fields), if_registered, ActBy(), kNow);
  }
  bool Allows(const access::Principal& who, access::Right right) {
    return access::Decide(who, right, access::Scope::Pair(P("acme"), C("drive")),
                          *grants_->InForce())
        .has_value();
  }

  static storage::Act ActBy() { return fakes::ActBy("local/admin"); }
  storage::TemporaryFolder folder_;
  NotingWitness witness_;
  fakes::MemoryEngine engine_{1ull << 30, &witness_};
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
    EXPECT_EQ(CodeOf(AddProject(*keyring_, *store_, P("acme"), title, ActBy(), kNow)),
              Code::kInvalid);
  }
  EXPECT_FALSE(keyring_->HasKek(crypto::Owner::Project("acme")));
  EXPECT_TRUE(AddProject(*keyring_, *store_, P("acme"), std::string(storage::kMaxTextSize, 'a'),
                         ActBy(), kNow));
}

TEST_F(RegistryTest, RemoveProject_RefusesWhileItHoldsAnything) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("nobody"), ActBy())), Code::kNotFound);

  storage::Batch batch(ActBy());
  batch.Insert(storage::Credentials{P("acme"), C("drive"), *OauthId::Parse("main")});
  ASSERT_TRUE(store_->Commit(std::move(batch)));
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("acme"), ActBy())), Code::kConflict);
  EXPECT_EQ(CodeOf(RemoveComponent(*store_, C("drive"), ActBy())), Code::kConflict);
  const auto credentials = store_->Get<storage::Credentials>(
      storage::Credentials::Names(P("acme"), C("drive"), *OauthId::Parse("main")));
  storage::Batch removal(ActBy());
  removal.Remove(credentials->row, credentials->version);
  ASSERT_TRUE(store_->Commit(std::move(removal)));

  ASSERT_TRUE(
      grants_->Add(Who("runner/r"), "acme", "drive", {access::Right::kReveal}, ActBy(), kNow));
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("acme"), ActBy())), Code::kConflict);
  EXPECT_EQ(CodeOf(RemoveComponent(*store_, C("drive"), ActBy())), Code::kConflict);
  ASSERT_TRUE(grants_->Remove(Who("runner/r"), "acme", "drive", ActBy()));
  EXPECT_TRUE(RemoveComponent(*store_, C("drive"), ActBy()));
  EXPECT_TRUE(RemoveProject(*store_, P("acme"), ActBy()));
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("acme"), ActBy())), Code::kNotFound);
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
  ASSERT_TRUE(grants_->Add(runner, "acme", "drive", {access::Right::kReveal}, ActBy(), kNow));
  EXPECT_TRUE(Allows(runner, access::Right::kReveal));
  EXPECT_TRUE(Allows(runner, access::Right::kDescribe));
  // The same three names again: exactly the new rights.
  ASSERT_TRUE(grants_->Add(runner, "acme", "drive", {access::Right::kStore}, ActBy(), kNow));
  EXPECT_FALSE(Allows(runner, access::Right::kReveal));
  EXPECT_TRUE(Allows(runner, access::Right::kStore));
  ASSERT_TRUE(grants_->Remove(runner, "acme", "drive", ActBy()));
  EXPECT_FALSE(Allows(runner, access::Right::kStore));
  EXPECT_EQ(CodeOf(grants_->Remove(runner, "acme", "drive", ActBy())), Code::kNotFound);
}

TEST_F(RegistryTest, Grants_WhoseRemovalIsUnavailableActNoMoreWhetherItStandsOrNot) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  const std::vector<access::Right> reveal = {access::Right::kReveal};
  ASSERT_TRUE(grants_->Add(Who("runner/stands"), "acme", "drive", reveal, ActBy(), kNow));
  ASSERT_TRUE(grants_->Add(Who("runner/undone"), "acme", "drive", reveal, ActBy(), kNow));
  ASSERT_TRUE(grants_->Add(Who("runner/other"), "acme", "drive", reveal, ActBy(), kNow));

  witness_.fails = true;
  EXPECT_EQ(CodeOf(grants_->Remove(Who("runner/stands"), "acme", "drive", ActBy())),
            Code::kUnavailable);
  witness_.fails = false;
  engine_.FailNextCommit(Error(Code::kUnavailable, "this test's disk does not write a removal"));
  EXPECT_EQ(CodeOf(grants_->Remove(Who("runner/undone"), "acme", "drive", ActBy())),
            Code::kUnavailable);
  EXPECT_FALSE(Allows(Who("runner/stands"), access::Right::kReveal));
  EXPECT_FALSE(Allows(Who("runner/undone"), access::Right::kReveal));
  EXPECT_TRUE(Allows(Who("runner/other"), access::Right::kReveal));

  // The next change puts in force what stands.
  ASSERT_TRUE(grants_->Remove(Who("runner/other"), "acme", "drive", ActBy()));
  EXPECT_FALSE(Allows(Who("runner/stands"), access::Right::kReveal));
  EXPECT_TRUE(Allows(Who("runner/undone"), access::Right::kReveal));
}

TEST_F(RegistryTest, Grants_ThatAreNotToldActFromTheNextChangeOnOnly) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  const access::Principal runner = Who("runner/r");
  ASSERT_TRUE(grants_->Add(runner, "acme", "drive",
                           {access::Right::kReveal, access::Right::kStore}, ActBy(), kNow));
  witness_.fails = true;
  EXPECT_EQ(CodeOf(grants_->Add(runner, "acme", "drive",
                                {access::Right::kStore, access::Right::kConnect}, ActBy(), kNow)),
            Code::kUnavailable);
  EXPECT_EQ(CodeOf(grants_->Add(Who("runner/new"), "acme", "drive", {access::Right::kReveal},
                                ActBy(), kNow)),
            Code::kUnavailable);
  witness_.fails = false;
  EXPECT_FALSE(Allows(runner, access::Right::kReveal));   // taken away: at once
  EXPECT_TRUE(Allows(runner, access::Right::kStore));     // in both
  EXPECT_FALSE(Allows(runner, access::Right::kConnect));  // given: not yet
  EXPECT_FALSE(Allows(Who("runner/new"), access::Right::kReveal));

  ASSERT_TRUE(grants_->Add(Who("runner/other"), "acme", "drive", {access::Right::kReveal},
                           ActBy(), kNow));
  EXPECT_TRUE(Allows(runner, access::Right::kConnect));
  EXPECT_TRUE(Allows(Who("runner/new"), access::Right::kReveal));
}

TEST_F(RegistryTest, Grants_StayAsTheyAreWhereTheirChangeIsRefused) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  const access::Principal runner = Who("runner/r");
  ASSERT_TRUE(grants_->Add(runner, "acme", "drive", {access::Right::kReveal}, ActBy(), kNow));
  engine_.FailNextCommit(Error(Code::kConflict, "this test's row has changed meanwhile"));
  EXPECT_EQ(CodeOf(grants_->Remove(runner, "acme", "drive", ActBy())), Code::kConflict);
  engine_.FailNextCommit(Error(Code::kExhausted, "this test's store is full"));
  EXPECT_EQ(CodeOf(grants_->Add(runner, "acme", "drive", {access::Right::kStore}, ActBy(), kNow)),
            Code::kExhausted);
  EXPECT_TRUE(Allows(runner, access::Right::kReveal));
}

TEST_F(RegistryTest, Grants_NeedARegisteredPairAndAPrincipalThatMayHoldThem) {
  ASSERT_TRUE(Add("acme"));
  const std::vector<access::Right> reveal = {access::Right::kReveal};
  EXPECT_EQ(CodeOf(grants_->Add(Who("runner/r"), "acme", "drive", reveal, ActBy(), kNow)),
            Code::kNotFound);
  ASSERT_TRUE(Set("drive", {}));
  EXPECT_EQ(CodeOf(grants_->Add(Who("runner/r"), "globex", "drive", reveal, ActBy(), kNow)),
            Code::kNotFound);
  EXPECT_EQ(CodeOf(grants_->Add(Who("auditor/a"), "acme", "drive", reveal, ActBy(), kNow)),
            Code::kInvalid);
  EXPECT_EQ(CodeOf(grants_->Add(Who("project/globex/component/drive"), "acme", "drive", reveal,
                                ActBy(), kNow)),
            Code::kInvalid);
  EXPECT_EQ(CodeOf(grants_->Add(Who("runner/r"), "a/b", "drive", reveal, ActBy(), kNow)),
            Code::kInvalid);
  EXPECT_TRUE(grants_->Add(Who("runner/r"), "*", "*", reveal, ActBy(), kNow));
}

TEST_F(RegistryTest, Grants_AreReadAgainAtTheNextStart) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  for (int i = 0; i < 700; ++i) {  // more than a page
    const std::string name = "runner/r" + std::to_string(i);
    ASSERT_TRUE(grants_->Add(Who(name), "acme", "drive", {access::Right::kReveal}, ActBy(), kNow));
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

  const auto issued = (*identities)->Issue("runner/r", Csr(), 0, ActBy(), kNow);
  ASSERT_TRUE(issued) << issued.error().Message();
  EXPECT_EQ(issued->identity.row.principal, "spiffe://vault.test/runner/r");
  EXPECT_EQ(issued->identity.row.expires_at_s, kNow + kDefaultIdentityTtlS);
  const std::string serial = issued->identity.row.serial;
  EXPECT_FALSE((*identities)->IsRevoked(serial));

  const auto revoked = (*identities)->Revoke(serial, ActBy(), kNow + 1);
  ASSERT_TRUE(revoked);
  EXPECT_EQ(revoked->row.revoked_at_s, kNow + 1);
  EXPECT_TRUE((*identities)->IsRevoked(serial));
  EXPECT_EQ((*identities)->Revoke(serial, ActBy(), kNow + 9)->row.revoked_at_s, kNow + 1);
  EXPECT_EQ(CodeOf((*identities)->Revoke("00", ActBy(), kNow)), Code::kNotFound);
  // Also after a restart.
  EXPECT_TRUE((*Identities::Load(*store_, kDomain))->IsRevoked(serial));
}

TEST_F(RegistryTest, Identities_WhoseRevocationIsUnavailableAreRevoked) {
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  auto identities = Identities::Load(*store_, kDomain);
  ASSERT_TRUE(identities);
  const auto issued = (*identities)->Issue("runner/r", Csr(), 0, ActBy(), kNow);
  ASSERT_TRUE(issued);
  const std::string serial = issued->identity.row.serial;
  engine_.FailNextCommit(Error(Code::kConflict, "this test's identity has changed meanwhile"));
  EXPECT_EQ(CodeOf((*identities)->Revoke(serial, ActBy(), kNow)), Code::kConflict);
  EXPECT_FALSE((*identities)->IsRevoked(serial));
  witness_.fails = true;
  EXPECT_EQ(CodeOf((*identities)->Revoke(serial, ActBy(), kNow)), Code::kUnavailable);
  EXPECT_TRUE((*identities)->IsRevoked(serial));
  EXPECT_TRUE((*Identities::Load(*store_, kDomain))->IsRevoked(serial));
}

TEST_F(RegistryTest, Changes_SayInTheirActWhatTheyAreAbout) {
  const auto last = [&] {
    const storage::Act& act = witness_.acts.back();
    return act.project + "|" + act.component + "|" + act.object + "|" +
           std::to_string(act.version) + "|" + act.principal;
  };
  ASSERT_TRUE(Add("acme"));
  EXPECT_EQ(last(), "acme|||0|" + ActBy().principal);
  ASSERT_TRUE(Set("drive", {}));
  EXPECT_EQ(last(), "|drive||1|" + ActBy().principal);
  ASSERT_TRUE(Set("drive", {}));
  EXPECT_EQ(last(), "|drive||2|" + ActBy().principal);
  const access::Principal runner = Who("runner/r");
  ASSERT_TRUE(grants_->Add(runner, "acme", "drive",
                           {access::Right::kStore, access::Right::kReveal}, ActBy(), kNow));
  EXPECT_EQ(last(), "acme|drive|spiffe://vault.test/runner/r reveal store|0|" + ActBy().principal);
  ASSERT_TRUE(grants_->Remove(runner, "acme", "drive", ActBy()));
  EXPECT_EQ(last(), "acme|drive|spiffe://vault.test/runner/r|0|" + ActBy().principal);
  ASSERT_TRUE(RemoveComponent(*store_, C("drive"), ActBy()));
  EXPECT_EQ(last(), "|drive||2|" + ActBy().principal);
  ASSERT_TRUE(RemoveProject(*store_, P("acme"), ActBy()));
  EXPECT_EQ(last(), "acme|||0|" + ActBy().principal);
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  EXPECT_EQ(last(), "||vault.test|0|-");
  auto identities = Identities::Load(*store_, kDomain);
  const auto issued = (*identities)->Issue("runner/r", Csr(), 0, ActBy(), kNow);
  ASSERT_TRUE(issued);
  const std::string about = issued->identity.row.serial + " spiffe://vault.test/runner/r";
  EXPECT_EQ(last(), "||" + about + "|0|" + ActBy().principal);
  ASSERT_TRUE((*identities)->Revoke(issued->identity.row.serial, ActBy(), kNow));
  EXPECT_EQ(last(), "||" + about + "|0|" + ActBy().principal);
}

TEST_F(RegistryTest, Identities_AreForRegisteredPairsAndKnownKindsOnly) {
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  auto identities = Identities::Load(*store_, kDomain);
  ASSERT_TRUE(identities);
  const std::string csr = Csr();
  const auto issue = [&](std::string_view path, std::int64_t ttl_s) {
    return (*identities)->Issue(path, csr, ttl_s, ActBy(), kNow);
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
  EXPECT_EQ(CodeOf((*identities)->Issue("runner/r", "no csr", 0, ActBy(), kNow)), Code::kInvalid);
}

}  // namespace
}  // namespace oauthvault::registry
