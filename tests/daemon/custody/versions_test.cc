#include "daemon/custody/versions.h"

#include <gtest/gtest.h>

#include <algorithm>
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
using fakes::TextOf;
using Numbers = std::vector<std::uint64_t>;

class CustodyVersions : public testing::Test {
 protected:
  static OauthId Id() { return fakes::TestVault::IdOf("one"); }

  // Each put says its own number: the first is {"put":1}.
  Result<StoredCredentials> Put(KeptVersions kept = {}) {
    NewCredentials credentials{.id = Id()};
    credentials.data = crypto::CredentialsData(BytesOf(DataOf(++puts_)));
    credentials.authorized_for = "put " + std::to_string(puts_);
    return custody::Put(vault_.PermitFor(Right::kStore), std::move(credentials),
                        IfThere::kReplace, kept, fakes::ActBy(fakes::kRunner), vault_.Store(),
                        fakes::kVaultNow + puts_);
  }
  void PutTimes(int times, KeptVersions kept = {}) {
    for (int i = 0; i < times; ++i) ASSERT_TRUE(Put(kept));
  }
  // The store takes what is put, and has no room for what it replaces.
  void PutWithoutRoom(KeptVersions kept = {}) {
    vault_.Memory().FailNextCommit(Error(Code::kExhausted, "the fake takes no new row"));
    ASSERT_TRUE(Put(kept));
  }
  static std::string DataOf(int put) { return "{\"put\":" + std::to_string(put) + "}"; }

  StoredCredentials Current() {
    auto found = vault_.Store().Get<storage::Credentials>(
        storage::Credentials::Names(vault_.project, vault_.component, Id()));
    if (!found) std::abort();
    return std::move(*found);
  }
  std::string CurrentData() {
    return TextOf(*vault_.Store().OpenSecret(Current(), crypto::Part::kData));
  }

  Numbers Kept() {
    Numbers numbers;
    const auto former = FormerVersions(Current(), vault_.Store());
    EXPECT_TRUE(former);
    for (const FormerVersion& one : *former) numbers.push_back(one.version);
    return numbers;
  }
  // All rows of the table, whoever asks for them.
  std::size_t RowsOfVersions() {
    return vault_.Store()
        .List<storage::CredentialsVersion>("acme", "", "", storage::kMaxPageSize)
        ->rows.size();
  }

  Result<StoredCredentials> RollBack(std::uint64_t version, Right right = Right::kStore) {
    return custody::RollBack(vault_.PermitFor(right), Id(), version, KeptVersions{},
                             fakes::ActBy(fakes::kRunner), vault_.Store());
  }
  Result<std::uint64_t> Prune(std::uint64_t keep, Right right = Right::kStore) {
    return custody::Prune(vault_.PermitFor(right), Id(), keep, fakes::ActBy(fakes::kRunner),
                          vault_.Store());
  }

  // Another row's bytes in the place of a version: well-formed, and it does not verify.
  void Damage(std::uint64_t version) {
    const auto key = [&](std::uint64_t of) {
      return vault_.Keys().KeyOf(
          static_cast<std::uint8_t>(storage::TableId::kCredentialsVersions),
          storage::CredentialsVersion::Names(vault_.project, vault_.component, Id(), of));
    };
    const crypto::RowKey other = key(version + 1);
    auto rows = vault_.Engine().Read(std::span(&other, 1));
    ASSERT_TRUE(rows && rows->front());
    std::vector<storage::Change> changes;
    changes.push_back({key(version), storage::Expect{}, *rows->front()});
    const auto act = storage::EncodeAct(fakes::SetupAct());
    ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), {act.begin(), act.end()}));
  }

  fakes::TestVault vault_;
  int puts_ = 0;
};

TEST_F(CustodyVersions, Put_KeepsWhatItReplacesWithItsSecretsAndAllThatIsKnownOfIt) {
  NewCredentials first{.id = Id()};
  first.data = crypto::CredentialsData(BytesOf("{ \"first\": \"\\u00e9\" }\r\n"));
  first.authorized_for = "ann";
  first.creator_description = "by hand";
  first.app_key = "mine";
  first.app_secret = crypto::AppSecret(BytesOf("own secret"));
  const auto before = custody::Put(vault_.PermitFor(Right::kStore), std::move(first),
                                   IfThere::kRefuse, KeptVersions{},
                                   fakes::ActBy(fakes::kRunner), vault_.Store(), 7);
  ASSERT_TRUE(before);
  EXPECT_TRUE(Kept().empty());
  ASSERT_TRUE(Put());

  ASSERT_EQ(Kept(), Numbers{1});
  const auto former = FormerVersionOf(Current(), 1, vault_.Store());
  ASSERT_TRUE(former);
  EXPECT_EQ(former->row.version, 1u);
  EXPECT_EQ(former->row.credentials, before->row);
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(*former, crypto::Part::kData)),
            "{ \"first\": \"\\u00e9\" }\r\n");
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(*former, crypto::Part::kAppSecret)), "own secret");
  EXPECT_EQ(CurrentData(), DataOf(1));
}

TEST_F(CustodyVersions, Put_KeepsAsManyAsTheSettingSaysAndPrunesTheOldestInTheSameCommit) {
  PutTimes(4, {3});
  EXPECT_EQ(Kept(), (Numbers{3, 2, 1}));
  const std::uint64_t generation = vault_.Engine().Generation();
  PutTimes(1, {3});
  EXPECT_EQ(Kept(), (Numbers{4, 3, 2}));
  EXPECT_EQ(vault_.Engine().Generation(), generation + 1);
  PutTimes(1, {1});  // the setting was lowered
  EXPECT_EQ(Kept(), Numbers{5});
  PutTimes(1, {3});  // and raised
  EXPECT_EQ(Kept(), (Numbers{6, 5}));
  PutTimes(1, {0});
  EXPECT_EQ(Kept(), Numbers());
  EXPECT_EQ(RowsOfVersions(), 0u);
  EXPECT_EQ(Current().version, 8u);
}

TEST_F(CustodyVersions, Put_KeepsAtMostAHundredAndFindsAllOfThem) {
  PutTimes(103, {kMaxKeptVersions});
  const Numbers kept = Kept();
  ASSERT_EQ(kept.size(), 100u);
  EXPECT_EQ(kept.front(), 102u);
  EXPECT_EQ(kept.back(), 3u);
  EXPECT_EQ(RowsOfVersions(), 100u);
}

TEST_F(CustodyVersions, Put_LetsGoOfWhatIsTooOldWhereThoseBetweenAreMissing) {
  PutTimes(3, {3});
  ASSERT_EQ(Kept(), (Numbers{2, 1}));
  PutWithoutRoom({3});
  EXPECT_EQ(Kept(), (Numbers{2, 1}));
  PutWithoutRoom({3});
  EXPECT_EQ(Kept(), Numbers{2});
  for (std::uint32_t i = 0; i < kMaxKeptVersions; ++i) PutWithoutRoom({kMaxKeptVersions});
  EXPECT_EQ(RowsOfVersions(), 0u);
  ASSERT_TRUE(Delete(vault_.PermitFor(Right::kStore), Id(), fakes::SetupAct(), vault_.Store()));
  EXPECT_EQ(RowsOfVersions(), 0u);
}

TEST_F(CustodyVersions, Put_WritesOverWhatAnEarlierLifeOfTheIdLeftBehind) {
  const auto leave = [&](std::uint64_t version) {
    storage::Batch batch(fakes::SetupAct());
    batch.Insert(storage::CredentialsVersion{
        version, {.project = vault_.project, .component = vault_.component, .id = Id()}});
    ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  };
  leave(1);
  leave(2);
  PutTimes(2);
  ASSERT_EQ(Kept(), Numbers{1});
  EXPECT_EQ(FormerVersionOf(Current(), 1, vault_.Store())->row.credentials.authorized_for,
            "put 1");
  PutWithoutRoom();
  EXPECT_EQ(Kept(), Numbers{1});  // and does not pass it off as what was replaced
  leave(3);
  PutTimes(1, {0});
  EXPECT_EQ(RowsOfVersions(), 0u);
}

TEST_F(CustodyVersions, Versions_OfOneIdAreNoneOfAnotherPairsOrIds) {
  PutTimes(3);
  vault_.Put("two", "{}");
  NewCredentials elsewhere{.id = Id()};
  elsewhere.data = crypto::CredentialsData(BytesOf("{}"));
  const auto other = custody::Put(vault_.PermitFor(Right::kStore, "other", "sheets"),
                                  std::move(elsewhere), IfThere::kRefuse, KeptVersions{},
                                  fakes::SetupAct(), vault_.Store(), 1);
  ASSERT_TRUE(other);
  EXPECT_TRUE(FormerVersions(*other, vault_.Store())->empty());
  EXPECT_EQ(CodeOf(custody::RollBack(vault_.PermitFor(Right::kStore, "other", "sheets"), Id(), 2,
                                     KeptVersions{}, fakes::SetupAct(), vault_.Store())),
            "NOT_FOUND");
  EXPECT_EQ(Kept(), (Numbers{2, 1}));
}

TEST_F(CustodyVersions, RollBack_MakesANewVersionWithTheOldContent) {
  PutTimes(3);
  const auto rolled_back = RollBack(1);
  ASSERT_TRUE(rolled_back) << rolled_back.error().Message();
  EXPECT_EQ(rolled_back->version, 4u);
  EXPECT_EQ(rolled_back->row.authorized_for, "put 1");
  EXPECT_EQ(rolled_back->row.created_at_s, fakes::kVaultNow + 1);
  EXPECT_EQ(CurrentData(), DataOf(1));
  EXPECT_EQ(Kept(), (Numbers{3, 2, 1}));
  const auto lines = vault_.Lines();
  EXPECT_EQ(lines.back().at("object"), "from:1");
  EXPECT_EQ(lines.back().at("version"), 4);
  EXPECT_EQ(lines.back().at("oauth_id"), "one");
  EXPECT_EQ(lines.back().at("principal"), fakes::kRunner);

  const auto forth = RollBack(3);
  ASSERT_TRUE(forth);
  EXPECT_EQ(forth->version, 5u);
  EXPECT_EQ(CurrentData(), DataOf(3));
}

TEST_F(CustodyVersions, RollBack_BringsBackAnAppOfTheirOwnAndTakesALaterOneAway) {
  ASSERT_TRUE(Put());
  NewCredentials own{.id = Id()};
  own.data = crypto::CredentialsData(BytesOf("{}"));
  own.app_key = "mine";
  own.app_secret = crypto::AppSecret(BytesOf("own secret"));
  ASSERT_TRUE(custody::Put(vault_.PermitFor(Right::kStore), std::move(own), IfThere::kReplace,
                           KeptVersions{}, fakes::SetupAct(), vault_.Store(), 1));
  ASSERT_TRUE(RollBack(1));
  EXPECT_FALSE(Current().sealed.Has(crypto::Part::kAppSecret));
  EXPECT_EQ(Current().row.client_id, fakes::kComponentClient);
  ASSERT_TRUE(RollBack(2));
  EXPECT_EQ(Current().row.client_id, "mine");
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(Current(), crypto::Part::kAppSecret)), "own secret");
}

TEST_F(CustodyVersions, RollBack_RefusesThePresentVersionOnesThatAreNotKeptAndOtherRights) {
  EXPECT_EQ(CodeOf(RollBack(1)), "NOT_FOUND");  // no credentials
  PutTimes(3, {1});
  EXPECT_EQ(CodeOf(RollBack(3)), "CONFLICT");
  EXPECT_EQ(CodeOf(RollBack(1)), "NOT_FOUND");  // pruned
  EXPECT_EQ(CodeOf(RollBack(0)), "NOT_FOUND");
  EXPECT_EQ(CodeOf(RollBack(4)), "NOT_FOUND");
  EXPECT_EQ(CodeOf(RollBack(2, Right::kReveal)), "DENIED");
  EXPECT_EQ(CurrentData(), DataOf(3));
  EXPECT_EQ(Current().version, 3u);
}

TEST_F(CustodyVersions, Prune_LeavesTheNewestAndThePresentOne) {
  PutTimes(5);
  EXPECT_EQ(*Prune(2), 2u);
  EXPECT_EQ(Kept(), (Numbers{4, 3}));
  EXPECT_EQ(vault_.Lines().back().at("object"), "removed:2");
  const std::uint64_t generation = vault_.Engine().Generation();
  EXPECT_EQ(*Prune(2), 0u);
  EXPECT_EQ(vault_.Engine().Generation(), generation);  // nothing was committed
  EXPECT_EQ(CodeOf(Prune(0, Right::kReveal)), "DENIED");
  EXPECT_EQ(*Prune(0), 2u);
  EXPECT_EQ(RowsOfVersions(), 0u);
  EXPECT_EQ(CurrentData(), DataOf(5));
}

TEST_F(CustodyVersions, Delete_RemovesAllOfThemAndWhatIsStoredAnewBeginsAtOne) {
  PutTimes(4);
  vault_.Put("two", "{}");
  vault_.Put("two", "{}");
  ASSERT_TRUE(Delete(vault_.PermitFor(Right::kStore), Id(), fakes::SetupAct(), vault_.Store()));
  EXPECT_EQ(RowsOfVersions(), 1u);  // of the other id
  ASSERT_TRUE(Put());
  EXPECT_EQ(Current().version, 1u);
  EXPECT_TRUE(Kept().empty());
  ASSERT_TRUE(Put());
  EXPECT_EQ(Kept(), Numbers{1});
}

TEST_F(CustodyVersions, ADamagedVersion_IsNamedAndInTheWayOfNothing) {
  PutTimes(4);
  Damage(2);
  const auto former = FormerVersions(Current(), vault_.Store());
  ASSERT_EQ(former->size(), 3u);
  EXPECT_EQ((*former)[1].version, 2u);
  EXPECT_FALSE((*former)[1].stored);
  EXPECT_EQ(CodeOf(RollBack(2)), "CORRUPT");
  EXPECT_TRUE(RollBack(1));
  EXPECT_EQ(Kept(), (Numbers{4, 3, 2, 1}));
  EXPECT_TRUE(Put({3}));  // prunes the damaged one, too
  EXPECT_EQ(Kept(), (Numbers{5, 4, 3}));
  Damage(3);
  ASSERT_TRUE(Delete(vault_.PermitFor(Right::kStore), Id(), fakes::SetupAct(), vault_.Store()));
  EXPECT_EQ(RowsOfVersions(), 0u);
}

TEST_F(CustodyVersions, AStoreThatIsTooFullForNewRows_StillTakesNewCredentialsInPlaceOfOldOnes) {
  PutTimes(2);
  PutWithoutRoom();
  EXPECT_EQ(CurrentData(), DataOf(3));
  EXPECT_EQ(Kept(), Numbers{1});  // what was replaced had no room
}

TEST_F(CustodyVersions, AQueueThatIsFull_CostsNoFormerVersion) {
  PutTimes(2);
  vault_.Memory().FailNextCommit(Error(Code::kExhausted, storage::kQueueIsFull));
  EXPECT_EQ(CodeOf(Put()), "EXHAUSTED");
  EXPECT_EQ(CurrentData(), DataOf(2));
  EXPECT_EQ(Kept(), Numbers{1});
}

}  // namespace
}  // namespace oauthvault::custody
