#include "client/session.h"
#include "oauthvault/v1/operations.pb.h"

namespace oauthvault::client {

void AddStatusVerb(CLI::App& app, Session& session) {
  const auto request = NewRequest<v1::StatusRequest>();
  AddVerb(app, session, {"status", "The daemon: version, seal, who you are", "oauthvault status"},
          [request](Session& run) { return run.Show(*request); });
}

}  // namespace oauthvault::client
