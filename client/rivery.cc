#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "client/follow.h"
#include "client/input.h"
#include "client/session.h"
#include "oauthvault/v1/accounts.pb.h"
#include "oauthvault/v1/attempts.pb.h"

namespace oauthvault::client {
namespace {

/// Prints what Rivery said. A probe that failed is a user's error: the token or the region is to be
/// set right.
Outcome<void> CheckAccount(Session& run, v1::CheckAccountRequest& request) {
  auto report = run.Call(request);
  if (!report) return Refuse(std::move(report));
  if (run.style == Style::kJson) {
    if (auto out = WriteOut(RenderOne(AsJson(*report), run.style)); !out) return out;
  } else {
    std::vector<nlohmann::ordered_json> rows;
    AppendRows(*report, rows);
    auto out = WriteOut(RenderList(rows, {"what", "ok", "code", "text"}, run.style));
    if (!out) return out;
  }
  if (report->ok()) return {};
  return Refuse(Code::kInvalid, "the account " + request.id() + " is not as it should be");
}

/// Prints the types, and for people how old that knowledge is.
Outcome<void> ListTypes(Session& run, v1::ListTypesRequest& request) {
  std::vector<nlohmann::ordered_json> rows;
  std::int64_t age_s = 0;
  auto fetched = run.FetchPages(request, [&](const v1::ListTypesResponse& page) -> Outcome<void> {
    age_s = std::max(age_s, page.age_s());
    request.set_refresh(false);  // the next page is of the same catalogue
    AppendRows(page, rows);
    return {};
  });
  if (!fetched) return fetched;
  if (run.style == Style::kPeople) {
    std::fprintf(stderr, "as Rivery said %lld s ago\n", static_cast<long long>(age_s));
  }
  return WriteOut(RenderList(rows, {"connection_type", "datasource_id", "oauth2"}, run.style));
}

void AddAccountVerbs(CLI::App& rivery, Session& session) {
  CLI::App& noun = AddNoun(rivery, "account", "The Rivery accounts of this vault");
  {
    struct Given {
      v1::SetAccountRequest request;
      std::string token_file;
      std::vector<std::string> projects;
    };
    const auto given = std::make_shared<Given>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"set", "Add an account or change it; a new base URL asks for the token again",
         "oauthvault rivery account set main --region eu --token-file token.txt --project 123"},
        [given](Session& run) -> Outcome<void> {
          if (!given->token_file.empty()) {
            auto token = ReadSecretLine(given->token_file == "prompt" ? "" : given->token_file,
                                        {"API token", "--token-file", kMaxSecretLineSize});
            if (!token) return Refuse(std::move(token));
            token->Expose([&](std::span<const std::uint8_t> bytes) {
              given->request.set_api_token(bytes.data(), bytes.size());
            });
          }
          for (auto& project : given->projects) given->request.add_projects(std::move(project));
          return run.Show(given->request);
        });
    verb.add_option("ID", *given->request.mutable_id(), "1 to 128 letters, digits and . _ -")
        ->required();
    CLI::Option* region =
        verb.add_option("--region", *given->request.mutable_region(),
                        "us, eu, or Rivery's name of another region, such as eu-west-1");
    verb.add_option("--base-url", *given->request.mutable_base_url(),
                    "Instead of a region: https://.., ending in /api")
        ->excludes(region);
    verb.add_option("--token-file", given->token_file,
                    "The API token: a file, - for standard input, or `prompt`");
    verb.add_option("--project", given->projects,
                    "A project whose attempts may use it; several, or * for all")
        ->delimiter(',');
  }
  {
    const auto request = NewRequest<v1::GetAccountRequest>();
    CLI::App& verb = AddVerb(noun, session,
                             {"show", "One account, without its token",
                              "oauthvault rivery account show main"},
                             [request](Session& run) { return run.Show(*request); });
    verb.add_option("ID", *request->mutable_id(), "Account")->required();
  }
  {
    const auto request = NewRequest<v1::CheckAccountRequest>();
    CLI::App& verb = AddVerb(noun, session,
                             {"check", "Ask Rivery whether it takes the token, and what it may do",
                              "oauthvault rivery account check main"},
                             [request](Session& run) { return CheckAccount(run, *request); });
    verb.add_option("ID", *request->mutable_id(), "Account")->required();
  }
  {
    const auto request = NewRequest<v1::ListAccountsRequest>();
    AddVerb(noun, session, {"list", "All accounts", "oauthvault rivery account list"},
            [request](Session& run) {
              return run.List(*request,
                              {"id", "base_url", "projects", "updated_at_s", "updated_by",
                               "refused_at_s"});
            });
  }
}

}  // namespace

void AddRiveryVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "rivery", "Rivery: accounts, and authorizations through it");
  AddAccountVerbs(noun, session);
  {
    const auto request = NewRequest<v1::ListTypesRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"types", "What an account can connect to", "oauthvault rivery types --account main"},
        [request](Session& run) { return ListTypes(run, *request); });
    verb.add_option("--account", *request->mutable_account(), "Account")->required();
    verb.add_flag_callback("--refresh", [request] { request->set_refresh(true); },
                           "Ask Rivery, also where the daemon still knows");
  }
  {
    struct Given {
      v1::AuthorizeRequest request;
      std::string validity = "1h";
      bool no_wait = false;
    };
    const auto given = std::make_shared<Given>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"authorize", "Obtain credentials through a person's consent, and store them",
         "oauthvault rivery authorize --project 123 --component acme.ex-drive --account main --id "
         "main"},
        [given](Session& run) -> Outcome<void> {
          auto validity = ParseDuration(given->validity, "--validity");
          if (!validity) return Refuse(std::move(validity));
          given->request.set_validity_s(validity->count());
          auto attempt = run.Call(given->request);
          if (!attempt) return Refuse(std::move(attempt));
          return Follow(run, *attempt, Consent::kAsked,
                        given->no_wait ? Until::kLink : Until::kEnd);
        });
    AddPair(verb, given->request);
    verb.add_option("--account", *given->request.mutable_account(), "Rivery account")->required();
    verb.add_option("--id", *given->request.mutable_oauth_id(), "Oauth id to store them under")
        ->required();
    verb.add_option("--authorized-for", *given->request.mutable_authorized_for(),
                    "Whose account it opens, for people");
    verb.add_option("--validity", given->validity, "How long the consent link lives: 5m to 12h")
        ->capture_default_str();
    verb.add_flag("--no-wait", given->no_wait, "Print the link and do not wait for the consent");
  }
}

}  // namespace oauthvault::client
