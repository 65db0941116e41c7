#include "daemon/custody/reveal.h"

#include <future>
#include <memory>
#include <utility>

#include "crypto/sabotage.h"
#include "daemon/custody/entry.h"

namespace oauthvault::custody {

/// Makes a Release of what was read, once that is recorded.
class Releaser {
 public:
  static Release Make(const storage::Store& store, Kept kept, audit::Recorded recorded) {
    return Release(store, std::move(kept), std::move(recorded));
  }
};

std::string Release::AppKey() const { return AppKeyOf(Row()); }

std::size_t Release::DataSize() const { return kept_.DataSize(); }

std::size_t Release::AppSecretSize() const { return kept_.AppSecretSize(); }

Result<void> Release::OpenInto(std::span<std::uint8_t> data,
                               std::span<std::uint8_t> app_secret) && {
  if (crypto::IsSabotaged(crypto::Sabotage::kNoOpening)) return {};
  return kept_.OpenInto(*store_, data, app_secret);
}

Result<EightKeys> Release::Open() && {
  crypto::SecretBytes data(DataSize());
  crypto::SecretBytes app_secret(AppSecretSize());
  EightKeys keys = PublicKeysOf(Row());
  auto opened = data.Fill([&](std::span<std::uint8_t> data_bytes) {
    return app_secret.Fill([&](std::span<std::uint8_t> app_secret_bytes) {
      return std::move(*this).OpenInto(data_bytes, app_secret_bytes);
    });
  });
  if (!opened) return Fail(std::move(opened));
  keys.data = crypto::CredentialsData(std::move(data));
  keys.app_secret = crypto::AppSecret(std::move(app_secret));
  return keys;
}

void Reveal(access::Permit permit, const OauthId& id, const access::Caller& caller,
            std::string act, const storage::Store& store, audit::Trail& trail, RevealDone done,
            std::string object) {
  if (permit.What() != access::Right::kReveal && permit.What() != access::Right::kConnect) {
    return done(Fail(Code::kDenied, "credentials leave for reveal or connect only", id));
  }
  auto pair = permit.Where().AsPair();
  if (!pair) return done(Fail(std::move(pair)));
  audit::Entry entry = EntryFor(permit, caller, std::move(act));
  entry.oauth_id = id.Str();
  entry.object = std::move(object);

  Result<Kept> found = ReadKept(store, pair->project, pair->component, id);
  if (!found) {
    return FailRecorded(trail, std::move(entry), std::move(found.error()), std::move(done));
  }
  SayAllowed(*found, entry);
  trail.Record(std::move(entry), [&store, found = std::move(*found), done = std::move(done)](
                                     Result<audit::Recorded> recorded) mutable {
    if (!recorded) return done(Fail(std::move(recorded)));
    done(Releaser::Make(store, std::move(found), std::move(*recorded)));
  });
}

Result<Release> RevealAndWait(access::Permit permit, const OauthId& id,
                              const access::Caller& caller, std::string act,
                              const storage::Store& store, audit::Trail& trail) {
  std::promise<Result<Release>> promise;
  std::future<Result<Release>> future = promise.get_future();
  Reveal(std::move(permit), id, caller, std::move(act), store, trail,
         [&promise](Result<Release> result) { promise.set_value(std::move(result)); });
  return future.get();
}

}  // namespace oauthvault::custody
