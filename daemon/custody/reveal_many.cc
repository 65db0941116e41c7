#include "daemon/custody/reveal_many.h"

#include <cstring>

#include "daemon/custody/fingerprints.h"

namespace oauthvault::custody {

/// Makes the Releases of what was read, once all of it is recorded.
class TogetherReleaser {
 public:
  static Releases Make(const storage::Store& store, std::vector<Sought> items,
                       std::vector<audit::Recorded> recorded) {
    return Releases(store, std::move(items), std::move(recorded));
  }
};

namespace {

Result<std::vector<Sought>> Seek(const access::PairIds& pair, std::vector<OauthId> ids,
                                 const storage::Store& store) {
  auto each = ReadKeptEach(store, pair.project, pair.component, ids);
  if (!each) return Fail(std::move(each));
  std::vector<Sought> items;
  items.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    items.push_back({std::move(ids[i]), std::move((*each)[i])});
  }
  return items;
}

audit::Entry EntryFor(const Sought& item, audit::Entry entry) {
  entry.oauth_id = item.id.Str();
  if (!item.kept) {
    entry.outcome = audit::Outcome::kFailed;
    entry.code = NameOf(item.kept.error().GetCode());
    return entry;
  }
  entry.outcome = audit::Outcome::kAllowed;
  entry.version = item.kept->credentials.version;
  entry.fingerprints = TextOf(item.kept->credentials.row.fingerprints);
  return entry;
}

}  // namespace

Result<void> Releases::OpenInto(const Sought& item, std::span<std::uint8_t> data,
                                std::span<std::uint8_t> app_secret) {
  const Kept& kept = *item.kept;
  auto opened = store_->OpenSecretInto(kept.credentials, crypto::Part::kData, data);
  if (!opened || app_secret.empty()) return opened;
  const bool is_own = kept.credentials.sealed.Has(crypto::Part::kAppSecret);
  if (is_own) {
    opened = store_->OpenSecretInto(kept.credentials, crypto::Part::kAppSecret, app_secret);
  } else if (component_secret_.empty()) {
    opened = store_->OpenSecretInto(*kept.component, crypto::Part::kAppSecret, app_secret);
    if (opened) component_secret_ = app_secret;
  } else {
    // They were read together, so it is the same row of the component.
    std::memcpy(app_secret.data(), component_secret_.data(), app_secret.size());
  }
  if (!opened) crypto::Wipe(data);
  return opened;
}

void RevealMany(access::Permit permit, std::vector<OauthId> ids, const access::Caller& caller,
                std::string act, const storage::Store& store, audit::Trail& trail,
                MayLeave may_leave, RevealManyDone done) {
  if (permit.What() != access::Right::kReveal) {
    return done(Fail(Code::kDenied, "several credentials leave together for reveal only"));
  }
  const auto pair = permit.Where().AsPair();
  if (!pair) return done(std::unexpected(pair.error()));

  audit::Entry common;
  common.act = std::move(act);
  common.principal = permit.Who().Str();
  common.right = access::NameOf(permit.What());
  common.project = permit.Where().project;
  common.component = permit.Where().component;
  common.peer = caller.peer;
  common.request_id = caller.request_id;

  const std::size_t count = ids.size();
  Result<std::vector<Sought>> items = Seek(*pair, std::move(ids), store);
  const Result<void> may = items ? may_leave(*items) : Fail(std::move(items));
  if (!may) {
    common.outcome = audit::Outcome::kFailed;
    common.code = NameOf(may.error().GetCode());
    common.object = "ids:" + std::to_string(count);
    trail.Record(std::move(common), [error = may.error(), done = std::move(done)](
                                        Result<audit::Recorded> recorded) mutable {
      if (!recorded) return done(Fail(std::move(recorded)));
      done(std::unexpected(std::move(error)));
    });
    return;
  }
  std::vector<audit::Entry> entries;
  entries.reserve(count);
  for (const Sought& item : *items) entries.push_back(EntryFor(item, common));
  trail.RecordTogether(std::move(entries),
                       [&store, items = std::move(*items), done = std::move(done)](
                           Result<std::vector<audit::Recorded>> recorded) mutable {
                         if (!recorded) return done(Fail(std::move(recorded)));
                         done(TogetherReleaser::Make(store, std::move(items),
                                                     std::move(*recorded)));
                       });
}

}  // namespace oauthvault::custody
