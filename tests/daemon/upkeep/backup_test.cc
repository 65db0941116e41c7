#include "daemon/upkeep/backup.h"

#include <sys/stat.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "tests/daemon/upkeep/kept_vault.h"

namespace oauthvault::upkeep {
namespace {

using nlohmann::json;
using storage::TableId;

class BackupTest : public KeptVault {
 protected:
  BackupTest() { PutMany(20, vault_.project); }

  Result<storage::Backup> Make(const std::filesystem::path& folder,
                               const BreakOff& break_off = {}) {
    return MakeBackup(folder, vault_.Store(), vault_.Keys(), ActOf("Operations.Backup"),
                      fakes::kVaultNow, break_off);
  }

  static std::set<std::string> Entries(const std::filesystem::path& folder) {
    std::set<std::string> entries;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      entries.insert(entry.path().lexically_relative(folder));
    }
    return entries;
  }

  const std::filesystem::path folder_ = At("backup");
  const std::filesystem::path part_ = At("backup.part");
};

TEST_F(BackupTest, HoldsStoreKeysAndANoteAndVerifies) {
  const auto backup = Make(folder_);
  ASSERT_TRUE(backup) << backup.error().Message();
  EXPECT_EQ(Entries(folder_),
            (std::set<std::string>{"backup.json", "keys", "store", "store/data.mdb"}));
  EXPECT_FALSE(std::filesystem::exists(part_));
  const json note = json::parse(ContentOf(folder_ / kBackupNote));
  EXPECT_EQ(note["generation"], backup->position.generation);
  EXPECT_EQ(note["rows"], backup->rows);
  EXPECT_GT(backup->rows, 20U);
  EXPECT_EQ(backup->size_bytes, std::filesystem::file_size(folder_ / "store" / "data.mdb"));
  struct stat status {};
  for (const char* file : {"keys", "store/data.mdb", "backup.json"}) {
    ASSERT_EQ(stat((folder_ / file).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U) << file;
  }
  const auto checked = RunCheck(folder_ / kBackupStore, folder_ / kBackupKeys, vault_.Keys(),
                                std::chrono::seconds(60));
  ASSERT_TRUE(checked) << checked.error().Message();
  EXPECT_EQ(checked->verdict, CheckResult::Verdict::kWhole);
}

TEST_F(BackupTest, IsNotedInARowAndInTheTrail) {
  const auto backup = Make(folder_);
  ASSERT_TRUE(backup);
  const auto row = vault_.Store().Get<storage::Backup>(storage::Backup::Names(folder_.string()));
  ASSERT_TRUE(row);
  EXPECT_EQ(row->row, *backup);
  const auto noted = BackupIn(vault_.Lines().back().at("object"));
  ASSERT_TRUE(noted);
  EXPECT_EQ(noted->folder, backup->folder);
  EXPECT_EQ(noted->position, backup->position);
}

TEST_F(BackupTest, AnObjectOfALineSaysPositionAndFolderOrNothing) {
  const storage::Backup backup{.folder = "/a b/c", .position = {2, 77}};
  EXPECT_EQ(ObjectOf(backup), "backup epoch:2 generation:77 /a b/c");
  const auto read = BackupIn(ObjectOf(backup));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->folder, "/a b/c");
  EXPECT_EQ(read->position, (storage::Position{2, 77}));
  for (const char* other : {"", "backup epoch:2", "backup epoch:2 generation: /a",
                            "backup epoch:2 generation:7 a", "backup epoch:x generation:7 /a"}) {
    EXPECT_FALSE(BackupIn(other)) << other;
  }
}

TEST_F(BackupTest, IsNotMadeWhereSomethingStands) {
  std::filesystem::create_directory(folder_);
  EXPECT_EQ(fakes::CodeOf(Make(folder_)), "CONFLICT");
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(BackupTest, SaysWhatAFolderNeedsThatCannotBeMade) {
  const auto made = Make(folder_ / "monday");
  EXPECT_EQ(fakes::CodeOf(made), "UNAVAILABLE");
  EXPECT_NE(made.error().Message().find("parent must exist"), std::string::npos);
  EXPECT_NE(made.error().Message().find("ReadWritePaths="), std::string::npos);
}

TEST_F(BackupTest, TakesThePlaceOfOneThatWasInterrupted) {
  std::filesystem::create_directories(part_ / "store");
  std::ofstream(part_ / "store" / "data.mdb") << "half";
  std::ofstream(part_ / "keys.tmp") << "half";
  const auto backup = Make(folder_);
  ASSERT_TRUE(backup) << backup.error().Message();
  EXPECT_FALSE(std::filesystem::exists(part_));
}

TEST_F(BackupTest, LeavesAFolderAloneThatIsSomebodyElses) {
  std::filesystem::create_directories(part_ / "photos");
  std::ofstream(part_ / "photos" / "cat") << "cat";
  EXPECT_EQ(fakes::CodeOf(Make(folder_)), "CONFLICT");
  EXPECT_EQ(ContentOf(part_ / "photos" / "cat"), "cat");
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

TEST_F(BackupTest, LeavesAFileAndALinkAloneThatHaveThePartsName) {
  std::ofstream(At("backup.part")) << "a file";
  EXPECT_EQ(fakes::CodeOf(Make(folder_)), "CONFLICT");
  EXPECT_EQ(ContentOf(part_), "a file");
  std::filesystem::remove(part_);
  std::filesystem::create_directory(At("elsewhere"));
  std::ofstream(At("elsewhere/keys")) << "theirs";
  std::filesystem::create_directory_symlink(At("elsewhere"), part_);
  EXPECT_EQ(fakes::CodeOf(Make(folder_)), "CONFLICT");
  EXPECT_EQ(ContentOf(At("elsewhere/keys")), "theirs");
}

TEST_F(BackupTest, NeedsAnAbsolutePathOfPrintableText) {
  for (const std::string& path : {std::string("backup"), std::string("/"), std::string("/tmp/"),
                                  "/" + std::string(1000, 'x'), std::string("/tmp/a\nb"),
                                  part_.string(), part_.string() + "/"}) {
    EXPECT_EQ(fakes::CodeOf(Make(path)), "INVALID") << path;
  }
  EXPECT_EQ(fakes::CodeOf(Make(At("none") / "backup")), "UNAVAILABLE");
}

TEST_F(BackupTest, OfADamagedStoreIsNotKept) {
  const auto rows = Rows(TableId::kCredentials, "acme");
  Damage(rows[0], rows[1]);
  EXPECT_EQ(fakes::CodeOf(Make(folder_)), "CORRUPT");
  EXPECT_FALSE(std::filesystem::exists(folder_));
  EXPECT_FALSE(std::filesystem::exists(part_));
}

TEST_F(BackupTest, ThatIsBrokenOffLeavesNothing) {
  EXPECT_EQ(fakes::CodeOf(Make(folder_, [] { return true; })), "UNAVAILABLE");
  EXPECT_FALSE(std::filesystem::exists(folder_));
  EXPECT_FALSE(std::filesystem::exists(part_));
}

TEST_F(BackupTest, ThatCannotBeToldIsNotKept) {
  vault_.FailTrail(true);
  EXPECT_EQ(fakes::CodeOf(Make(folder_)), "UNAVAILABLE");
  EXPECT_FALSE(std::filesystem::exists(folder_));
  vault_.FailTrail(false);
  EXPECT_TRUE(Make(folder_));
}

TEST_F(BackupTest, HoldsAProjectWhoseShreddingIsUnfinished) {
  auto project = vault_.Store().Get<storage::Project>(storage::Project::Names(vault_.project));
  ASSERT_TRUE(project);
  project->row.shredding_at_s = fakes::kVaultNow;
  storage::Batch batch(ActOf("test"));
  batch.Replace(project->row, project->version);
  ASSERT_TRUE(vault_.Store().Commit(std::move(batch)));
  ASSERT_TRUE(vault_.Keys().RemoveOwner(crypto::Owner::Project("acme")));
  const auto backup = Make(folder_);
  EXPECT_TRUE(backup) << backup.error().Message();
}

TEST_F(BackupTest, ACheckBesideAWriterWhoRotatesKeysFindsTheStoreWhole) {
  for (int i = 0; i < 3; ++i) {
    std::thread rotating([&] {
      for (int k = 0; k < 5; ++k) {
        EXPECT_TRUE(vault_.Keys().RotateKek(crypto::Owner::Project("acme")));
        vault_.Put(IdOf(0), "anew");
      }
    });
    const auto checked =
        RunLiveCheck(At("store"), At("keys"), vault_.Keys(), std::chrono::seconds(60));
    rotating.join();
    ASSERT_TRUE(checked) << checked.error().Message();
    EXPECT_EQ(checked->verdict, CheckResult::Verdict::kWhole)
        << checked->problems.at(0).what;
  }
}

TEST_F(BackupTest, ACheckWhoseKeysWereChangedUnderItLooksAgain) {
  const auto keys = At("keys-in-use");
  std::filesystem::copy_file(At("keys"), keys);
  ASSERT_TRUE(vault_.Keys().RotateRoot());
  // While the first process works its keys are those of the root before.
  int asked = 0;
  const auto checked = RunLiveCheck(
      At("store"), keys, vault_.Keys(), std::chrono::seconds(60), [&] {
        if (++asked == 2) {
          std::filesystem::copy_file(At("keys"), keys,
                                     std::filesystem::copy_options::overwrite_existing);
        }
        return false;
      });
  ASSERT_TRUE(checked) << checked.error().Message();
  EXPECT_EQ(checked->verdict, CheckResult::Verdict::kWhole);
  EXPECT_GT(asked, 2);
}

TEST_F(BackupTest, ACheckFindsWhatIsDamagedAndNamesTheRow) {
  const auto rows = Rows(TableId::kCredentials, "acme");
  Damage(rows[0], rows[1]);
  const auto checked =
      RunLiveCheck(At("store"), At("keys"), vault_.Keys(), std::chrono::seconds(60));
  ASSERT_TRUE(checked);
  EXPECT_EQ(checked->verdict, CheckResult::Verdict::kDamaged);
  ASSERT_FALSE(checked->problems.empty());
  EXPECT_EQ(checked->problems[0].row_key.size(), 2 * crypto::kRowKeySize);
  const auto nothing = RunCheck(At("none"), At("keys"), vault_.Keys(), std::chrono::seconds(60));
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->verdict, CheckResult::Verdict::kNoStore);
}

// A daemon ends for damage and is not started again; not so for want of memory.
TEST_F(BackupTest, ACheckWhoseProcessWasEndedIsNoResult_OneThatTheStoreBroughtDownIsDamage) {
  const auto check = [&](const char* keys) {
    return RunCheck(At("store"), At(keys), vault_.Keys(), std::chrono::seconds(60));
  };
  EXPECT_EQ(fakes::CodeOf(check("ends-killed")), "UNAVAILABLE");
  EXPECT_EQ(fakes::CodeOf(check("ends-silent")), "UNAVAILABLE");
  const auto broken = check("ends-broken");
  ASSERT_TRUE(broken);
  EXPECT_EQ(broken->verdict, CheckResult::Verdict::kUnusable);
}

TEST_F(BackupTest, ACheckThatIsNotDoneInTimeIsNoResult) {
  EXPECT_EQ(fakes::CodeOf(RunCheck(At("store"), At("keys"), vault_.Keys(),
                                   std::chrono::seconds(0))),
            "UNAVAILABLE");
}

}  // namespace
}  // namespace oauthvault::upkeep
