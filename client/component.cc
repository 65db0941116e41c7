#include "client/input.h"
#include "client/session.h"
#include "oauthvault/v1/registry.pb.h"

namespace oauthvault::client {
namespace {

/// What the command line says of a component, beside the request's own fields.
struct Registration {
  v1::SetComponentRequest request;
  std::string secret_file;
  bool asks_for_secret = false;
};

Outcome<void> Set(Session& run, Registration& given) {
  if (given.asks_for_secret) {
    auto secret = ReadSecretLine(given.secret_file == "prompt" ? "" : given.secret_file,
                                 {"app secret", "--app-secret-file", kMaxSecretLineSize});
    if (!secret) return Refuse(std::move(secret));
    secret->Expose([&](std::span<const std::uint8_t> bytes) {
      given.request.set_app_secret(bytes.data(), bytes.size());
    });
  }
  return run.Show(given.request);
}

void AddSetVerb(CLI::App& noun, Session& session, const VerbText& text, bool is_new) {
  const auto given = std::make_shared<Registration>();
  using Request = v1::SetComponentRequest;
  Request& request = given->request;
  request.set_must_be_new(is_new);
  request.set_must_exist(!is_new);
  CLI::App& verb =
      AddVerb(noun, session, text, [given](Session& run) { return Set(run, *given); });
  verb.add_option("ID", *request.mutable_id(), "Letters, digits and . _ -")->required();
  // Bound by a function: a field that is not given stays unset, and so stays as it is.
  const auto field = [&](const char* name, std::string* (Request::*part)(), const char* what) {
    verb.add_option_function<std::string>(
        name, [&request, part](const std::string& value) { *(request.*part)() = value; }, what);
  };
  field("--title", &Request::mutable_title, "For people");
  field("--oauth-version",
        &Request::mutable_oauth_version,
        "1.0, 2.0, facebook or quickbooks");
  field("--app-key", &Request::mutable_app_key,
        "The OAuth client id");
  verb.add_option_function<std::string>(
      "--app-secret-file",
      [given](const std::string& file) {
        given->secret_file = file;
        given->asks_for_secret = true;
      },
      "The OAuth client secret: a file, - for standard input, or `prompt`");
  field("--auth-url", &Request::mutable_auth_url,
        "Where a person consents");
  field("--token-url", &Request::mutable_token_url,
        "Where tokens come from");
  field("--request-token-url",
        &Request::mutable_request_token_url,
        "OAuth 1.0 only");
  field("--datasource",
        &Request::mutable_rivery_datasource_id,
        "Rivery's datasource_id");
  field("--connection-type",
        &Request::mutable_rivery_connection_type,
        "Rivery's connection_type");
  verb.add_flag_function(
      "--rotating,!--no-rotating",
      [&request](std::int64_t count) { request.set_rotating(count > 0); },
      "The provider gives a new refresh token with every refresh");
}

}  // namespace

void AddComponentVerbs(CLI::App& app, Session& session) {
  CLI::App& noun =
      AddNoun(app, "component", "Components: registered extensions and their OAuth app");
  AddSetVerb(noun, session,
             {"add", "Register a component",
              "oauthvault component add acme.ex-drive --oauth-version 2.0 --app-key CLIENT_ID "
              "--app-secret-file secret.txt"},
             true);
  AddSetVerb(noun, session,
             {"set", "Change a component; what is not given stays",
              "oauthvault component set acme.ex-drive --app-secret-file -"},
             false);
  {
    const auto request = NewRequest<v1::ListComponentsRequest>();
    AddVerb(noun, session, {"list", "All components", "oauthvault component list"},
            [request](Session& run) {
              return run.List(*request, {"id", "title", "oauth_version", "app_key",
                                         "has_app_secret", "rivery_connection_type"});
            });
  }
  {
    const auto request = NewRequest<v1::GetComponentRequest>();
    CLI::App& verb =
        AddVerb(noun, session, {"show", "One component", "oauthvault component show acme.ex-drive"},
                [request](Session& run) { return run.Show(*request); });
    verb.add_option("ID", *request->mutable_id(), "Component")->required();
  }
  {
    const auto request = NewRequest<v1::RemoveComponentRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"remove", "Remove a component that holds nothing",
         "oauthvault component remove acme.ex-drive"},
        [request](Session& run) { return run.Do(*request, "removed component " + request->id()); });
    verb.add_option("ID", *request->mutable_id(), "Component")->required();
  }
}

}  // namespace oauthvault::client
