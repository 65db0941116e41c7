#include "daemon/rivery/catalogue.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "daemon/rivery/failure.h"
#include "storage/names.h"

namespace oauthvault::rivery {
namespace {

// Names of a catalogue that have the form of an id are public, and may stand in an error.
struct CatalogueTag {
  static constexpr const char* kName = "catalogue";
};
using CatalogueName = Id<CatalogueTag>;

// Some of them, as one subject: `a, b`.
class CatalogueNames {
 public:
  static constexpr bool kPublicName = true;
  void Add(const CatalogueName& name) {
    text_.append(text_.empty() ? "" : ", ").append(name.Str());
  }
  const std::string& Str() const { return text_; }

 private:
  std::string text_;
};

// Levenshtein, in one row.
std::size_t DistanceBetween(std::string_view one, std::string_view other) {
  std::vector<std::size_t> row(other.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < one.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t k = 0; k < other.size(); ++k) {
      const std::size_t replaced = diagonal + (one[i] == other[k] ? 0 : 1);
      diagonal = row[k + 1];
      row[k + 1] = std::min({replaced, row[k] + 1, row[k + 1] + 1});
    }
  }
  return row.back();
}

// The nearest names, where they have the form of one.
Subject NearestAsSubject(std::string_view wrong, std::span<const std::string> known) {
  CatalogueNames names;
  for (const std::string& name : Nearest(wrong, known)) {
    if (const auto parsed = CatalogueName::Parse(name)) names.Add(*parsed);
  }
  return names;
}

}  // namespace

std::vector<std::string> Nearest(std::string_view wrong, std::span<const std::string> known) {
  std::vector<std::pair<std::size_t, std::string_view>> near;
  for (const std::string_view name : std::set<std::string_view>(known.begin(), known.end())) {
    const std::size_t distance = DistanceBetween(wrong, name);
    if (2 * distance <= std::max(wrong.size(), name.size())) near.emplace_back(distance, name);
  }
  std::ranges::sort(near);
  if (near.size() > kMaxNearest) near.resize(kMaxNearest);
  std::vector<std::string> names;
  for (const auto& [distance, name] : near) names.emplace_back(name);
  return names;
}

Reply<std::shared_ptr<const Listing>> Catalogue::Types(const AccountId& id,
                                                       const OpenAccount& account, bool refresh,
                                                       const Announce& announce) {
  const auto now = std::chrono::steady_clock::now();
  std::shared_ptr<const Listing> old;
  {
    const std::lock_guard lock(guard_);
    const auto kept = kept_.find(id);
    if (kept != kept_.end() && kept->second.account_version == account.version) {
      old = kept->second.listing;
    }
  }
  if (old && !refresh && now - old->read_at < settings_.max_age) return old;
  const auto read = [&]() -> Reply<std::vector<ConnectionType>> {
    auto turn = rate_.TakeNow(id, Purpose::kOnward);
    if (!turn) return std::unexpected(NotSent(std::move(turn.error())));
    if (auto told = announce(); !told) return std::unexpected(NotSent(std::move(told.error())));
    return client_.Types(account.AsEndpoint(*turn));
  };
  auto types = read();
  if (!types) {
    if (!old || refresh) return std::unexpected(std::move(types.error()));
    spdlog::warn("a catalogue cannot be read anew, so the old one is used account={} code={}",
                 id.Str(), NameOf(types.error().error.GetCode()));
    return old;
  }
  std::ranges::sort(*types, {}, &ConnectionType::connection_type);
  auto listing = std::make_shared<const Listing>(std::move(*types), now);
  const std::lock_guard lock(guard_);
  if (!kept_.contains(id) && kept_.size() >= kMaxListings) {
    kept_.erase(std::ranges::min_element(kept_, {}, [](const auto& kept) {
      return kept.second.listing->read_at;
    }));
  }
  kept_.insert_or_assign(id, Kept{account.version, listing});
  return listing;
}

Result<void> Catalogue::Check(const AccountId& id, const OpenAccount& account,
                              const Names& names, const Announce& announce) {
  auto listing = Types(id, account, false, announce);
  if (!listing) {
    // With this token nothing else would come about either.
    if (listing.error().error.GetCode() == Code::kUnauthenticated) {
      return std::unexpected(std::move(listing.error().error));
    }
    if (!settings_.allow_unchecked) {
      return Fail(Code::kUnavailable,
                  "the catalogue cannot be read, so nothing is sent unchecked; check the account, "
                  "or allow it with rivery.allow_unchecked",
                  id);
    }
    spdlog::warn("names are not checked, as the catalogue cannot be read account={} code={}",
                 id.Str(), NameOf(listing.error().error.GetCode()));
    return {};
  }
  const std::vector<ConnectionType>& types = (*listing)->types;
  if (std::ranges::find(types, names.connection_type, &ConnectionType::connection_type) ==
      types.end()) {
    std::vector<std::string> known;
    for (const ConnectionType& type : types) known.push_back(type.connection_type);
    return Fail(Code::kInvalid,
                "Rivery has no connection type of the component's name; the nearest are",
                NearestAsSubject(names.connection_type, known));
  }
  if (!names.datasource) return {};
  std::vector<std::string> known;
  bool is_there = false;
  bool has_flow = false;
  for (const ConnectionType& type : types) {
    if (type.oauth2) known.push_back(type.datasource_id);
    if (type.datasource_id != *names.datasource) continue;
    is_there = true;
    has_flow = has_flow || type.oauth2;
  }
  if (!is_there) {
    return Fail(Code::kInvalid,
                "Rivery has no datasource of the component's name; the nearest that authorize are",
                NearestAsSubject(*names.datasource, known));
  }
  if (!has_flow) {
    return Fail(Code::kInvalid,
                "this datasource has no OAuth2 authorization in Rivery; make a connection of it "
                "there, and adopt that");
  }
  return {};
}

}  // namespace oauthvault::rivery
