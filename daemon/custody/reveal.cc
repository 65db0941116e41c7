#include "daemon/custody/reveal.h"

#include <future>
#include <memory>
#include <utility>

#include "crypto/sabotage.h"
#include "daemon/custody/fingerprints.h"

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
  const auto& credentials = kept_.credentials;
  if (auto opened = store_->OpenSecretInto(credentials, crypto::Part::kData, data); !opened) {
    return opened;
  }
  if (app_secret.empty()) return {};
  auto opened =
      credentials.sealed.Has(crypto::Part::kAppSecret)
          ? store_->OpenSecretInto(credentials, crypto::Part::kAppSecret, app_secret)
          : store_->OpenSecretInto(*kept_.component, crypto::Part::kAppSecret, app_secret);
  if (!opened) crypto::Wipe(data);
  return opened;
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
  const access::Scope& where = permit.Where();
  auto project = ProjectId::Parse(where.project);
  auto component = ComponentId::Parse(where.component);
  if (!project) return done(Fail(std::move(project)));
  if (!component) return done(Fail(std::move(component)));

  audit::Entry entry;
  entry.act = std::move(act);
  entry.principal = permit.Who().Str();
  entry.right = access::NameOf(permit.What());
  entry.project = where.project;
  entry.component = where.component;
  entry.oauth_id = id.Str();
  entry.object = std::move(object);
  entry.peer = caller.peer;
  entry.request_id = caller.request_id;

  Result<Kept> found = ReadKept(store, *project, *component, id);
  if (!found) {
    entry.outcome = audit::Outcome::kFailed;
    entry.code = NameOf(found.error().GetCode());
    trail.Record(std::move(entry), [error = std::move(found.error()), done = std::move(done)](
                                       Result<audit::Recorded> recorded) mutable {
      if (!recorded) return done(Fail(std::move(recorded)));
      done(std::unexpected(std::move(error)));
    });
    return;
  }
  entry.outcome = audit::Outcome::kAllowed;
  entry.version = found->credentials.version;
  entry.fingerprints = TextOf(found->credentials.row.fingerprints);
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
