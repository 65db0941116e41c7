#include "daemon/upkeep/anchor.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"
#include "tests/storage/memory_engine.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::upkeep {
namespace {

using storage::Position;
using Lines = std::vector<std::string>;

std::string CodeOf(const Result<void>& result) {
  return result ? "OK" : std::string(NameOf(result.error().GetCode()));
}

// Keys, and a folder for store and trail.
class AnchorTest : public testing::Test {
 protected:
  AnchorTest() {
    std::filesystem::create_directory(AuditFolder());
    if (!crypto::Keyring::Create(KeysFile(), slot_, "the test's slot")) std::abort();
    Unlock();
  }

  // Also in a child of this process, to which no key is handed down.
  void Unlock() {
    auto unlocked = crypto::Keyring::Unlock(KeysFile(), crypto::SlotSecret(slot_.Bytes().Clone()));
    if (!unlocked) std::abort();
    keyring_ = std::move(*unlocked);
  }
  std::filesystem::path KeysFile() const { return folder_.Path() / "keys"; }

  std::filesystem::path AuditFolder() const { return folder_.Path() / "audit"; }

  std::unique_ptr<audit::Trail> OpenTrail(
      audit::FileCalls calls = audit::FileCalls::System()) const {
    auto trail = audit::Trail::Open(AuditFolder(), keyring_->AuditKey(),
                                    [] { return std::int64_t{0}; }, std::move(calls));
    EXPECT_TRUE(trail) << (trail ? "" : trail.error().Message());
    return trail ? std::move(*trail) : nullptr;
  }

  /// The lines of the trail but its first: `epoch.generation act object`.
  Lines Told() const {
    Lines told;
    std::ifstream file(AuditFolder() / "audit.jsonl");
    for (std::string line; std::getline(file, line);) {
      const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
      if (parsed.at("act") == "begin") continue;
      told.push_back(std::to_string(parsed.at("epoch").get<std::uint64_t>()) + "." +
                     std::to_string(parsed.at("generation").get<std::uint64_t>()) + " " +
                     parsed.at("act").get<std::string>() + " " + parsed.value("object", ""));
    }
    return told;
  }

  static storage::Act ActOf(std::string object) {
    return {.act = "test", .principal = "local/admin", .object = std::move(object)};
  }
  static std::vector<storage::Committed> Commits(std::uint64_t first, std::uint64_t last) {
    std::vector<storage::Committed> commits;
    for (std::uint64_t generation = first; generation <= last; ++generation) {
      commits.push_back({generation, ActOf("c" + std::to_string(generation))});
    }
    return commits;
  }

  const storage::TemporaryFolder folder_;
  const crypto::SlotSecret slot_ = MakeSlot();
  std::unique_ptr<crypto::Keyring> keyring_;

 private:
  static crypto::SlotSecret MakeSlot() {
    if (!crypto::Prepare()) std::abort();
    return crypto::NewSlotSecret();
  }
};

// --- every relation of an anchor and a trail, with anchors made by hand --------------------------

// A store without a witness, at the generation of `anchor`, which holds it.
class HandMadeAnchor : public AnchorTest {
 protected:
  void MakeStore(const storage::Anchor& anchor) {
    for (std::uint64_t i = 1; i < anchor.position.generation; ++i) {
      storage::Batch batch(ActOf(""));
      batch.Insert(storage::Project{*ProjectId::Parse("p" + std::to_string(i))});
      ASSERT_TRUE(store_.Commit(std::move(batch)));
    }
    storage::Batch batch(ActOf(""));
    batch.Insert(anchor);
    ASSERT_TRUE(store_.Commit(std::move(batch)));
  }
  // The anchor of a transaction of `count` commits.
  static storage::Anchor AnchorOf(Position previous, Position position, std::uint64_t count) {
    storage::Anchor anchor{.position = position, .previous = previous};
    for (const auto& commit : Commits(position.generation - count + 1, position.generation)) {
      const std::vector<std::uint8_t> act = storage::EncodeAct(commit.act);
      anchor.acts.emplace_back(act.begin(), act.end());
    }
    return anchor;
  }
  std::string CodeOfReconcile(audit::Trail& trail) const {
    return CodeOf(Reconcile(store_, *keyring_, trail));
  }

  fakes::MemoryEngine engine_;
  storage::Store store_{engine_, *keyring_};
};

TEST_F(HandMadeAnchor, Reconcile_WritesNothingWhereBothStandAtTheSame) {
  MakeStore(AnchorOf({0, 2}, {0, 5}, 3));
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 5)));
  const Lines before = Told();
  EXPECT_EQ(CodeOfReconcile(*trail), "OK");
  EXPECT_EQ(Told(), before);
}

TEST_F(HandMadeAnchor, Reconcile_TellsWhatOfTheLastTransactionIsNotTold) {
  MakeStore(AnchorOf({0, 2}, {0, 5}, 3));
  for (std::uint64_t told = 2; told < 5; ++told) {
    std::filesystem::remove(AuditFolder() / "audit.jsonl");
    const auto trail = OpenTrail();
    ASSERT_TRUE(trail->RecordCommits(0, Commits(1, told)));
    EXPECT_EQ(CodeOfReconcile(*trail), "OK") << told;
    EXPECT_EQ(Told(), (Lines{"0.1 test c1", "0.2 test c2", "0.3 test c3", "0.4 test c4",
                             "0.5 test c5"}));
    EXPECT_EQ(trail->Head(), (Position{0, 5}));
    EXPECT_EQ(CodeOfReconcile(*trail), "OK");
    EXPECT_EQ(Told().size(), 5U);
  }
}

TEST_F(HandMadeAnchor, Reconcile_RefusesAStoreFurtherAheadThanOneTransaction) {
  MakeStore(AnchorOf({0, 2}, {0, 5}, 3));
  for (std::uint64_t told = 0; told < 2; ++told) {
    std::filesystem::remove(AuditFolder() / "audit.jsonl");
    const auto trail = OpenTrail();
    ASSERT_TRUE(trail->RecordCommits(0, Commits(1, told)));
    EXPECT_EQ(CodeOfReconcile(*trail), "STALE") << told;
    EXPECT_EQ(Told().size(), told);
  }
}

TEST_F(HandMadeAnchor, Reconcile_RefusesAStoreThatIsOlderThanTheTrail) {
  MakeStore(AnchorOf({0, 2}, {0, 5}, 3));
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 6)));
  EXPECT_EQ(CodeOfReconcile(*trail), "STALE");
  EXPECT_EQ(Told().size(), 6U);
}

TEST_F(HandMadeAnchor, Reconcile_TakesTheFirstCommitBehindARestoreForOneAhead) {
  // The store was put back to a generation that the trail passed long ago.
  MakeStore(AnchorOf({0, 9}, {1, 4}, 1));
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(9, 9)));
  EXPECT_EQ(CodeOfReconcile(*trail), "OK");
  EXPECT_EQ(Told().back(), "1.4 test c4");
  EXPECT_EQ(trail->Head(), (Position{1, 4}));
}

TEST_F(HandMadeAnchor, Reconcile_RefusesATrailOfAnotherEpoch) {
  // The store from before a restore, beside the trail that tells of it: its generation is higher.
  MakeStore(AnchorOf({0, 8}, {0, 9}, 1));
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(9, 9)));
  ASSERT_TRUE(trail->RecordCommits(1, Commits(5, 5)));
  EXPECT_EQ(CodeOfReconcile(*trail), "STALE");
}

TEST_F(HandMadeAnchor, Reconcile_RefusesATrailOfAnEarlierEpochThanTheLastTransactionBegan) {
  MakeStore(AnchorOf({1, 4}, {1, 5}, 1));
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(9, 9)));
  EXPECT_EQ(CodeOfReconcile(*trail), "STALE");
}

TEST_F(HandMadeAnchor, Reconcile_AcceptsAVaultInWhichNothingHappened) {
  const auto trail = OpenTrail();
  EXPECT_EQ(CodeOfReconcile(*trail), "OK");
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 1)));
  EXPECT_EQ(CodeOfReconcile(*trail), "STALE");
}

TEST_F(HandMadeAnchor, Reconcile_RefusesAMissingAnchor) {
  MakeStore(AnchorOf({0, 1}, {0, 2}, 1));
  const auto trail = OpenTrail();
  const auto anchor = store_.Get<storage::Anchor>(storage::Anchor::Names());
  ASSERT_TRUE(anchor);
  storage::Batch batch(ActOf(""));
  batch.Remove(anchor->row, anchor->version);
  ASSERT_TRUE(store_.Commit(std::move(batch)));
  EXPECT_EQ(CodeOfReconcile(*trail), "CORRUPT");
}

TEST_F(HandMadeAnchor, Reconcile_RefusesAnAnchorOfAnotherCommitThanTheLast) {
  MakeStore(AnchorOf({0, 1}, {0, 2}, 1));
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 2)));
  storage::Batch batch(ActOf(""));
  batch.Insert(storage::Project{*ProjectId::Parse("behind-the-witness")});
  ASSERT_TRUE(store_.Commit(std::move(batch)));
  EXPECT_EQ(CodeOfReconcile(*trail), "CORRUPT");
}

TEST_F(HandMadeAnchor, Reconcile_RefusesAnAnchorWithoutItsActs) {
  storage::Anchor anchor = AnchorOf({0, 1}, {0, 2}, 1);
  anchor.acts.clear();
  MakeStore(anchor);
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 1)));
  EXPECT_EQ(CodeOfReconcile(*trail), "CORRUPT");
}

TEST_F(HandMadeAnchor, Reconcile_RefusesADamagedAnchor) {
  MakeStore(AnchorOf({0, 1}, {0, 2}, 1));
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 2)));
  const auto anchor = store_.Get<storage::Anchor>(storage::Anchor::Names());
  ASSERT_TRUE(anchor);
  std::vector<std::uint8_t> bytes(anchor->sealed.Bytes().begin(), anchor->sealed.Bytes().end());
  bytes.back() ^= 1;
  auto damaged = crypto::SealedRow::Parse(bytes);
  ASSERT_TRUE(damaged);
  ASSERT_TRUE(engine_.Commit({{anchor->key, {}, std::move(*damaged)}}, {}));
  EXPECT_EQ(CodeOfReconcile(*trail), "CORRUPT");
}

TEST_F(HandMadeAnchor, Reconcile_RefusesKeysThatAreOlderThanTheStoreKnows) {
  storage::Anchor anchor = AnchorOf({0, 1}, {0, 2}, 1);
  anchor.key_changes = keyring_->Changes();
  MakeStore(anchor);
  const auto trail = OpenTrail();
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 2)));
  EXPECT_EQ(CodeOfReconcile(*trail), "OK");
  const auto stored = store_.Get<storage::Anchor>(storage::Anchor::Names());
  ASSERT_TRUE(stored);
  ++anchor.key_changes;
  storage::Batch batch(ActOf(""));
  anchor.position = {0, 3};
  batch.Replace(anchor, stored->version);
  ASSERT_TRUE(store_.Commit(std::move(batch)));
  ASSERT_TRUE(trail->RecordCommits(0, Commits(3, 3)));
  EXPECT_EQ(CodeOfReconcile(*trail), "STALE");
}

TEST_F(HandMadeAnchor, Reconcile_IsUnavailableWhileTheLineCannotBeWritten) {
  MakeStore(AnchorOf({0, 1}, {0, 2}, 1));
  std::atomic<bool> fails = false;
  audit::FileCalls calls = audit::FileCalls::System();
  calls.fdatasync = [&, sync = calls.fdatasync](int file) {
    errno = EIO;
    return fails ? -1 : sync(file);
  };
  const auto trail = OpenTrail(std::move(calls));
  ASSERT_TRUE(trail->RecordCommits(0, Commits(1, 1)));
  fails = true;
  EXPECT_EQ(CodeOfReconcile(*trail), "UNAVAILABLE");
  fails = false;
  EXPECT_EQ(CodeOfReconcile(*trail), "OK");
  EXPECT_EQ(Told(), (Lines{"0.1 test c1", "0.2 test c2"}));
}

// --- a real store, as the daemon opens it --------------------------------------------------------

// What a daemon has open.
struct Opened {
  std::unique_ptr<audit::Trail> trail;
  std::unique_ptr<storage::Ledger> ledger;
  std::unique_ptr<storage::Engine> engine;
  std::unique_ptr<storage::Store> store;
  std::string reconciled;

  std::string Add(const std::string& id) const {
    storage::Batch batch({.act = "test", .principal = "local/admin", .object = id});
    batch.Insert(storage::Project{*ProjectId::Parse(id)});
    auto committed = store->Commit(std::move(batch));
    return committed ? "OK" : std::string(NameOf(committed.error().GetCode()));
  }
  bool Has(const std::string& id) const {
    auto found = store->Find<storage::Project>(storage::Project::Names(*ProjectId::Parse(id)));
    return found && *found;
  }
};

class RealStore : public AnchorTest {
 protected:
  RealStore() {
    std::filesystem::create_directory(StoreFolder());
    if (!storage::CreateLmdbStore(Settings(), keyring_->Id())) std::abort();
  }
  std::filesystem::path StoreFolder() const { return folder_.Path() / "store"; }
  std::filesystem::path Data() const { return StoreFolder() / "data.mdb"; }
  std::filesystem::path TrailFile() const { return AuditFolder() / "audit.jsonl"; }
  storage::LmdbSettings Settings() const {
    return {.folder = StoreFolder(), .map_size_bytes = 4u << 20};
  }

  Opened Start(audit::FileCalls calls = audit::FileCalls::System(),
               std::optional<storage::Ledger::Restart> restart = {}) const {
    Opened opened;
    opened.trail = OpenTrail(std::move(calls));
    opened.ledger = std::make_unique<storage::Ledger>(*keyring_,
                                                      audit::RecorderOf(*opened.trail), restart);
    auto engine = storage::OpenLmdbStore(Settings(), keyring_->Id(), *opened.ledger);
    if (!engine) std::abort();
    opened.engine = std::move(*engine);
    opened.store = std::make_unique<storage::Store>(*opened.engine, *keyring_);
    opened.reconciled = CodeOf(Reconcile(*opened.store, *keyring_, *opened.trail));
    return opened;
  }
  /// Starts, adds the projects, stops.
  void Add(const std::vector<std::string>& ids) const {
    const Opened opened = Start();
    ASSERT_EQ(opened.reconciled, "OK");
    for (const std::string& id : ids) ASSERT_EQ(opened.Add(id), "OK");
  }
};

TEST_F(RealStore, Start_GoesOnAfterEachOrderlyEnd) {
  Add({});
  Add({"a"});
  Add({"b", "c"});
  EXPECT_EQ(Start().reconciled, "OK");
  EXPECT_EQ(Told(), (Lines{"0.1 test a", "0.2 test b", "0.3 test c"}));
}

TEST_F(RealStore, Start_RefusesYesterdaysStore) {
  Add({"a"});
  std::filesystem::copy_file(Data(), folder_.Path() / "yesterday");
  Add({"b"});
  std::filesystem::copy_file(Data(), folder_.Path() / "today");
  std::filesystem::copy_file(folder_.Path() / "yesterday", Data(),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(Start().reconciled, "STALE");
  // The store of today is the one that belongs to the trail.
  std::filesystem::copy_file(folder_.Path() / "today", Data(),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(Start().reconciled, "OK");
}

TEST_F(RealStore, Start_RefusesYesterdaysTrailAndALostOne) {
  Add({"a"});
  std::filesystem::copy_file(TrailFile(), folder_.Path() / "yesterday");
  Add({"b", "c"});
  std::filesystem::copy_file(folder_.Path() / "yesterday", TrailFile(),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(Start().reconciled, "STALE");
  std::filesystem::remove(TrailFile());
  EXPECT_EQ(Start().reconciled, "STALE");
}

TEST_F(RealStore, Start_CannotNoticeThatBothWerePutBackTogether) {
  Add({"a"});
  std::filesystem::copy(folder_.Path(), folder_.Path().string() + "-yesterday",
                        std::filesystem::copy_options::recursive);
  Add({"b"});
  const std::filesystem::path yesterday = folder_.Path().string() + "-yesterday";
  for (const std::filesystem::path& file : {Data(), TrailFile()}) {
    std::filesystem::copy_file(yesterday / file.lexically_relative(folder_.Path()), file,
                               std::filesystem::copy_options::overwrite_existing);
  }
  std::filesystem::remove_all(yesterday);
  EXPECT_EQ(Start().reconciled, "OK");
}

TEST_F(RealStore, Restart_InANewEpochGoesOnAndTheStoreBeforeItDoesNot) {
  Add({"a"});
  std::filesystem::copy_file(Data(), folder_.Path() / "yesterday");
  Add({"b", "c"});
  std::filesystem::copy_file(Data(), folder_.Path() / "replaced");
  std::filesystem::copy_file(folder_.Path() / "yesterday", Data(),
                             std::filesystem::copy_options::overwrite_existing);
  {
    const Opened restored = Start(audit::FileCalls::System(),
                                  storage::Ledger::Restart{1, Position{0, 3}});
    EXPECT_EQ(restored.reconciled, "STALE");  // what the restore is told to go beyond
    EXPECT_EQ(restored.Add("restored"), "OK");
  }
  Add({"d"});
  EXPECT_EQ(Told(), (Lines{"0.1 test a", "0.2 test b", "0.3 test c", "1.2 test restored",
                           "1.3 test d"}));
  std::filesystem::copy_file(folder_.Path() / "replaced", Data(),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(Start().reconciled, "STALE");
}

TEST_F(RealStore, Commit_WhoseLineCannotBeWrittenStandsAndIsToldBeforeTheNext) {
  std::atomic<bool> fails = false;
  audit::FileCalls calls = audit::FileCalls::System();
  calls.fdatasync = [&, sync = calls.fdatasync](int file) {
    errno = EIO;
    return fails ? -1 : sync(file);
  };
  const Opened opened = Start(std::move(calls));
  ASSERT_EQ(opened.Add("a"), "OK");
  fails = true;
  EXPECT_EQ(opened.Add("untold"), "UNAVAILABLE");
  EXPECT_TRUE(opened.Has("untold"));
  // While it is not told nothing else is committed.
  EXPECT_EQ(opened.Add("refused"), "UNAVAILABLE");
  EXPECT_FALSE(opened.Has("refused"));
  EXPECT_EQ(Told(), Lines{"0.1 test a"});
  EXPECT_EQ(opened.engine->Generation(), 1U);
  fails = false;
  EXPECT_EQ(opened.Add("b"), "OK");
  EXPECT_EQ(Told(), (Lines{"0.1 test a", "0.2 test untold", "0.3 test b"}));
  EXPECT_EQ(opened.engine->Generation(), 3U);
}

TEST_F(RealStore, Commit_WhoseLineCannotBeWrittenIsToldAtTheNextStart) {
  std::atomic<bool> fails = false;
  audit::FileCalls calls = audit::FileCalls::System();
  calls.fdatasync = [&, sync = calls.fdatasync](int file) {
    errno = EIO;
    return fails ? -1 : sync(file);
  };
  {
    const Opened opened = Start(std::move(calls));
    ASSERT_EQ(opened.Add("a"), "OK");
    fails = true;
    EXPECT_EQ(opened.Add("untold"), "UNAVAILABLE");
  }
  EXPECT_EQ(Told(), Lines{"0.1 test a"});
  const Opened opened = Start();
  EXPECT_EQ(opened.reconciled, "OK");
  EXPECT_TRUE(opened.Has("untold"));
  EXPECT_EQ(Told(), (Lines{"0.1 test a", "0.2 test untold"}));
}

// A child adds `killed` and is killed before the `n`-th call that the trail makes for its line.
// False: it was not, for there are not so many calls.
class KilledBetween : public RealStore {
 protected:
  bool KillBefore(int n) {
    const pid_t child = ::fork();
    if (child == 0) {
      Unlock();
      std::atomic<bool> armed = false;
      std::atomic<int> count = 0;
      const auto die = [&] {
        if (armed && ++count == n) ::raise(SIGKILL);
      };
      const audit::FileCalls system = audit::FileCalls::System();
      audit::FileCalls calls = system;
      calls.write = [&](int file, const void* bytes, std::size_t size_bytes) {
        die();
        return system.write(file, bytes, size_bytes);
      };
      calls.fdatasync = [&](int file) {
        die();
        return system.fdatasync(file);
      };
      calls.fstat = [&](int file, struct stat* status) {
        die();
        return system.fstat(file, status);
      };
      const Opened opened = Start(std::move(calls));
      armed = true;
      ::_exit(opened.reconciled == "OK" && opened.Add("killed") == "OK" ? 0 : 1);
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child) std::abort();
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    return false;
  }
};

TEST_F(KilledBetween, Start_TellsTheCommitWhoseLineTheKillKeptAway) {
  Add({"before"});
  ASSERT_TRUE(KillBefore(1));
  EXPECT_EQ(Told(), Lines{"0.1 test before"});
  const Opened opened = Start();
  EXPECT_EQ(opened.reconciled, "OK");
  EXPECT_TRUE(opened.Has("killed"));
  EXPECT_EQ(Told(), (Lines{"0.1 test before", "0.2 test killed"}));
}

TEST_F(KilledBetween, Start_LeavesOneLineWhereverTheKillCame) {
  Add({"before"});
  std::filesystem::copy_file(Data(), folder_.Path() / "data");
  std::filesystem::copy_file(TrailFile(), folder_.Path() / "trail");
  int kills = 0;
  while (KillBefore(kills + 1)) {
    ++kills;
    {
      const Opened opened = Start();
      EXPECT_EQ(opened.reconciled, "OK") << kills;
      EXPECT_TRUE(opened.Has("killed")) << kills;
      EXPECT_EQ(opened.Add("after"), "OK") << kills;
    }
    EXPECT_EQ(Told(), (Lines{"0.1 test before", "0.2 test killed", "0.3 test after"})) << kills;
    std::filesystem::copy_file(folder_.Path() / "data", Data(),
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::copy_file(folder_.Path() / "trail", TrailFile(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  EXPECT_GE(kills, 3);  // before the line, between writing and syncing it, behind the sync
}

}  // namespace
}  // namespace oauthvault::upkeep
