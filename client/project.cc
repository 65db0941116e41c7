#include <cstdio>

#include "client/input.h"
#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"
#include "oauthvault/v1/registry.pb.h"

namespace oauthvault::client {
namespace {

/// What was destroyed, and what was not.
std::string ForPeople(const std::string& project, const v1::ShredProjectResponse& shredded) {
  nlohmann::ordered_json json = AsJson(shredded);
  const auto take = [&json](const char* list) {
    return std::vector<nlohmann::ordered_json>(json[list].begin(), json[list].end());
  };
  const auto backups = take("open_backups");
  const auto connections = take("live_connections");
  json.erase("open_backups");
  json.erase("live_connections");
  std::string text = "shredded project " + Printable(project) + "; destroyed:\n" +
                     RenderOne(json, Style::kPeople) + '\n';
  text += "Backups are not touched, and no copy of them is.";
  if (backups.empty()) {
    text += " The vault knows of none that still opens.\n";
  } else {
    text += " These still open, with the project in them:\n" +
            RenderBackups(backups, Style::kPeople);
  }
  text += '\n';
  if (connections.empty()) {
    text += "The vault knows of no connection that lives on in Rivery.\n";
  } else {
    text += "These connections live on in Rivery, with what they hold:\n" +
            RenderList(connections, {"account", "connection_id", "name"}, Style::kPeople);
  }
  return text;
}

Outcome<void> Shred(Session& run, v1::ShredProjectRequest& request) {
  if (request.confirm().empty()) {
    const std::string warning = "This destroys project " + Printable(request.id()) +
                                " for ever: its keys, and everything that is stored for it.\n";
    std::fputs(warning.c_str(), stderr);
    auto typed = AskToType("type the project's id once more", "the id once more in --confirm");
    if (!typed) return Refuse(std::move(typed));
    request.set_confirm(*std::move(typed));
  }
  if (request.confirm() != request.id()) {
    return Refuse(Code::kInvalid, "the ids differ: nothing was destroyed");
  }
  run.AllowLong();
  auto shredded = run.Call(request);
  if (!shredded) return Refuse(std::move(shredded));
  return WriteOut(run.style == Style::kJson ? RenderOne(AsJson(*shredded), run.style)
                                            : ForPeople(request.id(), *shredded));
}

}  // namespace

void AddProjectVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "project", "Projects: the tenants that everything belongs to");
  {
    const auto request = NewRequest<v1::AddProjectRequest>();
    CLI::App& verb = AddVerb(noun, session,
                             {"add", "Add a project", "oauthvault project add 123 --title Acme"},
                             [request](Session& run) { return run.Show(*request); });
    verb.add_option("ID", *request->mutable_id(), "1 to 128 letters, digits and . _ -")->required();
    verb.add_option("--title", *request->mutable_title(), "A name for people");
  }
  {
    const auto request = NewRequest<v1::ListProjectsRequest>();
    AddVerb(noun, session, {"list", "All projects", "oauthvault project list --json"},
            [request](Session& run) {
              return run.List(*request, {"id", "title", "created_at_s", "created_by"});
            });
  }
  {
    const auto request = NewRequest<v1::GetProjectRequest>();
    CLI::App& verb =
        AddVerb(noun, session, {"show", "One project", "oauthvault project show 123"},
                [request](Session& run) { return run.Show(*request); });
    verb.add_option("ID", *request->mutable_id(), "Project")->required();
  }
  {
    const auto request = NewRequest<v1::RemoveProjectRequest>();
    CLI::App& verb = AddVerb(
        noun, session, {"remove", "Remove an empty project", "oauthvault project remove 123"},
        [request](Session& run) { return run.Do(*request, "removed project " + request->id()); });
    verb.add_option("ID", *request->mutable_id(), "Project")->required();
  }
  {
    const auto request = NewRequest<v1::ShredProjectRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"shred", "Destroy a project's keys and all that is stored for it, for ever",
         "oauthvault project shred 123 --confirm 123"},
        [request](Session& run) { return Shred(run, *request); });
    verb.add_option("ID", *request->mutable_id(), "Project")->required();
    verb.add_option("--confirm", *request->mutable_confirm(),
                    "The id once more; a terminal is asked when not given");
  }
}

}  // namespace oauthvault::client
