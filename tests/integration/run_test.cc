// `oauthvault run` as a process. Its documents bring their credentials along, so that no vault is
// needed but where a test says so.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kToken = "ya29.canary-of-the-access-token";
constexpr const char* kDocument =
    R"({"parameters":{"#password":"canary \"of\" the/password"},)"
    R"("authorization":{"oauth_api":{"id":"main","credentials":{"id":"main",)"
    R"("#data":"{\"access_token\":\"ya29.canary-of-the-access-token\"}",)"
    R"("appKey":"app-key","#appSecret":"canary-app-secret"}}}})";

class RunTest : public testing::Test {
 protected:
  RunTest() {
    std::string name = (fs::temp_directory_path() / "run-test-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    fs::create_directory(Place());
    fs::permissions(Place(), fs::perms::owner_all);
    WriteTo(At("config.json"), kDocument);
  }
  ~RunTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  fs::path At(const std::string& name) const { return folder_ / name; }
  /// Where the data folders of these tests are made.
  fs::path Place() const { return folder_ / "runtime"; }
  std::vector<fs::path> DataFolders() const {
    return {fs::directory_iterator(Place()), fs::directory_iterator()};
  }
  bool NoFolderIsLeft() const { return DataFolders().empty(); }

  Start Environment() const { return {.environment = {{"XDG_RUNTIME_DIR", Place().string()}}}; }
  std::vector<std::string> Words(std::vector<std::string> command,
                                 const std::string& file = "config.json") const {
    std::vector<std::string> words = {"run",         At(file).string(), "--project", "acme",
                                      "--component", "ex-drive",        "--"};
    words.insert(words.end(), command.begin(), command.end());
    return words;
  }
  Ended RunCommand(std::vector<std::string> command,
                   const std::string& file = "config.json") const {
    return integration::Run("oauthvault", Words(std::move(command), file), folder_, Environment());
  }
  Ended RunShell(const std::string& script) const { return RunCommand({"/bin/sh", "-c", script}); }
  /// A command that goes on until it is stopped. It has begun, and written its process id.
  std::unique_ptr<Program> Begin(const std::string& script) {
    auto program = std::make_unique<Program>(
        "oauthvault", Words({"/bin/sh", "-c", "echo $$ > " + At("pid").string() + "; " + script}),
        folder_, Environment());
    EXPECT_TRUE(Await([&] { return ContentOf(At("pid")).ends_with('\n'); })) << program->Err();
    return program;
  }
  /// The process that `Begin` began.
  pid_t Command() const { return std::stoi(ContentOf(At("pid"))); }
  /// How much the only program of a test has written.
  std::uintmax_t OutputSize() const {
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().extension() == ".out") return entry.file_size();
    }
    return 0;
  }
  static bool IsGone(pid_t process) { return ::kill(process, 0) != 0; }

 private:
  fs::path folder_;
};

TEST_F(RunTest, Command_FindsItsConfigurationInAPrivateFolderThatGoesAfterwards) {
  const Ended ended = RunShell(
      "cd \"$KBC_DATADIR\" && stat -c '%A %n' . config.json && find . | sort && "
      "grep -c access_token config.json && echo \"$KBC_DATADIR\"");
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(ended.out.starts_with("drwx------ .\n-rw------- config.json\n"
                                    ".\n./config.json\n./in\n./in/files\n./in/tables\n./in/user\n"
                                    "./out\n./out/files\n./out/tables\n1\n" +
                                    Place().string() + "/oauthvault-run."))
      << ended.out;
  EXPECT_TRUE(ended.out.ends_with("/\n")) << ended.out;
  EXPECT_EQ(ended.err, "");
  EXPECT_TRUE(NoFolderIsLeft());
}

TEST_F(RunTest, InputsAndResultsBesideTheConfiguration_AreUsedInPlace) {
  fs::create_directories(At("data/in/tables"));
  fs::create_directories(At("data/out/files"));
  WriteTo(At("data/config.json"), kDocument);
  WriteTo(At("data/in/tables/orders.csv"), "a,b\n");
  const Ended ended =
      RunCommand({"/bin/sh", "-c",
                  "cat \"$KBC_DATADIR/in/tables/orders.csv\"; "
                  "echo x > \"$KBC_DATADIR/out/files/y\""},
                 "data/config.json");
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, "a,b\n");
  EXPECT_EQ(ContentOf(At("data/out/files/y")), "x\n");
  EXPECT_EQ(ContentOf(At("data/config.json")), kDocument);
  EXPECT_TRUE(NoFolderIsLeft());
}

TEST_F(RunTest, Words_ReachTheCommandAsTheyAre) {
  const Ended ended =
      RunCommand({"/usr/bin/printf", "<%s>", "[a,b]", "--json", "", "a b", "--", "-"});
  EXPECT_EQ(ended.out, "<[a,b]><--json><><a b><--><->");
}

TEST_F(RunTest, Secrets_AreHiddenInBothStreamsInAllForms) {
  WriteTo(At("show.py"),
          "import base64, json, os, sys, urllib.parse\n"
          "c = json.load(open(os.environ['KBC_DATADIR'] + 'config.json'))\n"
          "o = c['authorization']['oauth_api']['credentials']\n"
          "secrets = [c['parameters']['#password'], o['#data'], o['#appSecret'],\n"
          "           json.loads(o['#data'])['access_token']]\n"
          "for to in sys.stdout, sys.stderr:\n"
          "    for s in secrets:\n"
          "        print(s, json.dumps(s), urllib.parse.quote(s), urllib.parse.quote_plus(s),\n"
          "              *(base64.b64encode(b'x' * n + s.encode()).decode() for n in range(3)),\n"
          "              file=to)\n"
          "    print(c, json.dumps(c), file=to)\n");
  const Ended ended = RunCommand({"/usr/bin/python3", At("show.py").string()});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  for (const std::string& text : {ended.out, ended.err}) {
    for (const std::string_view secret :
         {"canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn", "ya29"}) {
      EXPECT_EQ(text.find(secret), std::string::npos) << secret << " in " << text;
    }
    EXPECT_NE(text.find("app-key"), std::string::npos);
  }
}

TEST_F(RunTest, SecretsWrittenByteByByte_AreHidden) {
  WriteTo(At("show.py"), "import os\nfor c in 'a ya29.canary-of-the-access-token z\\n':\n"
                         "    os.write(1, c.encode()); os.write(2, c.encode())\n");
  const Ended ended = RunCommand({"/usr/bin/python3", At("show.py").string()});
  EXPECT_EQ(ended.out, "a [hidden] z\n");
  EXPECT_EQ(ended.err, "a [hidden] z\n");
}

TEST_F(RunTest, Prompt_ShowsWhileTheCommandWaits) {
  const auto program = Begin("printf 'Continue? [y/N] '; exec sleep 1000");
  EXPECT_TRUE(Await([&] { return program->Out() == "Continue? [y/N] "; })) << program->Out();
  program->Send(SIGTERM);
  EXPECT_EQ(program->Wait().exit_code, 128 + SIGTERM);
}

TEST_F(RunTest, ArgumentsAndEnvironment_HoldNoSecretAndNothingOfOurs) {
  const Ended ended = RunShell(
      "cat /proc/$$/environ /proc/$PPID/cmdline /proc/$PPID/environ | tr '\\0' '\\n'; "
      "for p in $(cat /proc/$PPID/stat | cut -d ' ' -f 4); do "
      "cat /proc/$p/cmdline /proc/$p/environ; done | tr '\\0' '\\n'; "
      "ls -l /proc/self/fd | grep -c socket");
  EXPECT_EQ(ended.out.find("canary"), std::string::npos);
  EXPECT_EQ(ended.out.find("[hidden]"), std::string::npos) << ended.out;
  EXPECT_EQ(ended.out.find("GRPC"), std::string::npos) << ended.out;
  EXPECT_NE(ended.out.find("XDG_RUNTIME_DIR="), std::string::npos);
  EXPECT_TRUE(ended.out.ends_with("\n0\n")) << ended.out;  // no way to the guardian either
}

TEST_F(RunTest, ExitCode_IsTheCommandsOwn) {
  for (const int code : {0, 1, 2, 3, 42, 255}) {
    EXPECT_EQ(RunShell("exit " + std::to_string(code)).exit_code, code);
  }
  EXPECT_EQ(RunShell("kill -KILL $$").exit_code, 128 + SIGKILL);
  EXPECT_EQ(RunShell("kill -SEGV $$").exit_code, 128 + SIGSEGV);
  EXPECT_TRUE(NoFolderIsLeft());
}

TEST_F(RunTest, WhatKeepsACommandFromRunning_LeavesNothing) {
  const Ended missing = RunCommand({"no-such-program"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_NE(missing.err.find("cannot run the command: No such file"), std::string::npos);
  EXPECT_EQ(RunCommand({"/bin/true"}, "absent.json").exit_code, 1);
  EXPECT_EQ(RunCommand({}).exit_code, 1);
  // The vault is asked, and there is none: the command never runs.
  WriteTo(At("config.json"), R"({"authorization":{"oauth_api":{"id":"main"}}})");
  Start start = Environment();
  start.environment["OAUTHVAULT_SOCKET"] = At("nobody.sock").string();
  const Ended unreached =
      integration::Run("oauthvault", Words({"/usr/bin/touch", At("ran").string()}), At(""), start);
  EXPECT_EQ(unreached.exit_code, 2) << unreached.err;
  EXPECT_FALSE(fs::exists(At("ran")));
  EXPECT_TRUE(NoFolderIsLeft());
}

TEST_F(RunTest, Signals_ReachTheCommandWhichDecidesWhatBecomesOfThem) {
  const auto program = Begin(
      "for s in TERM INT HUP QUIT USR1 USR2; do trap \"echo $s\" $s; done; echo ready; "
      "while :; do sleep 0.05; done");
  ASSERT_TRUE(Await([&] { return program->Out() == "ready\n"; }));
  std::string seen = "ready\n";
  const std::vector<std::pair<int, std::string>> signals = {
      {SIGTERM, "TERM"}, {SIGINT, "INT"},   {SIGHUP, "HUP"},
      {SIGQUIT, "QUIT"}, {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}};
  for (const auto& [signal, name] : signals) {
    program->Send(signal);
    seen += name + "\n";
    EXPECT_TRUE(Await([&] { return program->Out() == seen; })) << program->Out();
  }
  ::kill(Command(), SIGKILL);
  EXPECT_EQ(program->Wait().exit_code, 128 + SIGKILL);
  EXPECT_TRUE(NoFolderIsLeft());
}

TEST_F(RunTest, KilledWithoutAWord_TheFolderGoesAndSoDoesTheCommandWithAllThatItStarted) {
  const auto program = Begin("sleep 1000 & echo $! > " + At("other").string() +
                             "; (setsid sleep 1000 & echo $! > " + At("third").string() +
                             "); wait");
  ASSERT_TRUE(Await([&] { return ContentOf(At("third")).ends_with('\n'); }));
  ASSERT_EQ(DataFolders().size(), 1u);
  program->Send(SIGKILL);
  EXPECT_TRUE(Await([&] { return NoFolderIsLeft(); }));
  for (const char* name : {"pid", "other", "third"}) {
    EXPECT_TRUE(Await([&] { return IsGone(std::stoi(ContentOf(At(name)))); })) << name;
  }
}

TEST_F(RunTest, GuardianThatIsKilled_LeavesNothingEither) {
  const auto program = Begin("sleep 1000 & wait");
  // The command's parent.
  std::ifstream stat("/proc/" + std::to_string(Command()) + "/stat");
  std::string field;
  for (int i = 0; i < 4; ++i) stat >> field;
  ASSERT_NE(std::stoi(field), program->Id());
  ::kill(std::stoi(field), SIGKILL);
  const Ended ended = program->Wait();
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_NE(ended.err.find("guardian"), std::string::npos) << ended.err;
  EXPECT_TRUE(Await([&] { return IsGone(Command()); }));
  EXPECT_TRUE(NoFolderIsLeft());
}

TEST_F(RunTest, WhatACommandLeavesRunning_EndsWithIt) {
  const Ended ended = RunShell("(setsid sleep 1000 & echo $! > " + At("left").string() +
                               "); while ! [ -s " + At("left").string() +
                               " ]; do sleep 0.05; done; echo done");
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.out, "done\n");
  EXPECT_TRUE(IsGone(std::stoi(ContentOf(At("left")))));
  EXPECT_TRUE(NoFolderIsLeft());
}

TEST_F(RunTest, FolderThatTheCommandLocked_GoesAllTheSame) {
  const Ended ended = RunShell(
      "cd \"$KBC_DATADIR\" && mkdir -p out/files/a/b && touch out/files/a/b/c && "
      "chmod 0500 out/files/a/b out/files/a && chmod 0 in/user && ln -s / out/files/root");
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(NoFolderIsLeft());
  EXPECT_TRUE(fs::exists("/usr"));
}

TEST_F(RunTest, OrderOfTwoStreamsThatGoToOnePlace_IsKept) {
  std::vector<std::string> words = {"-c", "exec \"$0\" \"$@\" 2>&1",
                                    OAUTHVAULT_BIN_DIR "/oauthvault"};
  for (std::string word :
       Words({"/bin/sh", "-c",
              "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"})) {
    words.push_back(std::move(word));
  }
  const Ended ended = integration::Run("/bin/sh", words, At(""), Environment());
  std::string expected;
  for (int i = 1; i < 10; ++i) {
    expected += "out " + std::to_string(i) + "\nerr " + std::to_string(i) + "\n";
  }
  EXPECT_EQ(ended.out, expected);
}

// The most memory that a process ever had, in KiB.
long PeakOf(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stol(line.substr(6));
  }
  return 0;
}

TEST_F(RunTest, LongOutput_PassesWholeAndTakesNoMemory) {
  constexpr long kMebibytes = 50;
  const auto program = Begin(
      "head -c 1048576 /dev/zero | tr '\\0' y; echo; echo begun > " + At("begun").string() +
      "; while ! [ -e " + At("go").string() + " ]; do sleep 0.05; done; "
      "head -c $((49 * 1048576)) /dev/zero | tr '\\0' y; echo; echo " + std::string(kToken) +
      "; echo all > " + At("all").string() + "; exec sleep 1000");
  ASSERT_TRUE(Await([&] { return !ContentOf(At("begun")).empty(); }));
  ASSERT_TRUE(Await([&] { return OutputSize() == (1u << 20) + 1; }));
  const long before = PeakOf(program->Id());
  WriteTo(At("go"), "");
  ASSERT_TRUE(Await([&] { return !ContentOf(At("all")).empty(); }));
  const std::string end = "\n[hidden]\n";
  const std::size_t size = kMebibytes * 1048576 + 1 + end.size();
  ASSERT_TRUE(Await([&] { return OutputSize() == size; })) << OutputSize();
  EXPECT_LT(PeakOf(program->Id()) - before, 1024);
  program->Send(SIGTERM);
  const Ended ended = program->Wait();
  EXPECT_TRUE(ended.out.ends_with(end));
  EXPECT_EQ(std::ranges::count(ended.out, 'y'), kMebibytes * 1048576);
}

}  // namespace
}  // namespace oauthvault::integration
