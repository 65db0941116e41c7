// Backups, their restore, and stores that are not the newest.
#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

class Restore : public testing::Test {
 protected:
  Restore() {
    place_.Init();
    place_.Serve();
    place_.Register();
    EXPECT_EQ(place_.Put("main", "old").exit_code, 0);
  }

  std::string Backup() const { return place_.At("backup").string(); }
  void MakeBackup() {
    const Ended made = place_.Cli({"backup", Backup()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  Ended RestoreBackup(const Start& start = {}) const {
    return place_.Daemon({"restore", Backup(), "--reason", "a drill"}, start);
  }
  void IssueFor(const std::string& who, const std::string& folder) {
    const Ended issued = place_.Cli({"identity", "issue", who, "--out", place_.At(folder)});
    ASSERT_EQ(issued.exit_code, 0) << issued.err;
  }
  std::string SerialOf(const std::string& who) {
    for (const json& one : place_.Asked({"identity", "list"})) {
      if (one["principal"].get<std::string>().ends_with(who)) return one["serial"];
    }
    return {};
  }
  void CopyStore(const std::string& to) {
    std::filesystem::copy_file(place_.At("state/store/data.mdb"), place_.At(to),
                               std::filesystem::copy_options::overwrite_existing);
  }
  void PutStoreBack(const std::string& from) {
    std::filesystem::copy_file(place_.At(from), place_.At("state/store/data.mdb"),
                               std::filesystem::copy_options::overwrite_existing);
  }

  Place place_;
};

TEST_F(Restore, BringsOldDataBackAndNoRightThatWasTakenAway) {
  for (const char* id : {"globex", "initech"}) {
    ASSERT_EQ(place_.Cli({"project", "add", id}).exit_code, 0);
  }
  for (const char* who : {"runner/removed", "runner/narrowed", "runner/kept", "auditor/before"}) {
    std::string folder = who;
    folder[folder.find('/')] = '-';
    IssueFor(who, folder);
  }
  const auto grant = [&](const std::string& who, const std::string& rights) {
    return place_.Cli(OnPair({"grant", "add", "--principal", who, "--right", rights})).exit_code;
  };
  ASSERT_EQ(grant("runner/removed", "reveal"), 0);
  ASSERT_EQ(grant("runner/narrowed", "describe,reveal"), 0);
  ASSERT_EQ(grant("runner/kept", "reveal"), 0);
  const auto reveal = OnPair({"credentials", "reveal", "main", "--field", "data"});
  for (const char* who : {"runner-removed", "runner-narrowed", "runner-kept"}) {
    EXPECT_EQ(place_.CliAs(who, reveal).out, "old") << who;
  }
  MakeBackup();

  ASSERT_EQ(place_.Put("main", "new").exit_code, 0);
  ASSERT_EQ(place_.Put("later", "later").exit_code, 0);
  ASSERT_EQ(place_.Cli(OnPair({"grant", "remove", "--principal", "runner/removed"})).exit_code, 0);
  ASSERT_EQ(grant("runner/narrowed", "describe"), 0);
  IssueFor("auditor/after", "auditor-after");
  for (const char* who : {"auditor/before", "auditor/after"}) {
    ASSERT_EQ(place_.Cli({"identity", "revoke", SerialOf(who)}).exit_code, 0) << who;
  }
  ASSERT_EQ(place_.Cli({"project", "shred", "globex", "--confirm", "globex"}).exit_code, 0);
  ASSERT_EQ(place_.Cli({"project", "remove", "initech"}).exit_code, 0);
  const Ended beside = RestoreBackup();
  EXPECT_EQ(beside.exit_code, 1);
  EXPECT_NE(beside.err.find("end the daemon first"), std::string::npos) << beside.err;
  ASSERT_EQ(place_.Stop().exit_code, 0);
  CopyStore("newest");

  const Ended restored = RestoreBackup();
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  EXPECT_NE(restored.out.find("restored; epoch 1"), std::string::npos) << restored.out;
  EXPECT_NE(restored.out.find("2 grants, 2 identities, 0 CAs outside, 0 keys; "
                              "shredded again: 2 projects"),
            std::string::npos) << restored.out;
  place_.Serve();
  EXPECT_EQ(place_.Asked({"status"})["restore_epoch"], 1);
  EXPECT_EQ(place_.Reveal("main"), "old");
  EXPECT_EQ(place_.Cli(OnPair({"credentials", "reveal", "later"})).exit_code, 1);
  EXPECT_EQ(place_.CliAs("runner-kept", reveal).out, "old");
  EXPECT_EQ(place_.CliAs("runner-removed", reveal).exit_code, 1);
  EXPECT_EQ(place_.CliAs("runner-narrowed", reveal).exit_code, 1);
  EXPECT_EQ(place_.CliAs("runner-narrowed", OnPair({"credentials", "show", "main"})).exit_code, 0);
  for (const char* who : {"auditor-before", "auditor-after"}) {
    EXPECT_NE(place_.CliAs(who, {"audit", "show"}).exit_code, 0) << who;
  }
  for (const char* id : {"globex", "initech"}) {
    EXPECT_EQ(place_.Cli({"project", "show", id}).exit_code, 1) << id;
  }
  // The backup that it came from is known.
  EXPECT_EQ(place_.Asked({"backups"}).at(0)["folder"], Backup());
  EXPECT_EQ(place_.Asked({"check"})["whole"], true);
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(place_.Daemon({"verify-audit"}).exit_code, 0);
  ASSERT_EQ(place_.Trail("restore").size(), 1U);
  EXPECT_EQ(place_.Trail("restore")[0]["object"], "a drill");

  // What was the newest store before is not any more.
  CopyStore("restored");
  PutStoreBack("newest");
  const Ended refused = place_.Daemon({});
  EXPECT_EQ(refused.exit_code, 78) << refused.err;
  PutStoreBack("restored");

  // Once more, and the revocations still hold.
  const Ended again = RestoreBackup();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.out.find("restored; epoch 2"), std::string::npos) << again.out;
  place_.Serve();
  EXPECT_EQ(place_.CliAs("runner-removed", reveal).exit_code, 1);
  EXPECT_EQ(place_.CliAs("runner-kept", reveal).out, "old");
}

TEST_F(Restore, OnAnEmptyMachineNeedsTheBackupAndOneSlotsSecret) {
  MakeBackup();
  const Place bare;
  std::filesystem::copy(Backup(), bare.At("backup"), std::filesystem::copy_options::recursive);
  const Ended restored =
      bare.Daemon({"restore", bare.At("backup").string(), "--reason", "the old one burned"},
                  {.input = ContentOf(place_.At("key"))});
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  WriteTo(bare.At("key"), ContentOf(place_.At("key")));
  Place& served = const_cast<Place&>(bare);
  served.Serve();
  EXPECT_EQ(served.Reveal("main"), "old");
}

TEST_F(Restore, RefusedLeavesTheVaultServable) {
  MakeBackup();
  std::filesystem::copy(Backup(), place_.At("cut"), std::filesystem::copy_options::recursive);
  std::filesystem::resize_file(place_.At("cut/store/data.mdb"), 4096);
  std::filesystem::copy(Backup(), place_.At("unfinished.part"),
                        std::filesystem::copy_options::recursive);
  std::filesystem::remove(place_.At("unfinished.part/backup.json"));
  ASSERT_EQ(place_.Stop().exit_code, 0);
  const Place other;
  other.Init();
  EXPECT_NE(place_.Daemon({"restore", place_.At("cut").string(), "--reason", "x"}).exit_code, 0);
  const Ended part =
      place_.Daemon({"restore", place_.At("unfinished.part").string(), "--reason", "x"});
  EXPECT_EQ(part.exit_code, 1);
  EXPECT_NE(part.err.find("no finished backup"), std::string::npos) << part.err;
  EXPECT_EQ(place_.Daemon({"restore", place_.At("none").string(), "--reason", "x"}).exit_code, 1);
  EXPECT_EQ(place_.Daemon({"restore", Backup()}).exit_code, 1);
  EXPECT_EQ(place_.Daemon({"restore", Backup(), "--reason", ""}).exit_code, 1);
  EXPECT_EQ(place_.Daemon({"restore", "--reason", "x"}).exit_code, 1);
  EXPECT_EQ(place_.Daemon({"restore", Backup(), "--present", "--reason", "x"}).exit_code, 1);
  // Nobody opens it.
  WriteTo(place_.At("wrong-key"), ContentOf(other.At("key")));
  const Ended wrong = place_.Daemon({"restore", Backup(), "--reason", "x", "--key-file",
                                     place_.At("wrong-key").string()});
  EXPECT_NE(wrong.exit_code, 0);
  EXPECT_TRUE(place_.Trail("restore").empty());
  place_.Serve();
  EXPECT_EQ(place_.Reveal("main"), "old");
}

TEST_F(Restore, KilledAtAnyMomentIsDoneAgain) {
  MakeBackup();
  ASSERT_EQ(place_.Put("main", "new").exit_code, 0);
  ASSERT_EQ(place_.Cli({"project", "add", "globex"}).exit_code, 0);
  ASSERT_EQ(place_.Cli({"project", "shred", "globex", "--confirm", "globex"}).exit_code, 0);
  ASSERT_EQ(place_.Stop().exit_code, 0);
  const std::vector<std::string> words = {"restore", Backup(), "--reason", "a drill", "--config",
                                          place_.Config()};
  const auto is_under_way = [&] {
    return std::filesystem::exists(place_.At("state/restoring")) ||
           std::filesystem::exists(place_.At("state/restored"));
  };
  // How long one takes here; each is killed a twelfth of it later than the one before, counted from
  // its first trace on the disk: how long a busy machine takes to come there says nothing.
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(RestoreBackup().exit_code, 0);
  const auto whole = std::chrono::steady_clock::now() - begin;
  constexpr int kParts = 12;
  constexpr int kMostRounds = 100;
  int cut_off = 0;
  for (int round = 0; round < kParts || (cut_off == 0 && round < kMostRounds); ++round) {
    {
      Program restoring("oauthvaultd", words, place_.Folder());
      while (restoring.Running() && !is_under_way()) std::this_thread::yield();
      std::this_thread::sleep_for(whole * (round % kParts) / kParts);
      restoring.Send(SIGKILL);
      restoring.Wait();
    }
    if (!is_under_way()) continue;
    ++cut_off;
    const Ended refused = place_.Daemon({});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_NE(refused.err.find("a restore is not finished"), std::string::npos) << refused.err;
    const Ended again = RestoreBackup();
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_FALSE(std::filesystem::exists(place_.At("state/restoring")));
    EXPECT_FALSE(std::filesystem::exists(place_.At("state/restored")));
  }
  EXPECT_GT(cut_off, 0);
  place_.Serve();
  EXPECT_EQ(place_.Reveal("main"), "old");
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(place_.Daemon({"fsck"}).exit_code, 0);
  EXPECT_EQ(place_.Daemon({"verify-audit"}).exit_code, 0);
}

TEST_F(Restore, ABackupThatWasKilledIsNoneAndTheNextOneWorks) {
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(place_.Put("id-" + std::to_string(i), std::string(60'000, 'x')).exit_code, 0);
  }
  auto backing_up = place_.Background({"backup", Backup()});
  ASSERT_TRUE(Await([&] { return std::filesystem::exists(Backup() + ".part"); }));
  place_.KillServer();
  backing_up->Wait();
  if (!std::filesystem::exists(Backup())) {
    EXPECT_EQ(RestoreBackup().exit_code, 1);
    EXPECT_EQ(place_.Daemon({"restore", Backup() + ".part", "--reason", "x"}).exit_code, 1);
  }
  place_.Serve();
  std::filesystem::remove_all(Backup());
  MakeBackup();
  EXPECT_FALSE(std::filesystem::exists(Backup() + ".part"));
  EXPECT_EQ(place_.Cli({"backup", Backup()}).exit_code, 1);
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(RestoreBackup().exit_code, 0);
}

TEST_F(Restore, AStoreThatWasPutBackIsRefusedUntilAnOperatorTakesIt) {
  IssueFor("runner/one", "runner-one");
  ASSERT_EQ(place_.Cli(OnPair({"grant", "add", "--principal", "runner/one", "--right", "reveal"}))
                .exit_code, 0);
  ASSERT_EQ(place_.Stop().exit_code, 0);
  CopyStore("yesterday");
  place_.Serve();
  ASSERT_EQ(place_.Put("main", "today").exit_code, 0);
  ASSERT_EQ(place_.Cli(OnPair({"grant", "remove", "--principal", "runner/one"})).exit_code, 0);
  ASSERT_EQ(place_.Stop().exit_code, 0);
  PutStoreBack("yesterday");
  for (int i = 0; i < 2; ++i) {
    const Ended refused = place_.Daemon({});
    EXPECT_EQ(refused.exit_code, 78) << refused.err;
    EXPECT_NE(refused.err.find("it was put back"), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("restore --present"), std::string::npos) << refused.err;
  }
  const Ended taken = place_.Daemon({"restore", "--present", "--reason", "the disk is lost"});
  ASSERT_EQ(taken.exit_code, 0) << taken.err;
  place_.Serve();
  EXPECT_EQ(place_.Reveal("main"), "old");
  EXPECT_EQ(place_.CliAs("runner-one", OnPair({"credentials", "reveal", "main"})).exit_code, 1);
  ASSERT_EQ(place_.Trail("restore").size(), 1U);
  EXPECT_EQ(place_.Trail("restore")[0]["object"], "the disk is lost");
}

TEST_F(Restore, ATrailThatWasCutIsNoticedAtTheStart) {
  ASSERT_EQ(place_.Put("main", "one").exit_code, 0);
  ASSERT_EQ(place_.Put("main", "two").exit_code, 0);
  ASSERT_EQ(place_.Put("main", "three").exit_code, 0);
  ASSERT_EQ(place_.Stop().exit_code, 0);
  std::string trail = ContentOf(place_.At("audit/audit.jsonl"));
  for (int cut = 0; cut < 2; ++cut) trail.resize(trail.rfind("\n{") + 1);
  WriteTo(place_.At("audit/audit.jsonl"), trail);
  const Ended refused = place_.Daemon({});
  EXPECT_EQ(refused.exit_code, 78) << refused.err;
  EXPECT_NE(refused.err.find("cut or put back"), std::string::npos) << refused.err;
  const Ended taken = place_.Daemon({"restore", "--present", "--reason", "two lines are lost"});
  ASSERT_EQ(taken.exit_code, 0) << taken.err;
  place_.Serve();
  EXPECT_EQ(place_.Reveal("main"), "three");
}

TEST_F(Restore, ARestoreBesideASealedDaemonIsNotOpenedHalfDone) {
  MakeBackup();
  ASSERT_EQ(place_.Stop().exit_code, 0);
  ASSERT_TRUE(place_.ServeUntil(" sealed socket=", {"--sealed"}));
  // As a restore leaves it that is killed in its last step.
  std::filesystem::create_directory(place_.At("state/restored"));
  std::filesystem::rename(place_.At("state/store"), place_.At("state/restored/store"));
  place_.Unseal(ContentOf(place_.At("key")));
  const Ended ended = place_.Server().Wait();
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.err.find("a restore is not finished"), std::string::npos) << ended.err;
}

// The process that checks a store for a daemon, stopped so long after it began; 0 where it was done
// sooner. `check` asks for it.
pid_t StopChild(const Place& place, pid_t daemon, std::chrono::milliseconds after,
                std::unique_ptr<Program>& check) {
  check = place.Background({"check"});
  const std::string tasks = "/proc/" + std::to_string(daemon) + "/task";
  while (check->Running()) {
    std::error_code ended;
    for (const auto& task : std::filesystem::directory_iterator(tasks, ended)) {
      std::istringstream children(ContentOf(task.path() / "children"));
      pid_t child = 0;
      if (!(children >> child)) continue;
      // Before that it is the daemon itself, about to become another program.
      const std::string words = ContentOf("/proc/" + std::to_string(child) + "/cmdline");
      if (words.find("check-child") == std::string::npos) continue;
      std::this_thread::sleep_for(after);
      return kill(child, SIGSTOP) == 0 ? child : 0;
    }
  }
  return 0;
}

// Its state, as the kernel names it; Z where there is none.
char StateOf(pid_t process) {
  const std::string status = ContentOf("/proc/" + std::to_string(process) + "/stat");
  const std::size_t at = status.rfind(") ");
  return at == std::string::npos ? 'Z' : status[at + 2];
}
bool IsGone(pid_t process) { return StateOf(process) == 'Z'; }
// Whether it is stopped indeed: one that was about to end is gone in a moment.
bool IsStopped(pid_t process) {
  Await([&] { return StateOf(process) == 'T' || IsGone(process); });
  return !IsGone(process);
}

TEST_F(Restore, ACheckThatIsUnderWayDoesNotKeepAVaultFromBeingSealed) {
  std::unique_ptr<Program> check;
  pid_t child = 0;
  ASSERT_TRUE(Await([&] {
    child = StopChild(place_, place_.Server().Id(), {}, check);
    return child != 0 && IsStopped(child);
  }));
  EXPECT_EQ(place_.Cli({"seal"}).exit_code, 0);
  ASSERT_TRUE(place_.AwaitLog(" sealed socket=")) << place_.Server().Err();
  EXPECT_TRUE(IsGone(child));
  EXPECT_EQ(place_.Server().Err().find("sealed with calls under way"), std::string::npos);
  EXPECT_NE(check->Wait().exit_code, 0);
  EXPECT_EQ(place_.Unseal(ContentOf(place_.At("key"))).exit_code, 0);
  ASSERT_TRUE(place_.AwaitLog(" serving tcp=", 2));
  EXPECT_EQ(place_.Reveal("main"), "old");
}

TEST_F(Restore, TheProcessThatChecksDoesNotOutliveAKilledDaemon) {
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(place_.Put("id-" + std::to_string(i), std::string(60'000, 'x')).exit_code, 0);
  }
  // Caught too early it has no key yet, and ends by itself when it goes on; too late, it is gone.
  // How long it takes to get there depends on the build, so each look comes later.
  constexpr int kMostRounds = 100;
  bool died = false;
  for (int round = 0; !died && round < kMostRounds; ++round) {
    std::unique_ptr<Program> check;
    const std::chrono::milliseconds delay(2 + 3 * round);
    const pid_t child = StopChild(place_, place_.Server().Id(), delay, check);
    if (child == 0 || !IsStopped(child)) continue;
    place_.KillServer();
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    while (!died && std::chrono::steady_clock::now() < until) died = IsGone(child);
    kill(child, SIGCONT);
    EXPECT_TRUE(Await([&] { return IsGone(child); }));
    check->Wait();
    place_.Serve();
  }
  EXPECT_TRUE(died);
}

TEST_F(Restore, FsckReadsAllRowsOfflineAndBesideADaemon) {
  const Ended beside = place_.Daemon({"fsck"});
  EXPECT_EQ(beside.exit_code, 0) << beside.err;
  EXPECT_NE(beside.out.find("every row verifies"), std::string::npos) << beside.out;
  ASSERT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(place_.Daemon({"fsck"}).exit_code, 0);
  CopyStore("whole");

  // A row's last byte: a sealed part that does not open.
  place_.Serve();
  ASSERT_EQ(place_.Put("hurt", std::string(20'000, 'x')).exit_code, 0);
  ASSERT_EQ(place_.Stop().exit_code, 0);
  std::string data = ContentOf(place_.At("state/store/data.mdb"));
  std::size_t hurt = 0;
  for (std::size_t page = 0; page + 4096 <= data.size(); page += 4096) {
    const auto pages = static_cast<unsigned char>(data[page + 12]);
    if (data[page + 10] != 4 || pages < 5 || pages > 6) continue;
    data[page + 2 * 4096] = static_cast<char>(data[page + 2 * 4096] ^ 1);
    ++hurt;
  }
  ASSERT_GT(hurt, 0U);
  WriteTo(place_.At("state/store/data.mdb"), data);
  const Ended damaged = place_.Daemon({"fsck"});
  EXPECT_EQ(damaged.exit_code, 2) << damaged.out << damaged.err;
  EXPECT_NE(damaged.out.find("DAMAGED"), std::string::npos) << damaged.out;
  EXPECT_NE(damaged.err.find(": row "), std::string::npos) << damaged.err;
  // It is not served, unless somebody says so; then what is whole is.
  const Ended refused = place_.Daemon({});
  EXPECT_EQ(refused.exit_code, 65);
  EXPECT_NE(refused.err.find("--fsck behind"), std::string::npos) << refused.err;
  ASSERT_TRUE(place_.ServeUntil(" serving tcp=", {"--fsck", "behind"}));
  EXPECT_EQ(place_.Reveal("main"), "old");
  EXPECT_EQ(place_.Cli(OnPair({"credentials", "reveal", "hurt"})).exit_code, 2);
  EXPECT_TRUE(Await([&] { return place_.Asked({"status"})["check"] == "damaged"; }));
  EXPECT_EQ(place_.Cli({"check"}).exit_code, 2);
  EXPECT_EQ(place_.Cli({"backup", Backup()}).exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(Backup()));
  EXPECT_EQ(place_.Stop().exit_code, 0);

  WriteTo(place_.At("state/store/data.mdb"), std::string(20480, 'x'));
  EXPECT_EQ(place_.Daemon({"fsck"}).exit_code, 2);
}

}  // namespace
}  // namespace oauthvault::integration
