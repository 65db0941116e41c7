#include "daemon/custody/entry.h"

#include "daemon/custody/fingerprints.h"

namespace oauthvault::custody {

audit::Entry EntryFor(const access::Permit& permit, const access::Caller& caller,
                      std::string act) {
  audit::Entry entry;
  entry.act = std::move(act);
  entry.principal = permit.Who().Str();
  entry.right = access::NameOf(permit.What());
  entry.project = permit.Where().project;
  entry.component = permit.Where().component;
  entry.peer = caller.peer;
  entry.request_id = caller.request_id;
  return entry;
}

void SayAllowed(const Kept& kept, audit::Entry& entry) {
  entry.outcome = audit::Outcome::kAllowed;
  entry.version = kept.credentials.version;
  entry.fingerprints = TextOf(kept.credentials.row.fingerprints);
}

void SayFailed(const Error& error, audit::Entry& entry) {
  entry.outcome = audit::Outcome::kFailed;
  entry.code = NameOf(error.GetCode());
}

}  // namespace oauthvault::custody
