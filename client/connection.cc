#include <string>
#include <utility>
#include <vector>

#include "client/connect_batch.h"
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
  std::string batch;
  std::string links;
  bool authorize = false;
  bool no_wait = false;
};

Outcome<void> Begin(Session& run, Connect& connect) {
  if (!connect.batch.empty()) {
    auto validity =
        ParseDuration(connect.validity.empty() ? "12h" : connect.validity, "--validity");
    if (!validity) return Refuse(std::move(validity));
    return ConnectBatch(run, {connect.batch, connect.links, validity->count(), connect.no_wait});
  }
  const std::pair<const std::string&, const char*> needed[] = {
      {connect.given.project(), "--project"},
      {connect.given.component(), "--component"},
      {connect.given.account(), "--account"},
      {connect.given.oauth_id(), "--id"},
      {connect.given.connection_name(), "--name"}};
  for (const auto& [value, option] : needed) {
    if (value.empty()) {
      return Refuse(Code::kInvalid, std::string(option) + " is required, or --batch");
    }
  }
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
  const std::vector<CLI::Option*> one = {
      verb.add_option("--project", *connect->given.mutable_project(), "Project"),
      verb.add_option("--component", *connect->given.mutable_component(), "Component"),
      verb.add_option("--account", *connect->given.mutable_account(), "Rivery account"),
      verb.add_option("--id", *connect->given.mutable_oauth_id(), "Oauth id"),
      verb.add_option("--name", *connect->given.mutable_connection_name(),
                      "The connection's name")};
  CLI::Option* authorize = verb.add_flag("--authorize", connect->authorize,
                                         "Ask a person for consent first, and store it under --id");
  verb.add_option("--authorized-for", *connect->given.mutable_authorized_for(),
                  "Whose account it opens, for people")
      ->needs(authorize);
  verb.add_option("--validity", connect->validity,
                  "How long the consent link lives: 5m to 12h; 1h when not given, 12h in a batch")
      ->needs(authorize);
  CLI::Option* links = verb.add_option(
      "--links", connect->links, "Where the links of a batch go: a file of mode 0600");
  CLI::Option* batch =
      verb.add_option("--batch", connect->batch,
                      "Many at once, from a CSV or JSON file with project, component, account, id "
                      "and name; run it again to go on")
          ->needs(authorize)
          ->needs(links);
  links->needs(batch);
  for (CLI::Option* option : one) batch->excludes(option);
  verb.add_flag("--no-wait", connect->no_wait, "Do not wait for the attempt's end");
}

/// Prints what was found. Drift is the answer to the question, not a failure; the exit code tells
/// it to scripts all the same.
Outcome<void> Verify(Session& run, v1::VerifyConnectionsRequest& request) {
  auto rows = run.FetchRows(request);
  if (!rows) return Refuse(std::move(rows));
  auto out = WriteOut(
      RenderList(*rows, {"id", "name", "drift", "remote_name", "duplicates"}, run.style));
  if (!out) return out;
  for (const auto& row : *rows) {
    if (!row["drift"].empty()) run.exit_code = 1;
  }
  return {};
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
                                             "step", "why", "updated_at_s"});
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
    verb.add_flag_callback(
        "--allow-older", [request] { request->set_allow_older(true); },
        "Also where tokens rotate and the stored ones are older than those it holds");
  }
  {
    const auto request = NewRequest<v1::VerifyConnectionsRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"verify",
         "Read Rivery back; exit 1 when one was deleted, renamed, changed elsewhere or made twice",
         "oauthvault connection verify --project 123 --component acme.ex-drive --account main"},
        [request](Session& run) { return Verify(run, *request); });
    verb.add_option("ID", *request->mutable_id(), "Rivery's id; all of them when not given");
    AddPair(verb, *request);
    verb.add_option("--account", *request->mutable_account(), "Rivery account")->required();
  }
  {
    const auto request = NewRequest<v1::AdoptConnectionRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"adopt", "Take a connection that was made in Rivery; the vault keeps it in step",
         "oauthvault connection adopt 5f2b8c0d1e3a4b5c6d7e8f90 --project 123 --component "
         "acme.ex-drive --account main --id main --write"},
        [request](Session& run) { return run.Show(*request); });
    AddName(verb, *request);
    verb.add_option("--id", *request->mutable_oauth_id(), "Oauth id of what it is to hold")
        ->required();
    verb.add_flag_callback(
        "--write", [request] { request->set_write(true); },
        "Write the credentials into it at once, not when they change");
  }
  {
    const auto request = NewRequest<v1::DeleteConnectionRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"delete", "Delete a connection in Rivery, and then here; refused while rivers use it",
         "oauthvault connection delete 5f2b8c0d1e3a4b5c6d7e8f90 --project 123 --component "
         "acme.ex-drive --account main"},
        [request](Session& run) {
          return run.Do(*request, "deleted connection " + request->id() + " in Rivery and here");
        });
    AddName(verb, *request);
  }
}

}  // namespace oauthvault::client
