#include "daemon/config.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <ostream>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace oauthvault {
namespace {

// Stands as a value in what is refused; a message that quotes values would show it.
constexpr char kCanary[] = "canary-6d1f";

std::string DocumentedFile() { return OAUTHVAULT_SOURCE_DIR "/deploy/oauthvaultd.toml"; }

std::string ContentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::expected<Invocation, Ending> Read(std::initializer_list<const char*> words) {
  std::vector<const char*> argv = {"oauthvaultd"};
  argv.insert(argv.end(), words);
  return ReadInvocation(static_cast<int>(argv.size()), argv.data());
}

// Every setting as text, so that two configurations compare and a difference names itself.
std::string Described(const Config& config) {
  std::ostringstream text;
  text << config.state << '\n' << config.audit << '\n' << config.key_file << '\n'
       << config.socket << '\n' << config.listen << '\n';
  for (const std::string& name : config.names) text << name << ' ';
  text << '\n' << config.trust_domain << '\n' << config.log_level << '\n'
       << static_cast<int>(config.fsck) << config.allow_unlocked << '\n'
       << config.store.map_size_mib << '\n' << config.custody.kept_versions << '\n'
       << config.identities.kept_days << ' ' << config.attempts.kept_days << '\n'
       << config.edge.max_connections << '\n'
       << config.edge.max_connections_per_address << '\n' << config.edge.max_handshakes << '\n'
       << config.edge.max_calls << '\n' << config.edge.max_calls_per_principal << '\n'
       << config.edge.handshake_timeout_ms << '\n' << config.edge.stop_timeout_ms << '\n'
       << config.http.listen << '\n' << config.http.certificate << '\n'
       << config.http.key << '\n' << config.http.max_connections << '\n'
       << config.http.max_connections_per_address << '\n'
       << config.tls.certificate_folder << '\n'
       << config.rivery.allow_loopback << config.rivery.allow_private
       << config.rivery.ca_file << '\n'
       << config.rivery.calls_per_minute << '\n' << config.rivery.poll_interval_ms << '\n'
       << config.rivery.retry_interval_ms << '\n' << config.rivery.settle_time_ms << '\n'
       << config.rivery.update_pause_ms << ' ' << config.rivery.catalogue_max_age_s
       << config.rivery.allow_unchecked << '\n';
  for (const int status : config.rivery.pending_statuses) text << status << ' ';
  for (const auto& [name, route] : config.rivery.routes) text << '\n' << name << '=' << route;
  return text.str();
}

class ConfigFile : public testing::Test {
 protected:
  ConfigFile() {
    std::string name = (std::filesystem::temp_directory_path() / "config-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~ConfigFile() override { std::filesystem::remove_all(folder_); }

  std::string Written(const std::string& text) const {
    const std::string path = (folder_ / "oauthvaultd.toml").string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  std::filesystem::path folder_;
};

// One variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

TEST_F(ConfigFile, TheDocumentedFileHoldsTheDefaults) {
  Config read;
  read.state = "another";  // so that an empty file would not pass
  const auto done = ReadToml(ContentOf(DocumentedFile()), "oauthvaultd.toml", read);
  ASSERT_TRUE(done) << done.error();
  EXPECT_EQ(Described(read), Described(Config{}));
}

TEST_F(ConfigFile, TheRoutesShownInTheDocumentedFileAreAccepted) {
  std::string text = ContentOf(DocumentedFile());
  std::size_t shown = 0;
  const std::size_t routes = text.find("[rivery.routes]");
  ASSERT_NE(routes, std::string::npos);
  for (std::size_t at = routes; (at = text.find("\n# ", at)) != std::string::npos; ++shown) {
    text.erase(at + 1, 2);
  }
  Config read;
  const auto done = ReadToml(text, "oauthvaultd.toml", read);
  ASSERT_TRUE(done) << done.error();
  EXPECT_EQ(read.rivery.routes.size(), shown);
  EXPECT_EQ(shown, 10U);
}

// The flags are made from the table of settings, so --help lists that table.
TEST_F(ConfigFile, TheDocumentedFileAndTheFlagsNameTheSameSettings) {
  const auto help = Read({"--help"});
  ASSERT_FALSE(help);
  std::set<std::string> flags;
  std::istringstream words(help.error().text);
  for (std::string word; words >> word;) {
    if (word.starts_with("--") && word.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") ==
                                      std::string::npos) {
      flags.insert(word);
    }
  }
  flags.erase("--config");
  flags.erase("--trust-domain");  // stands in the footer in any case; looked for below
  EXPECT_NE(help.error().text.find("--trust-domain TEXT"), std::string::npos);

  std::set<std::string> documented;
  std::istringstream lines(ContentOf(DocumentedFile()));
  std::string section;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("[")) section = line.substr(1, line.find(']') - 1) + ".";
    if (line.empty() || std::islower(static_cast<unsigned char>(line[0])) == 0) continue;
    std::string flag = "--" + section + line.substr(0, line.find(' '));
    for (char& c : flag) {
      if (c == '.' || c == '_') c = '-';
    }
    documented.insert(flag);
  }
  EXPECT_EQ(documented.erase("--trust-domain"), 1U);
  // No setting: --sealed is for this one start.
  for (const char* builtin : {"--help", "--version", "--sealed"}) flags.erase(builtin);
  EXPECT_EQ(flags, documented);
  EXPECT_EQ(documented.size(), 37U);
}

TEST_F(ConfigFile, AFlagBeatsTheEnvironmentWhichBeatsTheFileWhichBeatsTheDefault) {
  const std::string path = Written(
      "state = \"/file\"\naudit = \"/file\"\nkey_file = \"/file\"\n"
      "[edge]\nmax_connections = 7\n");
  const Variable state("OAUTHVAULT_STATE", "/environment");
  const Variable audit("OAUTHVAULT_AUDIT", "/environment");
  const Variable connections("OAUTHVAULT_EDGE_MAX_CONNECTIONS", "8");
  const auto read =
      Read({"--config", path.c_str(), "--state", "/flag", "--edge-max-connections", "9"});
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(read->config.state, "/flag");
  EXPECT_EQ(read->config.audit, "/environment");
  EXPECT_EQ(read->config.key_file, "/file");
  EXPECT_EQ(read->config.socket, Config{}.socket);
  EXPECT_EQ(read->config.edge.max_connections, 9U);
}

TEST_F(ConfigFile, TheEnvironmentNamesTheFile) {
  const std::string path = Written("trust_domain = \"example\"\n");
  const Variable config("OAUTHVAULT_CONFIG", path.c_str());
  const auto read = Read({"init"});
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(read->config.trust_domain, "example");
  EXPECT_EQ(read->command, Command::kInit);
}

TEST_F(ConfigFile, EachFormOfValueIsRead) {
  Config read;
  const auto done = ReadToml(
      "names = [\"a\", \"b\"]\n[rivery]\nallow_loopback = true\npending_statuses = [202, 404]\n"
      "[rivery.routes]\nupdate = \"PATCH /connections?_id={id}\"\n",
      "x", read);
  ASSERT_TRUE(done) << done.error();
  EXPECT_EQ(read.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(read.rivery.allow_loopback);
  EXPECT_EQ(read.rivery.pending_statuses, (std::set<int>{202, 404}));
  EXPECT_EQ(read.rivery.routes.at("update"), "PATCH /connections?_id={id}");
}

TEST_F(ConfigFile, CommandsAreRead) {
  EXPECT_EQ(Read({})->command, Command::kServe);
  EXPECT_EQ(Read({"serve"})->command, Command::kServe);
  EXPECT_EQ(Read({"init"})->command, Command::kInit);
  EXPECT_EQ(Read({"verify-audit"})->command, Command::kVerifyAudit);
  EXPECT_EQ(Read({"fsck"})->command, Command::kFsck);
  EXPECT_FALSE(Read({})->sealed);
  EXPECT_TRUE(Read({"--sealed"})->sealed);
  EXPECT_TRUE(Read({"serve", "--sealed"})->sealed);
}

TEST_F(ConfigFile, InitAndRecoverSayWhichSlotIsMade) {
  EXPECT_EQ(Read({"init"})->slot, "key_file");
  const auto init = Read({"init", "--slot", "shares", "--shares", "3/5"});
  ASSERT_TRUE(init);
  EXPECT_EQ(init->slot, "shares");
  EXPECT_EQ(init->shares, "3/5");
  const auto recover = Read({"recover", "--slot", "key_file", "--out", "/new"});
  ASSERT_TRUE(recover);
  EXPECT_EQ(recover->command, Command::kRecover);
  EXPECT_EQ(recover->out, "/new");
  EXPECT_EQ(Read({"init", "--slot", "stone"}).error().exit_code, 1);
}

TEST_F(ConfigFile, RestoreTakesABackupOrThePresentStoreAndAReason) {
  const auto backup = Read({"restore", "/backup", "--reason", "x"});
  ASSERT_TRUE(backup);
  EXPECT_EQ(backup->command, Command::kRestore);
  EXPECT_EQ(backup->backup, "/backup");
  EXPECT_FALSE(backup->present);
  const auto present = Read({"restore", "--present", "--reason", "x"});
  ASSERT_TRUE(present);
  EXPECT_TRUE(present->present);
  for (const auto& bad : {Read({"restore", "/backup"}), Read({"restore", "--reason", "x"}),
                          Read({"restore", "/backup", "--present", "--reason", "x"})}) {
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().exit_code, 1);
  }
}

TEST_F(ConfigFile, AFlagOfASettingSaysYesByItselfAndWhatItIsGiven) {
  EXPECT_FALSE(Read({})->config.allow_unlocked);
  EXPECT_TRUE(Read({"--allow-unlocked"})->config.allow_unlocked);
  EXPECT_TRUE(Read({"--allow-unlocked", "true"})->config.allow_unlocked);
  EXPECT_FALSE(Read({"--allow-unlocked", "false"})->config.allow_unlocked);
  const auto before_a_verb = Read({"--allow-unlocked", "fsck"});
  ASSERT_TRUE(before_a_verb) << before_a_verb.error().text;
  EXPECT_TRUE(before_a_verb->config.allow_unlocked);
  EXPECT_EQ(before_a_verb->command, Command::kFsck);
  EXPECT_FALSE(Read({"--allow-unlocked", "perhaps"}));
}

TEST_F(ConfigFile, TheKeyFileIsAPathNothingOrASystemdCredential) {
  Config config;
  config.key_file = "/etc/key";
  EXPECT_EQ(config.KeyFile(), "/etc/key");
  EXPECT_EQ(Read({"--key-file", ""})->config.KeyFile(), "");
  const std::string path = Written("key_file = \"\"\nfsck = \"behind\"\n");
  const auto read = Read({"--config", path.c_str()});
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(read->config.KeyFile(), "");
  EXPECT_EQ(read->config.fsck, Config::Fsck::kBehind);
  config.key_file = "credential:vault";
  EXPECT_EQ(config.KeyFile(), "");
  const Variable folder("CREDENTIALS_DIRECTORY", "/run/credentials/oauthvaultd.service");
  EXPECT_EQ(config.KeyFile(), "/run/credentials/oauthvaultd.service/vault");
}

struct BadFile {
  const char* what;
  std::string text;  // `canary` stands for kCanary
  int line;
  const char* says;  // what to do about it
};

std::ostream& operator<<(std::ostream& out, const BadFile& bad) { return out << bad.what; }

class Refused : public testing::TestWithParam<BadFile> {};

TEST_P(Refused, NamesFileLineAndRemedyAndQuotesNoValue) {
  const BadFile& bad = GetParam();
  std::string text = bad.text;
  for (std::size_t at; (at = text.find("CANARY")) != std::string::npos;) {
    text.replace(at, 6, kCanary);
  }
  Config config;
  const auto read = ReadToml(text, "the.toml", config);
  ASSERT_FALSE(read);
  EXPECT_TRUE(read.error().starts_with("the.toml:" + std::to_string(bad.line) + ": "))
      << read.error();
  EXPECT_NE(read.error().find(bad.says), std::string::npos) << read.error();
  EXPECT_EQ(read.error().find(kCanary), std::string::npos) << read.error();
}

INSTANTIATE_TEST_SUITE_P(
    Files, Refused,
    testing::Values(
        BadFile{"UnknownKey", "\nstat = \"CANARY\"\n", 2, "remove it or correct its name"},
        BadFile{"UnknownKeyInSection", "[edge]\nmax = \"CANARY\"\n", 2, "unknown key edge.max"},
        BadFile{"UnknownSection", "\n[edges]\nmax_connections = \"CANARY\"\n", 2,
                "unknown section [edges]; remove it"},
        BadFile{"SectionOfAKey", "[state]\nx = \"CANARY\"\n", 1, "unknown section [state]"},
        BadFile{"ListOfSections", "[[edge]]\nmax_connections = 1\n", 1, "unknown key edge"},
        BadFile{"NumberForText", "state = 5\n", 1, "state must be a string in quotes"},
        BadFile{"FlagForText", "trust_domain = true\n", 1, "must be a string in quotes"},
        BadFile{"TextForNumber", "[store]\nmap_size_mib = \"CANARY\"\n", 2,
                "must be a whole number"},
        BadFile{"NumberInQuotes", "[store]\nmap_size_mib = \"64\"\n", 2, "must be a whole number"},
        BadFile{"FractionForNumber", "[edge]\n\nmax_connections = 1.5\n", 3,
                "must be a whole number"},
        BadFile{"DateForNumber", "[edge]\nmax_connections = 2020-01-01\n", 2,
                "must be a whole number"},
        BadFile{"TextForFlag", "[rivery]\nallow_loopback = \"true\"\n", 2, "without quotes"},
        BadFile{"TextForList", "names = \"CANARY\"\n", 1, "must be a list of strings"},
        BadFile{"NumbersForTexts", "names = [1, 2]\n", 1, "must be a list of strings"},
        BadFile{"CommaInAName", "names = [\"a,CANARY\"]\n", 1, "must be a list of strings"},
        BadFile{"NoNames", "names = []\n", 1, "at least one name"},
        BadFile{"TextsForNumbers", "[rivery]\npending_statuses = [\"CANARY\"]\n", 2,
                "must be a list of whole numbers"},
        BadFile{"NoStatus", "[rivery]\npending_statuses = [42]\n", 2, "HTTP statuses"},
        BadFile{"BelowTheRange", "[store]\nmap_size_mib = 0\n", 2, "from 1 to 1048576"},
        BadFile{"AboveTheRange", "[store]\nmap_size_mib = 1048577\n", 2, "from 1 to 1048576"},
        BadFile{"Negative", "[edge]\nstop_timeout_ms = -1\n", 2, "from 0 to 60000"},
        BadFile{"EmptyPath", "state = \"\"\n", 1, "must not be empty"},
        BadFile{"ListenWithoutPort", "listen = \"CANARY\"\n", 1, "must be ADDRESS:PORT"},
        BadFile{"ListenOnAName", "listen = \"CANARY:8443\"\n", 1, "a numeric address"},
        BadFile{"ListenOnBareIpv6", "listen = \"::1:8443\"\n", 1, "IPv6 in brackets"},
        BadFile{"HttpListenOnAName", "[http]\nlisten = \"CANARY:8080\"\n", 2,
                "a numeric address"},
        BadFile{"PortOutOfRange", "listen = \"127.0.0.1:65536\"\n", 1, "a port from 0 to 65535"},
        BadFile{"LogLevel", "log_level = \"CANARY\"\n", 1, "debug, info, warning or error"},
        BadFile{"TrustDomain", "trust_domain = \"CANARY/\"\n", 1, "of a-z 0-9 . - _"},
        BadFile{"Fsck", "fsck = \"CANARY\"\n", 1, "must be before or behind"},
        BadFile{"TextForUnlocked", "allow_unlocked = \"CANARY\"\n", 1, "without quotes"},
        BadFile{"UnknownRoute", "[rivery.routes]\nfetch = \"GET /CANARY\"\n", 2,
                "there are types, oauth_start"},
        BadFile{"RouteWithoutVerb", "[rivery.routes]\nlist = \"/CANARY\"\n", 2,
                "must be a verb and a path"},
        BadFile{"RouteOfAnUnknownVerb", "[rivery.routes]\nlist = \"FETCH /CANARY\"\n", 2,
                "must be a verb and a path"},
        BadFile{"RouteToAnotherHost", "[rivery.routes]\nlist = \"GET http://CANARY/\"\n", 2,
                "must be a verb and a path"},
        BadFile{"RouteWithALineEnd", "[rivery.routes]\nlist = \"GET /a\\r\\nX: CANARY\"\n", 2,
                "must be a verb and a path"},
        BadFile{"RouteIsANumber", "[rivery.routes]\nlist = 5\n", 2, "must be a string in quotes"},
        BadFile{"DuplicateKey", "state = \"/a\"\nstate = \"CANARY\"\n", 2, "correct the line"},
        BadFile{"NotToml", "state = \"/a\"\nCANARY and more\n", 2, "correct the line"},
        BadFile{"OpenString", "state = \"CANARY\n", 1, "correct the line"}),
    [](const auto& bad) { return std::string(bad.param.what); });

TEST_F(ConfigFile, AnUnknownKeyIsShownInPrintableCharactersOnly) {
  Config config;
  const auto read = ReadToml("\"a\\u001b[31m\" = 1\n", "the.toml", config);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().find('\x1b'), std::string::npos);
}

TEST_F(ConfigFile, AHugeFileIsRefused) {
  const std::string path = Written(std::string(256 * 1024 + 1, '#'));
  const auto read = Read({"--config", path.c_str()});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().exit_code, 1);
  EXPECT_NE(read.error().text.find(path + " is larger than 256 KiB; shorten it"),
            std::string::npos)
      << read.error().text;
}

TEST_F(ConfigFile, AFileAtTheLimitIsRead) {
  const std::string path = Written(std::string(256 * 1024, '#'));
  EXPECT_TRUE(Read({"--config", path.c_str()}));
}

TEST_F(ConfigFile, AMissingFileAndAFolderAreRefused) {
  for (const std::string& path : {(folder_ / "none.toml").string(), folder_.string()}) {
    const auto read = Read({"--config", path.c_str()});
    ASSERT_FALSE(read) << path;
    EXPECT_EQ(read.error().exit_code, 1);
    EXPECT_NE(read.error().text.find(path), std::string::npos);
    EXPECT_NE(read.error().text.find("name a file with --config"), std::string::npos);
  }
}

TEST_F(ConfigFile, HelpAndVersionEndWithZero) {
  const auto help = Read({"--help"});
  ASSERT_FALSE(help);
  EXPECT_EQ(help.error().exit_code, 0);
  EXPECT_NE(help.error().text.find("Example:"), std::string::npos);
  const auto version = Read({"--version"});
  ASSERT_FALSE(version);
  EXPECT_EQ(version.error().exit_code, 0);
  EXPECT_TRUE(version.error().text.starts_with("oauthvaultd 0."));
}

TEST_F(ConfigFile, WordsThatNobodyKnowsEndWithOneAndAreNotRepeated) {
  for (const auto& words : std::vector<std::vector<const char*>>{
           {"--bogus", kCanary}, {"--bogus=canary-6d1f"}, {kCanary}, {"init", "serve"},
           {"--state"}, {"--edge-max-connections", kCanary}, {"--state", ""}}) {
    std::vector<const char*> argv = {"oauthvaultd"};
    argv.insert(argv.end(), words.begin(), words.end());
    const auto read = ReadInvocation(static_cast<int>(argv.size()), argv.data());
    ASSERT_FALSE(read) << words[0];
    EXPECT_EQ(read.error().exit_code, 1);
    EXPECT_FALSE(read.error().text.empty());
    EXPECT_EQ(read.error().text.find(kCanary), std::string::npos) << read.error().text;
  }
  const std::array<const char*, 2> unknown = {"oauthvaultd", "frob"};
  EXPECT_EQ(ReadInvocation(unknown.size(), unknown.data()).error().text,
            "there is no such command (see --help)");
}

TEST_F(ConfigFile, ABadFlagOrVariableNamesBoth) {
  const Variable connections("OAUTHVAULT_EDGE_MAX_CONNECTIONS", kCanary);
  const auto read = Read({});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text,
            "--edge-max-connections (OAUTHVAULT_EDGE_MAX_CONNECTIONS) must be a whole number from "
            "1 to 100000");
}

}  // namespace
}  // namespace oauthvault
