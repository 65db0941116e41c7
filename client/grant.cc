#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"
#include "oauthvault/v1/registry.pb.h"

namespace oauthvault::client {

Outcome<std::string> CompletePrincipal(Session& run, const std::string& principal) {
  bool is_path = false;
  for (const std::string_view kind : {"project/", "runner/", "admin/", "auditor/"}) {
    is_path = is_path || principal.starts_with(kind);
  }
  if (!is_path) return principal;
  v1::StatusRequest request;
  auto status = run.Call(request);
  if (!status) return Refuse(std::move(status));
  if (status->trust_domain().empty()) {
    return Refuse(Code::kDenied, "the daemon does not tell you its trust domain: give the full "
                                 "SPIFFE id in --principal");
  }
  return "spiffe://" + status->trust_domain() + "/" + principal;
}

namespace {

template <class Request>
void AddPrincipalAndPair(CLI::App& verb, Request& request) {
  verb.add_option("--principal", *request.mutable_principal(),
                  "SPIFFE id, local/admin, or the path of an id: runner/x, project/p/component/c")
      ->required();
  verb.add_option("--project", *request.mutable_project(), "Project, or *")->required();
  verb.add_option("--component", *request.mutable_component(), "Component, or *")->required();
}

}  // namespace

void AddGrantVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "grant", "Grants: who may do what. The default is nothing");
  {
    struct Given {
      v1::AddGrantRequest request;
      std::vector<std::string> rights;
    };
    const auto given = std::make_shared<Given>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"add", "Give rights on a project and component to a principal",
         "oauthvault grant add --principal project/123/component/acme.ex-drive --project 123 "
         "--component acme.ex-drive --right reveal"},
        [given](Session& run) -> Outcome<void> {
          auto principal = CompletePrincipal(run, given->request.principal());
          if (!principal) return Refuse(std::move(principal));
          given->request.set_principal(*principal);
          for (auto& right : given->rights) given->request.add_rights(std::move(right));
          return run.Show(given->request);
        });
    AddPrincipalAndPair(verb, given->request);
    verb.add_option("--right", given->rights,
                    "store, describe, reveal, encrypt, connect, audit (a project's, with component "
                    "'*'); several, or a list with commas")
        ->required()
        ->delimiter(',')
        ->check(CLI::IsMember({"store", "describe", "reveal", "encrypt", "connect", "audit"}));
  }
  {
    const auto request = NewRequest<v1::ListGrantsRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"list", "All grants, or those on a project or component",
         "oauthvault grant list --project 123"},
        [request](Session& run) {
          return run.List(*request, {"principal", "project", "component", "rights", "created_at_s",
                                     "created_by"});
        });
    verb.add_option("--project", *request->mutable_project(), "Project");
    verb.add_option("--component", *request->mutable_component(), "Component");
  }
  {
    const auto request = NewRequest<v1::RemoveGrantRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"remove", "Take a principal's rights on a project and component away",
         "oauthvault grant remove --principal runner/x --project 123 --component acme.ex-drive"},
        [request](Session& run) -> Outcome<void> {
          auto principal = CompletePrincipal(run, request->principal());
          if (!principal) return Refuse(std::move(principal));
          request->set_principal(*principal);
          return run.Do(*request, "removed the grant of " + *principal);
        });
    AddPrincipalAndPair(verb, *request);
  }
}

}  // namespace oauthvault::client
