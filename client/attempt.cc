#include <memory>

#include "client/follow.h"
#include "client/session.h"
#include "oauthvault/v1/attempts.pb.h"

namespace oauthvault::client {
namespace {

/// A verb on one attempt that shows what the daemon answers.
template <class Request>
void AddShowingVerb(CLI::App& noun, Session& session, const VerbText& text) {
  const auto request = NewRequest<Request>();
  CLI::App& verb =
      AddVerb(noun, session, text, [request](Session& run) { return run.Show(*request); });
  verb.add_option("ID", *request->mutable_id(), "As `attempt list` shows it")->required();
  AddPair(verb, *request);
}

}  // namespace

void AddAttemptVerbs(CLI::App& app, Session& session) {
  CLI::App& noun = AddNoun(app, "attempt", "Attempts: runs of the Rivery flow");
  {
    const auto request = NewRequest<v1::ListAttemptsRequest>();
    CLI::App& verb =
        AddVerb(noun, session,
                {"list", "The attempts of a project and component",
                 "oauthvault attempt list --project 123 --component acme.ex-drive"},
                [request](Session& run) {
                  return run.List(*request, {"id", "state", "failure", "waiting_for", "account",
                                             "oauth_id", "connection_name", "updated_at_s"});
                });
    AddPair(verb, *request);
  }
  AddShowingVerb<v1::GetAttemptRequest>(
      noun, session,
      {"show", "One attempt",
       "oauthvault attempt show 7f3a --project 123 --component acme.ex-drive"});
  AddShowingVerb<v1::GetLinkRequest>(
      noun, session,
      {"link", "The consent link; leaves an audit line",
       "oauthvault attempt link 7f3a --project 123 --component acme.ex-drive"});
  {
    struct Given {
      v1::ResumeAttemptRequest request;
      bool no_wait = false;
    };
    const auto given = std::make_shared<Given>();
    CLI::App& verb = AddVerb(
        noun, session,
        {"resume", "Follow an attempt again; one whose link ended gets a new link",
         "oauthvault attempt resume 7f3a --project 123 --component acme.ex-drive"},
        [given](Session& run) -> Outcome<void> {
          auto attempt = run.Call(given->request);
          if (!attempt) return Refuse(std::move(attempt));
          return Follow(run, *attempt, Consent::kAsked,
                        given->no_wait ? Until::kLink : Until::kEnd);
        });
    verb.add_option("ID", *given->request.mutable_id(), "As `attempt list` shows it")->required();
    AddPair(verb, given->request);
    verb.add_flag("--no-wait", given->no_wait, "Print the link and do not wait for the consent");
  }
  AddShowingVerb<v1::CancelAttemptRequest>(
      noun, session,
      {"cancel", "End an attempt that has not ended",
       "oauthvault attempt cancel 7f3a --project 123 --component acme.ex-drive"});
}

}  // namespace oauthvault::client
