#include "daemon/custody/inject.h"

#include <string>
#include <utility>

#include "daemon/custody/entry.h"
#include "daemon/custody/reveal.h"
#include "daemon/custody/sealed_copy.h"

namespace oauthvault::custody {
namespace {

constexpr const char* kAct = "Credentials.Inject";

// A sandbox: nothing is opened.
void InjectSealed(const access::Permit& permit, Configuration configuration, IdBeside id_beside,
                  const access::Caller& caller, const storage::Store& store, audit::Trail& trail,
                  InjectDone done) {
  if (configuration.GetPlan() != Configuration::Plan::kLookUp) {
    return done(configuration.Write(id_beside));
  }
  audit::Entry entry = EntryFor(permit, caller, kAct);
  entry.object = "sandbox";
  entry.oauth_id = configuration.Id()->Str();
  Result<EightKeys> keys = SealedCopy(permit, *configuration.Id(), store);
  if (!keys) return FailRecorded(trail, std::move(entry), std::move(keys.error()), std::move(done));
  entry.outcome = audit::Outcome::kAllowed;
  trail.Record(std::move(entry), [configuration = std::move(configuration), keys = std::move(*keys),
                                  id_beside, done = std::move(done)](
                                     Result<audit::Recorded> recorded) mutable {
    if (!recorded) return done(Fail(std::move(recorded)));
    done(configuration.WriteWith(keys, id_beside));
  });
}

}  // namespace

void Inject(access::Permit permit, Injection asked, const access::Caller& caller,
            const storage::Store& store, const crypto::Keyring& keys, audit::Trail& trail,
            InjectDone done) {
  Result<Configuration> configuration = Configuration::Parse(asked.document);
  if (!configuration) return done(Fail(std::move(configuration)));
  const IdBeside id_beside = asked.id_beside;
  if (asked.secrets == Secrets::kSealed) {
    return InjectSealed(permit, std::move(*configuration), id_beside, caller, store, trail,
                        std::move(done));
  }
  const bool looks_up = configuration->GetPlan() == Configuration::Plan::kLookUp;
  const std::size_t sealed = configuration->SealedCount();
  if (!looks_up && sealed == 0) return done(configuration->Write(id_beside));
  if (permit.What() != access::Right::kReveal) {
    return done(Fail(Code::kDenied, "secrets are injected for those who may reveal"));
  }
  auto pair = permit.Where().AsPair();
  if (!pair) return done(Fail(std::move(pair)));
  ValueContext context{std::move(pair->project), std::move(pair->component),
                       std::move(asked.configuration), asked.branch_type};
  const std::string object = sealed == 0 ? "" : "values:" + std::to_string(sealed);
  audit::Entry entry = EntryFor(permit, caller, kAct);
  entry.object = object;

  // Only what is recorded is opened.
  auto open = [&keys, &trail, context = std::move(context), failed = entry](
                  Configuration& recorded, InjectDone& told) mutable {
    const Result<void> opened = recorded.Open([&](std::string_view value) {
      return OpenValue(keys, context, value);
    });
    if (opened) return true;
    FailRecorded(trail, std::move(failed), opened.error(), std::move(told));
    return false;
  };
  if (!looks_up) {
    entry.outcome = audit::Outcome::kAllowed;
    trail.Record(std::move(entry), [configuration = std::move(*configuration), id_beside,
                                    open = std::move(open), done = std::move(done)](
                                       Result<audit::Recorded> recorded) mutable {
      if (!recorded) return done(Fail(std::move(recorded)));
      if (open(configuration, done)) done(configuration.Write(id_beside));
    });
    return;
  }
  const OauthId id = *configuration->Id();
  Reveal(std::move(permit), id, caller, kAct, store, trail,
         [configuration = std::move(*configuration), id_beside, open = std::move(open),
          done = std::move(done)](Result<Release> release) mutable {
           if (!release) return done(Fail(std::move(release)));
           if (!open(configuration, done)) return;
           Result<EightKeys> eight = std::move(*release).Open();
           if (!eight) return done(Fail(std::move(eight)));
           done(configuration.WriteWith(*eight, id_beside));
         },
         object);
}

}  // namespace oauthvault::custody
