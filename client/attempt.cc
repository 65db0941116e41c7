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
  verb.add_option("ID", *request->mutable_id(), "Attempt")->required();
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
                  return run.List(*request, {"id", "state", "failure", "account", "oauth_id",
                                             "connection_name", "updated_at_s"});
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
  AddShowingVerb<v1::CancelAttemptRequest>(
      noun, session,
      {"cancel", "End an attempt that has not ended",
       "oauthvault attempt cancel 7f3a --project 123 --component acme.ex-drive"});
}

}  // namespace oauthvault::client
