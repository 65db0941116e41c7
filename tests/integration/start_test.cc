// What keeps the daemon from starting: each says what to do, and changes nothing on the disk.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using std::filesystem::path;

// What an operator may lose: keys, store, trail, key file, configuration. LMDB's table of readers
// holds nothing.
std::map<std::string, std::string> Kept(const Place& place) {
  std::map<std::string, std::string> kept;
  for (const auto& [name, content] : Files(place.Folder())) {
    const std::string file = path(name).filename();
    if (!file.starts_with("program-") && file != "lock.mdb") kept[name] = content;
  }
  return kept;
}

class Refusal : public testing::Test {
 protected:
  // `oauthvaultd WORDS` must end with `code`, say `text` and `advice`, and leave all files alone.
  void ExpectRefused(int code, const std::string& text, const std::string& advice,
                     const std::vector<std::string>& words = {}, const Start& start = {}) {
    const auto before = Kept(place_);
    const Ended ended = place_.Daemon(words, start);
    EXPECT_EQ(ended.exit_code, code) << ended.err;
    EXPECT_NE(ended.err.find(text), std::string::npos) << ended.err;
    EXPECT_NE(ended.err.find(advice), std::string::npos) << ended.err;
    EXPECT_TRUE(before == Kept(place_));
  }

  void Append(const std::string& text) {
    std::ofstream(place_.Config(), std::ios::app) << text;
  }

  Place place_;
};

TEST_F(Refusal, OfABadConfiguration) {
  Append("[edge2]\n");
  ExpectRefused(1, "unknown section [edge2]", "remove it or correct its name");
}

TEST_F(Refusal, WithoutAVault) {
  ExpectRefused(1, "there is no such file", "is made by `oauthvaultd init`");
}

TEST_F(Refusal, DoesNotComeFromAKeyFileThatIsNotThere) {
  place_.Init();
  std::filesystem::remove(place_.At("key"));
  ASSERT_TRUE(place_.ServeUntil(" sealed socket="));
  EXPECT_NE(place_.Server().Err().find("no key file is there"), std::string::npos);
  EXPECT_NE(place_.Server().Err().find(place_.At("key").string()), std::string::npos);
  EXPECT_EQ(place_.Asked({"status"})["sealed"], true);
  EXPECT_EQ(place_.Stop().exit_code, 0);
  // Where none is configured nobody is warned.
  ASSERT_TRUE(place_.ServeUntil(" sealed socket=", {"--key-file", ""}));
  EXPECT_EQ(place_.Server().Err().find("warning"), std::string::npos);
}

TEST_F(Refusal, DoesNotComeFromAKeyThatIsASystemdCredential) {
  place_.Init();
  std::filesystem::create_directory(place_.At("credentials"));
  std::filesystem::rename(place_.At("key"), place_.At("credentials/vault"));
  const Start start{.environment = {{"CREDENTIALS_DIRECTORY", place_.At("credentials").string()}}};
  ASSERT_TRUE(place_.ServeUntil(" serving tcp=", {"--key-file", "credential:vault"}, start));
  EXPECT_EQ(place_.Stop().exit_code, 0);
  ASSERT_TRUE(place_.ServeUntil(" sealed socket=", {"--key-file", "credential:other"}, start));
  EXPECT_EQ(place_.Stop().exit_code, 0);
  ASSERT_TRUE(place_.ServeUntil(" sealed socket=", {"--key-file", "credential:vault"}));
}

TEST_F(Refusal, OfAKeyFileThatOthersMayRead) {
  place_.Init();
  ASSERT_EQ(chmod(place_.At("key").c_str(), 0644), 0);
  ExpectRefused(1, "open to group or others", "a file of mode 0600");
}

TEST_F(Refusal, OfAKeyFileThatTheDaemonMayNotRead) {
  place_.Init();
  if (geteuid() == 0) {
    GiveToNobody(place_.Folder());
    ASSERT_EQ(chown(place_.At("key").c_str(), 0, 0), 0);
  } else {
    ASSERT_EQ(chmod(place_.At("key").c_str(), 0), 0);
  }
  const Ended ended = place_.Daemon({}, {.user = User::kNobody});
  EXPECT_EQ(ended.exit_code, 1) << ended.err;
  EXPECT_NE(ended.err.find("belongs to the daemon's user"), std::string::npos) << ended.err;
}

TEST_F(Refusal, OfRootWhereTheVaultIsAnotherUsers) {
  place_.Init();
  place_.Serve();
  ASSERT_EQ(place_.Cli({"backup", place_.At("backup").string()}).exit_code, 0);
  ASSERT_EQ(place_.Stop().exit_code, 0);
  std::filesystem::remove(place_.At("state/store/lock.mdb"));
  GiveToNobody(place_.Folder());
  const std::string key = ContentOf(place_.At("key"));
  const std::string new_key = place_.At("new-key").string();
  const std::vector<std::vector<std::string>> verbs = {
      {}, {"fsck"}, {"recover", "--out", new_key},
      {"restore", place_.At("backup").string(), "--reason", "a drill"}};
  if (geteuid() == 0) {
    for (const auto& words : verbs) {
      ExpectRefused(1, "root would leave files", "runuser -u oauthvault -- oauthvaultd", words);
      EXPECT_FALSE(std::filesystem::exists(place_.At("state/store/lock.mdb")));
    }
    // This one only reads.
    EXPECT_EQ(place_.Daemon({"verify-audit"}).exit_code, 0);
  }
  // The owner does all of it, with a key that comes on standard input.
  const Start as_owner{.input = key, .user = User::kNobody};
  for (auto words : verbs) {
    if (words.empty()) continue;
    words.insert(words.end(), {"--key-file", "credential:key"});
    const Ended done = place_.Daemon(words, as_owner);
    EXPECT_EQ(done.exit_code, 0) << done.err;
  }
  place_.Serve({.user = User::kNobody});
}

TEST_F(Refusal, OfRootWhereInitWouldGoIntoFoldersOfAnotherUser) {
  if (geteuid() != 0) return;
  std::filesystem::create_directory(place_.At("state"));
  GiveToNobody(place_.At("state"));
  ExpectRefused(1, "root would leave files", "runuser -u oauthvault", {"init"});
  EXPECT_FALSE(std::filesystem::exists(place_.At("audit")));
  // The trail may have a folder elsewhere.
  std::filesystem::rename(place_.At("state"), place_.At("audit"));
  ExpectRefused(1, "root would leave files", place_.At("audit").string(), {"init"});
  EXPECT_FALSE(std::filesystem::exists(place_.At("state")));
}

TEST_F(Refusal, OfAKeyFileOfGarbage) {
  place_.Init();
  WriteTo(place_.At("key"), "canary-77aa not a key\n");
  ExpectRefused(1, "not a key file", "Put it back from its copy");
  EXPECT_EQ(place_.Daemon({}).err.find("canary-77aa"), std::string::npos);
}

TEST_F(Refusal, OfAnotherVaultsKeyFile) {
  place_.Init();
  const Place other;
  other.Init();
  WriteTo(place_.At("key"), ContentOf(other.At("key")));
  ExpectRefused(1, "opens no slot of the keys file", "opens with the secret of any of its slots");
}

TEST_F(Refusal, OfAnotherVaultsStore) {
  place_.Init();
  const Place other;
  other.Init();
  WriteTo(place_.At("state/store/data.mdb"), ContentOf(other.At("state/store/data.mdb")));
  ExpectRefused(1, "the store belongs to another vault", "comes back from a backup");
}

TEST_F(Refusal, OfAStoreOfAnotherFormat) {
  place_.Init();
  std::string data = ContentOf(place_.At("state/store/data.mdb"));
  const std::string format("ovstore\0\x01\0\0\0", 12);
  std::size_t rows = 0;
  for (std::size_t at = 0; (at = data.find(format, at)) != std::string::npos; ++rows) {
    data[at + 8] = 9;
  }
  ASSERT_GT(rows, 0U);
  WriteTo(place_.At("state/store/data.mdb"), data);
  ExpectRefused(1, "a format that this version does not read: 9", "Check that path");
}

TEST_F(Refusal, OfAStoreWhoseFileIsGarbage) {
  place_.Init();
  WriteTo(place_.At("state/store/data.mdb"), std::string(20480, 'x'));
  ExpectRefused(1, "no LMDB file", "comes back from a backup");
}

TEST_F(Refusal, OfACorruptKeysFile) {
  place_.Init();
  const std::string whole = ContentOf(place_.At("state/keys"));
  for (const std::size_t at : {whole.size() / 4, whole.size() / 2, whole.size() - 1}) {
    std::string bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    WriteTo(place_.At("state/keys"), bad);
    ExpectRefused(65, "oauthvaultd: ", "put the file back from a backup");
  }
  WriteTo(place_.At("state/keys"), whole.substr(0, whole.size() / 2));
  ExpectRefused(65, "oauthvaultd: ", "put the file back from a backup");
}

TEST_F(Refusal, OfATrailWhoseLastLineWasChanged) {
  place_.Init();
  std::string trail = ContentOf(place_.At("audit/audit.jsonl"));
  const std::size_t at = trail.rfind("allowed");
  ASSERT_NE(at, std::string::npos);
  trail.replace(at, 7, "another");
  WriteTo(place_.At("audit/audit.jsonl"), trail);
  ExpectRefused(65, "the last line of the audit trail does not verify",
                "Keep the file as evidence");
  const Ended verified = place_.Daemon({"verify-audit"});
  EXPECT_EQ(verified.exit_code, 2);
  EXPECT_NE(verified.out.find("NOT whole"), std::string::npos);
}

TEST_F(Refusal, OfAnotherTrustDomain) {
  place_.Init();
  ExpectRefused(1, "no certificate authority", "that `oauthvaultd init` was given",
                {"--trust-domain", "another"});
}

TEST_F(Refusal, WhenThePortIsTaken) {
  place_.Init();
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string taken = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  ExpectRefused(2, "is another program on this port?: " + taken, "with --listen",
                {"--listen", taken});
  EXPECT_FALSE(std::filesystem::exists(place_.At("socket")));
  close(listener);
}

TEST_F(Refusal, WhenSomethingElseStandsAtTheSocketsPath) {
  place_.Init();
  WriteTo(place_.At("socket"), "somebody's file");
  ExpectRefused(1, "something that is no socket", "--socket");
  EXPECT_EQ(ContentOf(place_.At("socket")), "somebody's file");
}

TEST_F(Refusal, OfASecondDaemonWhileTheFirstGoesOn) {
  place_.Init();
  place_.Serve();
  const Ended second = place_.Daemon({});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_NE(second.err.find("another daemon answers on this socket"), std::string::npos)
      << second.err;
  const Ended beside = place_.Daemon({"--socket", place_.At("other-socket").string()});
  EXPECT_EQ(beside.exit_code, 1);
  EXPECT_NE(beside.err.find("no other daemon uses it"), std::string::npos) << beside.err;
  EXPECT_FALSE(std::filesystem::exists(place_.At("other-socket")));
  EXPECT_EQ(place_.Cli({"status"}).exit_code, 0);
  // Its own store, but the socket of the first.
  const Place other;
  other.Init();
  const Ended third = other.Daemon({"--socket", place_.At("socket").string()});
  EXPECT_EQ(third.exit_code, 1);
  EXPECT_NE(third.err.find("another daemon answers on this socket"), std::string::npos)
      << third.err;
  EXPECT_EQ(place_.Cli({"status"}).exit_code, 0);
  EXPECT_EQ(place_.Stop().exit_code, 0);
}

TEST_F(Refusal, OfInitWhereAVaultIs) {
  place_.Init();
  ExpectRefused(1, "a vault is there already", "nothing was overwritten", {"init"});
  // Not even a lost key file is made anew: it would open nothing.
  std::filesystem::remove(place_.At("key"));
  ExpectRefused(1, "a vault is there already", "nothing was overwritten", {"init"});
}

TEST_F(Refusal, OfInitWhereOnlyATrailOrAStoreIs) {
  for (const char* left : {"audit/audit.jsonl", "state/store/data.mdb"}) {
    const Place place;
    std::filesystem::create_directories(place.At(left).parent_path());
    WriteTo(place.At(left), "left");
    const Ended made = place.Daemon({"init"});
    EXPECT_EQ(made.exit_code, 1) << left;
    EXPECT_EQ(ContentOf(place.At(left)), "left");
    EXPECT_FALSE(std::filesystem::exists(place.At("state/keys")));
    EXPECT_FALSE(std::filesystem::exists(place.At("key")));
  }
}

TEST_F(Refusal, DoesNotComeFromASocketThatAKilledDaemonLeft) {
  place_.Init();
  place_.Serve();
  place_.KillServer();
  ASSERT_TRUE(std::filesystem::exists(place_.At("socket")));
  place_.Serve();
  EXPECT_EQ(place_.Cli({"status"}).exit_code, 0);
}

}  // namespace
}  // namespace oauthvault::integration
