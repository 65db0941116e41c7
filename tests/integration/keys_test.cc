// New keys while a vault works.
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

class Keys : public testing::Test {
 protected:
  Keys() {
    place_.Init();
    place_.Serve();
    place_.Register();
    for (int i = 0; i < kCount; ++i) EXPECT_EQ(place_.Put(Id(i), Value(i)).exit_code, 0);
  }

  static std::string Id(int number) { return "id-" + std::to_string(number); }
  // As Rivery takes it: an object.
  static std::string Value(int number) { return "{\"refresh_token\":\"" + Id(number) + "\"}"; }
  void ExpectAllThere() {
    for (int i = 0; i < kCount; ++i) EXPECT_EQ(place_.Reveal(Id(i)), Value(i)) << i;
  }
  bool AwaitRewrapped() {
    return Await([&] { return place_.Asked({"keys", "status"})["rewrapping"].empty(); });
  }
  std::size_t LinesAbout(const std::string& act) const {
    std::size_t count = 0;
    std::istringstream stream(ContentOf(place_.At("audit/audit.jsonl")));
    for (std::string line; std::getline(stream, line);) {
      if (json::parse(line, nullptr, false).value("act", "") == act) ++count;
    }
    return count;
  }

  static constexpr int kCount = 12;
  Place place_;
};

TEST_F(Keys, EachOwnersKeyAndTheRootAreRotatedWhileRevealsGoOn) {
  std::atomic<bool> stop = false;
  std::atomic<int> revealed = 0;
  std::thread reading([&] {
    for (int i = 0; !stop; i = (i + 1) % kCount) {
      EXPECT_EQ(place_.Reveal(Id(i)), Value(i));
      ++revealed;
    }
  });
  for (const std::vector<std::string>& owner :
       {std::vector<std::string>{"--project", "acme"}, {"--vault"}, {"--root"}}) {
    for (int round = 0; round < 2; ++round) {
      std::vector<std::string> words = {"keys", "rotate"};
      words.insert(words.end(), owner.begin(), owner.end());
      EXPECT_EQ(place_.Asked(words)["version"], round + 2) << owner[0];
      EXPECT_TRUE(AwaitRewrapped());
    }
  }
  EXPECT_TRUE(Await([&] { return revealed > kCount; }));
  stop = true;
  reading.join();
  const json status = place_.Asked({"keys", "status"});
  EXPECT_EQ(status["root_epoch"], 3);
  EXPECT_EQ(status["keys"], 6);  // three of the vault, three of the project
  ASSERT_EQ(place_.Put("new", "sealed under the newest").exit_code, 0);
  ExpectAllThere();
  EXPECT_EQ(place_.Asked({"check"})["whole"], true);
  EXPECT_EQ(place_.Stop().exit_code, 0);
  // The key file still opens, though the root it leads to is another.
  place_.Serve();
  ExpectAllThere();
  EXPECT_EQ(place_.Reveal("new"), "sealed under the newest");
  EXPECT_EQ(LinesAbout("keys.rewrapped"), 4U);
}

TEST_F(Keys, ARotationOutlivesAKill) {
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(place_.Cli({"keys", "rotate", "--project", "acme"}).exit_code, 0);
    ASSERT_EQ(place_.Cli({"keys", "rotate", "--vault"}).exit_code, 0);
    place_.KillServer();
    place_.Serve();
    EXPECT_TRUE(AwaitRewrapped());
    ExpectAllThere();
  }
  EXPECT_EQ(place_.Asked({"check"})["whole"], true);
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(place_.Daemon({"verify-audit"}).exit_code, 0);
}

TEST_F(Keys, RewrapFindsNothingWhereAllIsUnderTheNewestKey) {
  EXPECT_EQ(place_.Asked({"keys", "rewrap"})["owners"], 0);
  ASSERT_EQ(place_.Cli({"keys", "rotate", "--project", "acme"}).exit_code, 0);
  EXPECT_TRUE(AwaitRewrapped());
  EXPECT_EQ(place_.Asked({"keys", "rewrap"})["owners"], 1);
  EXPECT_TRUE(AwaitRewrapped());
  ExpectAllThere();
}

TEST_F(Keys, OfNobodyAreNotRotated) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"keys", "rotate", "--project", "nobody"},
        {"keys", "rotate", "--component", "ex-drive"},
        {"keys", "rotate", "--project", "../x"},
        {"keys", "rotate"},
        {"keys", "rotate", "--root", "--vault"}}) {
    EXPECT_EQ(place_.Cli(words).exit_code, 1) << words.back();
  }
  EXPECT_EQ(place_.Asked({"keys", "status"})["keys"], 2);
}

TEST_F(Keys, AShreddedProjectIsGoneForEverAndItsNameIsFree) {
  place_.StartRivery("rivery-token-of-the-test");
  place_.SetAccount();
  const Ended connected = place_.Cli(
      OnPair({"connect", "--account", "main", "--id", Id(0), "--name", "One"}));
  ASSERT_EQ(connected.exit_code, 0) << connected.err;
  const std::string backup = place_.At("backup").string();
  ASSERT_EQ(place_.Cli({"backup", backup}).exit_code, 0);
  EXPECT_EQ(place_.Cli({"project", "remove", "acme"}).exit_code, 1);
  EXPECT_EQ(place_.Cli({"component", "remove", "ex-drive"}).exit_code, 1);
  EXPECT_EQ(place_.Cli({"project", "shred", "acme", "--confirm", "acne"}).exit_code, 1);
  ExpectAllThere();

  const json shredded = place_.Asked({"project", "shred", "acme", "--confirm", "acme"});
  EXPECT_EQ(shredded["keys"], 1);
  EXPECT_EQ(shredded["credentials"], kCount);
  EXPECT_EQ(shredded["grants"], 1);
  ASSERT_EQ(shredded["open_backups"].size(), 1U);
  EXPECT_EQ(shredded["open_backups"][0]["folder"], backup);
  ASSERT_EQ(shredded["live_connections"].size(), 1U);
  EXPECT_EQ(shredded["live_connections"][0]["name"], "One");
  EXPECT_EQ(place_.Cli(OnPair({"credentials", "reveal", Id(0)})).exit_code, 1);
  EXPECT_EQ(place_.Cli({"project", "show", "acme"}).exit_code, 1);
  EXPECT_EQ(place_.Cli({"project", "shred", "acme", "--confirm", "acme"}).exit_code, 1);
  EXPECT_EQ(place_.Asked({"check"})["whole"], true);

  ASSERT_EQ(place_.Cli({"project", "add", "acme"}).exit_code, 0);
  ASSERT_EQ(place_.Cli(OnPair({"grant", "add", "--principal", "local/admin", "--right",
                               "store,describe,reveal"})).exit_code, 0);
  EXPECT_EQ(place_.Asked(OnPair({"credentials", "list"})), json::array());
  ASSERT_EQ(place_.Put(Id(0), "another tenant's").exit_code, 0);
  EXPECT_EQ(place_.Reveal(Id(0)), "another tenant's");
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(place_.Daemon({"fsck"}).exit_code, 0);
}

TEST_F(Keys, AShreddingThatWasKilledIsFinishedByTheNextStart) {
  auto shredding = place_.Background({"project", "shred", "acme", "--confirm", "acme"});
  // The mark is there: what follows may be cut off anywhere.
  ASSERT_TRUE(Await([&] { return LinesAbout("Operations.ShredProject") > 0; }));
  place_.KillServer();
  shredding->Wait();
  place_.Serve();
  EXPECT_EQ(place_.Cli({"project", "show", "acme"}).exit_code, 1);
  EXPECT_EQ(place_.Asked({"keys", "status"})["projects"], 0);
  EXPECT_EQ(place_.Asked({"check"})["whole"], true);
  EXPECT_EQ(LinesAbout("project.shredded"), 1U);
}

}  // namespace
}  // namespace oauthvault::integration
