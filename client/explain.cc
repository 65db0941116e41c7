#include "client/session.h"
#include "oauthvault/v1/registry.pb.h"

namespace oauthvault::client {
namespace {

/// The whole command that gives what was asked about.
std::string GrantFor(const v1::ExplainRequest& asked) {
  const auto or_all = [](const std::string& name) { return name.empty() ? "'*'" : name; };
  return "oauthvault grant add --principal " + asked.principal() + " --project " +
         or_all(asked.project()) + " --component " + or_all(asked.component()) + " --right " +
         asked.right();
}

/// For people: the answer, the rule, then what is in the way and what would change it.
std::string Rendered(const v1::ExplainRequest& asked, const v1::ExplainResponse& answer) {
  std::string text;
  if (answer.allowed_by() == "kind") {
    text = "by the kind of caller";
  } else if (answer.allowed_by() == "grant") {
    text = "by the grant on project " + answer.grant_project() + ", component " +
           answer.grant_component();
  }
  if (answer.allowed()) return Printable("allowed: " + text) + '\n';
  text = text.empty() ? "denied" : "allowed " + text + ", and yet it does not come about";
  text = Printable(text) + '\n';
  for (const v1::Obstacle& obstacle : answer.obstacles()) {
    text += "  " + Printable(obstacle.what()) + '\n';
    const std::string change =
        obstacle.word() == "no_grant" ? GrantFor(asked) : obstacle.change();
    text += "    to change it: " + Printable(change) + '\n';
  }
  return text;
}

}  // namespace

void AddExplainVerb(CLI::App& app, Session& session) {
  const auto request = NewRequest<v1::ExplainRequest>();
  CLI::App& verb = AddVerb(
      app, session,
      {"explain", "Which rule allows or denies something, and what would change it",
       "oauthvault explain --principal runner/x --right reveal --project 123 "
       "--component acme.ex-drive"},
      [request](Session& run) -> Outcome<void> {
        auto principal = CompletePrincipal(run, request->principal());
        if (!principal) return Refuse(std::move(principal));
        request->set_principal(*principal);
        auto answer = run.Call(*request);
        if (!answer) return Refuse(std::move(answer));
        return WriteOut(run.style == Style::kJson ? RenderOne(AsJson(*answer), run.style)
                                                  : Rendered(*request, *answer));
      });
  verb.add_option("--principal", *request->mutable_principal(),
                  "SPIFFE id, local/admin, or the path of an id: runner/x, project/p/component/c")
      ->required();
  verb.add_option("--right", *request->mutable_right(),
                  "store, describe, reveal, encrypt, connect; register, operate, audit; anyone")
      ->required()
      ->check(CLI::IsMember({"store", "describe", "reveal", "encrypt", "connect", "register",
                             "operate", "audit", "anyone"}));
  verb.add_option("--project", *request->mutable_project(), "Project, for a right on a pair");
  verb.add_option("--component", *request->mutable_component(), "Component, likewise");
}

}  // namespace oauthvault::client
