#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "oauthvault/v1/accounts.pb.h"
#include "oauthvault/v1/attempts.pb.h"
#include "oauthvault/v1/audit.pb.h"
#include "oauthvault/v1/credentials.pb.h"
#include "oauthvault/v1/operations.pb.h"
#include "oauthvault/v1/registry.pb.h"
#include "oauthvault/v1/tokens.pb.h"
#include "oauthvault/v1/trust.pb.h"
#include "tests/client/command_line.h"
#include "tests/client/terminal.h"

namespace oauthvault::client {
namespace {

class CliTest : public CommandLineTest {
 protected:
  void SetReveal() {
    v1::RevealResponse response;
    response.set_id("main");
    response.set_authorized_for("Myself");
    response.mutable_creator()->set_id("local/admin");
    response.mutable_creator()->set_description("me");
    response.set_created("2016-01-31 00:13:30");
    response.set_data("{\"refresh_token\":\"" + std::string(kCanary) + "\"}");
    response.set_oauth_version("2.0");
    response.set_app_key("w51u7j30oghe412");
    response.set_app_secret("app secret");
    fake_.Set("Credentials/Reveal", {.messages = {response.SerializeAsString()}});
  }
};

constexpr const char* kPair = " --project 123 --component acme.ex-drive";

TEST_F(CliTest, Help_OfEveryVerbEndsWithAnExample) {
  const std::vector<std::string> verbs = {
      "status", "unseal", "seal", "slot list", "slot add", "slot reissue", "slot remove",
      "keys rotate", "keys rewrap", "keys status", "backup", "backups", "check", "project add",
      "project list", "project show", "project remove", "project shred", "component add",
      "component set", "component list", "component show", "component remove", "grant add",
      "grant list", "grant remove", "identity issue", "identity renew", "identity list",
      "identity revoke", "identity trust add", "identity trust list", "identity trust remove",
      "identity trust revoke", "identity trust revoked",
      "token issue", "token list", "token revoke", "explain",
      "credentials put", "credentials list", "credentials show", "credentials reveal",
      "credentials delete", "credentials versions", "credentials rollback", "credentials prune",
      "credentials watch",
      "inject", "encrypt", "run", "rivery account set", "rivery account show",
      "rivery account list", "rivery types", "rivery authorize", "connect", "connection list",
      "connection show", "connection update", "connection verify", "connection adopt",
      "connection delete", "rivery account check", "attempt list", "attempt show", "attempt link",
      "attempt resume", "attempt cancel", "audit show", "audit find",
      "audit verify", "audit checkpoint", "audit key", "audit export", "completion bash"};
  std::string all = RunAlone("--help").out;
  for (const std::string& verb : verbs) {
    const Ran help = RunAlone(verb + " --help");
    EXPECT_EQ(help.exit, 0) << verb;
    const std::size_t example = help.out.rfind("Example:\n  ");
    EXPECT_NE(example, std::string::npos) << verb;
    EXPECT_NE(help.out.find("oauthvault " + verb, example), std::string::npos) << verb;
    all += "==== " + verb + " --help\n" + help.out;
  }
  ExpectGolden("help.txt", all);
  // No verb is missing above: the completion script lists them all.
  const std::string script = RunAlone("completion bash").out;
  std::set<std::string> leaves;
  std::istringstream lines(script);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t end = line.find("') words='");
    if (end == std::string::npos) continue;
    const std::string words = line.substr(end + 10);
    if (words.starts_with("--") || words.starts_with("'")) {
      leaves.insert(line.substr(5, end - 5));
    }
  }
  EXPECT_EQ(leaves, std::set<std::string>(verbs.begin(), verbs.end()));
}

TEST_F(CliTest, Completion_OffersVerbsAndOptions) {
  WriteText(folder_ / "completion", RunAlone("completion bash").out);
  WriteText(folder_ / "try.sh",
            "source ./completion\n"
            "try() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _oauthvault; "
            "echo \"${COMPREPLY[*]}\"; }\n"
            "try oauthvault proj\ntry oauthvault project ''\n"
            "try oauthvault --json grant add --pri\n");
  const std::string line = "cd " + (folder_ / "").string() + " && bash try.sh >tried 2>&1";
  ASSERT_EQ(std::system(line.c_str()), 0);
  const std::string tried = ReadText(folder_ / "tried");
  EXPECT_TRUE(tried.starts_with("project\nadd list show remove")) << tried;
  EXPECT_TRUE(tried.ends_with("--principal\n")) << tried;
}

TEST_F(CliTest, Version_IsPrinted) {
  const Ran version = RunAlone("--version");
  EXPECT_EQ(version.exit, 0);
  EXPECT_TRUE(version.out.starts_with("oauthvault ")) << version.out;
}

TEST_F(CliTest, OneThing_IsPrintedForPeopleAndAsJson) {
  v1::StatusResponse status;
  status.set_version("0.1.0");
  status.set_principal("local/admin");
  status.set_trust_domain("vault.example");
  status.set_started_at_s(1'454'199'210);
  status.set_rows(3);
  status.set_vault_id("5f2b8c0d");
  status.set_generation(12);
  status.set_audit_sequence(34);
  status.set_store_used_bytes(13'000'000);
  status.set_store_create_limit_bytes(912'680'550);
  status.set_store_capacity_bytes(1'073'741'824);
  status.set_root_epoch(2);
  status.set_address("127.0.0.1:7443");
  status.set_restore_epoch(1);
  status.set_keys_locked(true);
  status.set_check("whole");
  status.set_checked_at_s(1'454'199'215);
  status.mutable_edge()->set_connections_open(3);
  status.mutable_edge()->set_connections_accepted(1200);
  status.mutable_edge()->set_refused_of_address(41);
  status.mutable_edge()->set_calls_under_way(2);
  status.mutable_edge()->set_calls_out_of_bounds(5);
  fake_.Set("Operations/Status", {.messages = {status.SerializeAsString()}});
  ExpectGolden("status.txt", Run("status").out);
  ExpectGolden("status.json", Run("status --json").out);
}

TEST_F(CliTest, Status_SaysWhatIsWrongAndLeavesOutWhatIsNotTold) {
  v1::StatusResponse status;
  status.set_version("0.1.0");
  status.set_principal("spiffe://vault.example/runner/x");
  status.set_trust_domain("vault.example");
  fake_.Set("Operations/Status", {.messages = {status.SerializeAsString()}});
  const std::string others =
      "principal: spiffe://vault.example/runner/x\ntrust domain: vault.example\n";
  EXPECT_EQ(Run("status").out, "version: 0.1.0\nsealed: no\n" + others);
  EXPECT_NE(Run("status --json").out.find("\"edge\":null"), std::string::npos);
  status.set_sealed(true);
  fake_.Set("Operations/Status", {.messages = {status.SerializeAsString()}});
  EXPECT_EQ(Run("status").out, "version: 0.1.0\nsealed: yes\n" + others);
  status.set_shares_given(1);
  status.set_shares_needed(3);
  status.set_started_at_s(1'454'199'210);
  fake_.Set("Operations/Status", {.messages = {status.SerializeAsString()}});
  const std::string sealed = Run("status").out;
  EXPECT_NE(sealed.find("sealed: yes, 1 of 3 shares given\n"), std::string::npos) << sealed;
  // What nobody knows of a sealed vault is not shown as nothing: no rows would be a lost store.
  for (const char* unknown : {"vault id", "store", "rows", "generation", "restore epoch",
                              "read only", "last check", "root epoch", "keys locked", "audit"}) {
    EXPECT_EQ(sealed.find(std::string("\n") + unknown), std::string::npos) << sealed;
  }
  const std::string for_programs = Run("status --json").out;
  for (const char* field : {"vault_id", "store_used_bytes", "rows", "generation", "check"}) {
    EXPECT_NE(for_programs.find("\"" + std::string(field) + "\":null"), std::string::npos)
        << for_programs;
  }
  EXPECT_NE(for_programs.find("\"shares_given\":1"), std::string::npos) << for_programs;
  EXPECT_NE(for_programs.find("\"started_at_s\":1454199210"), std::string::npos) << for_programs;
  status.set_sealed(false);
  status.set_read_only(true);
  status.set_store_used_bytes(900);
  status.set_store_create_limit_bytes(850);
  status.set_store_capacity_bytes(1000);
  status.set_check("running");
  fake_.Set("Operations/Status", {.messages = {status.SerializeAsString()}});
  const std::string troubled = Run("status").out;
  for (const char* line : {"store: 900 B of 850 B (105.9 %), capacity 1000 B; full: only deletes "
                           "are taken\n",
                           "read only: yes, after an I/O error", "last check: running\n",
                           "keys locked: no: they may be swapped out"}) {
    EXPECT_NE(troubled.find(line), std::string::npos) << troubled;
  }
}

TEST_F(CliTest, List_IsFetchedWholeAndPrintedForPeopleAndAsJson) {
  v1::ListGrantsResponse page;
  for (const char* principal : {"local/admin", "spiffe://vault.example/runner/x"}) {
    v1::Grant& grant = *page.add_grants();
    grant.set_principal(principal);
    grant.set_project("123");
    grant.set_component("*");
    grant.add_rights("reveal");
    grant.add_rights("store");
    grant.set_created_by("local/\x1B[31madmin");
  }
  fake_.Set("Registry/ListGrants", {.messages = {page.SerializeAsString()}});
  ExpectGolden("grant_list.txt", Run("grant list").out);
  ExpectGolden("grant_list.json", Run("--json grant list").out);
  // A list that goes on: the next page is asked for with the token of the one before.
  page.set_next_page_token("more");
  fake_.Set("Registry/ListGrants", {.messages = {page.SerializeAsString()}});
  EXPECT_EQ(Run("grant list").exit, 2);  // this fake's list never ends
  v1::ListGrantsRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Registry/ListGrants").back()));
  EXPECT_EQ(request.page_token(), "more");
  fake_.Set("Registry/ListGrants", {.messages = {""}});
  EXPECT_EQ(Run("grant list --json").out, "[]\n");
}

TEST_F(CliTest, Export_HasAsManyPagesAsTheTrailAndEndsWhereOneFollowsUponItself) {
  std::vector<Answer> pages;
  std::string all;
  for (int number = 1; number <= 3; ++number) {
    v1::ShowAuditResponse page;
    page.add_lines()->set_json("{\"seq\":" + std::to_string(number) + "}");
    all += page.lines(0).json() + '\n';
    if (number < 3) page.set_next_page_token(std::to_string(number));
    pages.push_back({.messages = {page.SerializeAsString()}});
  }
  fake_.SetInTurn("Audit/Show", pages);
  EXPECT_EQ(Run("audit export").out, all);
  fake_.SetInTurn("Audit/Show", {pages[0], pages[0]});
  const Ran endless = Run("audit export");
  EXPECT_EQ(endless.exit, 2);
  EXPECT_NE(endless.err.find("does not end"), std::string::npos) << endless.err;
  // Nobody reads on: no further page is asked for.
  const std::size_t asked = fake_.Requests("Audit/Show").size();
  fake_.SetInTurn("Audit/Show", pages);
  EXPECT_EQ(RunInto(">/dev/full", "audit export").exit, 1);
  EXPECT_EQ(fake_.Requests("Audit/Show").size(), asked + 1);
}

TEST_F(CliTest, ExitCodes_TellUserErrorsFromApplicationErrors) {
  const std::vector<std::pair<Code, int>> table = {
      {Code::kNotFound, 1}, {Code::kUnauthenticated, 1}, {Code::kDenied, 1},
      {Code::kInvalid, 1},  {Code::kConflict, 1},        {Code::kStale, 1},
      {Code::kCorrupt, 2},  {Code::kSealed, 2},          {Code::kUnavailable, 2},
      {Code::kExhausted, 2}};
  for (const auto& [code, exit] : table) {
    fake_.Set("Registry/GetProject", {.messages = {}, .code = code, .text = "words"});
    const Ran people = Run("project show 123");
    EXPECT_EQ(people.exit, exit) << NameOf(code);
    EXPECT_EQ(people.err, code == Code::kSealed
                              ? "oauthvault: words (on its host: oauthvault unseal)\n"
                              : "oauthvault: words\n");
    EXPECT_EQ(people.out, "");
    const Ran json = Run("project show 123 --json");
    EXPECT_EQ(json.exit, exit);
    EXPECT_EQ(json.err, "{\"error\":{\"code\":\"" + std::string(NameOf(code)) +
                            "\",\"message\":\"words\"}}\n");
  }
  fake_.Stop();
  EXPECT_EQ(Run("status").exit, 2);
}

TEST_F(CliTest, Usage_ErrorsAreUserErrorsThatEchoNoValue) {
  for (const std::string& command :
       {std::string(""), std::string("nothing"), std::string("project add"),
        std::string("credentials reveal main"), std::string("grant add --right read"),
        std::string("credentials put main --data ") + std::string(kCanary),
        std::string("status --token=") + std::string(kCanary),
        std::string("identity issue runner/x --out d --ttl soon")}) {
    const Ran ran = Run(command + " --json");
    EXPECT_EQ(ran.exit, 1) << command;
    EXPECT_TRUE(ran.err.starts_with("{\"error\":{\"code\":\"INVALID\"")) << ran.err;
    EXPECT_EQ((ran.out + ran.err).find(kCanary), std::string::npos) << ran.err;
  }
}

TEST_F(CliTest, Usage_ErrorsSayWhichCommandsThereAreAndWhoseHelpToRead) {
  for (const auto& [command, told] : std::vector<std::pair<std::string, std::string>>{
           {"", "a command is missing (see: oauthvault --help)"},
           {"frob", "no such command (see: oauthvault --help)"},
           {"project", "a command is missing: oauthvault project has add list show remove shred "
                       "(see: oauthvault project --help)"},
           {"project lst", "no such command: oauthvault project has add list show remove shred "
                           "(see: oauthvault project --help)"},
           {"rivery --frob account lst", "unknown option --frob (see: oauthvault rivery account "
                                         "--help)"},
           {"project show", "ID is required (see: oauthvault project show --help)"},
           {"project show 1 2", "there are more words than this command takes (see: oauthvault "
                                "project show --help)"}}) {
    const Ran ran = Run(command);
    EXPECT_EQ(ran.exit, 1) << command;
    EXPECT_NE(ran.err.find(told), std::string::npos) << command << ": " << ran.err;
  }
}

TEST_F(CliTest, Refusals_SayWhatToDoToPeopleAndNoMoreToPrograms) {
  const std::string words = "the caller may not do this";
  fake_.Set("Registry/GetProject", {.messages = {}, .code = Code::kDenied, .text = words});
  EXPECT_EQ(Run("project show 123").err,
            "oauthvault: " + words + " (an admin learns why: oauthvault explain)\n");
  EXPECT_EQ(Run("project show 123 --json").err,
            R"({"error":{"code":"DENIED","message":")" + words + "\"}}\n");
}

TEST_F(CliTest, WithoutAPlace_TheLocalAdminsSocketIsAsked) {
  const std::string socket = "/run/oauthvault/admin.sock";
  EXPECT_NE(ReadText(OAUTHVAULT_SOURCE_DIR "/deploy/oauthvaultd.toml")
                .find("socket = \"" + socket + "\""),
            std::string::npos);
  const Ran alone = RunAlone("status");
  // A vault that this machine has may answer.
  EXPECT_TRUE(alone.exit == 0 || alone.err.find("the socket " + socket) != std::string::npos)
      << alone.err;
  const Ran nobody = Run("status --socket nobody.sock");
  EXPECT_EQ(nobody.exit, 2);
  EXPECT_NE(nobody.err.find("(--socket, OAUTHVAULT_SOCKET)"), std::string::npos) << nobody.err;
  // Who brings an identity does not become the local admin.
  for (const Ran& named : {RunAlone("status --identity id"),
                           Run("status", "", "OAUTHVAULT_IDENTITY=id")}) {
    EXPECT_EQ(named.exit, 1);
    EXPECT_EQ(named.err, "oauthvault: say where the vault is: --address HOST:PORT "
                         "(OAUTHVAULT_ADDRESS) or --socket PATH (OAUTHVAULT_SOCKET)\n");
  }
}

TEST_F(CliTest, CommandLine_GoesBeforeTheEnvironment) {
  fake_.Set("Operations/Status", {.messages = {v1::StatusResponse().SerializeAsString()}});
  EXPECT_EQ(Run("status --socket " + (folder_ / "v.sock").string(), "",
                "OAUTHVAULT_ADDRESS=localhost:1 OAUTHVAULT_IDENTITY=nowhere")
                .exit,
            0);
}

TEST_F(CliTest, Component_LeavesUnsetWhatIsNotGiven) {
  fake_.Set("Registry/SetComponent", {.messages = {v1::Component().SerializeAsString()}});
  ASSERT_EQ(Run("component set c --title T --no-rotating --app-secret-file -", "secret\n").exit, 0);
  v1::SetComponentRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Registry/SetComponent").back()));
  EXPECT_EQ(request.id(), "c");
  EXPECT_EQ(request.title(), "T");
  EXPECT_EQ(request.app_secret(), "secret");
  EXPECT_TRUE(request.has_rotating());
  EXPECT_FALSE(request.rotating());
  EXPECT_FALSE(request.has_app_key());
  EXPECT_FALSE(request.has_token_url());
  EXPECT_FALSE(request.must_be_new());
  EXPECT_TRUE(request.must_exist());
  ASSERT_EQ(Run("component add c").exit, 0);
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Registry/SetComponent").back()));
  EXPECT_TRUE(request.must_be_new());
  EXPECT_FALSE(request.must_exist());
}

TEST_F(CliTest, Grant_CompletesAShortPrincipal) {
  v1::StatusResponse status;
  status.set_trust_domain("vault.example");
  fake_.Set("Operations/Status", {.messages = {status.SerializeAsString()}});
  fake_.Set("Registry/AddGrant", {.messages = {v1::Grant().SerializeAsString()}});
  ASSERT_EQ(Run("grant add --principal runner/x --right store,describe --right reveal" +
                std::string(kPair))
                .exit,
            0);
  v1::AddGrantRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Registry/AddGrant").back()));
  EXPECT_EQ(request.principal(), "spiffe://vault.example/runner/x");
  EXPECT_EQ(request.rights_size(), 3);
}

TEST_F(CliTest, Put_SendsTheFileByteForByteAndRefusesWhatIsNoData) {
  fake_.Set("Credentials/Store", {.messages = {v1::CredentialsInfo().SerializeAsString()}});
  const std::string data = std::string("{\"t\":\"") + std::string(kCanary) + "\"}\n\n";
  WriteText(folder_ / "data", data);
  const std::string put = "credentials put main" + std::string(kPair) + " --data-file ";
  const Ran stored = Run(put + "data");
  EXPECT_EQ(stored.exit, 0) << stored.err;
  v1::StoreRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Credentials/Store").back()));
  EXPECT_EQ(request.data(), data);
  EXPECT_EQ((stored.out + stored.err).find(kCanary), std::string::npos);

  WriteText(folder_ / "large", std::string(64 * 1024, 'a') + std::string(kCanary));
  WriteText(folder_ / "binary", std::string(kCanary) + "\xFF");
  WriteText(folder_ / "empty", "");
  for (const char* file : {"missing", "large", "binary", "empty", "."}) {
    const Ran refused = Run(put + file);
    EXPECT_EQ(refused.exit, 1) << file;
    EXPECT_NE(refused.err.find("--data-file"), std::string::npos) << refused.err;
    EXPECT_EQ((refused.out + refused.err).find(kCanary), std::string::npos) << refused.err;
  }
  EXPECT_EQ(Run("credentials put main" + std::string(kPair)).exit, 1);  // no terminal to ask
  EXPECT_EQ(fake_.Requests("Credentials/Store").size(), 1U);
  fake_.Set("Credentials/Store", {.messages = {}, .code = Code::kDenied, .text = "no"});
  const Ran denied = Run(put + "data --json");
  EXPECT_EQ(denied.exit, 1);
  EXPECT_EQ((denied.out + denied.err).find(kCanary), std::string::npos);
}

TEST_F(CliTest, Put_AtAPromptTakesALineThatATerminalHandsOverWholeAndNoLongerOne) {
  fake_.Set("Credentials/Store", {.messages = {v1::CredentialsInfo().SerializeAsString()}});
  const std::string put = "credentials put main" + std::string(kPair);
  const std::string canary(kCanary);
  // A longer line is cut by the terminal, and so is one that is ended by Ctrl-D.
  for (const std::string& typed :
       {canary + std::string(60'000, 'a') + '\n', std::string(4'095, 'a') + '\n',
        canary + "\x04"}) {
    Terminal terminal(AtTerminal(put));
    ASSERT_TRUE(terminal.Shows("data: ")) << terminal.Seen();
    EXPECT_FALSE(terminal.Echoes());
    terminal.Type(typed);
    EXPECT_EQ(terminal.Wait(), 1) << typed.size();
    EXPECT_NE(terminal.Seen().find("longer than a terminal takes"), std::string::npos)
        << terminal.Seen();
    EXPECT_NE(terminal.Seen().find("--data-file"), std::string::npos) << terminal.Seen();
    EXPECT_EQ(terminal.Seen().find(canary), std::string::npos) << terminal.Seen();
  }
  EXPECT_TRUE(fake_.Requests("Credentials/Store").empty());
  Terminal terminal(AtTerminal(put));
  ASSERT_TRUE(terminal.Shows("data: ")) << terminal.Seen();
  terminal.Type(std::string(4'094, 'a') + '\n');
  EXPECT_EQ(terminal.Wait(), 0) << terminal.Seen();
  v1::StoreRequest request;
  ASSERT_EQ(fake_.Requests("Credentials/Store").size(), 1U);
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Credentials/Store").back()));
  EXPECT_EQ(request.data(), std::string(4'094, 'a'));
}

TEST_F(CliTest, Reveal_PrintsTheEightKeysOrTheDataExactly) {
  SetReveal();
  const std::string reveal = "credentials reveal main" + std::string(kPair);
  ExpectGolden("credentials_reveal.json", Run(reveal).out);
  const std::string data = "{\"refresh_token\":\"" + std::string(kCanary) + "\"}";
  EXPECT_EQ(Run(reveal + " --field data").out, data);
  const Ran to_file = Run(reveal + " --field data --out token");
  EXPECT_EQ(to_file.exit, 0) << to_file.err;
  EXPECT_EQ(to_file.out, "");
  EXPECT_EQ(ReadText(folder_ / "token"), data);
  EXPECT_EQ(ModeOf(folder_ / "token"), 0600U);
  // Failing to write says nothing of the secret.
  for (const char* out : {"missing/token", "/dev/null", "."}) {
    const Ran refused = Run(reveal + " --out " + out);
    EXPECT_EQ(refused.exit, 1) << out;
    EXPECT_EQ((refused.out + refused.err).find(kCanary), std::string::npos);
  }
}

TEST_F(CliTest, Reveal_OfSeveral_PrintsALineForEachAndFailsWhereOneIsMissing) {
  SetReveal();
  v1::RevealManyResponse response;
  for (const char* id : {"main", "absent", "second"}) {
    v1::RevealedItem& item = *response.add_items();
    item.set_id(id);
    if (item.id() == "absent") {
      item.set_code("NOT_FOUND");
      continue;
    }
    v1::RevealResponse& credentials = *item.mutable_credentials();
    credentials.set_id(id);
    credentials.mutable_creator()->set_id("local/admin");
    credentials.set_created("2016-01-31 00:13:30");
    credentials.set_data("{\"refresh_token\":\"" + std::string(kCanary) + "\"}");
    credentials.set_oauth_version("2.0");
    credentials.set_app_key("w51u7j30oghe412");
    credentials.set_app_secret("app secret");
  }
  fake_.Set("Credentials/RevealMany", {.messages = {response.SerializeAsString()}});
  const std::string reveal = "credentials reveal main absent second" + std::string(kPair);
  const Ran partly = Run(reveal);
  EXPECT_EQ(partly.exit, 1);
  ExpectGolden("credentials_reveal_several.jsonl", partly.out);
  EXPECT_NE(partly.err.find("1 of 3 credentials"), std::string::npos) << partly.err;
  v1::RevealManyRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Credentials/RevealMany").back()));
  EXPECT_EQ(std::vector<std::string>(request.ids().begin(), request.ids().end()),
            (std::vector<std::string>{"main", "absent", "second"}));
  EXPECT_EQ(request.project(), "123");

  response.mutable_items()->DeleteSubrange(1, 1);
  fake_.Set("Credentials/RevealMany", {.messages = {response.SerializeAsString()}});
  const Ran to_file = Run("credentials reveal main second --out several" + std::string(kPair));
  EXPECT_EQ(to_file.exit, 0) << to_file.err;
  EXPECT_EQ(to_file.out, "");
  EXPECT_EQ(ModeOf(folder_ / "several"), 0600U);
  const Ran data = Run(reveal + " --field data");
  EXPECT_EQ(data.exit, 1);
  EXPECT_NE(data.err.find("--field data is for one ID"), std::string::npos) << data.err;
}

TEST_F(CliTest, Watch_PrintsALineForEachEventAndGoesOnWhereTheStreamEnded) {
  const auto standing = [](const char* id, std::uint64_t version) {
    v1::CredentialsEvent event;
    event.mutable_standing()->set_id(id);
    event.mutable_standing()->set_version(version);
    event.mutable_standing()->set_created("2016-01-31 00:13:30");
    return event.SerializeAsString();
  };
  v1::CredentialsEvent absent;
  absent.set_absent_id("gone");
  v1::CredentialsEvent caught_up;
  caught_up.set_caught_up(true);
  const std::vector<Answer> streams = {
      {.messages = {standing("main", 3), standing("old", 1), absent.SerializeAsString(),
                    caught_up.SerializeAsString(), standing("main", 4)},
       .code = Code::kUnavailable, .text = "the vault stops"},
      // What was said before is not said again, but for what is new and what is missing.
      {.messages = {standing("main", 5), caught_up.SerializeAsString()},
       .code = Code::kDenied, .text = "no longer"}};
  fake_.SetInTurn("Credentials/Watch", streams);
  const Ran people = Run("credentials watch" + std::string(kPair));
  EXPECT_EQ(people.exit, 1);
  EXPECT_NE(people.err.find("no longer"), std::string::npos) << people.err;
  ExpectGolden("credentials_watch.txt", people.out);
  fake_.SetInTurn("Credentials/Watch", streams);
  ExpectGolden("credentials_watch.jsonl",
               Run("credentials watch main gone --json" + std::string(kPair)).out);
  v1::WatchCredentialsRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Credentials/Watch").back()));
  EXPECT_EQ(request.ids_size(), 2);
}

TEST_F(CliTest, Watch_ThatNobodyAnswers_FailsAtOnce) {
  const Ran alone = Run("credentials watch" + std::string(kPair), "", "OAUTHVAULT_SOCKET=none");
  EXPECT_NE(alone.exit, 0);
  EXPECT_EQ(alone.out, "");
}

TEST_F(CliTest, Inject_CallsTheVaultOnlyWhenItMust) {
  const std::string inject = "inject config.json --out out.json" + std::string(kPair);
  WriteText(folder_ / "config.json", "{\"a\":1}");
  EXPECT_EQ(Run(inject, "", "NOTHING=1").exit, 0);
  EXPECT_EQ(ReadText(folder_ / "out.json"), "{\"a\":1,\"authorization\":{}}");
  EXPECT_EQ(ModeOf(folder_ / "out.json"), 0600U);

  v1::InjectResponse response;
  response.set_configuration("{\"filled\":\"" + std::string(kCanary) + "\"}");
  fake_.Set("Credentials/Inject", {.messages = {response.SerializeAsString()}});
  WriteText(folder_ / "config.json", R"({"authorization":{"oauth_api":{"id":"main"}}})");
  const Ran ran = Run(inject + " --drop-id");
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_EQ(ReadText(folder_ / "out.json"), response.configuration());
  EXPECT_EQ(ModeOf(folder_ / "out.json"), 0600U);
  EXPECT_EQ((ran.out + ran.err).find(kCanary), std::string::npos);
}

TEST_F(CliTest, Inject_SaysForWhatItOpens) {
  v1::InjectResponse response;
  response.set_configuration("{}");
  fake_.Set("Credentials/Inject", {.messages = {response.SerializeAsString()}});
  const std::string inject = "inject config.json --out out.json" + std::string(kPair);
  WriteText(folder_ / "config.json", R"({"#a":"KBC::ConfigSecure::x"})");
  // A sandbox opens nothing, so there is nothing to ask.
  EXPECT_EQ(Run(inject + " --sandbox").exit, 0);
  EXPECT_TRUE(fake_.Requests("Credentials/Inject").empty());
  EXPECT_EQ(Run(inject + " --config c-1 --branch-type dev").exit, 0);
  WriteText(folder_ / "config.json", R"({"authorization":{"oauth_api":{"id":"main"}}})");
  EXPECT_EQ(Run(inject + " --sandbox").exit, 0);
  const auto requests = fake_.Requests("Credentials/Inject");
  ASSERT_EQ(requests.size(), 2u);
  v1::InjectRequest request;
  ASSERT_TRUE(request.ParseFromString(requests[0]));
  EXPECT_EQ(request.configuration_id(), "c-1");
  EXPECT_EQ(request.branch_type(), "dev");
  EXPECT_FALSE(request.sandbox());
  ASSERT_TRUE(request.ParseFromString(requests[1]));
  EXPECT_TRUE(request.sandbox());
  EXPECT_EQ(Run(inject + " --branch-type main").exit, 1);
}

TEST_F(CliTest, Encrypt_SealsADocumentOrATextAndKeepsNoPlaintext) {
  v1::EncryptResponse response;
  response.set_sealed("{\"#a\":\"KBC::ProjectSecure::x\"}");
  fake_.Set("Credentials/Encrypt", {.messages = {response.SerializeAsString()}});
  WriteText(folder_ / "config.json", "{\"#a\":\"" + std::string(kCanary) + "\"}");
  const std::string encrypt = "encrypt config.json" + std::string(kPair);
  EXPECT_EQ(Run(encrypt).out, response.sealed() + '\n');
  // The source itself may be replaced: what stands there then is sealed.
  EXPECT_EQ(Run(encrypt + " --out config.json --scope configuration --config c-1").exit, 0);
  EXPECT_EQ(ReadText(folder_ / "config.json"), response.sealed() + '\n');
  EXPECT_EQ(ModeOf(folder_ / "config.json"), 0600U);
  EXPECT_EQ(Run("encrypt - --plain" + std::string(kPair), std::string(kCanary) + "\r\n").exit, 0);
  const auto requests = fake_.Requests("Credentials/Encrypt");
  ASSERT_EQ(requests.size(), 3u);
  v1::EncryptRequest request;
  ASSERT_TRUE(request.ParseFromString(requests[0]));
  EXPECT_EQ(request.document(), "{\"#a\":\"" + std::string(kCanary) + "\"}");
  EXPECT_EQ(request.scope(), v1::VALUE_SCOPE_UNSPECIFIED);
  ASSERT_TRUE(request.ParseFromString(requests[1]));
  EXPECT_EQ(request.scope(), v1::VALUE_SCOPE_CONFIGURATION);
  EXPECT_EQ(request.configuration_id(), "c-1");
  ASSERT_TRUE(request.ParseFromString(requests[2]));
  EXPECT_EQ(request.text(), kCanary);
  EXPECT_EQ(Run(encrypt + " --scope everybody").exit, 1);
  fake_.Set("Credentials/Encrypt", {.messages = {}, .code = Code::kDenied, .text = "no"});
  const Ran denied = Run(encrypt);
  EXPECT_EQ(denied.exit, 1);
  EXPECT_EQ((denied.out + denied.err).find(kCanary), std::string::npos);
}

TEST_F(CliTest, Inject_ThatFailsLeavesTheOldFileAndNothingElse) {
  const std::string inject = "inject config.json --out out.json" + std::string(kPair);
  WriteText(folder_ / "out.json", "old");
  WriteText(folder_ / "config.json", R"({"authorization":{"oauth_api":{"id":"main"}}})");
  fake_.Set("Credentials/Inject", {.messages = {}, .code = Code::kNotFound, .text = "no such id"});
  EXPECT_EQ(Run(inject).exit, 1);
  fake_.Set("Credentials/Inject", {.messages = {}, .code = Code::kCorrupt, .text = "damaged"});
  EXPECT_EQ(Run(inject).exit, 2);
  WriteText(folder_ / "config.json", "{\"secret\":\"" + std::string(kCanary) + "\"");
  const Ran malformed = Run(inject);
  EXPECT_EQ(malformed.exit, 1);
  EXPECT_EQ(malformed.err.find(kCanary), std::string::npos);
  EXPECT_EQ(Run("inject missing --out out.json" + std::string(kPair)).exit, 1);
  EXPECT_EQ(ReadText(folder_ / "out.json"), "old");
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "")) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path();
  }
}

TEST_F(CliTest, Inject_NeverWritesOverItsInput) {
  WriteText(folder_ / "config.json", "{}");
  std::filesystem::create_symlink("config.json", folder_ / "link.json");
  std::filesystem::create_hard_link(folder_ / "config.json", folder_ / "hard.json");
  for (const char* out : {"config.json", "./config.json", "link.json", "hard.json"}) {
    EXPECT_EQ(Run("inject config.json --out " + std::string(out) + kPair).exit, 1) << out;
  }
  // A redirection is a name, too: standard input comes from the file `in`.
  const Ran redirected = Run("inject - --out in" + std::string(kPair), "{}");
  EXPECT_EQ(redirected.exit, 1);
  EXPECT_NE(redirected.err.find("--out is the input file itself"), std::string::npos);
  EXPECT_EQ(ReadText(folder_ / "config.json"), "{}");
}

TEST_F(CliTest, Identity_KeepsItsKeyHereAndIsNotWrittenOver) {
  v1::IssueIdentityResponse response;
  response.mutable_identity()->set_serial("4f1c");
  response.set_certificate_pem("certificate 1");
  response.set_ca_pem("ca");
  fake_.Set("Registry/IssueIdentity", {.messages = {response.SerializeAsString()}});
  const Ran issued = Run("identity issue runner/x --out id --ttl 2h");
  ASSERT_EQ(issued.exit, 0) << issued.err;
  const std::string key = ReadText(folder_ / "id" / "key.pem");
  EXPECT_TRUE(key.starts_with("-----BEGIN PRIVATE KEY-----"));
  EXPECT_EQ(ModeOf(folder_ / "id" / "key.pem"), 0600U);
  EXPECT_EQ(ModeOf(folder_ / "id"), 0700U);
  EXPECT_EQ(ReadText(folder_ / "id" / "cert.pem"), "certificate 1");
  EXPECT_EQ(ReadText(folder_ / "id" / "ca.pem"), "ca");
  v1::IssueIdentityRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Registry/IssueIdentity").back()));
  EXPECT_EQ(request.path(), "runner/x");
  EXPECT_EQ(request.ttl_s(), 7200);
  EXPECT_TRUE(request.csr_pem().starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
  EXPECT_EQ(fake_.Requests("Registry/IssueIdentity").back().find("PRIVATE"), std::string::npos);

  EXPECT_EQ(Run("identity issue runner/x --out id").exit, 1);
  EXPECT_EQ(fake_.Requests("Registry/IssueIdentity").size(), 1U);
  response.set_certificate_pem("certificate 2");
  fake_.Set("Registry/IssueIdentity", {.messages = {response.SerializeAsString()}});
  EXPECT_EQ(Run("identity issue runner/x --out id --renew").exit, 0);
  EXPECT_EQ(ReadText(folder_ / "id" / "cert.pem"), "certificate 2");
  EXPECT_EQ(ReadText(folder_ / "id" / "key.pem"), key);

  fake_.Set("Registry/IssueIdentity", {.messages = {}, .code = Code::kDenied, .text = "no"});
  EXPECT_EQ(Run("identity issue runner/x --out refused").exit, 1);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "refused"));
}

TEST_F(CliTest, Token_IsShownOnceOrKeptInAPrivateFile) {
  const std::string text = "ovt_" + std::string(64, 'a');
  v1::IssueTokenResponse response;
  response.mutable_token()->set_id("4f1c09aa4f1c09aa4f1c09aa4f1c09aa");
  response.mutable_token()->set_project("123");
  response.mutable_token()->set_component("*");
  response.mutable_token()->add_rights("store");
  response.mutable_token()->set_expires_at_s(1'454'199'210);
  response.set_text(text);
  fake_.Set("Tokens/Issue", {.messages = {response.SerializeAsString()}});
  const Ran people = Run("token issue --project 123 --right store,describe --ttl 2h");
  EXPECT_EQ(people.exit, 0) << people.err;
  EXPECT_TRUE(people.out.ends_with("token: " + text + "\n")) << people.out;
  v1::IssueTokenRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Tokens/Issue").back()));
  EXPECT_EQ(request.component(), "*");
  EXPECT_EQ(request.ttl_s(), 7200);
  EXPECT_EQ(request.rights_size(), 2);

  const Ran json = Run("--json token issue --project 123 --right store");
  EXPECT_TRUE(json.out.ends_with(",\"token\":\"" + text + "\"}\n")) << json.out;

  const Ran kept = Run("token issue --manage --out token");
  EXPECT_EQ(kept.exit, 0) << kept.err;
  EXPECT_EQ(kept.out.find(text), std::string::npos) << kept.out;
  EXPECT_EQ(ReadText(folder_ / "token"), text);
  EXPECT_EQ(ModeOf(folder_ / "token"), 0600U);
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Tokens/Issue").back()));
  EXPECT_EQ(request.component(), "");
  EXPECT_EQ(request.rights(0), "register");
  const std::size_t calls = fake_.Requests("Tokens/Issue").size();
  for (const char* wrong : {"token issue", "token issue --manage --project 123",
                            "token issue --manage --right store", "token issue --project 123 "
                            "--right store --out token"}) {
    EXPECT_EQ(Run(wrong).exit, 1) << wrong;
  }
  EXPECT_EQ(fake_.Requests("Tokens/Issue").size(), calls);
}

TEST_F(CliTest, Renewal_PutsANewKeyAndItsCertificateInPlaceOrLeavesTheOldOnes) {
  MakeIdentity(folder_ / "id", "URI:spiffe://vault.example/runner/x");
  const std::string key = ReadText(folder_ / "id" / "key.pem");
  const std::string certificate = ReadText(folder_ / "id" / "cert.pem");
  fake_.Set("Registry/RenewIdentity", {.messages = {}, .code = Code::kDenied, .text = "no"});
  EXPECT_EQ(Run("identity renew id").exit, 1);
  EXPECT_EQ(ReadText(folder_ / "id" / "key.pem"), key);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "id" / "key.next.pem"));

  v1::IssueIdentityResponse response;
  response.mutable_identity()->set_serial("4f1d");
  response.mutable_identity()->set_state(v1::IDENTITY_STATE_VALID);
  response.set_certificate_pem("certificate 2");
  response.set_ca_pem("ca 2");
  fake_.Set("Registry/RenewIdentity", {.messages = {response.SerializeAsString()}});
  const Ran early = Run("identity renew id --renew-before 1s --json");
  EXPECT_EQ(early.exit, 0) << early.err;
  EXPECT_NE(early.out.find("\"renewed\":false"), std::string::npos) << early.out;
  EXPECT_EQ(ReadText(folder_ / "id" / "cert.pem"), certificate);

  const Ran renewed = Run("identity renew id --renew-before 3650d --ttl 2h --json");
  ASSERT_EQ(renewed.exit, 0) << renewed.err;
  EXPECT_NE(renewed.out.find("\"renewed\":true"), std::string::npos) << renewed.out;
  v1::RenewIdentityRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Registry/RenewIdentity").back()));
  EXPECT_EQ(request.ttl_s(), 7200);
  EXPECT_GE(request.serial().size(), 32U);
  EXPECT_EQ(ReadText(folder_ / "id" / "cert.pem"), "certificate 2");
  EXPECT_EQ(ReadText(folder_ / "id" / "ca.pem"), "ca 2");
  const std::string new_key = ReadText(folder_ / "id" / "key.pem");
  EXPECT_TRUE(new_key.starts_with("-----BEGIN PRIVATE KEY-----"));
  EXPECT_NE(new_key, key);
  EXPECT_EQ(ModeOf(folder_ / "id" / "key.pem"), 0600U);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "id" / "key.next.pem"));
}

TEST_F(CliTest, Renewal_ThatWasCutOff_IsFinishedByTheNext) {
  MakeIdentity(folder_ / "id", "URI:spiffe://vault.example/runner/x");
  MakeIdentity(folder_ / "next", "URI:spiffe://vault.example/runner/x");
  const std::string key = ReadText(folder_ / "next" / "key.pem");
  const std::string certificate = ReadText(folder_ / "next" / "cert.pem");
  // As a crash between the two renames leaves it: the key is in its place, the certificate not.
  WriteText(folder_ / "id" / "key.pem", key);
  WriteText(folder_ / "id" / "cert.next.pem", certificate);
  EXPECT_EQ(Run("identity renew id --renew-before 1s").exit, 0);
  EXPECT_EQ(ReadText(folder_ / "id" / "cert.pem"), certificate);
  EXPECT_EQ(ReadText(folder_ / "id" / "key.pem"), key);
  // A key whose certificate never came is dropped.
  WriteText(folder_ / "id" / "key.next.pem", "a key");
  EXPECT_EQ(Run("identity renew id --renew-before 1s").exit, 0);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "id" / "key.next.pem"));
  EXPECT_EQ(ReadText(folder_ / "id" / "key.pem"), key);
}

TEST_F(CliTest, Trust_SendsTheCertificateAndItsBounds) {
  WriteText(folder_ / "ca.pem", "a certificate");
  v1::TrustAnchor anchor;
  anchor.set_id("ab12");
  anchor.set_trust_domain("partner.example");
  anchor.add_kinds("runner");
  fake_.Set("Trust/Add", {.messages = {anchor.SerializeAsString()}});
  ASSERT_EQ(Run("identity trust add ca.pem --trust-domain partner.example --kind runner").exit, 0);
  v1::AddTrustRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Trust/Add").back()));
  EXPECT_EQ(request.certificate_pem(), "a certificate");
  EXPECT_EQ(request.trust_domain(), "partner.example");
  ASSERT_EQ(request.kinds_size(), 1);
  EXPECT_EQ(Run("identity trust add ca.pem --trust-domain partner.example --kind admin").exit, 1);
  EXPECT_EQ(fake_.Requests("Trust/Add").size(), 1U);
  v1::ListTrustResponse list;
  *list.add_anchors() = anchor;
  fake_.Set("Trust/List", {.messages = {list.SerializeAsString()}});
  EXPECT_NE(Run("identity trust list").out.find("partner.example"), std::string::npos);

  v1::RevokedKey key;
  key.set_key_sha256("cd34");
  fake_.Set("Trust/RevokeKey", {.messages = {key.SerializeAsString()}});
  ASSERT_EQ(Run("identity trust revoke ca.pem").exit, 0);
  v1::RevokeKeyRequest revoked;
  ASSERT_TRUE(revoked.ParseFromString(fake_.Requests("Trust/RevokeKey").back()));
  EXPECT_EQ(revoked.certificate_pem(), "a certificate");
  EXPECT_EQ(Run("identity trust revoke").exit, 1);
  v1::ListRevokedKeysResponse keys;
  *keys.add_keys() = key;
  fake_.Set("Trust/ListRevokedKeys", {.messages = {keys.SerializeAsString()}});
  EXPECT_NE(Run("identity trust revoked").out.find("cd34"), std::string::npos);
}

TEST_F(CliTest, Explain_IsReadByPeopleAndByMachines) {
  v1::ExplainResponse denied;
  denied.set_allowed_by("grant");
  denied.set_grant_project("*");
  denied.set_grant_component("acme.ex-drive");
  v1::Obstacle& revoked = *denied.add_obstacles();
  revoked.set_word("revoked");
  revoked.set_what("the certificates of this principal were revoked");
  revoked.set_change("issue a new one, if it may come back: oauthvault identity issue");
  const std::string asked =
      "explain --principal spiffe://vault.example/runner/x --right reveal" + std::string(kPair);
  fake_.Set("Registry/Explain", {.messages = {denied.SerializeAsString()}});
  ExpectGolden("explain_denied.txt", Run(asked).out);
  ExpectGolden("explain_denied.json", Run(asked + " --json").out);
  v1::ExplainResponse allowed;
  allowed.set_allowed(true);
  allowed.set_allowed_by("kind");
  fake_.Set("Registry/Explain", {.messages = {allowed.SerializeAsString()}});
  ExpectGolden("explain_allowed.txt", Run(asked).out);
}

TEST_F(CliTest, Explain_GivesTheWholeCommandThatGrants) {
  v1::ExplainResponse denied;
  v1::Obstacle& missing = *denied.add_obstacles();
  missing.set_word("no_grant");
  missing.set_what("no grant gives this right on what is named");
  missing.set_change("grant it: oauthvault grant add");
  fake_.Set("Registry/Explain", {.messages = {denied.SerializeAsString()}});
  const std::string principal = "--principal spiffe://vault.example/runner/x";
  const std::string told = "denied\n  no grant gives this right on what is named\n"
                           "    to change it: oauthvault grant add ";
  EXPECT_EQ(Run("explain " + principal + " --right reveal" + kPair).out,
            told + principal + kPair + " --right reveal\n");
  EXPECT_EQ(Run("explain " + principal + " --right audit --project 123").out,
            told + principal + " --project 123 --component '*' --right audit\n");
}

TEST_F(CliTest, Authorize_PrintsTheLinkAtOnceAndWaitsForTheEnd) {
  v1::Attempt attempt;
  attempt.set_project("123");
  attempt.set_component("acme.ex-drive");
  attempt.set_id("7f3a");
  attempt.set_state(v1::ATTEMPT_STATE_STARTED);
  v1::GetLinkResponse link;
  link.set_auth_uri("https://provider.example/consent?x=1");
  link.set_expires_at_s(1'454'199'210);
  v1::Attempt stored = attempt;
  stored.set_state(v1::ATTEMPT_STATE_STORED);
  stored.set_final(true);
  fake_.Set("Attempts/Authorize", {.messages = {attempt.SerializeAsString()}});
  fake_.Set("Attempts/GetLink", {.messages = {link.SerializeAsString()}});
  fake_.Set("Attempts/Watch",
            {.messages = {attempt.SerializeAsString(), stored.SerializeAsString()}});
  const std::string authorize =
      "rivery authorize --account main --id main --validity 10m" + std::string(kPair);
  const Ran people = Run(authorize);
  EXPECT_EQ(people.exit, 0) << people.err;
  ExpectGolden("rivery_authorize.txt", people.out);
  EXPECT_TRUE(people.err.starts_with("attempt 7f3a: started\n")) << people.err;
  ExpectGolden("rivery_authorize.json", Run(authorize + " --json").out);
  v1::AuthorizeRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Attempts/Authorize").back()));
  EXPECT_EQ(request.validity_s(), 600);
  EXPECT_EQ(request.oauth_id(), "main");
  const Ran link_only = Run(authorize + " --no-wait --json");
  EXPECT_EQ(link_only.exit, 0);
  EXPECT_TRUE(link_only.out.ends_with("\"expires_at_s\":1454199210}\n")) << link_only.out;

  stored.set_state(v1::ATTEMPT_STATE_FAILED);
  stored.set_failure("expired");
  fake_.Set("Attempts/Watch", {.messages = {stored.SerializeAsString()}});
  const Ran failed = Run(authorize);
  EXPECT_EQ(failed.exit, 1);
  EXPECT_NE(failed.err.find("attempt 7f3a failed: expired; a new link: oauthvault attempt resume "
                            "7f3a --project 123"),
            std::string::npos)
      << failed.err;
}

TEST_F(CliTest, Resume_FollowsTheAttemptThatGoesOn) {
  v1::Attempt attempt;
  attempt.set_project("123");
  attempt.set_component("acme.ex-drive");
  attempt.set_id("8a41");
  attempt.set_predecessor("7f3a");
  attempt.set_state(v1::ATTEMPT_STATE_STARTED);
  attempt.set_waiting_for("account");
  attempt.set_account("main");
  v1::GetLinkResponse link;
  link.set_auth_uri("https://provider.example/consent?x=2");
  v1::Attempt stored = attempt;
  stored.set_state(v1::ATTEMPT_STATE_STORED);
  stored.set_final(true);
  stored.clear_waiting_for();
  fake_.Set("Attempts/Resume", {.messages = {attempt.SerializeAsString()}});
  fake_.Set("Attempts/GetLink", {.messages = {link.SerializeAsString()}});
  fake_.Set("Attempts/Watch", {.messages = {stored.SerializeAsString()}});
  const Ran resumed = Run("attempt resume 7f3a" + std::string(kPair));
  EXPECT_EQ(resumed.exit, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("paused: Rivery refuses the API token of account main"),
            std::string::npos)
      << resumed.err;
  EXPECT_NE(resumed.out.find("https://provider.example/consent?x=2"), std::string::npos);
  v1::ResumeAttemptRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Attempts/Resume").back()));
  EXPECT_EQ(request.id(), "7f3a");
}

TEST_F(CliTest, Interrupt_SaysHowToGoOn) {
  v1::Attempt attempt;
  attempt.set_project("123");
  attempt.set_component("acme.ex-drive");
  attempt.set_id("7f3a");
  attempt.set_state(v1::ATTEMPT_STATE_CREATING);
  fake_.Set("Attempts/Connect", {.messages = {attempt.SerializeAsString()}});
  fake_.Set("Attempts/Watch", {.messages = {attempt.SerializeAsString()}});
  // Ctrl-C as soon as the state is shown.
  const std::string line = "cd " + (folder_ / "").string() + "; " OAUTHVAULT_BIN_DIR
                           "/oauthvault --socket v.sock connect --account a --id main --name N" +
                           std::string(kPair) +
                           " </dev/null >out 2>err & until grep -q creating err; do sleep 0.05; "
                           "done; kill -INT $!; wait $!";
  const int status = std::system(line.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_NE(ReadText(folder_ / "err").find("oauthvault attempt resume 7f3a --project 123 "
                                           "--component acme.ex-drive"),
            std::string::npos)
      << ReadText(folder_ / "err");
}

TEST_F(CliTest, Times_ForPeopleCarryTheirZone) {
  v1::ListVersionsResponse versions;
  versions.add_versions()->set_created("2016-01-31 00:13:30");
  fake_.Set("Credentials/ListVersions", {.messages = {versions.SerializeAsString()}});
  const std::string of = "credentials versions main" + std::string(kPair);
  EXPECT_NE(Run(of).out.find("  2016-01-31 00:13:30Z  "), std::string::npos) << Run(of).out;
  EXPECT_NE(Run(of + " --json").out.find("\"2016-01-31 00:13:30\""), std::string::npos);
  v1::ShowAuditResponse page;
  page.add_lines()->set_json(R"({"seq":1,"time":"2016-01-31T00:13:30.000123Z"})");
  fake_.Set("Audit/Show", {.messages = {page.SerializeAsString()}});
  EXPECT_NE(Run("audit show").out.find("1    2016-01-31T00:13:30Z  "), std::string::npos);
}

TEST_F(CliTest, Interrupt_ThatComesTwiceEndsAlsoACallThatHangs) {
  v1::Attempt attempt;
  attempt.set_id("7f3a");
  attempt.set_state(v1::ATTEMPT_STATE_STARTED);
  fake_.Set("Attempts/Authorize", {.messages = {attempt.SerializeAsString()}});
  fake_.Set("Attempts/Watch", {.messages = {attempt.SerializeAsString()}});
  fake_.Set("Attempts/GetLink", {.messages = {""}, .delay = std::chrono::seconds(3)});
  const std::string line = "cd " + (folder_ / "").string() + "; " OAUTHVAULT_BIN_DIR
                           "/oauthvault --socket v.sock rivery authorize --account a --id main" +
                           std::string(kPair) +
                           " </dev/null >out 2>err & until grep -q started err; do sleep 0.05; "
                           "done; for _ in 1 2 3 4 5; do kill -INT $!; sleep 0.05; done; wait $!";
  const int status = std::system(line.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  // It did not wait for the answer, to say then how to go on.
  EXPECT_EQ(ReadText(folder_ / "err"), "attempt 7f3a: started\n");
}

TEST_F(CliTest, Output_ThatNobodyTakesEndsTheProgramWithTheRightCode) {
  v1::ShowAuditResponse page;
  for (std::uint64_t sequence = 1; sequence <= 500; ++sequence) {
    page.add_lines()->set_json("{\"act\":\"" + std::string(1000, 'a') + "\"}");  // more than a pipe
  }
  fake_.Set("Audit/Show", {.messages = {page.SerializeAsString()}});
  for (const char* verb : {"audit show --limit 500", "audit export", "audit show --json"}) {
    const Ran piped = RunInto("| head -c 10 >out", verb);
    EXPECT_EQ(piped.exit, 141) << verb;
    EXPECT_EQ(piped.err, "") << verb;
    EXPECT_EQ(piped.out.size(), 10U) << verb;
  }
  SetReveal();
  const std::string reveal = "credentials reveal main" + std::string(kPair);
  for (const std::string& command : {reveal, std::string("--help"), std::string("--version")}) {
    for (const char* where : {">/dev/full", ">&-"}) {
      const Ran lost = RunInto(where, command);
      EXPECT_EQ(lost.exit, 1) << command << where;
      EXPECT_EQ(lost.err,
                "oauthvault: cannot write to standard output: it is closed or full\n")
          << command << where;
    }
  }
  // Without standard input there is nothing to read, and no other descriptor is taken for it.
  const Ran no_input = RunInto("<&- >out", "credentials put main --data-file -" +
                                               std::string(kPair));
  EXPECT_EQ(no_input.exit, 1);
  EXPECT_NE(no_input.err.find("--data-file"), std::string::npos) << no_input.err;
}

TEST_F(CliTest, Audit_ShowsTheNewestLinesAndFailsWhenTheTrailDoesNotVerify) {
  v1::ShowAuditResponse page;
  for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
    v1::AuditLine& line = *page.add_lines();
    line.set_sequence(sequence);
    line.set_json("{\"seq\":" + std::to_string(sequence) +
                  R"(,"act":"Credentials.Reveal","principal":"spiffe://td/runner/a"})");
  }
  page.mutable_lines(1)->set_json("no JSON \x1b[2J");
  fake_.Set("Audit/Show", {.messages = {page.SerializeAsString()}});
  EXPECT_EQ(
      Run("audit show --limit 2").out,
      "SEQ  TIME  OUTCOME  ACT                 PRINCIPAL  PROJECT  COMPONENT  OAUTH ID\n"
      "2    -     -        not readable        -          -        -          -\n"
      "3    -     -        Credentials.Reveal  runner/a   -        -          -\n");
  EXPECT_EQ(Run("audit show --limit 2 --json").out,
            R"([{"seq":2,"unreadable":"no JSON \u001b[2J"},)"
            R"({"seq":3,"act":"Credentials.Reveal","principal":"spiffe://td/runner/a"}])"
            "\n");
  v1::FindAuditResponse found;
  *found.add_lines() = page.lines(2);
  fake_.Set("Audit/Find", {.messages = {found.SerializeAsString()}});
  EXPECT_EQ(Run("audit find --json", "a token").out,
            R"([{"seq":3,"act":"Credentials.Reveal","principal":"spiffe://td/runner/a"}])"
            "\n");
  v1::ShowAuditRequest asked;
  ASSERT_TRUE(asked.ParseFromString(fake_.Requests("Audit/Show").back()));
  EXPECT_EQ(asked.newest(), 2U);
  v1::VerifyAuditResponse verdict;
  verdict.set_lines(3);
  fake_.Set("Audit/Verify", {.messages = {verdict.SerializeAsString()}});
  EXPECT_EQ(Run("audit verify").out, "lines: 3\nsequence: 0 to 0\n"
                                      "proven by a checkpoint to: 0\nevery line verifies\n");
  verdict.add_problems()->set_what("the MAC is wrong");
  fake_.Set("Audit/Verify", {.messages = {verdict.SerializeAsString()}});
  const Ran broken = Run("audit verify");
  EXPECT_EQ(broken.exit, 2);
  EXPECT_NE(broken.out.find("the MAC is wrong"), std::string::npos);
}

TEST_F(CliTest, Find_AsksForAValueWithAndWithoutItsLineEndAndJoinsTheLines) {
  const auto answer = [](std::vector<std::uint64_t> sequences, const std::string& next_page) {
    v1::FindAuditResponse found;
    for (const std::uint64_t sequence : sequences) {
      v1::AuditLine& line = *found.add_lines();
      line.set_sequence(sequence);
      line.set_json("{\"seq\":" + std::to_string(sequence) + "}");
    }
    found.set_next_page_token(next_page);
    return Answer{.messages = {found.SerializeAsString()}};
  };
  const auto asked = [&] {
    std::vector<std::string> values;
    for (const std::string& text : fake_.Requests("Audit/Find")) {
      v1::FindAuditRequest request;
      EXPECT_TRUE(request.ParseFromString(text));
      values.push_back(request.value() + '|' + request.page_token());
    }
    return values;
  };
  fake_.SetInTurn("Audit/Find", {answer({2, 5}, "6"), answer({9}, ""), answer({1, 5, 10}, "")});
  EXPECT_EQ(Run("audit find --json", "a token\n").out,
            R"([{"seq":1},{"seq":2},{"seq":5},{"seq":9},{"seq":10}])"
            "\n");
  EXPECT_EQ(asked(), (std::vector<std::string>{"a token|", "a token|6", "a token\n|"}));

  fake_.SetInTurn("Audit/Find", {answer({}, ""), answer({}, ""), answer({3}, "")});
  WriteText(folder_ / "leaked", "data\r\n");
  EXPECT_EQ(Run("audit find --json --value-file leaked").out, "[{\"seq\":3}]\n");
  const std::vector<std::string> all = asked();
  ASSERT_EQ(all.size(), 6U);
  EXPECT_EQ((std::vector<std::string>(all.begin() + 3, all.end())),
            (std::vector<std::string>{"data|", "data\r|", "data\r\n|"}));

  // What has nothing in front of its line's end is most likely a mistake: the daemon refuses it.
  fake_.Set("Audit/Find", {.messages = {}, .code = Code::kInvalid, .text = "no value"});
  EXPECT_EQ(Run("audit find", "\n").exit, 1);
  EXPECT_EQ(asked().back(), "|");
}

}  // namespace
}  // namespace oauthvault::client
