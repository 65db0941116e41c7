// What was stored once is read for ever: rows and a whole store that an earlier build wrote.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>

#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "storage/check.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"
#include "tests/crypto/hex.h"
#include "tests/storage/golden_store.h"
#include "tests/storage/kept_store.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::storage {
namespace {

std::map<std::string, std::string> GoldenRows() {
  std::map<std::string, std::string> rows;
  for (const crypto::Vector& golden : crypto::ReadVectors("golden/storage/rows.txt")) {
    rows[golden.at("table")] = golden.at("meta");
  }
  return rows;
}

template <Row R>
std::string MetaOf(const R& row) {
  FieldWriter fields;
  row.Encode(fields);
  return crypto::ToHex(std::move(fields).TakeBytes());
}

class GoldenRowsTest : public testing::Test {
 protected:
  template <Row R>
  void Compare(const R& row) {
    SCOPED_TRACE(static_cast<int>(R::kTable));
    const std::string golden = golden_[std::to_string(static_cast<int>(R::kTable))];
    EXPECT_EQ(MetaOf(row), golden);
    const auto fields = FieldReader::Parse(crypto::FromHex(golden));
    ASSERT_TRUE(fields.has_value());
    const Result<R> decoded = R::Decode(*fields);
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(MetaOf(*decoded), golden);
    ++compared_;
  }

  std::map<std::string, std::string> golden_ = GoldenRows();
  std::size_t compared_ = 0;
};

TEST_F(GoldenRowsTest, EveryTablesFields_AreWhatTheyWere) {
  Compare(FullProject());
  Compare(FullComponent());
  Compare(FullGrant());
  Compare(FullIdentity());
  Compare(FullCredentials());
  Compare(FullAccount());
  Compare(FullAttempt());
  Compare(FullConnection());
  Compare(FullAuthority());
  Compare(FullAnchor());
  Compare(FullSummary());
  Compare(FullBackup());
  Compare(FullRewrapping());
  Compare(FullToken());
  Compare(FullCredentialsVersion());
  Compare(FullTrustAnchor());
  Compare(FullRevokedKey());
  std::size_t tables = 0;
  ForEachRowType([&]<Row R>() { ++tables; });
  EXPECT_EQ(compared_, tables);
  EXPECT_EQ(golden_.size(), tables + 1);  // and the act
}

TEST_F(GoldenRowsTest, AnActsFields_AreWhatTheyWere) {
  EXPECT_EQ(crypto::ToHex(EncodeAct(GoldenAct())), golden_["act"]);
  EXPECT_EQ(*DecodeAct(crypto::FromHex(golden_["act"])), GoldenAct());
}

class GoldenStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto golden = std::filesystem::path(OAUTHVAULT_SOURCE_DIR) / "tests/golden/storage";
    std::filesystem::create_directory(folder_.Path() / "store");
    for (const char* file : {"store/data.mdb", "keys", "key"}) {
      std::filesystem::copy_file(golden / file, folder_.Path() / file);
      std::filesystem::permissions(folder_.Path() / file, std::filesystem::perms::owner_read |
                                                              std::filesystem::perms::owner_write);
    }
    auto secret = crypto::ReadKeyFile(folder_.Path() / "key");
    ASSERT_TRUE(secret.has_value());
    auto keyring = crypto::Keyring::Unlock(folder_.Path() / "keys", *secret);
    ASSERT_TRUE(keyring.has_value()) << keyring.error().Message();
    keyring_ = std::move(*keyring);
    settings_.folder = folder_.Path() / "store";
    settings_.map_size_bytes = 16 << 20;
    settings_.preallocate = false;
    ledger_ = std::make_unique<Ledger>(*keyring_, [](auto, auto) { return Result<void>(); });
  }

  std::unique_ptr<Engine> Open() {
    auto engine = OpenLmdbStore(settings_, keyring_->Id(), *ledger_);
    EXPECT_TRUE(engine.has_value()) << (engine ? "" : engine.error().Message());
    return engine ? std::move(*engine) : nullptr;
  }
  std::string Content() const {
    std::ifstream file(settings_.folder / "data.mdb", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const TemporaryFolder folder_;
  std::unique_ptr<crypto::Keyring> keyring_;
  std::unique_ptr<Ledger> ledger_;
  LmdbSettings settings_;
};

TEST_F(GoldenStoreTest, AStoreThatWasWrittenEarlier_IsWholeAndStandsWhereItStood) {
  const CheckReport report = CheckStore(settings_.folder, *keyring_);
  EXPECT_EQ(report.verdict, Verdict::kWhole);
  EXPECT_EQ(report.position, kGoldenPosition);
  EXPECT_EQ(report.previous, kGoldenPrevious);
  EXPECT_EQ(report.rows, 23u);  // eleven, their summaries, and the anchor
  const auto engine = Open();
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->Generation(), kGoldenPosition.generation);
  const Result<Anchor> anchor = Store(*engine, *keyring_).GetAnchor();
  ASSERT_TRUE(anchor.has_value());
  const auto commits = CommitsOf(*anchor);
  ASSERT_TRUE(commits.has_value());
  ASSERT_EQ(commits->size(), 1u);
  EXPECT_EQ(commits->front().act, GoldenAct());
}

TEST_F(GoldenStoreTest, AStoreThatWasWrittenEarlier_IsReadAndWrittenOn) {
  {
    const auto engine = Open();
    ASSERT_NE(engine, nullptr);
    Store store(*engine, *keyring_);
    std::size_t rows = 0;
    ForEachGoldenRow([&]<Row R>(const R& row) {
      SCOPED_TRACE(static_cast<int>(R::kTable));
      const auto stored = store.Get<R>(row.Names());
      ASSERT_TRUE(stored.has_value()) << stored.error().Message();
      EXPECT_EQ(MetaOf(stored->row), MetaOf(row));
      const auto secrets = store.OpenSecrets(*stored);
      ASSERT_TRUE(secrets.has_value());
      EXPECT_TRUE(secrets->data->Equals(crypto::SecretBytes::CopyOf(GoldenData(R::kTable))));
      EXPECT_TRUE(secrets->app_secret->Equals(
          crypto::SecretBytes::CopyOf(std::string(kGoldenAppSecret))));
      ++rows;
    });
    EXPECT_EQ(rows, 11u);
    Batch batch(Act{.act = "test"});
    batch.Replace(FullCredentials(), 1);
    EXPECT_EQ(*store.Commit(std::move(batch)), kGoldenPosition.generation + 1);
  }
  const CheckReport report = CheckStore(settings_.folder, *keyring_);
  EXPECT_EQ(report.verdict, Verdict::kWhole);
  EXPECT_EQ(report.previous, kGoldenPosition);
}

TEST_F(GoldenStoreTest, AStoreOfALaterFormat_IsRefusedAndNotTouched) {
  const RawFile raw(settings_.folder);
  std::string format_row = raw.Get(RawFile::FormatKey());
  ASSERT_EQ(format_row[8], 1);
  format_row[8] = 2;
  raw.Put(RawFile::FormatKey(), format_row + "what later formats add");
  const std::string before = Content();
  const auto refused = OpenLmdbStore(settings_, keyring_->Id(), *ledger_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().GetCode(), Code::kInvalid);
  EXPECT_EQ(CreateLmdbStore(settings_, keyring_->Id()).error().GetCode(), Code::kConflict);
  EXPECT_EQ(CheckStore(settings_.folder, *keyring_).verdict, Verdict::kCannotOpen);
  EXPECT_EQ(Content(), before);
}

TEST_F(GoldenStoreTest, ARowOfALaterFormat_IsRefusedAndNotOverwritten) {
  const RawFile raw(settings_.folder);
  const crypto::RowKey key =
      keyring_->KeyOf(static_cast<std::uint8_t>(TableId::kCredentials), FullCredentials().Names());
  std::string row = raw.Get(key);
  ASSERT_EQ(row[2], 1);
  row[2] = 2;
  raw.Put(key, row);
  {
    const auto engine = Open();
    Store store(*engine, *keyring_);
    EXPECT_EQ(store.Get<Credentials>(FullCredentials().Names()).error().GetCode(), Code::kCorrupt);
    for (const bool insert : {true, false}) {
      Batch batch(Act{.act = "test"});
      if (insert) {
        batch.Insert(FullCredentials());
      } else {
        batch.Replace(FullCredentials(), 1);
      }
      EXPECT_EQ(store.Commit(std::move(batch)).error().GetCode(), Code::kCorrupt);
    }
    EXPECT_TRUE(store.Get<Attempt>(FullAttempt().Names()).has_value());
  }
  EXPECT_EQ(raw.Get(key), row);
  EXPECT_EQ(CheckStore(settings_.folder, *keyring_).verdict, Verdict::kDamagedRows);
}

}  // namespace
}  // namespace oauthvault::storage
