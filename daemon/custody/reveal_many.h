#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/custody/kept.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::custody {

/// What one oauth id of several came to: credentials, still sealed, or why there are none
/// (NotFound, Corrupt).
struct Sought {
  OauthId id;
  Result<Kept> kept;
};

/// Several credentials of one pair on their way out: what a Release is for one. They open one after
/// the other, so that whoever holds them needs one buffer for all. Threads: one.
class Releases {
 public:
  /// One for each id that was asked for, in that order.
  std::span<const Sought> Items() const { return items_; }

  /// Opens both secrets of an item that was found, in place. `data` has its DataSize() bytes,
  /// `app_secret` its AppSecretSize(). A secret that several have from their component is opened
  /// once, and then copied from where it was opened: that memory stays as it is until the last item
  /// is open. Errors: Corrupt; the memory is wiped then.
  Result<void> OpenInto(const Sought& item, std::span<std::uint8_t> data,
                        std::span<std::uint8_t> app_secret);

 private:
  friend class TogetherReleaser;
  Releases(const storage::Store& store, std::vector<Sought> items,
           std::vector<audit::Recorded> recorded)
      : store_(&store), items_(std::move(items)), recorded_(std::move(recorded)) {}

  const storage::Store* store_;
  std::vector<Sought> items_;
  std::vector<audit::Recorded> recorded_;
  std::span<const std::uint8_t> component_secret_;  // in the caller's memory; empty: not opened yet
};

/// Says whether the answer may be as large as these would make it. Errors: the caller's own, for
/// the whole call.
using MayLeave = std::move_only_function<Result<void>(std::span<const Sought>)>;
using RevealManyDone = std::move_only_function<void(Result<Releases>)>;

/// Reveal for several oauth ids, which differ: reads all sealed rows, asks `may_leave`, records one
/// line for each id (allowed, or failed with its code), all of them together, and hands over what
/// may then be opened. Where the whole call fails before that, one line says so, without an id.
/// `done` is called once, from this call (nothing was read) or from the trail's thread, after the
/// lines are durable. `permit` is for reveal on the pair; `act` names the method in the lines.
/// Errors, of the whole call: Denied (a permit for another right), Invalid (not for a pair), those
/// of `may_leave`, Unavailable (the store, the trail), Exhausted (too many lines wait).
void RevealMany(access::Permit permit, std::vector<OauthId> ids, const access::Caller& caller,
                std::string act, const storage::Store& store, audit::Trail& trail,
                MayLeave may_leave, RevealManyDone done);

}  // namespace oauthvault::custody
