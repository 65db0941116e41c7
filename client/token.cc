#include <filesystem>

#include "client/input.h"
#include "client/private_file.h"
#include "client/session.h"
#include "oauthvault/v1/tokens.pb.h"

namespace oauthvault::client {
namespace {

struct Issue {
  v1::IssueTokenRequest request;
  std::vector<std::string> rights;
  std::string ttl = "90d";
  bool manage = false;
  std::filesystem::path out;
};

nlohmann::ordered_json AsJson(const NewToken& token) {
  return {{"id", token.id},
          {"title", token.title},
          {"project", token.project},
          {"component", token.component},
          {"rights", token.rights},
          {"expires_at_s", token.expires_at_s}};
}

Outcome<void> Print(const NewToken& token, const Issue& issue, Style style) {
  std::string shown = RenderOne(AsJson(token), style);
  if (!issue.out.empty()) return WriteOut(shown);
  if (style == Style::kPeople) return WriteAround(shown + "token: ", token.text, "\n");
  shown.resize(shown.rfind('}'));
  return WriteAround(shown + ",\"token\":\"", token.text, "\"}\n");
}

Outcome<void> Keep(const NewToken& token, const Issue& issue, Style style) {
  if (!issue.out.empty()) {
    auto kept = token.text.Expose([&](std::span<const std::uint8_t> bytes) {
      return WritePrivateFile(issue.out, bytes, Existing::kRefuse);
    });
    if (!kept) return kept;
  }
  return Print(token, issue, style);
}

Outcome<void> IssueToken(Session& run, Issue& issue) {
  const bool of_a_project = !issue.request.project().empty() || !issue.rights.empty();
  if (issue.manage == of_a_project) {
    return Refuse(Code::kInvalid, "a token is for a project (--project and --right), or it is a "
                                  "manage token (--manage alone)");
  }
  auto ttl = ParseDuration(issue.ttl, "--ttl");
  if (!ttl) return Refuse(std::move(ttl));
  issue.request.set_ttl_s(ttl->count());
  if (issue.manage) {
    issue.request.clear_component();
    issue.request.add_rights("register");
  }
  for (auto& right : issue.rights) issue.request.add_rights(std::move(right));
  // No token comes into force that has no place to go.
  if (!issue.out.empty()) {
    auto room = ExpectRoomFor(issue.out);
    if (!room) return room;
  }
  auto vault = run.Reach();
  if (!vault) return Refuse(std::move(vault));
  auto token = (*vault)->IssueToken(issue.request);
  if (!token) return Refuse(std::move(token));
  auto kept = Keep(*token, issue, run.style);
  if (kept) return kept;
  return Refuse(kept.error().code, "token " + token->id + " is in force and could not be handed "
                                       "over (" + kept.error().message +
                                       "); revoke it with: oauthvault token revoke " + token->id);
}

}  // namespace

void AddTokenVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "token", "Opaque tokens, for callers of the HTTP interface");
  {
    const auto issue = std::make_shared<Issue>();
    issue->request.set_component("*");
    CLI::App& verb = AddVerb(
        noun, session,
        {"issue", "Make a token; it is shown this once",
         "oauthvault token issue --project 123 --component acme.ex-drive --right store,describe"},
        [issue](Session& run) { return IssueToken(run, *issue); });
    verb.add_option("--project", *issue->request.mutable_project(), "Project");
    verb.add_option("--component", *issue->request.mutable_component(), "Component, or *")
        ->capture_default_str();
    verb.add_option("--right", issue->rights,
                    "store, describe, encrypt, connect; several, or a list with commas")
        ->delimiter(',')
        ->check(CLI::IsMember({"store", "describe", "encrypt", "connect"}));
    verb.add_flag("--manage", issue->manage, "A token of no project, which registers components");
    verb.add_option("--ttl", issue->ttl, "How long it is in force: 60s to 366d")
        ->capture_default_str();
    verb.add_option("--title", *issue->request.mutable_title(),
                    "Who holds it; the creator's description in what the holder stores");
    verb.add_option("--out", issue->out,
                    "A new file of mode 0600 for the token, instead of printing it");
  }
  {
    const auto request = NewRequest<v1::ListTokensRequest>();
    AddVerb(noun, session,
            {"list", "All tokens that were not revoked; never their text",
             "oauthvault token list"},
            [request](Session& run) {
              return run.List(*request, {"id", "title", "project", "component", "rights",
                                         "expires_at_s", "created_by"});
            });
  }
  {
    const auto request = NewRequest<v1::RevokeTokenRequest>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"revoke", "Refuse a token from the next call on",
         "oauthvault token revoke 4f1c09aa4f1c09aa4f1c09aa4f1c09aa"},
        [request](Session& run) { return run.Do(*request, "revoked token " + request->id()); });
    verb.add_option("ID", *request->mutable_id(), "As `token list` shows it")->required();
  }
}

}  // namespace oauthvault::client
