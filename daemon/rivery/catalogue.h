#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "daemon/rivery/accounts.h"
#include "daemon/rivery/client.h"
#include "daemon/rivery/rate.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// What an account can connect to, as Rivery said at one time. Immutable.
struct Listing {
  std::vector<ConnectionType> types;  ///< sorted by connection type
  std::chrono::steady_clock::time_point read_at;
};

/// A wrong name is answered with at most so many right ones.
inline constexpr std::size_t kMaxNearest = 3;
/// The names among `known` that are nearest to `wrong` by edit distance (Levenshtein), nearest
/// first, none that is further away than half of its length. Pure.
std::vector<std::string> Nearest(std::string_view wrong, std::span<const std::string> known);

/// Catalogues of so many accounts are kept; beyond that the oldest one goes.
inline constexpr std::size_t kMaxListings = 64;

/// The catalogues of the accounts, read when they are needed and kept for a time. Names are checked
/// here before anything is sent: Rivery takes a wrong property with a success and drops it, and a
/// person would consent in vain to a datasource without the flow. Threads: any.
class Catalogue {
 public:
  /// How long a catalogue is good, and what is done without one.
  struct Settings {
    std::chrono::seconds max_age{3'600};
    /// Whether names go unchecked, with a warning in the log, where there is no catalogue to check
    /// them by. Off: what is sent unchecked may be lost without anybody noticing, and a catalogue
    /// that was read once is used on through an outage anyway.
    bool allow_unchecked = false;
  };
  Catalogue(const Client& client, Rate& rate, Settings settings)
      : client_(client), rate_(rate), settings_(settings) {}

  /// Makes the line in the trail before the API token leaves; not called where nothing does.
  using Announce = std::function<Result<void>()>;

  /// `refresh`: not the one that is kept. One that cannot be read anew is the old one, if there is
  /// one and `refresh` is not asked for. Errors: those of Rivery and of `announce`.
  Reply<std::shared_ptr<const Listing>> Types(const AccountId& id, const OpenAccount& account,
                                              bool refresh, const Announce& announce);

  /// The names of a component, before an authorization (`datasource`) or a connection. Errors:
  /// Invalid: a name that is not in the catalogue, or a datasource without the flow; the subject
  /// has the nearest right ones. Unauthenticated: Rivery does not take the token. Unavailable:
  /// there is no catalogue to check by, and going on without is not allowed.
  struct Names {
    std::string connection_type;
    std::optional<std::string> datasource;
  };
  Result<void> Check(const AccountId& id, const OpenAccount& account, const Names& names,
                     const Announce& announce);

 private:
  struct Kept {
    std::uint64_t account_version = 0;  // another token or URL is another catalogue
    std::shared_ptr<const Listing> listing;
  };

  const Client& client_;
  Rate& rate_;
  const Settings settings_;
  std::mutex guard_;  // guards kept_
  std::map<AccountId, Kept> kept_;
};

}  // namespace oauthvault::rivery
