#include "daemon/custody/inject.h"

#include <utility>

#include "daemon/custody/reveal.h"

namespace oauthvault::custody {

void Inject(access::Permit permit, const crypto::SecretBytes& document, IdBeside id_beside,
            const access::Caller& caller, const storage::Store& store, audit::Trail& trail,
            InjectDone done) {
  Result<Configuration> configuration = Configuration::Parse(document);
  if (!configuration) return done(Fail(std::move(configuration)));
  if (configuration->GetPlan() != Configuration::Plan::kLookUp) {
    return done(configuration->Write());
  }
  const OauthId id = *configuration->Id();
  Reveal(std::move(permit), id, caller, "Credentials.Inject", store, trail,
         [configuration = std::move(*configuration), id_beside,
          done = std::move(done)](Result<Release> release) mutable {
           if (!release) return done(Fail(std::move(release)));
           Result<EightKeys> keys = std::move(*release).Open();
           if (!keys) return done(Fail(std::move(keys)));
           done(configuration.WriteWith(*keys, id_beside == IdBeside::kDrop));
         });
}

}  // namespace oauthvault::custody
