#include "daemon/custody/reveal_many.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::custody {
namespace {

using access::Right;
using fakes::BytesOf;
using fakes::CodeOf;
using Acts = std::vector<std::string>;

class CustodyRevealMany : public testing::Test {
 protected:
  static std::vector<OauthId> Ids(const std::vector<std::string_view>& texts) {
    std::vector<OauthId> ids;
    for (const std::string_view text : texts) ids.push_back(fakes::TestVault::IdOf(text));
    return ids;
  }
  Result<Releases> Reveal(const std::vector<std::string_view>& ids, MayLeave may_leave,
                          Right right = Right::kReveal) {
    std::promise<Result<Releases>> promise;
    RevealMany(vault_.PermitFor(right), Ids(ids), fakes::TestVault::Caller(),
               "Credentials.RevealMany", vault_.Store(), vault_.Trail(), std::move(may_leave),
               [&promise](Result<Releases> releases) { promise.set_value(std::move(releases)); });
    return promise.get_future().get();
  }
  Result<Releases> Reveal(const std::vector<std::string_view>& ids,
                          Right right = Right::kReveal) {
    return Reveal(ids, [](std::span<const Sought>) { return Result<void>(); }, right);
  }
  // Both secrets of each item, or the code, as text.
  static std::vector<std::string> OpenAll(Releases& releases) {
    std::vector<std::string> all;
    std::vector<std::vector<std::uint8_t>> memory;  // stays until the last is open
    for (const Sought& item : releases.Items()) {
      if (!item.kept) {
        all.push_back(CodeOf(item.kept));
        continue;
      }
      auto& data = memory.emplace_back(item.kept->DataSize());
      std::vector<std::uint8_t> secret(item.kept->AppSecretSize());
      const auto opened = releases.OpenInto(item, data, secret);
      all.push_back(opened ? std::string(data.begin(), data.end()) + " " +
                                 std::string(secret.begin(), secret.end())
                           : CodeOf(opened));
      memory.push_back(std::move(secret));
    }
    return all;
  }
  void PutWithOwnApp(std::string_view id, std::string_view data) {
    NewCredentials credentials{.id = fakes::TestVault::IdOf(id)};
    credentials.data = crypto::CredentialsData(BytesOf(data));
    credentials.app_key = "mine";
    credentials.app_secret = crypto::AppSecret(BytesOf("own-secret"));
    ASSERT_TRUE(custody::Put(vault_.PermitFor(Right::kStore), std::move(credentials),
                             IfThere::kReplace, KeptVersions{}, fakes::SetupAct(),
                             vault_.Store(), 86'399));
  }
  // Flips one bit of a stored row, `from_end` bytes before its end.
  void Damage(std::string_view id, std::size_t from_end) {
    auto stored = vault_.Store().Get<storage::Credentials>(storage::Credentials::Names(
        vault_.project, vault_.component, fakes::TestVault::IdOf(id)));
    ASSERT_TRUE(stored);
    std::vector<std::uint8_t> bytes(stored->sealed.Bytes().begin(), stored->sealed.Bytes().end());
    bytes[bytes.size() - 1 - from_end] ^= 1;
    auto damaged = crypto::SealedRow::Parse(bytes);
    ASSERT_TRUE(damaged);
    std::vector<storage::Change> changes;
    changes.push_back({stored->key, {}, std::move(*damaged)});
    ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), fakes::SetupActBytes()));
  }

  fakes::TestVault vault_;
  const std::string secret_ = " " + std::string(fakes::kComponentSecret);
};

TEST_F(CustodyRevealMany, RevealMany_AnswersIdByIdInTheOrderThatWasAsked) {
  vault_.Put("a", "{\"n\":1}");
  vault_.Put("b", "{\"n\":22}");
  PutWithOwnApp("own", "{}");
  vault_.Put("a", "{\"n\":333}");
  const std::uint64_t reads = vault_.Engine().ReadCount();
  auto releases = Reveal({"b", "missing", "own", "a"});
  ASSERT_TRUE(releases) << releases.error().Message();
  EXPECT_EQ(vault_.Engine().ReadCount(), reads + 2) << "the credentials, and the component once";
  EXPECT_EQ(OpenAll(*releases),
            (std::vector<std::string>{"{\"n\":22}" + secret_, "NOT_FOUND", "{} own-secret",
                                      "{\"n\":333}" + secret_}));
  EXPECT_EQ(releases->Items()[3].kept->credentials.version, 2u);
}

TEST_F(CustodyRevealMany, RevealMany_LeavesALineForEachIdWithOneSync) {
  vault_.Put("a", "{\"secret\":\"twenty-four characters\"}");
  vault_.Put("b", "{}");
  const std::uint64_t syncs = vault_.Syncs();
  ASSERT_TRUE(Reveal({"b", "missing", "a"}));
  EXPECT_EQ(vault_.Syncs(), syncs + 1);
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.RevealMany allowed",
                                 "Credentials.RevealMany failed NOT_FOUND",
                                 "Credentials.RevealMany allowed"}));
  const auto lines = vault_.Lines();
  const char* ids[] = {"b", "missing", "a"};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(lines[i].at("oauth_id"), ids[i]);
    EXPECT_EQ(lines[i].at("principal"), fakes::kRunner);
    EXPECT_EQ(lines[i].at("right"), "reveal");
    EXPECT_EQ(lines[i].at("project"), "acme");
    EXPECT_EQ(lines[i].at("component"), "sheets");
    EXPECT_EQ(lines[i].at("request_id"), "request-7");
    EXPECT_EQ(lines[i].contains("version"), i != 1);
    EXPECT_EQ(lines[i].contains("fingerprints"), i != 1);
  }
  EXPECT_NE(lines[0].at("fingerprints"), lines[2].at("fingerprints"));
}

TEST_F(CustodyRevealMany, RevealMany_WaitsForItsLinesBeforeAnythingCanBeOpened) {
  vault_.Put("a", "{}");
  vault_.HoldTrail(true);
  const std::uint64_t syncs = vault_.Syncs();
  std::atomic<bool> answered = false;
  std::promise<void> done;
  RevealMany(vault_.PermitFor(Right::kReveal), Ids({"a"}), fakes::TestVault::Caller(), "x",
             vault_.Store(), vault_.Trail(), [](std::span<const Sought>) { return Result<void>(); },
             [&](Result<Releases> releases) {
               EXPECT_TRUE(releases);
               answered = true;
               done.set_value();
             });
  vault_.AwaitSyncsBeyond(syncs);
  EXPECT_FALSE(answered);
  vault_.HoldTrail(false);
  done.get_future().get();
  EXPECT_TRUE(answered);
}

TEST_F(CustodyRevealMany, RevealMany_WithoutADurableTrail_RevealsNothingAtAll) {
  vault_.Put("a", "{}");
  vault_.Put("b", "{}");
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(Reveal({"a", "b"})), "UNAVAILABLE");
  vault_.FailTrail(false);
  EXPECT_EQ(CodeOf(Reveal({"a", "b"})), "OK");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.RevealMany allowed",
                                 "Credentials.RevealMany allowed"}));
}

TEST_F(CustodyRevealMany, RevealMany_ThatMayNotLeave_LeavesOneFailedLineAndNoId) {
  vault_.Put("a", "{}");
  const auto refused = Reveal({"a", "missing"}, [](std::span<const Sought> items) -> Result<void> {
    EXPECT_EQ(items.size(), 2u);
    return Fail(Code::kExhausted, "the test wants no answer of this size");
  });
  EXPECT_EQ(CodeOf(refused), "EXHAUSTED");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.RevealMany failed EXHAUSTED"}));
  EXPECT_FALSE(vault_.Lines().front().contains("oauth_id"));
  EXPECT_EQ(vault_.Lines().front().at("object"), "ids:2");
}

TEST_F(CustodyRevealMany, RevealMany_WhileTheStoreCannotBeRead_IsUnavailableWithOneLine) {
  vault_.Memory().FailReads(Error(Code::kUnavailable, "the fake's disk is gone"));
  EXPECT_EQ(CodeOf(Reveal({"a", "b"})), "UNAVAILABLE");
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.RevealMany failed UNAVAILABLE"}));
}

TEST_F(CustodyRevealMany, RevealMany_TakesAPermitForRevealOnly) {
  vault_.Put("a", "{}");
  const std::uint64_t reads = vault_.Engine().ReadCount();
  for (const Right right : {Right::kDescribe, Right::kStore, Right::kConnect}) {
    EXPECT_EQ(CodeOf(Reveal({"a"}, right)), "DENIED");
  }
  EXPECT_EQ(vault_.Engine().ReadCount(), reads);
  EXPECT_EQ(vault_.Acts(), Acts{});
}

TEST_F(CustodyRevealMany, ADamagedRow_CostsTheOthersNothing) {
  vault_.Put("a", "{}");
  vault_.Put("damaged-meta", "{}");
  PutWithOwnApp("damaged-secret", "{\"canary\":1}");
  vault_.Put("damaged-data", "{\"canary\":1}");
  Damage("damaged-meta", 2 + 16 + 20);  // #data has 2 bytes and a tag of 16
  Damage("damaged-secret", 0);
  Damage("damaged-data", 0);
  auto releases = Reveal({"damaged-data", "damaged-meta", "damaged-secret", "a"});
  ASSERT_TRUE(releases) << releases.error().Message();
  EXPECT_EQ(vault_.Acts(), (Acts{"Credentials.RevealMany allowed",
                                 "Credentials.RevealMany failed CORRUPT",
                                 "Credentials.RevealMany allowed",
                                 "Credentials.RevealMany allowed"}));
  EXPECT_EQ(OpenAll(*releases),
            (std::vector<std::string>{"CORRUPT", "CORRUPT", "CORRUPT", "{}" + secret_}));
  std::vector<std::uint8_t> data(releases->Items()[2].kept->DataSize(), 0xaa);
  std::vector<std::uint8_t> app_secret(releases->Items()[2].kept->AppSecretSize(), 0xaa);
  EXPECT_EQ(CodeOf(releases->OpenInto(releases->Items()[2], data, app_secret)), "CORRUPT");
  EXPECT_EQ(data, std::vector<std::uint8_t>(data.size(), 0)) << "opened, and wiped again";
}

TEST_F(CustodyRevealMany, TheComponentsSecret_NeverStandsBesideAnotherClient) {
  vault_.Put("former", "{}");
  registry::ComponentFields fields;
  fields.app_key = "another-client";
  fields.app_secret = crypto::AppSecret(BytesOf("secret-of-another-client"));
  ASSERT_TRUE(registry::SetComponent(vault_.Store(), vault_.component, std::move(fields),
                                     registry::IfRegistered::kChange,
                                     fakes::ActBy("local/admin"), 1));
  vault_.Put("present", "{}");
  auto releases = Reveal({"former", "present"});
  ASSERT_TRUE(releases);
  EXPECT_EQ(OpenAll(*releases),
            (std::vector<std::string>{"{} ", "{} secret-of-another-client"}));
}

}  // namespace
}  // namespace oauthvault::custody
