// A vault that starts sealed, is opened by people, sealed again, and the slots that open it.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using nlohmann::json;

constexpr char kPassphrase[] = "correct horse battery staple";

std::vector<std::string> LinesOf(const std::string& text, const std::string& begin) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(begin)) lines.push_back(line);
  }
  return lines;
}

std::string Health(const Place& place) {
  const Ended asked = Run("/usr/bin/python3",
                          {OAUTHVAULT_SOURCE_DIR "/tests/integration/health.py",
                           place.At("socket").string()},
                          place.Folder());
  return asked.out.substr(0, asked.out.find('\n'));
}

class Sealed : public testing::Test {
 protected:
  // Makes a vault with 2 of 3 shares and starts it: sealed.
  void InitShares() {
    const Ended made = place_.Daemon({"init", "--slot", "shares", "--shares", "2/3"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    shares_ = LinesOf(made.out, "ov1-");
    ASSERT_EQ(shares_.size(), 3U) << made.out;
    // The configuration names a key file, and none is there.
    ASSERT_FALSE(std::filesystem::exists(place_.At("key")));
    ASSERT_TRUE(place_.ServeUntil(" sealed socket="));
  }
  void Open() {
    const Ended opened = place_.Unseal(shares_[0] + "\n" + shares_[2] + "\n");
    ASSERT_EQ(opened.exit_code, 0) << opened.err;
    ASSERT_TRUE(place_.AwaitLog(" serving tcp=", ++openings_));
  }
  void Seal() {
    EXPECT_EQ(place_.Cli({"seal"}).exit_code, 0);
    // It began sealed, once.
    ASSERT_TRUE(place_.AwaitLog(" sealed socket=", openings_ + 1));
  }
  bool IsSealed() { return place_.Asked({"status"})["sealed"]; }


  Place place_;
  std::vector<std::string> shares_;
  std::size_t openings_ = 0;
};

TEST_F(Sealed, AnswersStatusAndUnsealAndNothingElse) {
  InitShares();
  const json status = place_.Asked({"status"});
  EXPECT_EQ(status["sealed"], true);
  EXPECT_EQ(status["principal"], "local/admin");
  EXPECT_EQ(status["shares_needed"], 0);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"project", "list"}, {"slot", "list"}, {"keys", "status"},
        {"seal"}, {"check"}, {"audit", "show"}, {"backup", place_.At("backup").string()},
        OnPair({"credentials", "reveal", "a"}),
        {"project", "shred", "acme", "--confirm", "acme"}}) {
    const Ended refused = place_.Cli(words);
    EXPECT_EQ(refused.exit_code, 2) << words[0];
    EXPECT_NE(refused.err.find("\"SEALED\""), std::string::npos) << refused.err;
    EXPECT_TRUE(refused.out.empty()) << refused.out;
  }
  EXPECT_FALSE(std::filesystem::exists(place_.At("backup")));
  EXPECT_EQ(Health(place_), "NOT_SERVING");
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(place_.At("socket")));
}

TEST_F(Sealed, IsOpenedShareByShareByDifferentPeople) {
  InitShares();
  const Ended first = place_.Unseal(shares_[1] + "\n");
  EXPECT_EQ(first.exit_code, 1);
  EXPECT_NE(first.err.find("1 of 2 shares"), std::string::npos) << first.err;
  const json status = place_.Asked({"status"});
  EXPECT_EQ(status["shares_given"], 1);
  EXPECT_EQ(status["shares_needed"], 2);
  const Ended second = place_.Unseal(shares_[0] + "\n");
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(json::parse(second.out)["open"], true);
  ASSERT_TRUE(place_.AwaitLog(" serving tcp="));
  EXPECT_FALSE(IsSealed());
  EXPECT_EQ(Health(place_), "SERVING");
  place_.Register();
  ASSERT_EQ(place_.Put("main", "value-1").exit_code, 0);
  EXPECT_EQ(place_.Reveal("main"), "value-1");
  const auto opened = place_.Trail("open");
  ASSERT_EQ(opened.size(), 1U);
  EXPECT_EQ(opened[0]["object"], "unseal refused:0");
  const Ended again = place_.Unseal(shares_[0] + "\n");
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_NE(again.err.find("open already"), std::string::npos) << again.err;
}

TEST_F(Sealed, AWrongSecretIsNamedDoesNoHarmAndIsCountedInTheTrail) {
  InitShares();
  std::string mistyped = shares_[1];
  constexpr std::size_t at = 40;
  mistyped[at] = mistyped[at] == 'a' ? 'b' : 'a';
  const Ended damaged = place_.Unseal(shares_[0] + "\n" + mistyped + "\n");
  EXPECT_EQ(damaged.exit_code, 1);
  EXPECT_NE(damaged.err.find("a share is damaged; its number reads: 2"), std::string::npos)
      << damaged.err;
  // Another vault's share, and somebody's guess at a passphrase.
  Place other;
  const Ended made = other.Daemon({"init", "--slot", "shares", "--shares", "2/2"});
  const std::string foreign = LinesOf(made.out, "ov1-").at(0);
  const Ended refused = place_.Unseal(foreign + "\nwrong passphrase\n");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("belongs to no slot"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("the passphrase opens no slot"), std::string::npos) << refused.err;
  EXPECT_EQ(place_.Asked({"status"})["shares_given"], 1);
  const Ended opened = place_.Unseal(shares_[2] + "\n");
  EXPECT_EQ(opened.exit_code, 0) << opened.err;
  ASSERT_TRUE(place_.AwaitLog(" serving tcp="));
  const auto lines = place_.Trail("open");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["object"], "unseal refused:3");
  // Nothing that was typed stands in the log.
  for (const std::string& typed :
       {mistyped, foreign, shares_[0], std::string("wrong passphrase")}) {
    EXPECT_EQ(place_.Server().Err().find(typed), std::string::npos);
  }
}

TEST_F(Sealed, IsSealedAtOnceAndOpenedAgain) {
  InitShares();
  Open();
  place_.Register();
  ASSERT_EQ(place_.Put("main", "value-1").exit_code, 0);
  ASSERT_NO_FATAL_FAILURE(Seal());
  EXPECT_TRUE(IsSealed());
  EXPECT_EQ(place_.Cli(OnPair({"credentials", "reveal", "main"})).exit_code, 2);
  EXPECT_EQ(Health(place_), "NOT_SERVING");
  // What was given before counts no more.
  EXPECT_EQ(place_.Asked({"status"})["shares_given"], 0);
  for (int round = 0; round < 3; ++round) {
    Open();
    EXPECT_EQ(place_.Reveal("main"), "value-1");
    ASSERT_NO_FATAL_FAILURE(Seal());
  }
  EXPECT_EQ(place_.Trail("Operations.Seal").size(), 4U);
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_EQ(place_.Daemon({"verify-audit"}, {.input = shares_[0] + "\n" + shares_[1] + "\n"})
                .exit_code, 0);
}

TEST_F(Sealed, SealingDoesNotWaitForACallToRiveryAndLeavesASealedDaemon) {
  place_.Init();
  place_.StartRivery("rivery-token-of-the-test");
  place_.Serve();
  place_.Register();
  place_.SetAccount();
  Post(place_.RiveryUrl() + "/standin/faults",
       R"({"operation":"list_types","fault":"commit_late","delay_ms":20000})");
  auto slow = place_.Background({"rivery", "types", "--account", "main"});
  ASSERT_TRUE(Await([&] {
    return Get(place_.RiveryUrl() + "/standin/state").find("\"faults_left\":[]") !=
           std::string::npos;
  }));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(place_.Cli({"seal"}).exit_code, 0);
  ASSERT_TRUE(place_.AwaitLog(" sealed socket="));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
  EXPECT_NE(place_.Server().Err().find("sealed with calls under way"), std::string::npos);
  // The key file is there, and does not open what was sealed.
  EXPECT_TRUE(IsSealed());
  EXPECT_TRUE(place_.Server().Running());
  EXPECT_EQ(place_.Unseal(ContentOf(place_.At("key"))).exit_code, 0);
  ASSERT_TRUE(place_.AwaitLog(" serving tcp=", 2));
  EXPECT_EQ(place_.Stop().exit_code, 0);
  EXPECT_NE(slow->Wait().exit_code, 0);
}

TEST_F(Sealed, SignalsOfOthersNeitherSealNorOpenNorEnd) {
  InitShares();
  for (int i = 0; i < 3; ++i) place_.Server().Send(SIGUSR1);
  EXPECT_TRUE(IsSealed());
  Open();
  for (int i = 0; i < 3; ++i) place_.Server().Send(SIGUSR1);
  EXPECT_FALSE(IsSealed());
  EXPECT_TRUE(place_.Server().Running());
  EXPECT_EQ(place_.Stop().exit_code, 0);
}

TEST_F(Sealed, AVaultWithAKeyFileOpensItselfUnlessToldOtherwise) {
  place_.Init();
  place_.Serve();
  EXPECT_FALSE(IsSealed());
  EXPECT_EQ(place_.Trail("open").at(0)["object"], "key file");
  EXPECT_EQ(place_.Stop().exit_code, 0);
  ASSERT_TRUE(place_.ServeUntil(" sealed socket=", {"--sealed"}));
  EXPECT_TRUE(IsSealed());
  EXPECT_EQ(place_.Unseal(ContentOf(place_.At("key"))).exit_code, 0);
  ASSERT_TRUE(place_.AwaitLog(" serving tcp="));
}

TEST_F(Sealed, APassphraseFromStandardInputMakesAVaultAndOpensIt) {
  const Ended made =
      place_.Daemon({"init", "--slot", "passphrase"}, {.input = std::string(kPassphrase) + "\n"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(made.out.find(kPassphrase), std::string::npos);
  ASSERT_TRUE(place_.ServeUntil(" sealed socket="));
  EXPECT_EQ(place_.Unseal("correct horse battery stapler\n").exit_code, 1);
  EXPECT_EQ(place_.Unseal(std::string(kPassphrase) + "\n").exit_code, 0);
  ASSERT_TRUE(place_.AwaitLog(" serving tcp="));
  EXPECT_EQ(place_.Trail("open").at(0)["object"], "unseal refused:1");
}

TEST_F(Sealed, WhatInitCannotMakeLeavesNothingInTheWay) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"init", "--slot", "shares"},
        {"init", "--slot", "shares", "--shares", "1/3"},
        {"init", "--slot", "shares", "--shares", "4/3"},
        {"init", "--slot", "shares", "--shares", "2/17"},
        {"init", "--slot", "shares", "--shares", "x/3"},
        {"init", "--slot", "passphrase"}}) {
    const Ended refused = place_.Daemon(words, {.input = "short\n"});
    EXPECT_EQ(refused.exit_code, 1) << words.back();
    EXPECT_FALSE(std::filesystem::exists(place_.At("state/keys")));
  }
  EXPECT_EQ(place_.Daemon({"init", "--trust-domain", "Not A Domain"}).exit_code, 1);
  place_.Init();
}

TEST_F(Sealed, SlotsAreAddedReissuedAndRemovedBesideWhatIsStored) {
  InitShares();
  Open();
  place_.Register();
  ASSERT_EQ(place_.Put("main", "value-1").exit_code, 0);
  // One of each kind.
  const std::string key = place_.At("new-key").string();
  EXPECT_EQ(place_.Asked({"slot", "add", "--kind", "key_file", "--label", "box", "--out", key})
                ["slot"]["id"], 2);
  WriteTo(place_.At("passphrase"), std::string(kPassphrase) + "\n");
  EXPECT_EQ(place_.Asked({"slot", "add", "--kind", "passphrase", "--label", "chief",
                          "--passphrase-file", place_.At("passphrase").string()})["slot"]["id"],
            3);
  const json board = place_.Asked({"slot", "add", "--kind", "shares", "--label", "board",
                                   "--threshold", "2", "--total", "2"});
  EXPECT_EQ(board["texts"].size(), 2U);
  EXPECT_EQ(place_.Asked({"slot", "list"}).size(), 4U);
  // Each opens.
  const std::string both = board["texts"][0].get<std::string>() + "\n" +
                           board["texts"][1].get<std::string>() + "\n";
  for (const std::string& secret : {ContentOf(key), std::string(kPassphrase) + "\n", both}) {
    ASSERT_NO_FATAL_FAILURE(Seal());
    EXPECT_EQ(place_.Unseal(secret).exit_code, 0);
    ASSERT_TRUE(place_.AwaitLog(" serving tcp=", ++openings_));
    EXPECT_EQ(place_.Reveal("main"), "value-1");
  }
  // Another secret for the shares: the old ones are nobody's.
  const json anew = place_.Asked({"slot", "reissue", "4"});
  EXPECT_EQ(anew["slot"]["label"], "board");
  const int reissued = anew["slot"]["id"];
  EXPECT_EQ(place_.Cli({"slot", "remove", "2"}).exit_code, 0);
  EXPECT_EQ(place_.Cli({"slot", "remove", "2"}).exit_code, 1);
  ASSERT_NO_FATAL_FAILURE(Seal());
  EXPECT_EQ(place_.Unseal(both).exit_code, 1);
  EXPECT_EQ(place_.Unseal(ContentOf(key)).exit_code, 1);
  EXPECT_EQ(place_.Unseal(anew["texts"][0].get<std::string>() + "\n" +
                          anew["texts"][1].get<std::string>() + "\n").exit_code, 0);
  ASSERT_TRUE(place_.AwaitLog(" serving tcp=", ++openings_));
  EXPECT_EQ(place_.Reveal("main"), "value-1");
  // The last one stays.
  for (const int id : {1, 3}) {
    EXPECT_EQ(place_.Cli({"slot", "remove", std::to_string(id)}).exit_code, 0);
  }
  const Ended last = place_.Cli({"slot", "remove", std::to_string(reissued)});
  EXPECT_EQ(last.exit_code, 1);
  EXPECT_NE(last.err.find("the last slot"), std::string::npos) << last.err;
  EXPECT_EQ(place_.Asked({"slot", "list"}).size(), 1U);
  // Each change has its line before and after.
  std::vector<std::string> objects;
  for (const json& line : place_.Trail("Operations.AddSlot")) objects.push_back(line["object"]);
  EXPECT_EQ(objects, (std::vector<std::string>{"begin key_file", "slot:2 key_file",
                                               "begin passphrase", "slot:3 passphrase",
                                               "begin shares", "slot:4 shares"}));
  EXPECT_EQ(place_.Trail("Operations.RemoveSlot").back()["outcome"], "failed");
}

TEST_F(Sealed, AnyOneSlotRecoversAVaultWithNothingButTheKeysFile) {
  InitShares();
  Open();
  WriteTo(place_.At("passphrase"), std::string(kPassphrase) + "\n");
  ASSERT_EQ(place_.Cli({"slot", "add", "--kind", "passphrase", "--label", "chief",
                        "--passphrase-file", place_.At("passphrase").string()}).exit_code, 0);
  const std::string box = place_.At("box").string();
  ASSERT_EQ(place_.Cli({"slot", "add", "--kind", "key_file", "--label", "box", "--out", box})
                .exit_code, 0);
  ASSERT_EQ(place_.Stop().exit_code, 0);

  const std::vector<std::string> secrets = {shares_[0] + "\n" + shares_[1] + "\n",
                                            std::string(kPassphrase) + "\n", ContentOf(box)};
  for (const std::string& secret : secrets) {
    // A machine that has the keys file and nothing else.
    const Place bare;
    std::filesystem::create_directory(bare.At("state"));
    WriteTo(bare.At("state/keys"), ContentOf(place_.At("state/keys")));
    const std::string out = bare.At("recovered").string();
    const Ended by_key =
        bare.Daemon({"recover", "--slot", "key_file", "--out", out}, {.input = secret});
    ASSERT_EQ(by_key.exit_code, 0) << by_key.err;
    const Ended by_shares = bare.Daemon({"recover", "--slot", "shares", "--shares", "2/2"},
                                        {.input = ContentOf(out)});
    ASSERT_EQ(by_shares.exit_code, 0) << by_shares.err;
    const auto anew = LinesOf(by_shares.out, "ov1-");
    ASSERT_EQ(anew.size(), 2U);
    const Ended by_passphrase =
        bare.Daemon({"recover", "--slot", "passphrase"},
                    {.input = anew[0] + "\n" + anew[1] + "\nanother passphrase\n"});
    ASSERT_EQ(by_passphrase.exit_code, 0) << by_passphrase.err;
    // All of them open, the old ones too.
    for (const std::string& one : {secret, ContentOf(out), std::string("another passphrase\n")}) {
      EXPECT_EQ(bare.Daemon({"recover", "--slot", "shares", "--shares", "2/2"}, {.input = one})
                    .exit_code, 0);
    }
    const Ended refused = bare.Daemon({"recover", "--slot", "shares", "--shares", "2/2"},
                                      {.input = "no such passphrase\n"});
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_TRUE(LinesOf(refused.out, "ov1-").empty());
  }
}

TEST_F(Sealed, ARecoveryWhoseSecretCannotBeHandedOverLeavesNoSlot) {
  place_.Init();
  const std::string keys = ContentOf(place_.At("state/keys"));
  const std::string key = ContentOf(place_.At("key"));
  const Ended taken = place_.Daemon({"recover", "--out", place_.At("key").string()});
  EXPECT_EQ(taken.exit_code, 1);
  EXPECT_NE(taken.err.find("something is at the new key file's place"), std::string::npos);
  EXPECT_EQ(place_.Daemon({"recover", "--slot", "key_file"}).exit_code, 1);
  EXPECT_EQ(ContentOf(place_.At("state/keys")), keys);
  const Ended nowhere = place_.Daemon({"recover", "--out", place_.At("none/key").string()});
  EXPECT_EQ(nowhere.exit_code, 2) << nowhere.err;
  place_.Serve();
  EXPECT_EQ(place_.Asked({"slot", "list"}).size(), 1U);
  // Beside a daemon that has the keys open it is refused.
  const Ended beside = place_.Daemon({"recover", "--out", place_.At("new").string()});
  EXPECT_EQ(beside.exit_code, 1);
  EXPECT_NE(beside.err.find("end the daemon first"), std::string::npos) << beside.err;
}

TEST_F(Sealed, AKeyFileThatOpensNothingIsNoEndForARecovery) {
  InitShares();
  ASSERT_EQ(place_.Stop().exit_code, 0);
  WriteTo(place_.At("key"), "not a key file\n");
  const Ended recovered =
      place_.Daemon({"recover", "--out", place_.At("new").string()},
                    {.input = shares_[1] + "\n" + shares_[2] + "\n"});
  EXPECT_EQ(recovered.exit_code, 0) << recovered.err;
  EXPECT_NE(recovered.err.find("does not open these keys"), std::string::npos) << recovered.err;
  std::filesystem::rename(place_.At("new"), place_.At("key"));
  place_.Serve();
}

TEST_F(Sealed, TheVerbOfTheCheckingProcessIsNoUsersBusiness) {
  const Ended help = place_.Daemon({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(help.out.find("check-child"), std::string::npos);
  for (const char* verb : {"fsck", "restore", "recover", "verify-audit", "init"}) {
    EXPECT_NE(help.out.find(verb), std::string::npos) << verb;
  }
  // Without a root it does nothing.
  place_.Init();
  const Ended child =
      place_.Daemon({"check-child", "--folder", place_.At("state/store").string(), "--keys",
                     place_.At("state/keys").string()});
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_TRUE(child.out.empty());
}

}  // namespace
}  // namespace oauthvault::integration
