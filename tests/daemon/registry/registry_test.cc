#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "crypto/fields.h"
#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "daemon/registry/components.h"
#include "daemon/registry/ended_attempts.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/identities.h"
#include "daemon/registry/projects.h"
#include "daemon/registry/tokens.h"
#include "daemon/registry/trust.h"
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
}

TEST_F(RegistryTest, AddProject_ThatIsThereSaysSoAndNamesIt) {
  ASSERT_TRUE(Add("acme"));
  const auto again = Add("acme");
  ASSERT_EQ(CodeOf(again), Code::kConflict);
  EXPECT_EQ(again.error().Message(), "the project is registered already: acme");
}

TEST_F(RegistryTest, AddProject_MakesNoKeyForAProjectWhoseShreddingWasInterrupted) {
  auto added = Add("acme");
  ASSERT_TRUE(added);
  added->row.shredding_at_s = kNow;
  storage::Batch mark(ActBy());
  mark.Replace(added->row, added->version);
  ASSERT_TRUE(store_->Commit(std::move(mark)));
  ASSERT_TRUE(keyring_->RemoveOwner(crypto::Owner::Project("acme")));
  EXPECT_EQ(CodeOf(Add("acme")), Code::kConflict);
  EXPECT_FALSE(keyring_->HasKek(crypto::Owner::Project("acme")));
}

TEST_F(RegistryTest, AProjectThatIsBeingShreddedTakesNoGrantsAnyMore) {
  auto added = Add("acme");
  ASSERT_TRUE(added && Set("drive", {}));
  const auto grant = [&] {
    return grants_->Add(Who("runner/r"), "acme", "drive", {access::Right::kReveal}, ActBy(), kNow);
  };
  ASSERT_TRUE(grant());
  added->row.shredding_at_s = kNow;
  storage::Batch mark(ActBy());
  mark.Replace(added->row, added->version);
  ASSERT_TRUE(store_->Commit(std::move(mark)));
  EXPECT_EQ(CodeOf(grant()), Code::kNotFound);
}

// One that is under way may still put a connection there, after others were looked for.
TEST_F(RegistryTest, RemoveProject_LooksForAttemptsBeforeAllElse) {
  ASSERT_TRUE(Add("acme") && Set("drive", {}));
  ASSERT_TRUE(grants_->Add(Who("runner/r"), "acme", "drive", {access::Right::kReveal}, ActBy(),
                           kNow));
  storage::Attempt attempt{P("acme"), C("drive"), *AttemptId::Parse("1"),
                           *AccountId::Parse("account"), *OauthId::Parse("main")};
  attempt.state = storage::AttemptState::kCreating;
  storage::Batch batch(ActBy());
  batch.Insert(attempt);
  ASSERT_TRUE(store_->Commit(std::move(batch)));
  const auto removed = RemoveProject(*store_, P("acme"), ActBy());
  ASSERT_EQ(CodeOf(removed), Code::kConflict);
  EXPECT_NE(removed.error().Message().find("unfinished attempts"), std::string::npos);
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

TEST_F(RegistryTest, RemoveProject_TakesAttemptsThatHaveEndedAlong) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Add("globex"));
  const auto add = [&](std::size_t number, std::string_view project, storage::AttemptState state) {
    storage::Attempt attempt{P(project), C("drive"), *AttemptId::Parse(std::to_string(number)),
                             *AccountId::Parse("account"), *OauthId::Parse("main")};
    attempt.state = state;
    attempt.connect = true;
    attempt.updated_at_s = kNow;
    storage::Batch batch(ActBy());
    batch.Insert(attempt);
    EXPECT_TRUE(store_->Commit(std::move(batch)));
    return attempt;
  };
  for (std::size_t i = 0; i <= kMaxAttemptsTogether; ++i) {
    add(i, "acme", i % 2 == 0 ? storage::AttemptState::kFailed : storage::AttemptState::kCreated);
  }
  const storage::Attempt waits = add(1000, "acme", storage::AttemptState::kStored);
  const storage::Attempt other = add(0, "globex", storage::AttemptState::kFailed);
  EXPECT_EQ(CodeOf(RemoveProject(*store_, P("acme"), ActBy())), Code::kConflict);
  EXPECT_EQ(store_->List<storage::Attempt>("acme", "", "", 500)->rows.size(),
            kMaxAttemptsTogether + 2) << "all or nothing";
  storage::Batch batch(ActBy());
  batch.Remove(waits, 1);
  ASSERT_TRUE(store_->Commit(std::move(batch)));

  const std::size_t lines = witness_.acts.size();
  const auto removed = RemoveProject(*store_, P("acme"), ActBy());
  ASSERT_TRUE(removed) << removed.error().Message();
  EXPECT_TRUE(store_->Find<storage::Attempt>(other.Names())->has_value());
  ASSERT_EQ(witness_.acts.size(), lines + 3);
  EXPECT_EQ(witness_.acts[lines].act, "attempts.prune");
  EXPECT_EQ(witness_.acts[lines].project, "acme");
  EXPECT_EQ(witness_.acts[lines].object, "removed:" + std::to_string(kMaxAttemptsTogether));
  EXPECT_EQ(witness_.acts[lines + 1].object, "removed:1");
  EXPECT_EQ(witness_.acts[lines + 2].act, ActBy().act) << "a restore takes it for the end";
}

TEST_F(RegistryTest, RemoveProject_NeverComesAboutBesideAGrantOrATokenInIt) {
  Tokens tokens(*store_, *keyring_);
  const auto word = [](const auto& result) {
    return result ? "OK" : std::string(NameOf(result.error().GetCode()));
  };
  const auto remove = [&] { return word(RemoveProject(*store_, P("acme"), ActBy())); };
  const std::function<std::string()> grant = [&] {
    return word(
        grants_->Add(Who("runner/r"), "acme", "*", {access::Right::kReveal}, ActBy(), kNow));
  };
  const std::function<std::string()> issue = [&] {
    return word(tokens.Issue({"", "acme", "*", {access::Right::kStore}, 0}, ActBy(), kNow));
  };
  for (const auto& add : {grant, issue}) {
    std::string meanwhile;
    ASSERT_TRUE(Add("acme"));
    engine_.BeforeNextCommit([&] { meanwhile = add(); });
    EXPECT_EQ(remove(), "OK");
    EXPECT_EQ(meanwhile, "CONFLICT");
    ASSERT_TRUE(Add("acme"));
    engine_.BeforeNextCommit([&] { meanwhile = remove(); });
    EXPECT_EQ(add(), "OK");
    EXPECT_EQ(meanwhile, "CONFLICT");
    (void)grants_->Remove(Who("runner/r"), "acme", "*", ActBy());
    ASSERT_TRUE(tokens.RemoveOf(P("acme"), ActBy()));
    ASSERT_EQ(remove(), "OK");
  }
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
  EXPECT_EQ(CodeOf(Set("dirve", {}, IfRegistered::kExpect)), Code::kNotFound);
  EXPECT_FALSE(*store_->Find<storage::Component>(storage::Component::Names(C("dirve"))));
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

// Afterwards no read of the grants succeeds: one of them is damaged, say.
TEST_F(RegistryTest, Grants_ThatCannotBeReadBackAfterAChangeAreTakenAwayAtOnceAllTheSame) {
  ASSERT_TRUE(Add("acme"));
  ASSERT_TRUE(Set("drive", {}));
  const access::Principal runner = Who("runner/r");
  ASSERT_TRUE(grants_->Add(runner, "acme", "drive",
                           {access::Right::kReveal, access::Right::kStore}, ActBy(), kNow));
  ASSERT_TRUE(grants_->Add(Who("runner/other"), "acme", "drive", {access::Right::kReveal}, ActBy(),
                           kNow));
  const auto fail_reads = [this] {
    engine_.FailReads(Error(Code::kUnavailable, "this test's grants cannot be read back"));
  };
  storage::Grant narrowed{.principal = runner.Str(), .project = "acme", .component = "drive"};
  narrowed.rights = {"connect", "store"};
  engine_.BeforeNextCommit(fail_reads);
  EXPECT_EQ(CodeOf(grants_->ReplaceExact(narrowed, ActBy())), Code::kUnavailable);
  EXPECT_FALSE(Allows(runner, access::Right::kReveal));
  EXPECT_TRUE(Allows(runner, access::Right::kStore));
  EXPECT_FALSE(Allows(runner, access::Right::kConnect)) << "given: with the next change";

  engine_.FailReads(std::nullopt);
  engine_.BeforeNextCommit(fail_reads);
  EXPECT_EQ(CodeOf(grants_->Remove(runner, "acme", "drive", ActBy())), Code::kUnavailable);
  EXPECT_FALSE(Allows(runner, access::Right::kStore));
  EXPECT_TRUE(Allows(Who("runner/other"), access::Right::kReveal));
  engine_.FailReads(std::nullopt);
  EXPECT_EQ(CodeOf(grants_->Remove(runner, "acme", "drive", ActBy())), Code::kNotFound)
      << "it stood";
  EXPECT_FALSE(Allows(runner, access::Right::kStore));
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

TEST_F(RegistryTest, Identities_AreRenewedWithANewKeyForTheSamePrincipal) {
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  auto identities = Identities::Load(*store_, kDomain);
  const std::string csr = Csr();
  const auto first = (*identities)->Issue("runner/r", csr, 3600, ActBy(), kNow);
  ASSERT_TRUE(first);
  const std::string serial = first->identity.row.serial;
  const auto renew = [&](Identities::By by, const std::string& with, std::int64_t ttl_s,
                         std::int64_t now_s) {
    return (*identities)->Renew(serial, by, with, ttl_s, ActBy(), now_s);
  };
  using By = Identities::By;
  EXPECT_EQ(CodeOf(renew(By::kHolder, csr, 0, kNow)), Code::kInvalid) << "the same key";
  EXPECT_EQ(CodeOf(renew(By::kHolder, Csr(), 3601, kNow)), Code::kInvalid) << "longer";
  EXPECT_EQ(CodeOf(renew(By::kHolder, Csr(), 0, kNow + 3600)), Code::kDenied) << "ended";
  EXPECT_EQ(CodeOf(renew(By::kHolder, "no CSR", 0, kNow)), Code::kInvalid);
  const auto second = renew(By::kHolder, Csr(), 0, kNow + 100);
  ASSERT_TRUE(second) << second.error().Message();
  EXPECT_EQ(second->identity.row.principal, "spiffe://vault.test/runner/r");
  EXPECT_EQ(second->identity.row.renewed_from, serial);
  EXPECT_EQ(second->identity.row.expires_at_s, kNow + 100 + 3600);
  EXPECT_TRUE(renew(By::kAdmin, Csr(), 7200, kNow + 9000)) << "an admin may, and for longer";
  ASSERT_TRUE((*identities)->Revoke(serial, ActBy(), kNow));
  EXPECT_EQ(CodeOf(renew(By::kAdmin, Csr(), 0, kNow)), Code::kDenied);
}

TEST_F(RegistryTest, Identities_OfALongChainOfRenewalsAreRevokedTogether) {
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  auto identities = Identities::Load(*store_, kDomain);
  const auto first = (*identities)->Issue("runner/r", Csr(), 3600, ActBy(), kNow);
  const auto other = (*identities)->Issue("runner/r", Csr(), 3600, ActBy(), kNow);
  std::vector<std::string> serials = {first->identity.row.serial};
  // One has ended by then, and what it was renewed into has not.
  for (std::size_t i = 0; i < 2 * kMaxRevokedTogether; ++i) {
    const auto next = (*identities)->Renew(serials.back(), Identities::By::kAdmin, Csr(),
                                           i == 5 ? 60 : 3600, ActBy(), kNow);
    ASSERT_TRUE(next) << next.error().Message();
    serials.push_back(next->identity.row.serial);
  }
  ASSERT_TRUE((*identities)->Revoke(serials[1], ActBy(), kNow + 60));
  EXPECT_FALSE((*identities)->IsRevoked(serials[0]));
  EXPECT_FALSE((*identities)->IsRevoked(other->identity.row.serial));
  for (std::size_t i = 1; i < serials.size(); ++i) {
    if (i == 6) continue;
    EXPECT_TRUE((*identities)->IsRevoked(serials[i])) << i;
    EXPECT_TRUE((*Identities::Load(*store_, kDomain))->IsRevoked(serials[i])) << i;
  }
  for (const storage::Act& act : witness_.acts) EXPECT_LE(act.object.size(), 1024u);
}

TEST_F(RegistryTest, Identities_OfALongChainAreRefusedWhollyWhereItsRevocationIsUnavailable) {
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  auto identities = Identities::Load(*store_, kDomain);
  const auto first = (*identities)->Issue("runner/r", Csr(), 3600, ActBy(), kNow);
  std::vector<std::string> serials = {first->identity.row.serial};
  while (serials.size() <= 2 * kMaxRevokedTogether) {
    const auto next = (*identities)->Renew(serials.back(), Identities::By::kAdmin, Csr(), 3600,
                                           ActBy(), kNow);
    ASSERT_TRUE(next) << next.error().Message();
    serials.push_back(next->identity.row.serial);
  }
  witness_.fails = true;
  EXPECT_EQ(CodeOf((*identities)->Revoke(serials[0], ActBy(), kNow)), Code::kUnavailable);
  for (const std::string& serial : serials) EXPECT_TRUE((*identities)->IsRevoked(serial));
  // What was not reached is by whoever revokes once more.
  witness_.fails = false;
  ASSERT_TRUE((*identities)->Revoke(serials[0], ActBy(), kNow));
  identities = Identities::Load(*store_, kDomain);
  for (const std::string& serial : serials) EXPECT_TRUE((*identities)->IsRevoked(serial));
}

TEST_F(RegistryTest, Prune_TakesWhatEndedLongAgoAndKeepsChainsWhole) {
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  auto identities = Identities::Load(*store_, kDomain);
  const auto renew = [&](const std::string& serial, std::int64_t ttl_s) {
    return (*identities)->Renew(serial, Identities::By::kAdmin, Csr(), ttl_s, ActBy(), kNow)
        ->identity.row.serial;
  };
  // The second and third of the chain end before the first does.
  const std::string first =
      (*identities)->Issue("runner/r", Csr(), 7200, ActBy(), kNow)->identity.row.serial;
  const std::string last = renew(renew(renew(first, 60), 60), 3600);
  const std::string revoked =
      (*identities)->Issue("runner/s", Csr(), 60, ActBy(), kNow)->identity.row.serial;
  ASSERT_TRUE((*identities)->Revoke(revoked, ActBy(), kNow));
  // As a restore writes one that the backup did not know: without an end.
  storage::Batch batch(ActBy());
  batch.Insert(storage::Identity{.serial = "ab", .principal = "-", .revoked_at_s = kNow});
  ASSERT_TRUE(store_->Commit(std::move(batch)));
  identities = Identities::Load(*store_, kDomain);

  const std::size_t lines = witness_.acts.size();
  EXPECT_EQ((*identities)->Prune(kNow + 60, {.act = "identities.prune"}), 0U) << "ends then";
  EXPECT_EQ(witness_.acts.size(), lines);
  EXPECT_EQ((*identities)->Prune(kNow + 61, {.act = "identities.prune"}), 3U);
  ASSERT_EQ(witness_.acts.size(), lines + 1);
  EXPECT_EQ(witness_.acts.back().object, "removed:3");
  const auto find = [&](const std::string& serial) {
    return *store_->Find<storage::Identity>(storage::Identity::Names(serial));
  };
  EXPECT_FALSE(find(revoked));
  EXPECT_FALSE((*identities)->IsRevoked(revoked)) << "its end refuses it";
  EXPECT_TRUE((*identities)->IsRevoked("ab"));
  EXPECT_EQ(find(last)->row.renewed_from, first);
  EXPECT_EQ(store_->List<storage::Identity>("", "", "", 100)->rows.size(), 3U);
  ASSERT_TRUE((*identities)->Revoke(first, ActBy(), kNow + 100));
  EXPECT_TRUE((*identities)->IsRevoked(last));

  EXPECT_EQ((*identities)->Prune(kNow + kMaxIdentityTtlS, {.act = "identities.prune"}), 2U);
  EXPECT_TRUE((*identities)->IsRevoked("ab")) << "no certificate lives longer";
  EXPECT_EQ((*identities)->Prune(kNow + kMaxIdentityTtlS + 1, {.act = "identities.prune"}), 1U);
}

TEST_F(RegistryTest, Prune_OfManyTakesALineForEachPart) {
  ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
  auto identities = Identities::Load(*store_, kDomain);
  storage::Batch batch(ActBy());
  for (std::size_t i = 0; i <= kMaxPrunedTogether; ++i) {
    batch.Insert(storage::Identity{
        .serial = "s" + std::to_string(i), .principal = "-", .expires_at_s = kNow});
  }
  ASSERT_TRUE(store_->Commit(std::move(batch)));
  EXPECT_EQ((*identities)->Prune(kNow + 1, {.act = "identities.prune"}), kMaxPrunedTogether + 1);
  EXPECT_EQ(witness_.acts.end()[-2].object, "removed:" + std::to_string(kMaxPrunedTogether));
  EXPECT_EQ(witness_.acts.back().object, "removed:1");
}

// A CA outside, with a client certificate for a runner of its trust domain.
struct Partner {
  explicit Partner(const std::string& domain) {
    auto material = CertificateAuthority::Generate(domain, kNow);
    pem = material->certificate_pem;
    authority = *CertificateAuthority::Load(pem, material->key);
    second_pem = Reissued(*material);
    leaf_pem = Leaf("spiffe://" + domain + "/runner/r");
  }
  // Another certificate for the same key.
  static std::string Reissued(const CertificateAuthority::Material& material) {
    const std::string key_pem =
        material.key.Bytes().Expose([](std::span<const std::uint8_t> bytes) {
          return std::string(bytes.begin(), bytes.end());
        });
    const auto reading = [](const std::string& text) {
      return std::unique_ptr<BIO, decltype(&BIO_free)>(
          BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
    };
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        PEM_read_bio_X509(reading(material.certificate_pem).get(), nullptr, nullptr, nullptr),
        X509_free);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        PEM_read_bio_PrivateKey(reading(key_pem).get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 7);
    X509_sign(certificate.get(), key.get(), EVP_sha256());
    const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
    PEM_write_bio_X509(memory.get(), certificate.get());
    char* text = nullptr;
    const long size = BIO_get_mem_data(memory.get(), &text);
    return std::string(text, static_cast<std::size_t>(size));
  }
  std::string Leaf(const std::string& spiffe_id) const {
    return authority->IssueClient(Csr(), spiffe_id, 3600, kNow)->certificate_pem;
  }
  std::string pem;
  std::string second_pem;
  std::unique_ptr<CertificateAuthority> authority;
  std::string leaf_pem;
};

class TrustTest : public RegistryTest {
 protected:
  void SetUp() override {
    RegistryTest::SetUp();
    ASSERT_TRUE(CreateAuthority(*store_, kDomain, kNow));
    identities_ = *Identities::Load(*store_, kDomain);
    Load();
  }
  void Load() { trusts_ = *Trusts::Load(*store_, kDomain, identities_->Authority()); }
  Result<storage::Stored<storage::TrustAnchor>> Believe(const std::string& pem,
                                                        std::vector<std::string> kinds = {"runner"},
                                                        const char* domain = "partner.test",
                                                        std::int64_t now_s = kNow) {
    return trusts_->Add(pem, domain, std::move(kinds), ActBy(), now_s);
  }
  // The principal that a leaf is taken for, or the error's code.
  std::string Seen(const std::string& leaf_pem, std::int64_t now_s = kNow) {
    const auto vouched = trusts_->InForce()->Verify(leaf_pem, "", now_s);
    return vouched ? vouched->who.Str() : std::string(NameOf(vouched.error().GetCode()));
  }

  std::unique_ptr<Identities> identities_;
  std::unique_ptr<Trusts> trusts_;
  const Partner partner_{"partner.test"};
};

TEST_F(TrustTest, Anchors_AreBelievedFromTheirAddingToTheirRemoval) {
  const auto own = identities_->Issue("runner/r", Csr(), 3600, ActBy(), kNow);
  EXPECT_EQ(Seen(own->certificate_pem), "spiffe://vault.test/runner/r");
  EXPECT_EQ(Seen(partner_.leaf_pem), "UNAUTHENTICATED");
  int swaps = 0;
  trusts_->OnSwap([&swaps] { ++swaps; });
  const auto added = Believe(partner_.pem);
  ASSERT_TRUE(added) << added.error().Message();
  EXPECT_EQ(swaps, 1);
  EXPECT_EQ(added->row.id.size(), 64u);
  EXPECT_EQ(Seen(partner_.leaf_pem), "spiffe://partner.test/runner/r");
  EXPECT_EQ(Seen(partner_.leaf_pem, kNow + 3601), "UNAUTHENTICATED");
  EXPECT_NE(trusts_->InForce()->RootsPem().find(partner_.pem), std::string::npos);
  Load();
  EXPECT_EQ(Seen(partner_.leaf_pem), "spiffe://partner.test/runner/r") << "after a restart, too";
  ASSERT_TRUE(trusts_->Remove(added->row.id, ActBy()));
  EXPECT_EQ(Seen(partner_.leaf_pem), "UNAUTHENTICATED");
  EXPECT_EQ(trusts_->InForce()->RootsPem().find(partner_.pem), std::string::npos);
  EXPECT_EQ(CodeOf(trusts_->Remove(added->row.id, ActBy())), Code::kNotFound);
  EXPECT_EQ(Seen(own->certificate_pem), "spiffe://vault.test/runner/r");
}

TEST_F(TrustTest, Anchors_VouchForTheirTrustDomainAndKindsOnly) {
  const Partner second("second.test");
  ASSERT_TRUE(Believe(partner_.pem));
  ASSERT_TRUE(Believe(second.pem, {"component", "runner"}, "second.test"));
  const Partner pretender("vault.test");  // another CA that says it is the vault's
  EXPECT_EQ(Seen(pretender.leaf_pem), "UNAUTHENTICATED");
  EXPECT_EQ(Seen(partner_.Leaf("spiffe://partner.test/admin/a")), "UNAUTHENTICATED");
  EXPECT_EQ(Seen(partner_.Leaf("spiffe://partner.test/auditor/a")), "UNAUTHENTICATED");
  EXPECT_EQ(Seen(partner_.Leaf("spiffe://partner.test/project/p/component/c")), "UNAUTHENTICATED");
  EXPECT_EQ(Seen(second.Leaf("spiffe://second.test/project/p/component/c")),
            "spiffe://second.test/project/p/component/c");
  const auto named = [&](const char* text) {
    return trusts_->InForce()->PrincipalOf(text).has_value();
  };
  EXPECT_TRUE(named("local/admin"));
  EXPECT_TRUE(named("spiffe://vault.test/admin/a"));
  EXPECT_TRUE(named("spiffe://partner.test/runner/r"));
  EXPECT_TRUE(named("spiffe://second.test/project/p/component/c"));
  EXPECT_FALSE(named("spiffe://partner.test/admin/a"));
  EXPECT_FALSE(named("spiffe://partner.test/project/p/component/c"));
  EXPECT_FALSE(named("spiffe://other.test/runner/r"));
  EXPECT_FALSE(named("partner.test/runner/r"));
}

TEST_F(TrustTest, WhatIsNoAnchor_IsNotAdded) {
  EXPECT_EQ(CodeOf(Believe("no certificate")), Code::kInvalid);
  EXPECT_EQ(CodeOf(Believe(std::string(kMaxTrustAnchorSize + 1, 'a'))), Code::kInvalid);
  EXPECT_EQ(CodeOf(Believe(partner_.leaf_pem)), Code::kInvalid) << "no CA";
  EXPECT_EQ(CodeOf(Believe(partner_.pem + Partner("p2.test").pem)), Code::kInvalid) << "two";
  EXPECT_EQ(CodeOf(Believe(partner_.pem, {"runner"}, "partner.test", kNow - 3600)),
            Code::kInvalid)
      << "not valid yet";
  EXPECT_EQ(CodeOf(Believe(partner_.pem, {"runner"}, "partner.test",
                           kNow + 10LL * 366 * 24 * 3600)),
            Code::kInvalid)
      << "ended";
  for (const std::vector<std::string>& kinds :
       {std::vector<std::string>{}, {"admin"}, {"auditor"}, {"runner", "admin"},
        {"runner", "runner"}, {""}}) {
    EXPECT_EQ(CodeOf(Believe(partner_.pem, kinds)), Code::kInvalid);
  }
  EXPECT_EQ(CodeOf(Believe(partner_.pem, {"runner"}, kDomain)), Code::kInvalid);
  EXPECT_EQ(CodeOf(Believe(partner_.pem, {"runner"}, "Partner.test")), Code::kInvalid);
  EXPECT_EQ(CodeOf(Believe(identities_->Authority().CertificatePem())), Code::kConflict);
  ASSERT_TRUE(Believe(partner_.pem));
  EXPECT_EQ(CodeOf(Believe(partner_.pem, {"runner"}, "second.test")), Code::kConflict)
      << "one CA speaks for one trust domain";
  ASSERT_NE(partner_.second_pem, partner_.pem);
  EXPECT_EQ(CodeOf(Believe(partner_.second_pem, {"runner"}, "second.test")), Code::kConflict)
      << "nor by another certificate of its key";
}

TEST_F(TrustTest, Anchors_AreAtMostThirtyTwo) {
  for (std::size_t i = 0; i < kMaxTrustAnchors; ++i) {
    ASSERT_TRUE(Believe(Partner("p" + std::to_string(i)).pem));
  }
  EXPECT_EQ(CodeOf(Believe(partner_.pem)), Code::kExhausted);
}

TEST_F(TrustTest, AChangeThatIsUnavailable_TakesAwayAndDoesNotGive) {
  witness_.fails = true;
  EXPECT_EQ(CodeOf(Believe(partner_.pem)), Code::kUnavailable);
  EXPECT_EQ(Seen(partner_.leaf_pem), "UNAUTHENTICATED");
  witness_.fails = false;
  Load();
  EXPECT_EQ(Seen(partner_.leaf_pem), "spiffe://partner.test/runner/r") << "it stood";
  const std::string id =
      store_->List<storage::TrustAnchor>("", "", "", 1)->rows.front().row.id;
  witness_.fails = true;
  EXPECT_EQ(CodeOf(trusts_->Remove(id, ActBy())), Code::kUnavailable);
  EXPECT_EQ(Seen(partner_.leaf_pem), "UNAUTHENTICATED");
}

TEST_F(TrustTest, ARevokedKey_IsBelievedInNoCertificate) {
  ASSERT_TRUE(Believe(partner_.pem));
  const std::string other_leaf = partner_.Leaf("spiffe://partner.test/runner/other");
  const auto key_hash = RevokedKeyIn(partner_.leaf_pem);
  ASSERT_TRUE(key_hash) << key_hash.error().Message();
  int swaps = 0;
  trusts_->OnSwap([&swaps] { ++swaps; });
  const auto revoked = trusts_->RevokeKey(*key_hash, ActBy(), kNow);
  ASSERT_TRUE(revoked) << revoked.error().Message();
  EXPECT_EQ(swaps, 1) << "what was verified before is void";
  EXPECT_EQ(revoked->row, (storage::RevokedKey{*key_hash, kNow, "local/admin"}));
  EXPECT_EQ(witness_.acts.back().object, *key_hash);
  EXPECT_EQ(Seen(partner_.leaf_pem), "UNAUTHENTICATED");
  EXPECT_EQ(Seen(other_leaf), "spiffe://partner.test/runner/other") << "it has a key of its own";
  EXPECT_EQ(trusts_->RevokeKey(*key_hash, ActBy(), kNow + 9)->row.revoked_at_s, kNow);
  Load();
  EXPECT_EQ(Seen(partner_.leaf_pem), "UNAUTHENTICATED") << "after a restart, too";

  const std::string own_pem =
      identities_->Issue("runner/r", Csr(), 3600, ActBy(), kNow)->certificate_pem;
  witness_.fails = true;
  EXPECT_EQ(CodeOf(trusts_->RevokeKey(*RevokedKeyIn(own_pem), ActBy(), kNow)), Code::kUnavailable);
  EXPECT_EQ(Seen(own_pem), "UNAUTHENTICATED") << "the built-in CA's as well, and at once";
}

TEST_F(TrustTest, WhatIsNoKeyToRevoke_IsRefused) {
  ASSERT_TRUE(Believe(partner_.pem));
  const std::string good = *RevokedKeyIn(partner_.leaf_pem);
  for (const std::string& wrong :
       {std::string(), good.substr(1), good + "0", std::string(64, 'G'), std::string(64, 'A')}) {
    EXPECT_EQ(CodeOf(trusts_->RevokeKey(wrong, ActBy(), kNow)), Code::kInvalid) << wrong;
  }
  for (const std::string& ca : {partner_.pem, identities_->Authority().CertificatePem()}) {
    EXPECT_EQ(CodeOf(trusts_->RevokeKey(*RevokedKeyIn(ca), ActBy(), kNow)), Code::kInvalid);
  }
  EXPECT_EQ(CodeOf(RevokedKeyIn("no certificate")), Code::kInvalid);
  EXPECT_EQ(CodeOf(RevokedKeyIn(std::string(kMaxTrustAnchorSize + 1, 'a'))), Code::kInvalid);
}

TEST_F(TrustTest, RevokedKeys_HaveABound) {
  for (std::size_t i = 0; i < kMaxRevokedKeys;) {
    storage::Batch batch(ActBy());
    for (std::size_t last = i + storage::kMaxBatchChanges; i < last; ++i) {
      batch.Insert(storage::RevokedKey{.key_hash = std::to_string(i)});
    }
    ASSERT_TRUE(store_->Commit(std::move(batch)));
  }
  Load();
  EXPECT_EQ(CodeOf(trusts_->RevokeKey(std::string(64, 'a'), ActBy(), kNow)), Code::kExhausted);
}

TEST_F(TrustTest, ARowThatNoAddWouldWrite_IsNotBelieved) {
  const auto load_with = [&](storage::TrustAnchor anchor) {
    storage::Batch batch(ActBy());
    batch.Insert(anchor);
    EXPECT_TRUE(store_->Commit(std::move(batch)));
    const auto loaded = Trusts::Load(*store_, kDomain, identities_->Authority());
    storage::Batch undo(ActBy());
    undo.Remove(anchor, 1);
    EXPECT_TRUE(store_->Commit(std::move(undo)));
    return CodeOf(loaded);
  };
  const auto good = Believe(partner_.pem);
  const storage::TrustAnchor row = good->row;
  ASSERT_TRUE(trusts_->Remove(row.id, ActBy()));
  for (const auto& change : std::vector<std::function<void(storage::TrustAnchor&)>>{
           [](auto& one) { one.kinds = {}; }, [](auto& one) { one.kinds = {"admin"}; },
           [](auto& one) { one.trust_domain = kDomain; }, [](auto& one) { one.id = "00"; },
           [](auto& one) { one.certificate_pem = "none"; }}) {
    storage::TrustAnchor changed = row;
    change(changed);
    EXPECT_EQ(load_with(changed), Code::kCorrupt);
  }
}

}  // namespace
}  // namespace oauthvault::registry
