#include "client/session.h"
#include "oauthvault/v1/registry.pb.h"

namespace oauthvault::client {

void AddProjectVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "project", "Projects: the tenants that everything belongs to");
  {
    const auto request = NewRequest<v1::AddProjectRequest>();
    CLI::App& verb = AddVerb(noun, session,
                             {"add", "Add a project", "oauthvault project add 123 --title Acme"},
                             [request](Session& run) { return run.Show(*request); });
    verb.add_option("ID", *request->mutable_id(), "Letters, digits and . _ -")->required();
    verb.add_option("--title", *request->mutable_title(), "For people");
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
}

}  // namespace oauthvault::client
