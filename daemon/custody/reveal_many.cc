#include "daemon/custody/reveal_many.h"

#include <cstring>

#include "daemon/custody/entry.h"

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

audit::Entry EntryOf(const Sought& item, audit::Entry entry) {
  entry.oauth_id = item.id.Str();
  if (item.kept) {
    SayAllowed(*item.kept, entry);
  } else {
    SayFailed(item.kept.error(), entry);
  }
  return entry;
}

}  // namespace

Result<void> Releases::OpenInto(const Sought& item, std::span<std::uint8_t> data,
                                std::span<std::uint8_t> app_secret) {
  const Kept& kept = *item.kept;
  const bool is_shared =
      !app_secret.empty() && !kept.credentials.sealed.Has(crypto::Part::kAppSecret);
  const bool is_copied = is_shared && !component_secret_.empty();
  auto opened = kept.OpenInto(*store_, data, is_copied ? std::span<std::uint8_t>() : app_secret);
  if (!opened) return opened;
  if (is_copied) {
    // They were read together, so it is the same row of the component.
    std::memcpy(app_secret.data(), component_secret_.data(), app_secret.size());
  } else if (is_shared) {
    component_secret_ = app_secret;
  }
  return {};
}

void RevealMany(access::Permit permit, std::vector<OauthId> ids, const access::Caller& caller,
                std::string act, const storage::Store& store, audit::Trail& trail,
                MayLeave may_leave, RevealManyDone done) {
  if (permit.What() != access::Right::kReveal) {
    return done(Fail(Code::kDenied, "several credentials leave together for reveal only"));
  }
  const auto pair = permit.Where().AsPair();
  if (!pair) return done(std::unexpected(pair.error()));

  audit::Entry common = EntryFor(permit, caller, std::move(act));
  const std::size_t count = ids.size();
  Result<std::vector<Sought>> items = Seek(*pair, std::move(ids), store);
  const Result<void> may = items ? may_leave(*items) : Fail(std::move(items));
  if (!may) {
    common.object = "ids:" + std::to_string(count);
    return FailRecorded(trail, std::move(common), may.error(), std::move(done));
  }
  std::vector<audit::Entry> entries;
  entries.reserve(count);
  for (const Sought& item : *items) entries.push_back(EntryOf(item, common));
  trail.RecordTogether(std::move(entries),
                       [&store, items = std::move(*items), done = std::move(done)](
                           Result<std::vector<audit::Recorded>> recorded) mutable {
                         if (!recorded) return done(Fail(std::move(recorded)));
                         done(TogetherReleaser::Make(store, std::move(items),
                                                     std::move(*recorded)));
                       });
}

}  // namespace oauthvault::custody
