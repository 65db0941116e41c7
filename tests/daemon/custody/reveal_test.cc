#include "daemon/custody/reveal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/custody/store.h"
#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::custody {
namespace {

using access::Right;
using fakes::BytesOf;
using fakes::CodeOf;
using fakes::TextOf;
using Acts = std::vector<std::string>;

class CustodyReveal : public testing::Test {
 protected:
  Result<Release> Reveal(std::string_view id = "one", Right right = Right::kReveal,
                         std::string_view project = "acme", std::string_view component = "sheets") {
    return RevealAndWait(vault_.PermitFor(right, project, component), fakes::TestVault::IdOf(id),
                         fakes::TestVault::Caller(), "Credentials.Reveal", vault_.Store(),
                         vault_.Trail());
  }

  void PutWithOwnApp(std::string_view data) {
    NewCredentials credentials{.id = fakes::TestVault::IdOf("one")};
    credentials.data = crypto::CredentialsData(BytesOf(data));
    credentials.app_key = "mine";
    credentials.app_secret = crypto::AppSecret(BytesOf("canary-own-secret"));
    ASSERT_TRUE(custody::Put(vault_.PermitFor(Right::kStore), std::move(credentials),
                             IfThere::kReplace, KeptVersions{}, fakes::SetupAct(),
                             vault_.Store(), 86'399));
  }

  void ChangeComponent(registry::ComponentFields fields) {
    ASSERT_TRUE(registry::SetComponent(vault_.Store(), vault_.component, std::move(fields),
                                       registry::IfRegistered::kChange,
                                       fakes::ActBy("local/admin"), 1));
  }

  // Flips one bit of the stored row of `one`, `from_end` bytes before its end.
  void Damage(std::size_t from_end) {
    auto stored = vault_.Store().Get<storage::Credentials>(storage::Credentials::Names(
        vault_.project, vault_.component, fakes::TestVault::IdOf("one")));
    ASSERT_TRUE(stored);
    std::vector<std::uint8_t> bytes(stored->sealed.Bytes().begin(), stored->sealed.Bytes().end());
    ASSERT_GT(bytes.size(), from_end);
    bytes[bytes.size() - 1 - from_end] ^= 1;
    auto damaged = crypto::SealedRow::Parse(bytes);
    ASSERT_TRUE(damaged);
    std::vector<storage::Change> changes;
    changes.push_back({stored->key, {}, std::move(*damaged)});
    ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), fakes::SetupActBytes()));
  }

  fakes::TestVault vault_;
};

TEST_F(CustodyReveal, Reveal_OpensTheEightKeysWithTheComponentsApp) {
  NewCredentials credentials{.id = fakes::TestVault::IdOf("one")};
  credentials.data = crypto::CredentialsData(BytesOf("{\"canary\": 1}"));
  credentials.authorized_for = "ann";
  credentials.creator_description = "by hand";
  ASSERT_TRUE(custody::Put(vault_.PermitFor(Right::kStore), std::move(credentials),
                           IfThere::kReplace, KeptVersions{}, fakes::SetupAct(), vault_.Store(),
                           86'399));
  auto release = Reveal();
  ASSERT_TRUE(release) << release.error().Message();
  EXPECT_EQ(release->Version(), 1u);
  EXPECT_EQ(release->DataSize(), 13u);
  EXPECT_EQ(release->AppSecretSize(), fakes::kComponentSecret.size());
  const auto keys = std::move(*release).Open();
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->id, "one");
  EXPECT_EQ(keys->authorized_for, "ann");
  EXPECT_EQ(keys->creator_id, fakes::kRunner);
  EXPECT_EQ(keys->creator_description, "by hand");
  EXPECT_EQ(keys->created, "1970-01-01 23:59:59");
  EXPECT_EQ(keys->oauth_version, "2.0");
  EXPECT_EQ(keys->app_key, fakes::kComponentClient);
  EXPECT_EQ(TextOf(keys->data.Bytes()), "{\"canary\": 1}");
  EXPECT_EQ(TextOf(keys->app_secret.Bytes()), fakes::kComponentSecret);
}

TEST_F(CustodyReveal, Reveal_PrefersTheCredentialsOwnApp) {
  PutWithOwnApp("{}");
  const auto keys = std::move(*Reveal()).Open();
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->app_key, "mine");
  EXPECT_EQ(TextOf(keys->app_secret.Bytes()), "canary-own-secret");
}

TEST_F(CustodyReveal, Reveal_GivesANewSecretOfTheSameClient) {
  vault_.Put("one", "{}");
  registry::ComponentFields fields;
  fields.app_secret = crypto::AppSecret(BytesOf("rotated"));
  ChangeComponent(std::move(fields));
  EXPECT_EQ(TextOf(std::move(*Reveal()).Open()->app_secret.Bytes()), "rotated");
}

TEST_F(CustodyReveal, Reveal_NeverPutsTheComponentsSecretBesideAnotherClient) {
  NewCredentials foreign{.id = fakes::TestVault::IdOf("foreign")};
  foreign.data = crypto::CredentialsData(BytesOf("{}"));
  foreign.foreign_client_id = "client-of-rivery";
  ASSERT_TRUE(custody::Put(vault_.PermitFor(Right::kStore), std::move(foreign), IfThere::kReplace,
                           KeptVersions{}, fakes::SetupAct(), vault_.Store(), 1));
  // Not even one that bears the component's own name.
  NewCredentials alike{.id = fakes::TestVault::IdOf("alike")};
  alike.data = crypto::CredentialsData(BytesOf("{}"));
  alike.foreign_client_id = std::string(fakes::kComponentClient);
  ASSERT_TRUE(custody::Put(vault_.PermitFor(Right::kStore), std::move(alike), IfThere::kReplace,
                           KeptVersions{}, fakes::SetupAct(), vault_.Store(), 1));
  const auto expect_no_secret = [&](std::string_view id, std::string_view app_key) {
    auto release = Reveal(id);
    ASSERT_TRUE(release) << id;
    EXPECT_EQ(release->AppSecretSize(), 0u) << id;
    const auto keys = std::move(*release).Open();
    ASSERT_TRUE(keys);
    EXPECT_EQ(keys->app_key, app_key);
    EXPECT_TRUE(keys->app_secret.Empty()) << id;
  };
  expect_no_secret("foreign", "client-of-rivery");
  expect_no_secret("alike", fakes::kComponentClient);
  vault_.Put("before", "{}");
  registry::ComponentFields fields;
  fields.app_key = "another-client";
  ChangeComponent(std::move(fields));
  expect_no_secret("before", fakes::kComponentClient);
}

TEST_F(CustodyReveal, Reveal_WritesTheAuditRecordBeforeOpening) {
  vault_.Put("one", "{}");
  vault_.HoldTrail(true);
  std::atomic<bool> was_done = false;
  std::promise<void> done;
  custody::Reveal(vault_.PermitFor(Right::kReveal), fakes::TestVault::IdOf("one"),
                  fakes::TestVault::Caller(), "Credentials.Reveal", vault_.Store(), vault_.Trail(),
                  [&](Result<Release> release) {
                    EXPECT_TRUE(release);
                    was_done = true;
                    done.set_value();
                  });
  while (vault_.Syncs() < 2) std::this_thread::yield();  // the trail's first line was one
  EXPECT_FALSE(was_done);
  EXPECT_EQ(vault_.Acts(), Acts{});  // not durable
  vault_.HoldTrail(false);
  done.get_future().wait();
  const auto lines = vault_.Lines();
  ASSERT_EQ(lines.size(), 1u);
  const nlohmann::json& line = lines.front();
  EXPECT_EQ(line.at("act"), "Credentials.Reveal");
  EXPECT_EQ(line.at("outcome"), "allowed");
  EXPECT_EQ(line.at("principal"), fakes::kRunner);
  EXPECT_EQ(line.at("right"), "reveal");
  EXPECT_EQ(line.at("project"), "acme");
  EXPECT_EQ(line.at("component"), "sheets");
  EXPECT_EQ(line.at("oauth_id"), "one");
  EXPECT_EQ(line.at("version"), 1);
  EXPECT_EQ(line.at("peer"), "127.0.0.1:5");
  EXPECT_EQ(line.at("request_id"), "request-7");
}

TEST_F(CustodyReveal, Reveal_GivesNothingWhileTheTrailCannotRecord) {
  vault_.Put("one", "{}");
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(Reveal()), "UNAVAILABLE");
  EXPECT_EQ(CodeOf(Reveal("missing")), "UNAVAILABLE");
  vault_.FailTrail(false);
  EXPECT_EQ(CodeOf(Reveal()), "OK");
}

TEST_F(CustodyReveal, Reveal_RecordsWhatItDoesNotFind) {
  EXPECT_EQ(CodeOf(Reveal("missing")), "NOT_FOUND");
  vault_.Put("one", "{}");
  EXPECT_EQ(CodeOf(Reveal("one", Right::kReveal, "other")), "NOT_FOUND");
  EXPECT_EQ(CodeOf(Reveal("one", Right::kReveal, "acme", "plain")), "NOT_FOUND");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Reveal failed NOT_FOUND",
                                 "Credentials.Reveal failed NOT_FOUND",
                                 "Credentials.Reveal failed NOT_FOUND"}));
}

TEST_F(CustodyReveal, Reveal_TakesAPermitForRevealOrConnectOnAPairOnly) {
  vault_.Put("one", "{}");
  const std::uint64_t reads = vault_.Engine().ReadCount();
  EXPECT_EQ(CodeOf(Reveal("one", Right::kDescribe)), "DENIED");
  EXPECT_EQ(CodeOf(Reveal("one", Right::kStore)), "DENIED");
  // An admin may describe the whole vault; that is no pair, and no reveal.
  auto on_vault = access::Decide(access::Principal::LocalAdmin(), Right::kDescribe,
                                 access::Scope::Vault(), access::GrantTable({}));
  ASSERT_TRUE(on_vault);
  EXPECT_EQ(CodeOf(RevealAndWait(std::move(*on_vault), fakes::TestVault::IdOf("one"),
                                 fakes::TestVault::Caller(), "x", vault_.Store(), vault_.Trail())),
            "DENIED");
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
  EXPECT_EQ(vault_.Acts(), Acts{});
  EXPECT_EQ(CodeOf(Reveal("one", Right::kConnect)), "OK");
}

TEST_F(CustodyReveal, Reveal_OfADamagedRowIsCorruptAndRecorded) {
  vault_.Put("one", "{}");
  // The meta part stands before #data (2 bytes and a tag of 16).
  Damage(2 + 16 + 20);
  EXPECT_EQ(CodeOf(Reveal()), "CORRUPT");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Reveal failed CORRUPT"}));
}

TEST_F(CustodyReveal, OpenInto_OfDamagedDataLeavesNothingInTheBuffer) {
  vault_.Put("one", "{\"canary\":1}");
  Damage(0);
  auto release = Reveal();
  ASSERT_TRUE(release);
  std::vector<std::uint8_t> data(release->DataSize(), 0xaa);
  std::vector<std::uint8_t> app_secret(release->AppSecretSize(), 0xaa);
  EXPECT_EQ(CodeOf(std::move(*release).OpenInto(data, app_secret)), "CORRUPT");
  EXPECT_EQ(data, std::vector<std::uint8_t>(data.size(), 0));
  EXPECT_EQ(std::string(app_secret.begin(), app_secret.end()).find("canary"), std::string::npos);
}

TEST_F(CustodyReveal, OpenInto_OfADamagedAppSecretWipesTheDataToo) {
  PutWithOwnApp("{\"canary\":1}");
  Damage(0);
  auto release = Reveal();
  ASSERT_TRUE(release);
  std::vector<std::uint8_t> data(release->DataSize(), 0xaa);
  std::vector<std::uint8_t> app_secret(release->AppSecretSize(), 0xaa);
  EXPECT_EQ(CodeOf(std::move(*release).OpenInto(data, app_secret)), "CORRUPT");
  EXPECT_EQ(data, std::vector<std::uint8_t>(data.size(), 0));
  EXPECT_EQ(app_secret, std::vector<std::uint8_t>(app_secret.size(), 0));
  EXPECT_EQ(CodeOf(std::move(*Reveal()).Open()), "CORRUPT");
}

TEST(CreatedText, IsInUtcWithTwoDigitsForAllButTheYear) {
  EXPECT_EQ(CreatedText(0), "1970-01-01 00:00:00");
  EXPECT_EQ(CreatedText(-1), "1969-12-31 23:59:59");
  EXPECT_EQ(CreatedText(951'782'400 + 3'661), "2000-02-29 01:01:01");
  EXPECT_EQ(CreatedText(4'102'444'799), "2099-12-31 23:59:59");
}

TEST_F(CustodyReveal, OpenInto_OfAReleaseWhoseProjectWasShreddedMeanwhileIsCorrupt) {
  vault_.Put("one", "{\"canary\":1}");
  auto release = Reveal();
  ASSERT_TRUE(release);
  ASSERT_TRUE(vault_.Keys().RemoveOwner(crypto::Owner::Project(vault_.project.Str())));
  std::vector<std::uint8_t> data(release->DataSize(), 0xaa);
  std::vector<std::uint8_t> app_secret(release->AppSecretSize(), 0xaa);
  EXPECT_EQ(CodeOf(std::move(*release).OpenInto(data, app_secret)), "CORRUPT");
  EXPECT_EQ(data, std::vector<std::uint8_t>(data.size(), 0));
}

TEST_F(CustodyReveal, Reveal_WhileTheStoreCannotBeReadIsUnavailableAndRecorded) {
  vault_.Put("one", "{}");
  vault_.Memory().FailReads(Error(Code::kUnavailable, "the fake's disk is away"));
  EXPECT_EQ(CodeOf(Reveal()), "UNAVAILABLE");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.Reveal failed UNAVAILABLE"}));
}

}  // namespace
}  // namespace oauthvault::custody
