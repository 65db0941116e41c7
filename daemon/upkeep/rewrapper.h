#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "storage/tables/store.h"

namespace oauthvault::upkeep {

/// Brings rows under their owner's newest key, behind everything else: a page a commit, data keys
/// only, no payload is opened. A row in the store says that an owner is being rewrapped, so a
/// daemon that was killed goes on; a pass begins anew then, as rows that are done cost a look only.
/// An owner is done after a pass that met nothing to do: a write that was sealed under the older
/// key may come in behind the first. Owners take turns, so that one with a damaged row, which is
/// tried again from time to time, does not keep the others. Owns one thread. Threads: all members
/// from any thread.
class Rewrapper {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;

  Rewrapper(storage::Store& store, crypto::Keyring& keyring, Clock clock)
      : store_(store), keyring_(keyring), clock_(std::move(clock)) {}
  ~Rewrapper() { Stop(); }
  Rewrapper(const Rewrapper&) = delete;
  Rewrapper& operator=(const Rewrapper&) = delete;

  /// Finds what is unfinished and starts the thread, which also takes what comes later. Errors:
  /// Corrupt and Unavailable: some of what is unfinished was not found; the thread runs.
  Result<void> Start();
  /// Ends the thread after the page that is under way; idempotent.
  void Stop();

  /// Makes the owner's next key and rewraps its rows. What is to be done is committed first, with
  /// `act`, whose object becomes the owner. Gives the new version. Errors: NotFound (the owner has
  /// no key), Exhausted, Unavailable.
  Result<std::uint32_t> Rotate(const crypto::Owner& owner, storage::Act act);

  /// Rewraps all owners that have had more than one key; how many. Errors: as Rotate.
  Result<std::uint32_t> RewrapAll(const storage::Act& act);

  /// How far it is with an owner.
  struct Progress {
    crypto::Owner owner;
    std::uint32_t version = 0;
    std::uint64_t looked_at = 0;  ///< in this pass
    std::uint64_t rewrapped = 0;  ///< in all passes
    std::int64_t started_at_s = 0;
  };
  std::vector<Progress> Running() const;

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  using Key = std::pair<crypto::OwnerKind, std::string>;
  struct Job {
    Progress progress;
    std::string started_by;
    std::string next;           // the page to look at
    bool met_work = false;      // in this pass
    bool again = false;         // a new key came during the pass
    SteadyTime not_before;      // after a failure
    std::optional<Code> failed; // with which it last failed: told once
  };
  // How a page went.
  enum class Stepped : std::uint8_t { kPage, kPassEnded, kDone, kFailed };

  Result<void> FindUnfinished();
  Result<void> Note(const crypto::Owner& owner, storage::Act act);
  void Enqueue(const crypto::Owner& owner, std::string started_by, std::int64_t started_at_s);
  void Run();
  std::map<Key, Job>::iterator NextJob();
  Stepped Step(Job& job);
  bool Finish(const Key& key, const Job& job);

  storage::Store& store_;
  crypto::Keyring& keyring_;
  const Clock clock_;
  std::mutex noting_;         // a row that says what is to do, and its job, come and go together
  mutable std::mutex guard_;  // guards jobs_ and stopping_; taken after noting_
  std::condition_variable wake_;
  std::map<Key, Job> jobs_;
  Key last_;  // whose turn it was; the thread's own
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace oauthvault::upkeep
