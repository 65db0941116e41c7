#include "client/session.h"

namespace oauthvault::client {

Outcome<Vault*> Session::Reach() {
  if (!vault_) {
    auto connected = Vault::Connect(options);
    if (!connected) return Refuse(std::move(connected));
    vault_.emplace(*std::move(connected));
  }
  return &*vault_;
}

CLI::App& AddNoun(CLI::App& app, const char* name, const char* what) {
  CLI::App& noun = *app.add_subcommand(name, what);
  noun.require_subcommand(1);
  return noun;
}

CLI::App& AddVerb(CLI::App& parent, Session& session, const VerbText& text, Session::Act act) {
  CLI::App& verb = *parent.add_subcommand(text.name, text.what);
  verb.footer(std::string("Example:\n  ") + text.example +
              "\nOptions of all commands (--socket, --address, --identity, --json, --timeout): "
              "oauthvault --help");
  verb.callback([&session, act = std::move(act)] { session.act = act; });
  return verb;
}

void AddRecipientOptions(CLI::App& verb, Recipient& recipient) {
  verb.add_option("--project", recipient.project, "Project")->required();
  verb.add_option("--component", recipient.component, "Component")->required();
  verb.add_option("--config", recipient.configuration,
                  "Configuration whose sealed values open, too");
  verb.add_option("--branch-type", recipient.branch_type,
                  "Values sealed for this type of branch open, too: default or dev")
      ->check(CLI::IsMember({"default", "dev"}));
}

}  // namespace oauthvault::client
