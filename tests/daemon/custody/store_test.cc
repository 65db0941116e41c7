#include "daemon/custody/store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/registry/projects.h"
#include "tests/daemon/custody/test_vault.h"
#include "tests/storage/kept_store.h"

namespace oauthvault::custody {
namespace {

using access::Right;
using fakes::BytesOf;
using fakes::CodeOf;
using fakes::TextOf;

class CustodyStore : public testing::Test {
 protected:
  static NewCredentials New(std::string_view data, std::string_view id = "one") {
    NewCredentials credentials{.id = fakes::TestVault::IdOf(id)};
    credentials.data = crypto::CredentialsData(BytesOf(data));
    return credentials;
  }

  Result<storage::Stored<storage::Credentials>> Put(NewCredentials credentials,
                                                    IfThere if_there = IfThere::kReplace) {
    return custody::Put(vault_.PermitFor(Right::kStore), std::move(credentials), if_there,
                        KeptVersions{}, fakes::ActBy(fakes::kRunner), vault_.Store(),
                        fakes::kVaultNow);
  }

  Result<std::optional<storage::Stored<storage::Credentials>>> Find(std::string_view id = "one") {
    return vault_.Store().Find<storage::Credentials>(storage::Credentials::Names(
        vault_.project, vault_.component, fakes::TestVault::IdOf(id)));
  }

  // Credentials that do not open: another row's bytes stand in their place.
  void PutDamaged() {
    const auto damaged = Put(New("{}"));
    const auto other = Put(New("{}", "other"));
    ASSERT_TRUE(damaged && other);
    std::vector<storage::Change> changes;
    changes.push_back({damaged->key, storage::Expect{}, other->sealed});
    ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), fakes::SetupActBytes()));
  }

  fakes::TestVault vault_;
};

TEST_F(CustodyStore, Put_KeepsDataByteForByteAndCopiesWhatItWasGrantedThrough) {
  NewCredentials credentials = New("{ \"b\":1,\r\n\t\"a\":\"\xc3\xa9\" }  ");
  credentials.authorized_for = "ann";
  credentials.creator_description = "by hand";
  const auto stored = Put(std::move(credentials));
  ASSERT_TRUE(stored) << stored.error().Message();
  EXPECT_EQ(stored->version, 1u);
  EXPECT_EQ(stored->row.authorized_for, "ann");
  EXPECT_EQ(stored->row.creator_id, fakes::kRunner);
  EXPECT_EQ(stored->row.creator_description, "by hand");
  EXPECT_EQ(stored->row.created_at_s, fakes::kVaultNow);
  EXPECT_EQ(stored->row.oauth_version, "2.0");
  EXPECT_EQ(stored->row.client_id, fakes::kComponentClient);
  EXPECT_EQ(stored->row.token_endpoint, fakes::kComponentTokenUrl);
  EXPECT_FALSE(stored->row.foreign_client);
  EXPECT_FALSE(stored->sealed.Has(crypto::Part::kAppSecret));
  const auto data = vault_.Store().OpenSecret(*stored, crypto::Part::kData);
  ASSERT_TRUE(data);
  EXPECT_EQ(TextOf(*data), "{ \"b\":1,\r\n\t\"a\":\"\xc3\xa9\" }  ");
}

TEST_F(CustodyStore, Put_TakesOneByteTo64KiBAndNoMore) {
  EXPECT_EQ(CodeOf(Put(New(""))), "INVALID");
  EXPECT_EQ(CodeOf(Put(New(std::string(kMaxDataSize + 1, 'x')))), "INVALID");
  ASSERT_TRUE(Find());
  EXPECT_FALSE(*Find());
  EXPECT_EQ(CodeOf(Put(New("x"))), "OK");
  const auto largest = Put(New(std::string(kMaxDataSize, 'x')));
  ASSERT_TRUE(largest);
  EXPECT_EQ(largest->sealed.PlainSize(crypto::Part::kData), 65'536u);
}

TEST_F(CustodyStore, Put_RefusesWhatIsNoUtf8) {
  // A byte alone, an overlong slash, a surrogate, a cut sequence, beyond U+10FFFF.
  for (const std::string_view text :
       {"\xff", "\xc0\xaf", "\xed\xa0\x80", "ab\xe2\x82", "\xf4\x90\x80\x80"}) {
    EXPECT_EQ(CodeOf(Put(New(text))), "INVALID");
    NewCredentials with_secret = New("{}");
    with_secret.app_key = "mine";
    with_secret.app_secret = crypto::AppSecret(BytesOf(text));
    EXPECT_EQ(CodeOf(Put(std::move(with_secret))), "INVALID");
  }
  EXPECT_FALSE(*Find());
}

TEST_F(CustodyStore, Put_TakesAnAppKeyAndItsSecretTogetherOnly) {
  NewCredentials key_alone = New("{}");
  key_alone.app_key = "mine";
  EXPECT_EQ(CodeOf(Put(std::move(key_alone))), "INVALID");
  NewCredentials secret_alone = New("{}");
  secret_alone.app_secret = crypto::AppSecret(BytesOf("s"));
  EXPECT_EQ(CodeOf(Put(std::move(secret_alone))), "INVALID");
  NewCredentials too_long = New("{}");
  too_long.app_key = "mine";
  too_long.app_secret = crypto::AppSecret(BytesOf(std::string(4097, 's')));
  EXPECT_EQ(CodeOf(Put(std::move(too_long))), "INVALID");

  NewCredentials both = New("{}");
  both.app_key = "mine";
  both.app_secret = crypto::AppSecret(BytesOf("canary-own-secret"));
  const auto stored = Put(std::move(both));
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->row.app_key, "mine");
  EXPECT_EQ(stored->row.client_id, "mine");
  const auto secret = vault_.Store().OpenSecret(*stored, crypto::Part::kAppSecret);
  ASSERT_TRUE(secret);
  EXPECT_EQ(TextOf(*secret), "canary-own-secret");
}

TEST_F(CustodyStore, Put_TakesNoAppBesideAnothersClient) {
  NewCredentials credentials = New("{}");
  credentials.foreign_client_id = "of-rivery";
  credentials.app_key = "mine";
  credentials.app_secret = crypto::AppSecret(BytesOf("s"));
  EXPECT_EQ(CodeOf(Put(std::move(credentials))), "INVALID");
  NewCredentials odd = New("{}");
  odd.foreign_client_id = "two\nlines";
  EXPECT_EQ(CodeOf(Put(std::move(odd))), "INVALID");

  NewCredentials foreign = New("{}");
  foreign.foreign_client_id = "of-rivery";
  const auto stored = Put(std::move(foreign));
  ASSERT_TRUE(stored);
  EXPECT_TRUE(stored->row.foreign_client);
  EXPECT_EQ(stored->row.client_id, "of-rivery");
  EXPECT_EQ(stored->row.token_endpoint, "");
}

TEST_F(CustodyStore, Put_RefusesTextsThatAreTooLongOrHaveControlCharacters) {
  for (const std::string& text :
       {std::string(1025, 'x'), std::string("a\nb"), std::string("\xff")}) {
    NewCredentials for_whom = New("{}");
    for_whom.authorized_for = text;
    EXPECT_EQ(CodeOf(Put(std::move(for_whom))), "INVALID");
    NewCredentials described = New("{}");
    described.creator_description = text;
    EXPECT_EQ(CodeOf(Put(std::move(described))), "INVALID");
    NewCredentials keyed = New("{}");
    keyed.app_key = text;
    keyed.app_secret = crypto::AppSecret(BytesOf("s"));
    EXPECT_EQ(CodeOf(Put(std::move(keyed))), "INVALID");
  }
}

TEST_F(CustodyStore, Put_RaisesTheVersionAndLeavesNothingOfTheOldOne) {
  NewCredentials first = New("{\"first\":1}");
  first.app_key = "mine";
  first.app_secret = crypto::AppSecret(BytesOf("s"));
  ASSERT_TRUE(Put(std::move(first)));
  const auto second = Put(New("{\"second\":2}"));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->version, 2u);
  EXPECT_EQ(second->row.app_key, "");
  EXPECT_EQ(second->row.client_id, fakes::kComponentClient);
  EXPECT_FALSE(second->sealed.Has(crypto::Part::kAppSecret));
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(*second, crypto::Part::kData)), "{\"second\":2}");
  EXPECT_EQ(Put(New("{}"))->version, 3u);
}

TEST_F(CustodyStore, Put_RefusesWhatIsThereAlreadyWhereItMustBeNew) {
  ASSERT_TRUE(Put(New("{\"first\":1}"), IfThere::kRefuse));
  EXPECT_EQ(CodeOf(Put(New("{\"second\":2}"), IfThere::kRefuse)), "CONFLICT");
  const auto standing = Find();
  ASSERT_TRUE(standing && *standing);
  EXPECT_EQ((*standing)->version, 1u);
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(**standing, crypto::Part::kData)), "{\"first\":1}");
}

TEST_F(CustodyStore, Put_NeedsAPermitForStoreOnARegisteredPair) {
  const auto put_with = [&](const access::Permit& permit) {
    return CodeOf(custody::Put(permit, New("{}"), IfThere::kReplace, KeptVersions{},
                               fakes::SetupAct(), vault_.Store(), 1));
  };
  EXPECT_EQ(put_with(vault_.PermitFor(Right::kReveal)), "DENIED");
  EXPECT_EQ(put_with(vault_.PermitFor(Right::kConnect)), "DENIED");
  EXPECT_EQ(put_with(vault_.PermitFor(Right::kStore, "nobody", "sheets")), "NOT_FOUND");
  EXPECT_EQ(put_with(vault_.PermitFor(Right::kStore, "acme", "nothing")), "NOT_FOUND");
  EXPECT_EQ(put_with(vault_.PermitFor(Right::kStore)), "OK");
}

TEST_F(CustodyStore, Put_StoresForComponentsOfEveryOauthVersionWhatItsProviderAnswers) {
  struct Answered {
    std::string version;
    std::string_view data;
  };
  for (const Answered& answered :
       {Answered{"1.0", "oauth_token=a%2Fb&oauth_token_secret=c&user_id=7"},
        Answered{"2.0", "{\"access_token\":\"a\",\"token_type\":\"Bearer\"}"},
        Answered{"facebook", "{\"token\":\"a\"}"},
        Answered{"quickbooks", "{\"access_token\":\"a\",\"realm_id\":\"7\"}"}}) {
    SCOPED_TRACE(answered.version);
    const ComponentId id = *ComponentId::Parse("of-" + answered.version);
    registry::ComponentFields fields;
    fields.oauth_version = answered.version;
    if (answered.version == "1.0") fields.request_token_url = "https://provider.example/request";
    ASSERT_TRUE(registry::SetComponent(vault_.Store(), id, std::move(fields),
                                       registry::IfRegistered::kRefuse, fakes::SetupAct(), 1));
    const auto stored =
        custody::Put(vault_.PermitFor(Right::kStore, "acme", id.Str()), New(answered.data),
                     IfThere::kRefuse, KeptVersions{}, fakes::SetupAct(), vault_.Store(), 1);
    ASSERT_TRUE(stored) << stored.error().Message();
    EXPECT_EQ(stored->row.oauth_version, answered.version);
    EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(*stored, crypto::Part::kData)), answered.data);
  }
}

TEST_F(CustodyStore, Put_KeepsPairsApart) {
  ASSERT_TRUE(Put(New("{\"acme\":1}")));
  ASSERT_TRUE(custody::Put(vault_.PermitFor(Right::kStore, "other", "sheets"), New("{\"other\":1}"),
                           IfThere::kRefuse, KeptVersions{}, fakes::SetupAct(), vault_.Store(), 1));
  EXPECT_EQ((*Find())->version, 1u);
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(**Find(), crypto::Part::kData)), "{\"acme\":1}");
}

TEST_F(CustodyStore, Delete_RemovesThemOnceAndForStoreOnly) {
  ASSERT_TRUE(Put(New("{}")));
  const auto remove = [&](const access::Permit& permit) {
    return CodeOf(Delete(permit, fakes::TestVault::IdOf("one"), fakes::ActBy(fakes::kRunner),
                         vault_.Store()));
  };
  EXPECT_EQ(remove(vault_.PermitFor(Right::kReveal)), "DENIED");
  EXPECT_TRUE(*Find());
  EXPECT_EQ(remove(vault_.PermitFor(Right::kStore, "other")), "NOT_FOUND");
  EXPECT_TRUE(*Find());
  EXPECT_EQ(remove(vault_.PermitFor(Right::kStore)), "OK");
  EXPECT_FALSE(*Find());
  EXPECT_EQ(remove(vault_.PermitFor(Right::kStore)), "NOT_FOUND");
}

TEST_F(CustodyStore, Put_AndTheRemovalOfItsProjectNeverBothComeAbout) {
  const auto put = [&] {
    return CodeOf(custody::Put(vault_.PermitFor(Right::kStore, "other", "sheets"), New("{}"),
                               IfThere::kReplace, KeptVersions{}, fakes::SetupAct(),
                               vault_.Store(), 1));
  };
  const auto remove = [&] {
    return CodeOf(
        registry::RemoveProject(vault_.Store(), vault_.other_project, fakes::SetupAct()));
  };
  const auto names = storage::Credentials::Names(vault_.other_project, vault_.component,
                                                 fakes::TestVault::IdOf("one"));
  std::string meanwhile;
  vault_.Memory().BeforeNextCommit([&] { meanwhile = remove(); });
  EXPECT_EQ(put(), "OK");
  EXPECT_EQ(meanwhile, "CONFLICT");
  EXPECT_TRUE(vault_.Store().Get<storage::Project>(storage::Project::Names(vault_.other_project)));

  ASSERT_TRUE(Delete(vault_.PermitFor(Right::kStore, "other", "sheets"),
                     fakes::TestVault::IdOf("one"), fakes::SetupAct(), vault_.Store()));
  vault_.Memory().BeforeNextCommit([&] { meanwhile = put(); });
  EXPECT_EQ(remove(), "OK");
  EXPECT_EQ(meanwhile, "CONFLICT");
  EXPECT_FALSE(*vault_.Store().Find<storage::Credentials>(names));
  EXPECT_EQ(put(), "NOT_FOUND");
}

TEST_F(CustodyStore, Put_OfTwoOverTheSameDamagedCredentialsOneSucceeds) {
  PutDamaged();
  std::string first;
  vault_.Memory().BeforeNextCommit([&] { first = CodeOf(Put(New("{\"first\":1}"))); });
  EXPECT_EQ(CodeOf(Put(New("{\"second\":2}"))), "CONFLICT");
  EXPECT_EQ(first, "OK");
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(**Find(), crypto::Part::kData)), "{\"first\":1}");
}

TEST_F(CustodyStore, Delete_OfDamagedCredentialsDoesNotTakeWhatWasStoredInTheirPlaceMeanwhile) {
  PutDamaged();
  std::string stored;
  vault_.Memory().BeforeNextCommit([&] { stored = CodeOf(Put(New("{\"anew\":1}"))); });
  EXPECT_EQ(CodeOf(Delete(vault_.PermitFor(Right::kStore), fakes::TestVault::IdOf("one"),
                          fakes::SetupAct(), vault_.Store())),
            "CONFLICT");
  EXPECT_EQ(stored, "OK");
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(**Find(), crypto::Part::kData)), "{\"anew\":1}");
}

TEST_F(CustodyStore, PutAndDelete_LeaveALineEachThatSaysWhatItIsAbout) {
  ASSERT_TRUE(Put(New("{}")));
  ASSERT_TRUE(Put(New("{}")));
  EXPECT_EQ(CodeOf(Put(New("{}"), IfThere::kRefuse)), "CONFLICT");  // no commit, no line
  ASSERT_TRUE(Delete(vault_.PermitFor(Right::kStore), fakes::TestVault::IdOf("one"),
                     fakes::ActBy(fakes::kRunner), vault_.Store()));
  const auto lines = vault_.Lines();
  ASSERT_EQ(lines.size(), 3u);
  const std::uint64_t first = lines[0].at("generation");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("principal"), fakes::kRunner);
    EXPECT_EQ(lines[i].at("project"), "acme");
    EXPECT_EQ(lines[i].at("component"), "sheets");
    EXPECT_EQ(lines[i].at("oauth_id"), "one");
    EXPECT_EQ(lines[i].at("outcome"), "allowed");
    EXPECT_EQ(lines[i].at("generation"), first + i);
    EXPECT_EQ(lines[i].at("version"), std::min<std::size_t>(i + 1, 2));
  }
}

// What somebody with the disk left of a row: nothing that is a sealed row, or another row's bytes.
enum class Left : std::uint8_t { kNoRow, kAnothersRow };

class DamagedCredentials : public testing::TestWithParam<Left> {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) vault_.Put("one", "{}");
    const auto another = vault_.Put("another", "{}");
    vault_.Put("later", "{}");
    const auto key = vault_.Keys().KeyOf(
        static_cast<std::uint8_t>(storage::TableId::kCredentials), Names());
    vault_.CloseStore();
    const storage::RawFile file(vault_.Folder() / "store");
    file.Put(key, GetParam() == Left::kNoRow ? "no sealed row" : file.Get(another.key));
    vault_.Reopen();
    ASSERT_EQ(CodeOf(Find()), "CORRUPT");
  }

  crypto::RowNames Names() const {
    return storage::Credentials::Names(vault_.project, vault_.component,
                                       fakes::TestVault::IdOf("one"));
  }
  Result<std::optional<storage::Stored<storage::Credentials>>> Find() {
    return vault_.Store().Find<storage::Credentials>(Names());
  }
  std::size_t RowsOfVersions() {
    return vault_.Store()
        .List<storage::CredentialsVersion>("acme", "", "", storage::kMaxPageSize)
        ->rows.size();
  }
  Result<storage::Stored<storage::Credentials>> Put(IfThere if_there) {
    NewCredentials credentials{.id = fakes::TestVault::IdOf("one")};
    credentials.data = crypto::CredentialsData(BytesOf("{\"anew\":1}"));
    return custody::Put(vault_.PermitFor(Right::kStore), std::move(credentials), if_there,
                        KeptVersions{}, fakes::ActBy(fakes::kRunner), vault_.Store(),
                        fakes::kVaultNow);
  }

  fakes::TestVault vault_{fakes::TestVault::On::kDisk};
};

TEST_P(DamagedCredentials, AreReplacedByAPutWhoseVersionIsAboveAnyThatTheyHad) {
  const auto put = Put(IfThere::kReplace);
  ASSERT_TRUE(put) << put.error().Message();
  EXPECT_EQ(TextOf(*vault_.Store().OpenSecret(*put, crypto::Part::kData)), "{\"anew\":1}");
  EXPECT_EQ(put->version, static_cast<std::uint64_t>(fakes::kVaultNow));
  EXPECT_EQ(RowsOfVersions(), 0u);
  const auto line = vault_.Lines().back();
  EXPECT_EQ(line.at("oauth_id"), "one");
  EXPECT_EQ(line.at("version"), fakes::kVaultNow);
  EXPECT_EQ(line.at("object"), "damaged");
  // From here on as ever.
  EXPECT_EQ(Put(IfThere::kReplace)->version, put->version + 1);
  EXPECT_EQ(RowsOfVersions(), 1u);
}

TEST_P(DamagedCredentials, AreThereForWhoeverPutsWhatMustBeNew) {
  EXPECT_EQ(CodeOf(Put(IfThere::kRefuse)), "CONFLICT");
  EXPECT_EQ(CodeOf(Find()), "CORRUPT");
}

TEST_P(DamagedCredentials, GoByDeleteWithTheirFormerVersions) {
  const auto remove = [&] {
    return CodeOf(Delete(vault_.PermitFor(Right::kStore), fakes::TestVault::IdOf("one"),
                         fakes::ActBy(fakes::kRunner), vault_.Store()));
  };
  ASSERT_EQ(RowsOfVersions(), 2u);
  EXPECT_EQ(remove(), "OK");
  EXPECT_FALSE(*Find());
  EXPECT_EQ(RowsOfVersions(), 0u);
  const auto line = vault_.Lines().back();
  EXPECT_EQ(line.at("oauth_id"), "one");
  EXPECT_EQ(line.at("object"), "damaged");
  EXPECT_EQ(remove(), "NOT_FOUND");
}

TEST_P(DamagedCredentials, HideNoOthersInAListingThatPassesOverThem) {
  for (const std::size_t page_size : {1, 2, 500}) {
    std::set<std::string> ids;
    std::uint64_t damaged = 0;
    std::string token;
    int pages = 0;
    do {
      const auto page = vault_.Store().List<storage::Credentials>(
          "acme", "sheets", token, page_size, storage::IfDamaged::kPassOver);
      ASSERT_TRUE(page) << page.error().Message();
      EXPECT_LE(page->rows.size() + page->damaged, page_size);
      for (const auto& stored : page->rows) ids.insert(stored.row.id.Str());
      damaged += page->damaged;
      token = page->next;
      ASSERT_LT(++pages, 10);
    } while (!token.empty());
    EXPECT_EQ(ids, (std::set<std::string>{"another", "later"}));
    EXPECT_EQ(damaged, 1u);
  }
  EXPECT_EQ(CodeOf(vault_.Store().List<storage::Credentials>("acme", "sheets", "", 500)),
            "CORRUPT");
}

INSTANTIATE_TEST_SUITE_P(EachDamage, DamagedCredentials,
                         testing::Values(Left::kNoRow, Left::kAnothersRow));

TEST(CustodyStoreOnDisk, Put_IsNotAnsweredBeforeItsLineIsDurable) {
  fakes::TestVault vault(fakes::TestVault::On::kDisk);
  const OauthId id = fakes::TestVault::IdOf("one");
  const auto names = storage::Credentials::Names(vault.project, vault.component, id);
  std::atomic<bool> answered = false;
  vault.HoldTrail(true);
  const std::uint64_t before = vault.Syncs();
  auto put = std::async(std::launch::async, [&] {
    NewCredentials credentials{.id = id};
    credentials.data = crypto::CredentialsData(BytesOf("{}"));
    const auto stored = custody::Put(vault.PermitFor(Right::kStore), std::move(credentials),
                                     IfThere::kRefuse, KeptVersions{}, fakes::SetupAct(),
                                     vault.Store(), 1);
    answered = true;
    return CodeOf(stored);
  });
  while (vault.Syncs() == before) std::this_thread::yield();
  // The disk has the line and does not answer: the row stands, and nobody was told.
  EXPECT_TRUE(*vault.Store().Find<storage::Credentials>(names));
  EXPECT_FALSE(answered);
  vault.HoldTrail(false);
  put.wait();
}

TEST_F(CustodyStore, Put_WhoseLineCannotBeWrittenStandsAndIsToldBeforeTheNextCommit) {
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(Put(New("{\"untold\":1}"))), "UNAVAILABLE");
  EXPECT_TRUE(*Find());
  EXPECT_EQ(CodeOf(Put(New("{}", "refused"))), "UNAVAILABLE");
  EXPECT_FALSE(*Find("refused"));
  EXPECT_TRUE(vault_.Lines().empty());
  vault_.FailTrail(false);
  EXPECT_EQ(CodeOf(Put(New("{}", "next"))), "OK");
  const auto lines = vault_.Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].at("oauth_id"), "one");
  EXPECT_EQ(lines[1].at("oauth_id"), "next");
}

TEST_F(CustodyStore, Put_WhoseLineCannotBeWrittenIsToldAtTheNextStart) {
  vault_.FailTrail(true);
  EXPECT_EQ(CodeOf(Put(New("{\"untold\":1}"))), "UNAVAILABLE");
  vault_.FailTrail(false);
  vault_.Reopen();
  EXPECT_TRUE(*Find());
  const auto lines = vault_.Lines();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].at("oauth_id"), "one");
}

TEST_F(CustodyStore, Put_ThatTheStoreRefusesLeavesWhatStood) {
  ASSERT_TRUE(Put(New("{\"first\":1}")));
  vault_.Memory().FailNextCommit(Error(Code::kExhausted, "the fake's disk is full"));
  EXPECT_EQ(CodeOf(custody::Put(vault_.PermitFor(Right::kStore), New("{\"second\":2}"),
                                IfThere::kReplace, KeptVersions{.most = 0}, fakes::SetupAct(),
                                vault_.Store(), 1)),
            "EXHAUSTED");
  EXPECT_EQ((*Find())->version, 1u);
}

}  // namespace
}  // namespace oauthvault::custody
