// The verbs that operate the vault: secrets that open it, slots, keys, backups, checks, shredding.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "oauthvault/v1/operations.pb.h"
#include "tests/client/command_line.h"
#include "tests/client/terminal.h"

namespace oauthvault::client {
namespace {

constexpr const char* kQuestion = "key file's line, share or passphrase: ";

Answer Gives(const google::protobuf::MessageLite& message) {
  return {.messages = {message.SerializeAsString()}};
}

Answer Fails(Code code, std::string words) {
  return {.messages = {}, .code = code, .text = std::move(words)};
}

Answer SealedWith(std::uint32_t given, std::uint32_t needed) {
  v1::StatusResponse status;
  status.set_sealed(true);
  status.set_shares_given(given);
  status.set_shares_needed(needed);
  return Gives(status);
}

Answer Took(std::uint32_t given, std::uint32_t needed) {
  v1::UnsealResponse response;
  response.set_open(given == needed);
  response.set_shares_given(given);
  response.set_shares_needed(needed);
  return Gives(response);
}

class OperationsTest : public CommandLineTest {
 protected:
  template <class Request>
  std::vector<Request> Sent(const std::string& method) const {
    std::vector<Request> requests;
    for (const std::string& text : fake_.Requests("Operations/" + method)) {
      EXPECT_TRUE(requests.emplace_back().ParseFromString(text));
    }
    return requests;
  }
  /// The secrets that `unseal` has sent, in order.
  std::vector<std::string> Given() const {
    std::vector<std::string> texts;
    for (const auto& request : Sent<v1::UnsealRequest>("Unseal")) texts.push_back(request.text());
    return texts;
  }
  void SetSlot(const std::string& method, const v1::AddSlotResponse& response) {
    fake_.Set("Operations/" + method, Gives(response));
  }
};

v1::AddSlotResponse KeyFileSlot() {
  v1::AddSlotResponse response;
  response.mutable_slot()->set_id(7);
  response.mutable_slot()->set_kind("key_file");
  response.mutable_slot()->set_label("unattended");
  response.add_texts("line:" + std::string(kCanary));
  return response;
}

v1::AddSlotResponse SharesSlot() {
  v1::AddSlotResponse response;
  response.mutable_slot()->set_id(8);
  response.mutable_slot()->set_kind("shares");
  response.mutable_slot()->set_label("board");
  response.mutable_slot()->set_threshold(2);
  response.mutable_slot()->set_total(3);
  for (int share = 1; share <= 3; ++share) {
    response.add_texts(std::string(kCanary) + "-" + std::to_string(share));
  }
  return response;
}

v1::AddSlotResponse PassphraseSlot() {
  v1::AddSlotResponse response;
  response.mutable_slot()->set_id(9);
  response.mutable_slot()->set_kind("passphrase");
  response.mutable_slot()->set_label("alone");
  return response;
}

// ---- unseal -------------------------------------------------------------------------------------

TEST_F(OperationsTest, Unseal_AtAPromptGoesOnAfterAWrongShareAndShowsNoSecret) {
  fake_.SetInTurn("Operations/Status", {SealedWith(0, 0), SealedWith(1, 2)});
  fake_.SetInTurn("Operations/Unseal", {Took(1, 2), Fails(Code::kDenied, "share 9 is not of it"),
                                        Took(2, 2)});
  const std::string canary(kCanary);
  Terminal terminal(AtTerminal("unseal"));
  ASSERT_TRUE(terminal.Shows(kQuestion)) << terminal.Seen();
  EXPECT_FALSE(terminal.Echoes());
  terminal.Type(canary + "1\n");
  ASSERT_TRUE(terminal.Shows("1 of 2 shares given")) << terminal.Seen();
  ASSERT_TRUE(terminal.Shows(kQuestion)) << terminal.Seen();
  terminal.Type(canary + "9\n");
  ASSERT_TRUE(terminal.Shows("oauthvault: share 9 is not of it")) << terminal.Seen();
  ASSERT_TRUE(terminal.Shows("1 of 2 shares given")) << terminal.Seen();
  ASSERT_TRUE(terminal.Shows(kQuestion)) << terminal.Seen();
  terminal.Type(canary + "2\n");
  EXPECT_EQ(terminal.Wait(), 0);
  EXPECT_TRUE(terminal.Seen().ends_with("the vault is open\r\n")) << terminal.Seen();
  EXPECT_EQ(terminal.Seen().find(canary), std::string::npos) << terminal.Seen();
  EXPECT_EQ(Given(), (std::vector{canary + "1", canary + "9", canary + "2"}));
}

TEST_F(OperationsTest, Unseal_TakesLinesThatArePastedAtOnceAndShowsNone) {
  fake_.Set("Operations/Status", SealedWith(0, 0));
  // Slow enough that the second line is there before the daemon has answered to the first.
  Answer first = Took(1, 2);
  first.delay = std::chrono::milliseconds(200);
  fake_.SetInTurn("Operations/Unseal", {first, Took(2, 2)});
  const std::string canary(kCanary);
  Terminal terminal(AtTerminal("unseal"));
  ASSERT_TRUE(terminal.Shows(kQuestion)) << terminal.Seen();
  terminal.Type(canary + "1\n" + canary + "2\n" + canary + "3\n");
  EXPECT_EQ(terminal.Wait(), 0);
  EXPECT_EQ(terminal.Seen().find(canary), std::string::npos) << terminal.Seen();
  EXPECT_EQ(Given(), (std::vector{canary + "1", canary + "2"}));
}

TEST_F(OperationsTest, Unseal_ThatIsInterruptedTurnsEchoOnAgain) {
  fake_.Set("Operations/Status", SealedWith(0, 0));
  // A shell that outlives the program, and with it the terminal.
  Terminal shell("cd " + (folder_ / "").string() + " && trap : INT && OAUTHVAULT_SOCKET=v.sock " +
                 OAUTHVAULT_BIN_DIR "/oauthvault unseal; echo ended with $?; cat");
  ASSERT_TRUE(shell.Shows(kQuestion)) << shell.Seen();
  ASSERT_FALSE(shell.Echoes());
  shell.Type("\x03");
  EXPECT_TRUE(shell.Shows("ended with 130")) << shell.Seen();
  EXPECT_TRUE(shell.Echoes());
  EXPECT_TRUE(Given().empty());
}

TEST_F(OperationsTest, Unseal_AtAPromptEndsWithTheInput) {
  fake_.Set("Operations/Status", SealedWith(0, 0));
  fake_.Set("Operations/Unseal", Took(1, 3));
  Terminal terminal(AtTerminal("unseal --file -"));
  ASSERT_TRUE(terminal.Shows(kQuestion)) << terminal.Seen();
  terminal.Type("\nshare\n");  // an empty line is no secret
  ASSERT_TRUE(terminal.Shows("1 of 3 shares given")) << terminal.Seen();
  ASSERT_TRUE(terminal.Shows(kQuestion)) << terminal.Seen();
  terminal.Type("\x04");
  EXPECT_EQ(terminal.Wait(), 1);
  EXPECT_TRUE(terminal.Seen().ends_with(
      "oauthvault: the vault is still sealed: 1 of 3 shares given, missing: 2\r\n"))
      << terminal.Seen();
  EXPECT_EQ(Given(), std::vector<std::string>{"share"});
}

TEST_F(OperationsTest, Unseal_TakesOneSecretALineFromStandardInputOrAFile) {
  const std::string canary(kCanary);
  const std::string lines = canary + "1\n\n" + canary + " 2\r\n" + canary + "3\nnot read\n";
  WriteText(folder_ / "shares", lines);
  for (const std::string& command : {std::string("unseal"), std::string("unseal --file -"),
                                     std::string("unseal --file shares --json")}) {
    fake_.Set("Operations/Status", SealedWith(0, 0));
    fake_.SetInTurn("Operations/Unseal", {Took(1, 3), Took(2, 3), Took(3, 3)});
    const std::size_t before = Given().size();
    const Ran ran = Run(command, command.ends_with("json") ? "" : lines);
    EXPECT_EQ(ran.exit, 0) << ran.err;
    const bool json = command.ends_with("json");
    EXPECT_EQ(ran.out, json ? "{\"open\":true,\"shares_given\":3,\"shares_needed\":3}\n"
                            : "the vault is open\n");
    EXPECT_EQ(ran.err, json ? "" : "1 of 3 shares given\n2 of 3 shares given\n");
    auto given = Given();
    given.erase(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(before));
    EXPECT_EQ(given, (std::vector{canary + "1", canary + " 2", canary + "3"}));
  }
}

TEST_F(OperationsTest, Unseal_ThatEndsSealedIsAUserErrorThatSaysWhatIsMissing) {
  fake_.SetInTurn("Operations/Status", {SealedWith(0, 0), SealedWith(1, 3)});
  fake_.SetInTurn("Operations/Unseal",
                  {Took(1, 3), Fails(Code::kInvalid, "share 2 is damaged"), Took(2, 3)});
  const Ran ran = Run("unseal", "one\ntwo\nthree");
  EXPECT_EQ(ran.exit, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err,
            "1 of 3 shares given\noauthvault: share 2 is damaged\n1 of 3 shares given\n"
            "2 of 3 shares given\n"
            "oauthvault: the vault is still sealed: 2 of 3 shares given, missing: 1\n");
  EXPECT_EQ(Given(), (std::vector<std::string>{"one", "two", "three"}));
  // Two of two, and they do not fit together.
  fake_.SetInTurn("Operations/Status", {SealedWith(1, 2), SealedWith(2, 2)});
  fake_.Set("Operations/Unseal", Fails(Code::kDenied, "the shares do not fit together"));
  const Ran wrong = Run("unseal", "two");
  EXPECT_EQ(wrong.exit, 1);
  EXPECT_NE(wrong.err.find("one of them is wrong"), std::string::npos) << wrong.err;
  fake_.Set("Operations/Status", SealedWith(0, 0));
  const Ran none = Run("unseal --json", "");
  EXPECT_EQ(none.exit, 1);
  EXPECT_TRUE(none.err.starts_with(R"({"error":{"code":"INVALID","message":"the vault is still)"))
      << none.err;
}

TEST_F(OperationsTest, Unseal_TellsLinesThatAreNoSecretsAndGoesOn) {
  fake_.Set("Operations/Status", SealedWith(0, 0));
  fake_.Set("Operations/Unseal", Took(1, 1));
  const std::string canary(kCanary);
  const Ran told = Run("unseal", canary + "\xFF\n" + canary + "\x1b[A\n" +
                                     std::string(4097, 'a') + "\n" + std::string(4096, 'b') + "\n");
  EXPECT_EQ(told.exit, 0) << told.err;
  EXPECT_EQ(Given(), std::vector<std::string>{std::string(4096, 'b')});
  EXPECT_EQ(told.err.find(canary), std::string::npos) << told.err;
  EXPECT_NE(told.err.find("4096 bytes"), std::string::npos) << told.err;
  // Nothing can be told apart after a line that does not end.
  const Ran endless = Run("unseal", std::string(9000, 'a') + "\nshare\n");
  EXPECT_EQ(endless.exit, 1);
  EXPECT_NE(endless.err.find("a line without an end"), std::string::npos) << endless.err;
  EXPECT_EQ(Given().size(), 1U);
  EXPECT_EQ(Run("unseal --file missing").exit, 1);
  EXPECT_EQ(Run("unseal --file .").exit, 1);
  EXPECT_EQ(Run("unseal " + canary).err.find(canary), std::string::npos);
}

TEST_F(OperationsTest, Unseal_EndsAtAnAnswerThatIsNotAboutTheSecret) {
  fake_.Set("Operations/Status", SealedWith(0, 0));
  for (const Code code : {Code::kCorrupt, Code::kUnavailable, Code::kExhausted}) {
    fake_.Set("Operations/Unseal", Fails(code, "words"));
    const std::size_t before = Given().size();
    const Ran ran = Run("unseal", "one\ntwo\n");
    EXPECT_EQ(ran.exit, 2) << NameOf(code);
    EXPECT_EQ(ran.err, "oauthvault: words\n");
    EXPECT_EQ(Given().size(), before + 1);
  }
}

TEST_F(OperationsTest, Unseal_OfAnOpenVaultSendsNoSecret) {
  v1::StatusResponse open;
  fake_.Set("Operations/Status", Gives(open));
  const Ran ran = Run("unseal --json", "secret\n");
  EXPECT_EQ(ran.exit, 1);
  EXPECT_TRUE(ran.err.starts_with("{\"error\":{\"code\":\"CONFLICT\"")) << ran.err;
  EXPECT_TRUE(Given().empty());
  // Somebody else has opened it meanwhile: said so, and no more is sent.
  fake_.SetInTurn("Operations/Status", {SealedWith(0, 0), Gives(open)});
  fake_.Set("Operations/Unseal", Fails(Code::kConflict, "it is open"));
  EXPECT_EQ(Run("unseal", "one\ntwo\n").exit, 1);
  EXPECT_EQ(Given().size(), 1U);
}

TEST_F(OperationsTest, Unseal_NeverGoesOverANetwork) {
  const Ran ran = Run("unseal --address localhost:1 --ca ca.pem --json", "secret\n", "NOTHING=1");
  EXPECT_EQ(ran.exit, 1);
  EXPECT_TRUE(ran.err.starts_with("{\"error\":{\"code\":\"DENIED\"")) << ran.err;
}

TEST_F(OperationsTest, Unseal_StopsAfterAHundredSecrets) {
  fake_.Set("Operations/Status", SealedWith(0, 0));
  fake_.Set("Operations/Unseal", Fails(Code::kDenied, "opens nothing"));
  std::string lines;
  for (int line = 0; line < 150; ++line) lines += "no\n";
  EXPECT_EQ(Run("unseal", lines).exit, 1);
  EXPECT_EQ(Given().size(), 100U);
}

TEST_F(OperationsTest, Seal_IsOneCall) {
  fake_.Set("Operations/Seal", {.messages = {""}});
  EXPECT_EQ(Run("seal").out, "the vault is sealed\n");
  EXPECT_EQ(Run("seal --json").out, "{}\n");
  EXPECT_EQ(fake_.Requests("Operations/Seal").size(), 2U);
}

// ---- slots --------------------------------------------------------------------------------------

TEST_F(OperationsTest, SlotList_ShowsHowEachOpens) {
  v1::ListSlotsResponse slots;
  *slots.add_slots() = KeyFileSlot().slot();
  *slots.add_slots() = SharesSlot().slot();
  fake_.Set("Operations/ListSlots", Gives(slots));
  EXPECT_EQ(Run("slot list").out,
            "ID  KIND      LABEL       OPENS WITH\n"
            "7   key_file  unattended  -\n"
            "8   shares    board       2 of 3 shares\n");
  EXPECT_EQ(Run("slot list --json").out,
            R"([{"id":7,"kind":"key_file","label":"unattended","threshold":0,"total":0},)"
            R"({"id":8,"kind":"shares","label":"board","threshold":2,"total":3}])"
            "\n");
}

TEST_F(OperationsTest, SlotAdd_PutsAKeyFilesLineIntoANewPrivateFileAndNowhereElse) {
  SetSlot("AddSlot", KeyFileSlot());
  const std::string add = "slot add --kind key_file --label unattended --out ";
  const Ran added = Run(add + "key");
  ASSERT_EQ(added.exit, 0) << added.err;
  EXPECT_EQ(added.out, "id: 7\nkind: key_file\nlabel: unattended\nfile: key\n");
  EXPECT_EQ(ReadText(folder_ / "key"), "line:" + std::string(kCanary) + "\n");
  EXPECT_EQ(ModeOf(folder_ / "key"), 0600U);
  const Ran json = Run(add + "other --json");
  EXPECT_EQ(json.out,
            R"({"slot":{"id":7,"kind":"key_file","label":"unattended","threshold":0,"total":0},)"
            R"("files":["other"]})"
            "\n");
  EXPECT_EQ((added.err + json.err), "");
  const auto sent = Sent<v1::AddSlotRequest>("AddSlot");
  EXPECT_EQ(sent.back().kind(), "key_file");
  EXPECT_EQ(sent.back().label(), "unattended");
}

TEST_F(OperationsTest, SlotAdd_AsksForNoKeyFileThatItCannotKeep) {
  SetSlot("AddSlot", KeyFileSlot());
  WriteText(folder_ / "there", "old");
  std::filesystem::create_symlink("nowhere", folder_ / "link");
  std::filesystem::create_directory(folder_ / "folder");
  const std::string add = "slot add --kind key_file --label unattended";
  for (const char* out : {"", " --out there", " --out link", " --out folder", " --out folder/",
                          " --out missing/key", " --out there/key"}) {
    const Ran refused = Run(add + out);
    EXPECT_EQ(refused.exit, 1) << out << refused.err;
    EXPECT_EQ(refused.out, "") << out;
  }
  EXPECT_EQ(ReadText(folder_ / "there"), "old");
  EXPECT_TRUE(fake_.Requests("Operations/AddSlot").empty());
  // The daemon refuses: no file is left.
  fake_.Set("Operations/AddSlot", Fails(Code::kExhausted, "too many slots"));
  EXPECT_EQ(Run(add + " --out key").exit, 2);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "key"));
}

TEST_F(OperationsTest, SlotAdd_PrintsSharesOnceOrWritesEachToAFile) {
  SetSlot("AddSlot", SharesSlot());
  const std::string add = "slot add --kind shares --label board --threshold 2 --total 3";
  const std::string canary(kCanary);
  const Ran printed = Run(add);
  EXPECT_EQ(printed.out,
            "id: 8\nkind: shares\nlabel: board\nthreshold: 2\ntotal: 3\nshare 1: " + canary +
                "-1\nshare 2: " + canary + "-2\nshare 3: " + canary + "-3\n");
  EXPECT_EQ(printed.err, "These shares are shown this once. Give each to another person.\n");
  const std::string slot =
      R"({"slot":{"id":8,"kind":"shares","label":"board","threshold":2,"total":3},)";
  EXPECT_EQ(Run(add + " --json").out, slot + "\"texts\":[\"" + canary + "-1\",\"" + canary +
                                          "-2\",\"" + canary + "-3\"]}\n");
  const auto sent = Sent<v1::AddSlotRequest>("AddSlot");
  EXPECT_EQ(sent.back().threshold(), 2U);
  EXPECT_EQ(sent.back().total(), 3U);

  const Ran written = Run(add + " --out shares --json");
  EXPECT_EQ(written.out,
            slot + R"("files":["shares/share-1","shares/share-2","shares/share-3"]})" + "\n");
  EXPECT_EQ(written.err, "");
  EXPECT_EQ(ModeOf(folder_ / "shares"), 0700U);
  for (int share = 1; share <= 3; ++share) {
    const auto file = folder_ / "shares" / ("share-" + std::to_string(share));
    EXPECT_EQ(ReadText(file), canary + "-" + std::to_string(share) + "\n");
    EXPECT_EQ(ModeOf(file), 0600U);
  }
  // The folder is new, and gone again when the daemon refuses.
  const std::size_t calls = fake_.Requests("Operations/AddSlot").size();
  EXPECT_EQ(Run(add + " --out shares").exit, 1);
  EXPECT_EQ(fake_.Requests("Operations/AddSlot").size(), calls);
  fake_.Set("Operations/AddSlot", Fails(Code::kInvalid, "no"));
  EXPECT_EQ(Run(add + " --out more").exit, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "more"));
}

TEST_F(OperationsTest, SlotAdd_WhoseSecretIsNotHandedOverSaysHowToMakeAnother) {
  const std::string reissue = "oauthvault slot reissue 8";
  v1::AddSlotResponse response = SharesSlot();
  response.mutable_texts()->RemoveLast();
  SetSlot("AddSlot", response);
  const std::string add = "slot add --kind shares --label board --threshold 2 --total 3";
  const Ran fewer = Run(add + " --out shares");
  EXPECT_EQ(fewer.exit, 2);
  EXPECT_NE(fewer.err.find(reissue), std::string::npos) << fewer.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "shares"));
  EXPECT_EQ((fewer.out + fewer.err).find(kCanary), std::string::npos);
  // Standard output is full.
  SetSlot("AddSlot", SharesSlot());
  const std::string line = "cd " + (folder_ / "").string() + " && exec " OAUTHVAULT_BIN_DIR
                           "/oauthvault --socket v.sock " + add + " >/dev/full 2>err";
  const int status = std::system(line.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_NE(ReadText(folder_ / "err").find(reissue), std::string::npos);
  EXPECT_EQ(ReadText(folder_ / "err").find(kCanary), std::string::npos);
}

TEST_F(OperationsTest, SlotAdd_RefusesOptionsOfAnotherKind) {
  for (const char* options :
       {"--kind shares", "--kind shares --threshold 2", "--kind shares --threshold 2 --total 17",
        "--kind shares --threshold 1 --total 3", "--kind key_file --out key --total 3",
        "--kind shares --threshold 2 --total 3 --passphrase-file in",
        "--kind passphrase --passphrase-file in --out key", "--kind other"}) {
    EXPECT_EQ(Run("slot add --label l " + std::string(options), "a passphrase of mine").exit, 1)
        << options;
  }
  EXPECT_TRUE(fake_.Requests("Operations/AddSlot").empty());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "key"));
}

TEST_F(OperationsTest, SlotAdd_TakesAPassphraseTwiceAtAPromptAndTheTwoMustMatch) {
  SetSlot("AddSlot", PassphraseSlot());
  const std::string canary(kCanary);
  const std::string add = "slot add --kind passphrase --label alone";
  {
    Terminal terminal(AtTerminal(add));
    ASSERT_TRUE(terminal.Shows("new passphrase: ")) << terminal.Seen();
    EXPECT_FALSE(terminal.Echoes());
    terminal.Type(canary + "\n");
    ASSERT_TRUE(terminal.Shows("the same once more: ")) << terminal.Seen();
    EXPECT_FALSE(terminal.Echoes());
    terminal.Type(canary + "x\n");
    EXPECT_EQ(terminal.Wait(), 1);
    EXPECT_NE(terminal.Seen().find("the two passphrases differ"), std::string::npos);
    EXPECT_EQ(terminal.Seen().find(canary), std::string::npos);
    EXPECT_TRUE(fake_.Requests("Operations/AddSlot").empty());
  }
  Terminal terminal(AtTerminal(add));
  ASSERT_TRUE(terminal.Shows("new passphrase: ")) << terminal.Seen();
  terminal.Type(canary + "\n");
  ASSERT_TRUE(terminal.Shows("the same once more: ")) << terminal.Seen();
  terminal.Type(canary + "\n");
  EXPECT_EQ(terminal.Wait(), 0);
  EXPECT_EQ(terminal.Seen().find(canary), std::string::npos);
  EXPECT_EQ(Sent<v1::AddSlotRequest>("AddSlot").back().passphrase(), canary);
}

TEST_F(OperationsTest, SlotAdd_TakesAPassphraseOnceFromAFileOrStandardInput) {
  SetSlot("AddSlot", PassphraseSlot());
  const std::string add = "slot add --kind passphrase --label alone --json --passphrase-file ";
  const Ran added = Run(add + "-", std::string(kCanary) + "\n");
  EXPECT_EQ(added.exit, 0) << added.err;
  EXPECT_EQ(added.out,
            R"({"slot":{"id":9,"kind":"passphrase","label":"alone","threshold":0,"total":0},)"
            R"("texts":[]})"
            "\n");
  EXPECT_EQ(Sent<v1::AddSlotRequest>("AddSlot").back().passphrase(), kCanary);
  EXPECT_EQ(Run(add + "in", std::string(1024, 'p') + "\r\n").exit, 0);
  EXPECT_EQ(Sent<v1::AddSlotRequest>("AddSlot").back().passphrase().size(), 1024U);
  for (const std::string& wrong : {std::string("eleven byte"), std::string(1025, 'p'),
                                   std::string(2000, 'p'), std::string("two lines\nof secret"),
                                   std::string()}) {
    EXPECT_EQ(Run(add + "in", wrong).exit, 1) << wrong.size();
  }
  EXPECT_EQ(Run("slot add --kind passphrase --label alone", std::string(kCanary)).exit, 1);
  EXPECT_EQ(fake_.Requests("Operations/AddSlot").size(), 2U);
}

TEST_F(OperationsTest, SlotReissue_KnowsTheKindFromTheVault) {
  v1::ListSlotsResponse slots;
  *slots.add_slots() = KeyFileSlot().slot();
  *slots.add_slots() = SharesSlot().slot();
  *slots.add_slots() = PassphraseSlot().slot();
  fake_.Set("Operations/ListSlots", Gives(slots));
  SetSlot("ReissueSlot", KeyFileSlot());
  const Ran unknown = Run("slot reissue 5 --json");
  EXPECT_EQ(unknown.exit, 1);
  EXPECT_TRUE(unknown.err.starts_with("{\"error\":{\"code\":\"NOT_FOUND\"")) << unknown.err;
  EXPECT_EQ(Run("slot reissue 7").exit, 1);  // a key file without a place
  EXPECT_TRUE(fake_.Requests("Operations/ReissueSlot").empty());
  EXPECT_EQ(Run("slot reissue 7 --out key").exit, 0);
  EXPECT_EQ(ReadText(folder_ / "key"), "line:" + std::string(kCanary) + "\n");
  EXPECT_EQ(Sent<v1::ReissueSlotRequest>("ReissueSlot").back().id(), 7U);
  SetSlot("ReissueSlot", SharesSlot());
  EXPECT_NE(Run("slot reissue 8").out.find("share 3: " + std::string(kCanary) + "-3\n"),
            std::string::npos);
  SetSlot("ReissueSlot", PassphraseSlot());
  EXPECT_EQ(Run("slot reissue 9 --passphrase-file -", std::string(kCanary)).exit, 0);
  EXPECT_EQ(Sent<v1::ReissueSlotRequest>("ReissueSlot").back().passphrase(), kCanary);
}

TEST_F(OperationsTest, SlotRemove_NamesTheSlot) {
  fake_.Set("Operations/RemoveSlot", {.messages = {""}});
  EXPECT_EQ(Run("slot remove 7").out, "removed slot 7\n");
  EXPECT_EQ(Sent<v1::RemoveSlotRequest>("RemoveSlot").back().id(), 7U);
  fake_.Set("Operations/RemoveSlot", Fails(Code::kConflict, "it is the last one"));
  EXPECT_EQ(Run("slot remove 7").exit, 1);
  EXPECT_EQ(Run("slot remove seven").exit, 1);
}

// ---- keys ---------------------------------------------------------------------------------------

TEST_F(OperationsTest, KeysRotate_TakesExactlyOneOwner) {
  v1::RotateKeysResponse response;
  response.set_version(4);
  fake_.Set("Operations/RotateKeys", Gives(response));
  for (const char* owners : {"", " --root --vault", " --project 1 --component c",
                             " --project ''"}) {
    EXPECT_EQ(Run("keys rotate" + std::string(owners)).exit, 1) << owners;
  }
  EXPECT_TRUE(fake_.Requests("Operations/RotateKeys").empty());
  const auto last = [&] { return Sent<v1::RotateKeysRequest>("RotateKeys").back(); };
  EXPECT_EQ(Run("keys rotate --root").out, "the root has a new key, epoch 4\n");
  EXPECT_TRUE(last().root());
  EXPECT_EQ(Run("keys rotate --vault").out, "the vault has a new key, version 4\n");
  EXPECT_TRUE(last().vault());
  EXPECT_EQ(Run("keys rotate --project 123").out, "project 123 has a new key, version 4\n");
  EXPECT_EQ(last().project(), "123");
  EXPECT_EQ(Run("keys rotate --component c --json").out, "{\"version\":4}\n");
  EXPECT_EQ(last().component(), "c");
}

TEST_F(OperationsTest, KeysRewrapAndStatus_ShowWhatIsUnderWay) {
  fake_.Set("Operations/Rewrap", {.messages = {""}});
  EXPECT_EQ(Run("keys rewrap").out, "every row is under its owner's newest key\n");
  v1::RewrapResponse begun;
  begun.set_owners(2);
  fake_.Set("Operations/Rewrap", Gives(begun));
  EXPECT_TRUE(Run("keys rewrap").out.starts_with("owners with rows to rewrap: 2\n"));
  EXPECT_EQ(Run("keys rewrap --json").out, "{\"owners\":2}\n");

  v1::KeysStatusResponse status;
  status.set_root_epoch(2);
  status.set_slots(3);
  status.set_projects(4);
  status.set_components(5);
  status.set_keys(6);
  fake_.Set("Operations/KeysStatus", Gives(status));
  const std::string numbers = "root epoch: 2\nslots: 3\nprojects: 4\ncomponents: 5\nkeys: 6\n";
  EXPECT_EQ(Run("keys status").out, numbers + "rewrapping: -\n");
  v1::Rewrapping& rewrapping = *status.add_rewrapping();
  rewrapping.set_owner("project 123");
  rewrapping.set_version(2);
  rewrapping.set_looked_at(1000);
  rewrapping.set_rewrapped(40);
  rewrapping.set_started_at_s(1'454'199'210);
  fake_.Set("Operations/KeysStatus", Gives(status));
  EXPECT_EQ(Run("keys status").out,
            numbers + "\nOWNER        VERSION  LOOKED AT  REWRAPPED  STARTED AT\n"
                      "project 123  2        1000       40         2016-01-31 00:13:30Z\n");
  EXPECT_NE(Run("keys status --json").out.find(R"("rewrapping":[{"owner":"project 123",)"),
            std::string::npos);
}

// ---- backups and checks -------------------------------------------------------------------------

v1::BackupInfo SampleBackup() {
  v1::BackupInfo backup;
  backup.set_folder("/var/backups/monday");
  backup.set_at_s(1'454'199'210);
  backup.set_generation(12);
  backup.set_rows(3);
  backup.set_size_bytes(1'572'864);
  return backup;
}

TEST_F(OperationsTest, Backup_IsGivenMinutesAndAnAbsoluteFolder) {
  fake_.Set("Operations/Backup", Gives(SampleBackup()));
  EXPECT_EQ(Run("backup monday").exit, 1);
  EXPECT_TRUE(fake_.Requests("Operations/Backup").empty());
  EXPECT_EQ(Run("backup /var/backups/monday").out,
            "folder: /var/backups/monday\nat: 2016-01-31 00:13:30Z\nrestore epoch: 0\n"
            "generation: 12\nrows: 3\nsize: 1.5 MiB\n");
  EXPECT_NEAR(static_cast<double>(fake_.LastTimeout().count()), 1800, 60);
  EXPECT_EQ(Sent<v1::BackupRequest>("Backup").back().folder(), "/var/backups/monday");
  EXPECT_EQ(Run("backup /var/backups/monday --timeout 300").exit, 0);
  EXPECT_NEAR(static_cast<double>(fake_.LastTimeout().count()), 300, 60);

  v1::ListBackupsResponse backups;
  *backups.add_backups() = SampleBackup();
  fake_.Set("Operations/ListBackups", Gives(backups));
  EXPECT_EQ(Run("backups").out,
            "FOLDER               AT                    RESTORE EPOCH  GENERATION  ROWS  SIZE\n"
            "/var/backups/monday  2016-01-31 00:13:30Z  0              12          3     1.5 "
            "MiB\n");
  EXPECT_LE(fake_.LastTimeout().count(), 30);
  EXPECT_EQ(Run("backups --json").out,
            R"([{"folder":"/var/backups/monday","at_s":1454199210,"restore_epoch":0,)"
            R"("generation":12,"rows":3,"size_bytes":1572864}])"
            "\n");
}

TEST_F(OperationsTest, Backups_AreFetchedWholeAndListedOldestFirst) {
  const auto page = [](std::vector<std::int64_t> times, const std::string& next_page) {
    v1::ListBackupsResponse backups;
    for (const std::int64_t at_s : times) {
      v1::BackupInfo& backup = *backups.add_backups();
      backup = SampleBackup();
      backup.set_at_s(at_s);
    }
    backups.set_next_page_token(next_page);
    return Gives(backups);
  };
  fake_.SetInTurn("Operations/ListBackups", {page({30, 10}, "more"), page({40, 20}, "")});
  const Ran ran = Run("backups --json");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  std::vector<std::int64_t> times;
  for (const auto& row : nlohmann::json::parse(ran.out, nullptr, false)) {
    times.push_back(row.value("at_s", std::int64_t{0}));
  }
  EXPECT_EQ(times, (std::vector<std::int64_t>{10, 20, 30, 40}));
  const auto sent = Sent<v1::ListBackupsRequest>("ListBackups");
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[1].page_token(), "more");
}

TEST_F(OperationsTest, Check_FailsWhenTheStoreIsDamagedAndListsWhatIsWrong) {
  v1::CheckResponse found;
  found.set_whole(true);
  found.set_rows(3);
  found.set_generation(12);
  fake_.Set("Operations/Check", Gives(found));
  const Ran whole = Run("check");
  EXPECT_EQ(whole.exit, 0);
  EXPECT_EQ(whole.out, "rows: 3\ngeneration: 12\nevery row opens, and the store is whole\n");
  EXPECT_NEAR(static_cast<double>(fake_.LastTimeout().count()), 1800, 60);
  found.set_whole(false);
  found.add_problems()->set_what("the summary does not agree");
  v1::CheckProblem& row = *found.add_problems();
  row.set_what("the row does not open");
  row.set_row_key("01ab");
  fake_.Set("Operations/Check", Gives(found));
  const Ran damaged = Run("check");
  EXPECT_EQ(damaged.exit, 2);
  EXPECT_EQ(damaged.out, "rows: 3\ngeneration: 12\nthe summary does not agree\n"
                         "row 01ab: the row does not open\n");
  EXPECT_EQ(damaged.err, "oauthvault: the store is damaged\n");
  const Ran json = Run("check --json");
  EXPECT_EQ(json.exit, 2);
  EXPECT_EQ(json.out, R"({"whole":false,"rows":3,"generation":12,"problems":[{"what":"the summary )"
                      R"(does not agree","row_key":""},{"what":"the row does not open",)"
                      R"("row_key":"01ab"}]})"
                      "\n");
  EXPECT_TRUE(json.err.starts_with("{\"error\":{\"code\":\"CORRUPT\"")) << json.err;
}

// ---- shredding ----------------------------------------------------------------------------------

v1::ShredProjectResponse Shredded() {
  v1::ShredProjectResponse response;
  response.set_keys(2);
  response.set_credentials(10);
  response.set_attempts(3);
  response.set_connections(1);
  response.set_grants(4);
  *response.add_open_backups() = SampleBackup();
  auto& connection = *response.add_live_connections();
  connection.set_account("main");
  connection.set_connection_id("5f2b8c0d1e3a4b5c6d7e8f90");
  connection.set_name("Acme Drive");
  return response;
}

TEST_F(OperationsTest, Shred_SaysWhatItDestroyedAndWhatItDidNot) {
  fake_.Set("Operations/ShredProject", Gives(Shredded()));
  const Ran ran = Run("project shred 123 --confirm 123");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  ExpectGolden("project_shred.txt", ran.out);
  ExpectGolden("project_shred.json", Run("project shred 123 --confirm 123 --json").out);
  const auto sent = Sent<v1::ShredProjectRequest>("ShredProject");
  EXPECT_EQ(sent.back().id(), "123");
  EXPECT_EQ(sent.back().confirm(), "123");
  EXPECT_NEAR(static_cast<double>(fake_.LastTimeout().count()), 1800, 60);
  fake_.Set("Operations/ShredProject", {.messages = {""}});
  const std::string nothing_left = Run("project shred 123 --confirm 123").out;
  EXPECT_NE(nothing_left.find("Backups are not touched, and no copy of them is. The vault knows of "
                              "none that still opens.\n"),
            std::string::npos)
      << nothing_left;
}

TEST_F(OperationsTest, Shred_SendsNothingWhenTheIdIsNotConfirmed) {
  fake_.Set("Operations/ShredProject", Gives(Shredded()));
  EXPECT_EQ(Run("project shred 123 --confirm 124").exit, 1);
  EXPECT_EQ(Run("project shred 123", "123\n").exit, 1);  // no terminal: --confirm is wanted
  for (const char* typed : {"124\n", "\n", "123 \n", "\x04"}) {
    Terminal terminal(AtTerminal("project shred 123"));
    ASSERT_TRUE(terminal.Shows("type the project's id once more: ")) << terminal.Seen();
    terminal.Type(typed);
    EXPECT_EQ(terminal.Wait(), 1);
    EXPECT_NE(terminal.Seen().find("nothing was destroyed"), std::string::npos) << terminal.Seen();
  }
  EXPECT_TRUE(fake_.Requests("Operations/ShredProject").empty());
  Terminal terminal(AtTerminal("project shred 123"));
  ASSERT_TRUE(terminal.Shows("destroys project 123 for ever")) << terminal.Seen();
  ASSERT_TRUE(terminal.Shows("once more: ")) << terminal.Seen();
  EXPECT_TRUE(terminal.Echoes());
  terminal.Type("123\n");
  EXPECT_EQ(terminal.Wait(), 0);
  EXPECT_EQ(fake_.Requests("Operations/ShredProject").size(), 1U);
}

}  // namespace
}  // namespace oauthvault::client
