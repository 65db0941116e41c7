#include "daemon/custody/reveal.h"

#include <ctime>
#include <future>
#include <memory>
#include <utility>

namespace oauthvault::custody {

/// What a reveal reads, in one place: the sealed credentials and, only where it goes with them, the
/// component's app secret.
class Reader {
 public:
  struct Found {
    storage::Stored<storage::Credentials> credentials;
    std::optional<storage::Stored<storage::Component>> component;
  };

  static Result<Found> Read(const storage::Store& store, const ProjectId& project,
                            const ComponentId& component, const OauthId& id) {
    auto credentials =
        store.Get<storage::Credentials>(storage::Credentials::Names(project, component, id));
    if (!credentials) return Fail(std::move(credentials));
    Found found{std::move(*credentials), std::nullopt};
    const storage::Credentials& row = found.credentials.row;
    if (row.foreign_client || found.credentials.sealed.Has(crypto::Part::kAppSecret)) {
      return found;
    }
    auto registered = store.Find<storage::Component>(storage::Component::Names(component));
    if (!registered) return Fail(std::move(registered));
    // The component's secret never stands beside a client id that is not the component's.
    if (*registered && (*registered)->row.app_key == row.client_id) {
      found.component = std::move(**registered);
    }
    return found;
  }

  static Release Make(const storage::Store& store, Found found, audit::Recorded recorded) {
    return Release(store, std::move(found.credentials), std::move(found.component),
                   std::move(recorded));
  }
};

std::string CreatedText(std::int64_t seconds) {
  const std::time_t time = static_cast<std::time_t>(seconds);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  return std::string(text, size);
}

std::string Release::AppKey() const {
  const storage::Credentials& row = credentials_.row;
  return row.app_key.empty() ? row.client_id : row.app_key;
}

std::size_t Release::DataSize() const { return credentials_.sealed.PlainSize(crypto::Part::kData); }

std::size_t Release::AppSecretSize() const {
  const std::size_t own = credentials_.sealed.PlainSize(crypto::Part::kAppSecret);
  if (own != 0) return own;
  return component_ ? component_->sealed.PlainSize(crypto::Part::kAppSecret) : 0;
}

Result<void> Release::OpenInto(std::span<std::uint8_t> data,
                               std::span<std::uint8_t> app_secret) && {
  if (auto opened = store_->OpenSecretInto(credentials_, crypto::Part::kData, data); !opened) {
    return opened;
  }
  if (app_secret.empty()) return {};
  auto opened =
      credentials_.sealed.Has(crypto::Part::kAppSecret)
          ? store_->OpenSecretInto(credentials_, crypto::Part::kAppSecret, app_secret)
          : store_->OpenSecretInto(*component_, crypto::Part::kAppSecret, app_secret);
  if (!opened) crypto::Wipe(data);
  return opened;
}

Result<EightKeys> Release::Open() && {
  const storage::Credentials& row = credentials_.row;
  crypto::SecretBytes data(DataSize());
  crypto::SecretBytes app_secret(AppSecretSize());
  std::string app_key = AppKey();
  auto opened = data.Fill([&](std::span<std::uint8_t> data_bytes) {
    return app_secret.Fill([&](std::span<std::uint8_t> app_secret_bytes) {
      return std::move(*this).OpenInto(data_bytes, app_secret_bytes);
    });
  });
  if (!opened) return Fail(std::move(opened));
  return EightKeys{row.id.Str(),
                   row.authorized_for,
                   row.creator_id,
                   row.creator_description,
                   CreatedText(row.created_at_s),
                   crypto::CredentialsData(std::move(data)),
                   row.oauth_version,
                   std::move(app_key),
                   crypto::AppSecret(std::move(app_secret))};
}

void Reveal(access::Permit permit, const OauthId& id, const access::Caller& caller,
            std::string act, const storage::Store& store, audit::Trail& trail, RevealDone done) {
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
  entry.peer = caller.peer;
  entry.request_id = caller.request_id;

  Result<Reader::Found> found = Reader::Read(store, *project, *component, id);
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
  trail.Record(std::move(entry), [&store, found = std::move(*found), done = std::move(done)](
                                     Result<audit::Recorded> recorded) mutable {
    if (!recorded) return done(Fail(std::move(recorded)));
    done(Reader::Make(store, std::move(found), std::move(*recorded)));
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
