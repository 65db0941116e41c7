#include "storage/tables/store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>

#include "crypto/slots.h"
#include "storage/lmdb/lmdb_engine.h"
#include "tests/storage/full_rows.h"
#include "tests/storage/memory_engine.h"
#include "tests/storage/silent_witness.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::storage {
namespace {

crypto::SecretBytes Bytes(std::string_view text) { return crypto::SecretBytes::CopyOf(text); }

Secrets SecretsOf(std::string_view data, std::string_view app_secret) {
  return {Bytes(data), Bytes(app_secret)};
}

// A row's meta part as it is sealed.
std::string FieldsOf(const auto& row) {
  FieldWriter writer;
  row.Encode(writer);
  return std::move(writer).Take().Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(bytes.begin(), bytes.end());
  });
}

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<crypto::Keyring>> keyring = crypto::Keyring::Create(
        folder_.Path() / "keys", crypto::NewSlotSecret(), "the test's slot");
    ASSERT_TRUE(keyring.has_value());
    keyring_ = std::move(*keyring);
    for (const char* project : {"project-acme", "project-other"}) {
      ASSERT_TRUE(keyring_->EnsureKek(crypto::Owner::Project(project)).has_value());
    }
    store_ = std::make_unique<Store>(engine_, *keyring_);
  }

  static Credentials CredentialsNamed(std::string_view project, std::string_view component,
                                      std::string_view id) {
    Credentials row = FullCredentials();
    row.project = ProjectNamed(project);
    row.component = ComponentNamed(component);
    row.id = OauthNamed(id);
    return row;
  }

  template <Row R>
  Result<std::uint64_t> Insert(const R& row, Secrets secrets = {}) {
    Batch batch(Act{.act = "test"});
    batch.Insert(row, std::move(secrets));
    return store_->Commit(std::move(batch));
  }

  // Puts a row in, gets it out, and compares every field and secret.
  template <Row R>
  void ExpectRoundTrip(const R& row) {
    SCOPED_TRACE(static_cast<int>(R::kTable));
    ASSERT_TRUE(Insert(row, SecretsOf("the data", "the app secret")).has_value());
    Result<std::optional<Stored<R>>> found = store_->Find<R>(row.Names());
    ASSERT_TRUE(found.has_value());
    ASSERT_TRUE(found->has_value());
    EXPECT_TRUE((*found)->row == row);
    EXPECT_EQ((*found)->version, 1u);
    const Result<Secrets> secrets = store_->OpenSecrets(**found);
    ASSERT_TRUE(secrets.has_value());
    EXPECT_TRUE(secrets->data->Equals(Bytes("the data")));
    EXPECT_TRUE(secrets->app_secret->Equals(Bytes("the app secret")));
    Batch batch(Act{.act = "test"});
    batch.Remove(row, 1);
    EXPECT_TRUE(store_->Commit(std::move(batch)).has_value());
    found = store_->Find<R>(row.Names());
    ASSERT_TRUE(found.has_value());
    EXPECT_FALSE(found->has_value());
  }

  // All ids of a listing, page by page.
  std::vector<std::string> Walk(std::string_view project, std::string_view component,
                                std::size_t page_size) {
    std::vector<std::string> ids;
    std::string token;
    do {
      const auto page = store_->List<Credentials>(project, component, token, page_size);
      EXPECT_TRUE(page.has_value());
      if (!page) return ids;
      for (const auto& stored : page->rows) ids.push_back(stored.row.id.Str());
      token = page->next;
    } while (!token.empty());
    std::ranges::sort(ids);
    return ids;
  }

  const TemporaryFolder folder_;
  fakes::MemoryEngine engine_;
  std::unique_ptr<crypto::Keyring> keyring_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, Rows_OfEveryTypeComeBackWhole) {
  ExpectRoundTrip(FullProject());
  ExpectRoundTrip(FullComponent());
  ExpectRoundTrip(FullGrant());
  ExpectRoundTrip(FullIdentity());
  ExpectRoundTrip(FullCredentials());
  ExpectRoundTrip(FullAccount());
  ExpectRoundTrip(FullAttempt());
  ExpectRoundTrip(FullConnection());
  ExpectRoundTrip(FullAuthority());
}

TEST_F(StoreTest, Find_OfAnAbsentRowIsEmpty) {
  const auto found = store_->Find<Project>(Project::Names(ProjectNamed("nobody")));
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->has_value());
}

TEST_F(StoreTest, Insert_OfAnExistingRowIsConflict) {
  ASSERT_TRUE(Insert(FullProject()).has_value());
  const auto again = Insert(FullProject());
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().GetCode(), Code::kConflict);
}

TEST_F(StoreTest, Insert_WithoutAKekOfItsOwnerIsNotFoundAndWritesNothing) {
  Batch batch(Act{.act = "test"});
  batch.Insert(FullProject());
  batch.Insert(CredentialsNamed("project-without-kek", "c", "a"));
  const auto committed = store_->Commit(std::move(batch));
  ASSERT_FALSE(committed.has_value());
  EXPECT_EQ(committed.error().GetCode(), Code::kNotFound);
  EXPECT_EQ(engine_.Generation(), 0u);
}

TEST_F(StoreTest, Replace_RaisesTheVersionAndRefusesAStaleOne) {
  ASSERT_TRUE(Insert(FullCredentials(), SecretsOf("old data", "old secret")).has_value());
  Credentials changed = FullCredentials();
  changed.authorized_for = "someone else";
  Batch batch(Act{.act = "test"});
  batch.Replace(changed, 1, {Bytes("new data"), std::nullopt});
  ASSERT_TRUE(store_->Commit(std::move(batch)).has_value());

  const auto found = store_->Find<Credentials>(changed.Names());
  ASSERT_TRUE(found.has_value() && found->has_value());
  EXPECT_EQ((*found)->version, 2u);
  EXPECT_EQ((*found)->row.authorized_for, "someone else");
  const Result<Secrets> secrets = store_->OpenSecrets(**found);
  ASSERT_TRUE(secrets.has_value());
  EXPECT_TRUE(secrets->data->Equals(Bytes("new data")));
  EXPECT_FALSE(secrets->app_secret.has_value());

  Batch stale(Act{.act = "test"});
  stale.Replace(FullCredentials(), 1);
  const auto refused = store_->Commit(std::move(stale));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().GetCode(), Code::kConflict);
  Batch removal(Act{.act = "test"});
  removal.Remove(FullCredentials(), 1);
  EXPECT_EQ(store_->Commit(std::move(removal)).error().GetCode(), Code::kConflict);
}

TEST_F(StoreTest, Commit_MakesAllChangesOrNone) {
  ASSERT_TRUE(Insert(FullProject()).has_value());
  Batch batch(Act{.act = "test"});
  batch.Insert(FullComponent());
  batch.Insert(FullProject());
  EXPECT_FALSE(store_->Commit(std::move(batch)).has_value());
  const auto found = store_->Find<Component>(FullComponent().Names());
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->has_value());
}

TEST_F(StoreTest, Commit_PassesTheEnginesErrorOn) {
  engine_.FailNextCommit(Error(Code::kUnavailable, "the disk of the test is gone"));
  const auto failed = Insert(FullProject());
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().GetCode(), Code::kUnavailable);
  engine_.FailReads(Error(Code::kUnavailable, "the reads of the test fail"));
  EXPECT_EQ(store_->Find<Project>(FullProject().Names()).error().GetCode(), Code::kUnavailable);
  EXPECT_EQ(store_->List<Project>("", "", "", 0).error().GetCode(), Code::kUnavailable);
}

TEST_F(StoreTest, Secrets_OpenFromTheirOwnPartOnly) {
  ASSERT_TRUE(Insert(FullCredentials(), {Bytes("the data"), std::nullopt}).has_value());
  const auto found = store_->Find<Credentials>(FullCredentials().Names());
  ASSERT_TRUE(found.has_value() && found->has_value());
  const auto data = store_->OpenSecret(**found, crypto::Part::kData);
  ASSERT_TRUE(data.has_value());
  EXPECT_TRUE(data->Equals(Bytes("the data")));
  const auto app_secret = store_->OpenSecret(**found, crypto::Part::kAppSecret);
  ASSERT_FALSE(app_secret.has_value());
  EXPECT_EQ(app_secret.error().GetCode(), Code::kNotFound);
  const auto meta = store_->OpenSecret(**found, crypto::Part::kMeta);
  ASSERT_TRUE(meta.has_value());
  EXPECT_TRUE(meta->Equals(Bytes(FieldsOf(FullCredentials()))));

  crypto::SecretBytes plain((*found)->sealed.PlainSize(crypto::Part::kData));
  ASSERT_TRUE(plain.Fill([&](std::span<std::uint8_t> bytes) {
    return store_->OpenSecretInto(**found, crypto::Part::kData, bytes).has_value();
  }));
  EXPECT_TRUE(plain.Equals(Bytes("the data")));
}

TEST_F(StoreTest, Secrets_CloneKeepsWhatIsThereAndWhatIsNot) {
  const Secrets clone = Secrets{std::nullopt, Bytes("s")}.Clone();
  EXPECT_FALSE(clone.data.has_value());
  ASSERT_TRUE(clone.app_secret.has_value());
  EXPECT_TRUE(clone.app_secret->Equals(Bytes("s")));
}

TEST_F(StoreTest, Find_OfARowThatWasMovedIsCorrupt) {
  const Credentials moved = CredentialsNamed("project-acme", "c", "moved");
  const Credentials place = CredentialsNamed("project-acme", "c", "place");
  ASSERT_TRUE(Insert(moved, SecretsOf("d", "s")).has_value());
  const auto table = static_cast<std::uint8_t>(TableId::kCredentials);
  const crypto::RowKey from = keyring_->KeyOf(table, moved.Names());
  const crypto::RowKey to = keyring_->KeyOf(table, place.Names());
  const auto rows = engine_.Read(std::span(&from, 1));
  ASSERT_TRUE(engine_.Commit({Change{to, {}, rows->front()}}, {}).has_value());

  const auto found = store_->Find<Credentials>(place.Names());
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(store_->List<Credentials>("project-acme", "", "", 0).error().GetCode(),
            Code::kCorrupt);
  // The one in its place is not harmed.
  EXPECT_TRUE(store_->Find<Credentials>(moved.Names()).has_value());
}

TEST_F(StoreTest, Find_OfARowWithTheNamesOfAnotherIsCorrupt) {
  // Sealed for this key by a holder of the keys, so that only the names inside tell.
  const Credentials inside = CredentialsNamed("project-acme", "c", "inside");
  const Credentials place = CredentialsNamed("project-acme", "c", "place");
  const crypto::RowKey key =
      keyring_->KeyOf(static_cast<std::uint8_t>(TableId::kCredentials), place.Names());
  Result<crypto::SealedRow> sealed =
      keyring_->Seal(crypto::Owner::Project("project-acme"), key, 1,
                     {Bytes(FieldsOf(inside)), std::nullopt, std::nullopt});
  ASSERT_TRUE(sealed.has_value());
  ASSERT_TRUE(engine_.Commit({Change{key, {}, *sealed}}, {}).has_value());
  const auto found = store_->Find<Credentials>(place.Names());
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().GetCode(), Code::kCorrupt);
  EXPECT_EQ(found.error().GetText(),
            "a row's names do not belong to the key it was found under");
}

TEST_F(StoreTest, FindComponent_GivesItAsItStandsNow) {
  Component row = FullComponent();
  EXPECT_EQ(*store_->FindComponent(row.id), nullptr);
  ASSERT_TRUE(Insert(row, {std::nullopt, Bytes("secret 1")}).has_value());
  for (std::uint64_t version = 1; version <= 3; ++version) {
    const std::string secret = "secret " + std::to_string(version);
    for (int again = 0; again < 2; ++again) {
      const auto found = store_->FindComponent(row.id);
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ((*found)->row, row);
      EXPECT_EQ((*found)->version, version);
      const auto opened = store_->OpenSecret(**found, crypto::Part::kAppSecret);
      ASSERT_TRUE(opened.has_value());
      EXPECT_TRUE(opened->Equals(Bytes(secret)));
    }
    row.title += " anew";
    Batch batch(Act{.act = "test"});
    batch.Replace(row, version, {std::nullopt, Bytes("secret " + std::to_string(version + 1))});
    ASSERT_TRUE(store_->Commit(std::move(batch)).has_value());
  }
  Batch batch(Act{.act = "test"});
  batch.Remove(row, 4);
  ASSERT_TRUE(store_->Commit(std::move(batch)).has_value());
  EXPECT_EQ(*store_->FindComponent(row.id), nullptr);
  for (std::size_t i = 0; i < kMaxOpened + 10; ++i) {
    row.id = ComponentNamed("component-" + std::to_string(i));
    ASSERT_TRUE(Insert(row).has_value());
    EXPECT_EQ((*store_->FindComponent(row.id))->row, row);
  }
}

TEST_F(StoreTest, FindComponent_OpensTheSameBytesOnce) {
  const Component row = FullComponent();
  ASSERT_TRUE(Insert(row).has_value());
  const auto first = store_->FindComponent(row.id);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(*store_->FindComponent(row.id), *first);
}

TEST_F(StoreTest, FindEach_AnswersInTheOrderOfTheNamesWhateverIsThere) {
  std::vector<crypto::RowNames> names;
  for (const char* id : {"a", "b", "c"}) {
    const Credentials row = CredentialsNamed("project-acme", "sheets", id);
    names.push_back(row.Names());
    if (row.id.Str() != "b") {
      ASSERT_TRUE(Insert(row, SecretsOf(id, "app")));
    }
  }
  std::swap(names[0], names[2]);
  const std::uint64_t reads = engine_.ReadCount();
  const auto found = store_->FindEach<Credentials>(names);
  EXPECT_EQ(engine_.ReadCount(), reads + 1);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 3u);
  ASSERT_TRUE(found->at(0) && *found->at(0));
  EXPECT_EQ((*found->at(0))->row.id.Str(), "c");
  ASSERT_TRUE(found->at(1));
  EXPECT_FALSE(*found->at(1));
  ASSERT_TRUE(found->at(2) && *found->at(2));
  EXPECT_TRUE(store_->OpenSecret(**found->at(2), crypto::Part::kData)->Equals(Bytes("a")));
  EXPECT_TRUE(store_->FindEach<Credentials>({})->empty());
}

TEST_F(StoreTest, FindEach_OfAMovedRow_IsCorruptInItsPlaceAlone) {
  const Credentials good = CredentialsNamed("project-acme", "sheets", "good");
  const Credentials moved = CredentialsNamed("project-acme", "sheets", "moved");
  ASSERT_TRUE(Insert(good));
  const auto stored = store_->Get<Credentials>(good.Names());
  ASSERT_TRUE(stored);
  const crypto::RowKey elsewhere =
      keyring_->KeyOf(static_cast<std::uint8_t>(TableId::kCredentials), moved.Names());
  ASSERT_TRUE(engine_.Commit({{elsewhere, Expect::Absent(), stored->sealed}}, "test"));
  const std::vector<crypto::RowNames> names = {moved.Names(), good.Names()};
  const auto found = store_->FindEach<Credentials>(names);
  ASSERT_TRUE(found);
  ASSERT_FALSE(found->at(0));
  EXPECT_EQ(found->at(0).error().GetCode(), Code::kCorrupt);
  EXPECT_TRUE(found->at(1) && *found->at(1));
}

TEST_F(StoreTest, FindEach_WhereTheEngineMeetsADamagedRow_ReadsEachAlone) {
  const Credentials row = CredentialsNamed("project-acme", "sheets", "a");
  ASSERT_TRUE(Insert(row));
  const std::vector<crypto::RowNames> names = {row.Names(), row.Names()};
  engine_.FailReads(Error(Code::kCorrupt, "the fake's row is damaged"));
  const auto found = store_->FindEach<Credentials>(names);
  ASSERT_TRUE(found);
  for (const auto& one : *found) {
    ASSERT_FALSE(one);
    EXPECT_EQ(one.error().GetCode(), Code::kCorrupt);
  }
  engine_.FailReads(Error(Code::kUnavailable, "the fake's disk does not answer"));
  EXPECT_EQ(store_->FindEach<Credentials>(names).error().GetCode(), Code::kUnavailable);
}

TEST_F(StoreTest, Listeners_AreAllToldOfEachWriteUntilTheyStop) {
  std::vector<std::string> told;
  const int one = 1;
  const int two = 2;
  const auto telling = [&told](const std::string& who) {
    return [&told, who](const crypto::RowNames& names) {
      told.push_back(who + " " + names.project + " " +
                     (names.rest.empty() ? "-" : names.rest.front()));
    };
  };
  store_->Listen(TableId::kCredentials, &one, telling("one"));
  store_->Listen(TableId::kCredentials, &two, telling("two"));
  store_->Listen(TableId::kAccounts, &two, telling("two"));
  ASSERT_TRUE(Insert(CredentialsNamed("project-acme", "sheets", "a")));
  EXPECT_EQ(told, (std::vector<std::string>{"one project-acme a", "two project-acme a"}));
  told.clear();
  store_->StopListening(&two);
  ASSERT_TRUE(Insert(FullAccount()));
  ASSERT_TRUE(store_->RemoveUnopened(TableId::kCredentials, ProjectNamed("project-acme"), 10,
                                     Act{.act = "test"}));
  EXPECT_EQ(told, (std::vector<std::string>{"one project-acme -"}));
}

TEST_F(StoreTest, List_NarrowsByProjectAndComponent) {
  for (const char* project : {"project-acme", "project-other"}) {
    for (const char* component : {"c1", "c2"}) {
      for (const char* id : {"a", "b"}) {
        ASSERT_TRUE(Insert(CredentialsNamed(project, component,
                                            std::string(project) + component + id)).has_value());
      }
    }
  }
  using Ids = std::vector<std::string>;
  EXPECT_EQ(Walk("project-acme", "", 0),
            (Ids{"project-acmec1a", "project-acmec1b", "project-acmec2a", "project-acmec2b"}));
  EXPECT_EQ(Walk("project-acme", "c2", 0), (Ids{"project-acmec2a", "project-acmec2b"}));
  EXPECT_EQ(Walk("project-other", "c1", 1), (Ids{"project-otherc1a", "project-otherc1b"}));
  EXPECT_EQ(Walk("project-acme", "c3", 0), Ids());
  EXPECT_EQ(Walk("project-none", "", 0), Ids());
}

TEST_F(StoreTest, List_OfTheVaultsRowsTakesTheWholeTableAndNoOther) {
  ASSERT_TRUE(Insert(FullProject()).has_value());
  Project other = FullProject();
  other.id = ProjectNamed("another");
  ASSERT_TRUE(Insert(other).has_value());
  ASSERT_TRUE(Insert(FullComponent()).has_value());
  ASSERT_TRUE(Insert(FullGrant()).has_value());
  EXPECT_EQ(store_->List<Project>("", "", "", 0)->rows.size(), 2u);
  EXPECT_EQ(store_->List<Component>("", "", "", 0)->rows.size(), 1u);
  EXPECT_EQ(store_->List<Grant>("project-granted", "", "", 0)->rows.size(), 1u);
  EXPECT_EQ(store_->List<Grant>("project-granted", "component-granted", "", 0)->rows.size(), 1u);
  EXPECT_EQ(store_->List<Grant>("project-granted", "component-other", "", 0)->rows.size(), 0u);
}

TEST_F(StoreTest, List_OfRowsThatAProjectOwnsNeedsTheProject) {
  const auto page = store_->List<Credentials>("", "", "", 0);
  ASSERT_FALSE(page.has_value());
  EXPECT_EQ(page.error().GetCode(), Code::kInvalid);
}

TEST_F(StoreTest, Pages_HaveTheSizeThatWasAskedWithinItsBounds) {
  Batch batch(Act{.act = "test"});
  for (std::size_t i = 0; i < kMaxPageSize + 10; ++i) {
    batch.Insert(CredentialsNamed("project-acme", "c", "id" + std::to_string(i)));
  }
  ASSERT_TRUE(store_->Commit(std::move(batch)).has_value());
  const auto size_of = [&](std::size_t page_size) {
    return store_->List<Credentials>("project-acme", "", "", page_size)->rows.size();
  };
  EXPECT_EQ(size_of(0), kDefaultPageSize);
  EXPECT_EQ(size_of(1), 1u);
  EXPECT_EQ(size_of(kMaxPageSize), kMaxPageSize);
  EXPECT_EQ(size_of(kMaxPageSize + 1), kMaxPageSize);
  EXPECT_EQ(size_of(1u << 30), kMaxPageSize);
}

TEST_F(StoreTest, ForEach_GoesOverAllRowsOrEndsWhereItIsTold) {
  for (const char* id : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(Insert(CredentialsNamed("project-acme", "c", id)).has_value());
  }
  int seen = 0;
  const auto walk_to = [&](int last) {
    seen = 0;
    return store_->ForEach<Credentials>("project-acme", "", [&](const auto&) {
      return ++seen == last ? Walk::kEnds : Walk::kOn;
    });
  };
  ASSERT_TRUE(walk_to(2).has_value());
  EXPECT_EQ(seen, 2);
  ASSERT_TRUE(walk_to(0).has_value());
  EXPECT_EQ(seen, 4);
}

TEST_F(StoreTest, Pages_EndWithoutATokenWhenTheLastOneIsFull) {
  for (const char* id : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(Insert(CredentialsNamed("project-acme", "c", id)).has_value());
  }
  EXPECT_TRUE(store_->List<Credentials>("project-acme", "", "", 4)->next.empty());
  const auto first = store_->List<Credentials>("project-acme", "", "", 2);
  ASSERT_FALSE(first->next.empty());
  const auto second = store_->List<Credentials>("project-acme", "", first->next, 2);
  EXPECT_EQ(second->rows.size(), 2u);
  EXPECT_TRUE(second->next.empty());
}

TEST_F(StoreTest, Pages_MeetEveryStandingRowOnceWhileOthersComeAndGo) {
  std::vector<std::string> standing;
  for (int i = 0; i < 40; ++i) {
    standing.push_back("standing" + std::to_string(i));
    ASSERT_TRUE(Insert(CredentialsNamed("project-acme", "c", standing.back())).has_value());
  }
  std::ranges::sort(standing);
  std::vector<std::string> met;
  std::string token;
  int round = 0;
  do {
    const auto page = store_->List<Credentials>("project-acme", "c", token, 3);
    ASSERT_TRUE(page.has_value());
    for (const auto& stored : page->rows) {
      if (stored.row.id.Str().starts_with("standing")) met.push_back(stored.row.id.Str());
    }
    token = page->next;
    // New rows fall before and behind the place; and the row that the token names goes, or stays
    // away, without harm to the walk.
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(Insert(CredentialsNamed("project-acme", "c",
                                          "new" + std::to_string(round * 3 + i))).has_value());
    }
    const auto& last = page->rows.back();
    if (!last.row.id.Str().starts_with("standing")) {
      Batch batch(Act{.act = "test"});
      batch.Remove(last.row, last.version);
      ASSERT_TRUE(store_->Commit(std::move(batch)).has_value());
    }
    ASSERT_LT(++round, 200);
  } while (!token.empty());
  std::ranges::sort(met);
  EXPECT_EQ(met, standing);
}

TEST_F(StoreTest, Tokens_OfWrongFormOrOfAnotherListingAreInvalid) {
  for (const char* project : {"project-acme", "project-other"}) {
    for (const char* id : {"a", "b"}) {
      ASSERT_TRUE(Insert(CredentialsNamed(project, "c", id)).has_value());
    }
  }
  const std::string token = store_->List<Credentials>("project-acme", "c", "", 1)->next;
  ASSERT_EQ(token.size(), 55u);
  const auto code_of = [&](std::string_view project, std::string_view bad) -> std::optional<Code> {
    const auto page = store_->List<Credentials>(project, "c", bad, 1);
    if (page) return std::nullopt;
    return page.error().GetCode();
  };
  EXPECT_EQ(code_of("project-acme", token), std::nullopt);
  EXPECT_EQ(code_of("project-other", token), Code::kInvalid);
  EXPECT_EQ(store_->List<Attempt>("project-acme", "c", token, 1).error().GetCode(),
            Code::kInvalid);
  for (const std::string& bad :
       {std::string("x"), token.substr(1), token.substr(0, 54), token + "A", token + "=",
        " " + token, token + "\n", std::string(55, '!'), std::string(55, '\0'),
        std::string(100000, 'A')}) {
    EXPECT_EQ(code_of("project-acme", bad), Code::kInvalid) << bad.substr(0, 60);
  }
}

TEST_F(StoreTest, DataFile_ShowsNoNameAndNoSecret) {
  LmdbSettings settings;
  settings.folder = folder_.Path();
  settings.map_size_bytes = 16 << 20;
  ASSERT_TRUE(CreateLmdbStore(settings, keyring_->Id()).has_value());
  {
    SilentWitness silent;
    Result<std::unique_ptr<Engine>> engine = OpenLmdbStore(settings, keyring_->Id(), silent);
    ASSERT_TRUE(engine.has_value());
    Store store(**engine, *keyring_);
    Batch batch(Act{.act = "test"});
    const auto insert = [&](const auto& row) {
      batch.Insert(row, SecretsOf("planted-data-value", "planted-app-secret"));
    };
    insert(FullProject());
    insert(FullComponent());
    insert(FullGrant());
    insert(FullIdentity());
    insert(FullCredentials());
    insert(FullAccount());
    insert(FullAttempt());
    insert(FullConnection());
    insert(FullAuthority());
    ASSERT_TRUE(store.Commit(std::move(batch)).has_value());
    ASSERT_TRUE(store.Find<Credentials>(FullCredentials().Names())->has_value());
  }
  std::ifstream file(folder_.Path() / "data.mdb", std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  // The search finds what stands in clear.
  EXPECT_NE(content.find("ovstore"), std::string::npos);
  for (const char* word :
       {"acme", "planted", "spiffe", "example", "oauth-", "title", "gspreadsheet", "granted",
        "local/", "app-key", "client-id", "creator", "connection", "64b00000", "00112233",
        "known", "fingerprint", "CERTIFICATE", "describe", "quickbooks"}) {
    EXPECT_EQ(content.find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace oauthvault::storage
