#include "client/session.h"

namespace oauthvault::client {
namespace {

/// The words that may follow a command: its verbs and its options.
std::string WordsAfter(const CLI::App& command) {
  std::string words;
  for (const CLI::App* verb : command.get_subcommands({})) words += verb->get_name() + ' ';
  for (const CLI::Option* option : command.get_options({})) {
    for (const std::string& name : option->get_lnames()) words += "--" + name + ' ';
  }
  return words;
}

void AppendCases(const CLI::App& command, const std::string& path, std::string& paths,
                 std::string& words) {  // NOLINT(misc-no-recursion): as deep as the verbs
  words += "    '" + path + "') words='" + WordsAfter(command) + "' ;;\n";
  for (const CLI::App* verb : command.get_subcommands({})) {
    const std::string longer = path.empty() ? verb->get_name() : path + ' ' + verb->get_name();
    paths += (paths.empty() ? "'" : "|'") + longer + "'";
    AppendCases(*verb, longer, paths, words);
  }
}

std::string BashScript(const CLI::App& program) {
  std::string paths;
  std::string words;
  AppendCases(program, "", paths, words);
  return "# bash completion for oauthvault; load it with: source <(oauthvault completion bash)\n"
         "_oauthvault() {\n"
         "  local path= words= word\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    case \"${path:+$path }$word\" in\n"
         "    " + paths + ") path=\"${path:+$path }$word\" ;;\n"
         "    esac\n"
         "  done\n"
         "  case \"$path\" in\n" + words +
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
         "}\n"
         "complete -o default -F _oauthvault oauthvault\n";
}

}  // namespace

void AddCompletionVerb(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "completion", "Shell completion");
  AddVerb(noun, session, {"bash", "A script for bash", "source <(oauthvault completion bash)"},
          [&app](Session&) { return WriteOut(BashScript(app)); });
}

}  // namespace oauthvault::client
