#include "client/follow.h"
#include "client/input.h"
#include "client/session.h"
#include "oauthvault/v1/attempts.pb.h"
#include "oauthvault/v1/connections.pb.h"

namespace oauthvault::client {
namespace {

/// The command line of `connect`. The request to authorize has all fields of the request to
/// connect, so it holds what was given for either.
struct Connect {
  v1::AuthorizeRequest given;
  std::string validity;
  bool authorize = false;
  bool no_wait = false;
};

Outcome<void> Begin(Session& run, Connect& connect) {
  const Until until = connect.no_wait ? Until::kLink : Until::kEnd;
  if (connect.authorize) {
    auto validity = ParseDuration(connect.validity.empty() ? "1h" : connect.validity, "--validity");
    if (!validity) return Refuse(std::move(validity));
    connect.given.set_validity_s(validity->count());
    auto attempt = run.Call(connect.given);
    if (!attempt) return Refuse(std::move(attempt));
    return Follow(run, *attempt, Consent::kAsked, until);
  }
  v1::ConnectRequest request;
  request.set_project(connect.given.project());
  request.set_component(connect.given.component());
  request.set_account(connect.given.account());
  request.set_oauth_id(connect.given.oauth_id());
  request.set_connection_name(connect.given.connection_name());
  auto attempt = run.Call(request);
  if (!attempt) return Refuse(std::move(attempt));
  return Follow(run, *attempt, Consent::kNotAsked, until);
}

void AddConnectVerb(CLI::App& app, Session& session) {
  const auto connect = std::make_shared<Connect>();
  CLI::App& verb = AddVerb(
      app, session,
      {"connect", "Make a Rivery connection from stored credentials, or from a new consent",
       "oauthvault connect --project 123 --component acme.ex-drive --account main --id main "
       "--name \"Acme Drive\" --authorize"},
      [connect](Session& run) { return Begin(run, *connect); });
  AddPair(verb, connect->given);
  verb.add_option("--account", *connect->given.mutable_account(), "Rivery account")->required();
  verb.add_option("--id", *connect->given.mutable_oauth_id(), "Oauth id")->required();
  verb.add_option("--name", *connect->given.mutable_connection_name(), "The connection's name")
      ->required();
  CLI::Option* authorize = verb.add_flag("--authorize", connect->authorize,
                                         "Ask a person for consent first, and store it under --id");
  verb.add_option("--authorized-for", *connect->given.mutable_authorized_for(), "For people")
      ->needs(authorize);
  verb.add_option("--validity", connect->validity,
                  "How long the consent link lives: 5m to 12h; 1h when not given")
      ->needs(authorize);
  verb.add_flag("--no-wait", connect->no_wait, "Do not wait for the attempt's end");
}

template <class Request>
void AddName(CLI::App& verb, Request& request) {
  verb.add_option("ID", *request.mutable_id(), "Rivery's id: 24 hex digits")->required();
  AddPair(verb, request);
  verb.add_option("--account", *request.mutable_account(), "Rivery account")->required();
}

}  // namespace

void AddConnectionVerbs(CLI::App& app, Session& session) {
  AddConnectVerb(app, session);
  CLI::App& noun =
      AddNoun(app, "connection", "Connections: what stored authorizations became in Rivery");
  {
    const auto request = NewRequest<v1::ListConnectionsRequest>();
    CLI::App& verb =
        AddVerb(noun, session,
                {"list", "The connections of a project and component",
                 "oauthvault connection list --project 123 --component acme.ex-drive"},
                [request](Session& run) {
                  return run.List(*request, {"id", "name", "account", "connection_type", "oauth_id",
                                             "in_step", "updated_at_s"});
                });
    AddPair(verb, *request);
  }
  {
    const auto request = NewRequest<v1::GetConnectionRequest>();
    CLI::App& verb = AddVerb(noun, session,
                             {"show", "One connection",
                              "oauthvault connection show 5f2b8c0d1e3a4b5c6d7e8f90 --project 123 "
                              "--component acme.ex-drive --account main"},
                             [request](Session& run) { return run.Show(*request); });
    AddName(verb, *request);
  }
  {
    const auto request = NewRequest<v1::UpdateConnectionRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"update", "Write a connection anew, with the credentials as they stand in the vault",
         "oauthvault connection update 5f2b8c0d1e3a4b5c6d7e8f90 --project 123 --component "
         "acme.ex-drive --account main --name \"Acme Drive\""},
        [request](Session& run) { return run.Show(*request); });
    AddName(verb, *request);
    verb.add_option("--name", *request->mutable_name(), "A new name");
  }
}

}  // namespace oauthvault::client
