#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "crypto/error.h"
#include "daemon/access/principal.h"
#include "daemon/registry/grants.h"
#include "daemon/rivery/connections.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// Pauses of the propagation. Tests make them short.
struct PropagationSettings {
  /// After a call that failed; it doubles with each failure, up to `longest_pause`.
  std::chrono::milliseconds first_pause{5'000};
  std::chrono::milliseconds longest_pause{3'600'000};
};

/// So many connections wait in memory at one time; others are found in their rows when it is their
/// turn.
inline constexpr std::size_t kMaxWaitingConnections = 10'000;

/// Keeps connections in step with the credentials that they were made from: whatever changes
/// stored credentials (a put, a rollback, a new authorization), every connection that holds them
/// is written anew. What is to be done stands in the rows alone (a record version written that is
/// not the one stored), so a daemon that was killed goes on by itself.
///
/// Each write is decided anew, by the grants in force, for the principal that answers for the
/// connection. Calls that fail are tried again with growing pauses; an account that does not answer
/// holds up its own connections only, and one whose token is not taken waits until it is set anew
/// or checked. What would fail again and again is refused, which stands in the row until the
/// credentials change again or somebody updates the connection; a lost grant is asked for again at
/// each start, too.
///
/// One thread, one call at a time, so that no connection is written twice at once. Threads: all
/// members from any thread.
class Propagation {
 public:
  /// Wall clock in seconds since 1970.
  using Clock = std::function<std::int64_t()>;

  /// Listens to the store from here on until it ends: made and destroyed while nobody commits.
  Propagation(Connections& connections, storage::Store& store, const registry::Grants& grants,
              access::ReadPrincipal read_principal, PropagationSettings settings, Clock clock);
  ~Propagation();
  Propagation(const Propagation&) = delete;
  Propagation& operator=(const Propagation&) = delete;

  /// Starts the thread, which first reads the connections of all projects.
  void Start();
  /// Ends the thread after the call that is under way; idempotent.
  void Stop();

  /// Why the last write of a connection that is behind did not come about, for people; empty when
  /// none was tried.
  std::string TroubleOf(const storage::Connection& row) const;

  /// How many connections wait to be written.
  std::size_t WaitingCount() const;

 private:
  using Steady = std::chrono::steady_clock;
  struct Job {
    crypto::RowNames names;
    std::string account;
    Steady::time_point due;
    unsigned failures = 0;         // in a row; the pause grows with them
    std::string_view trouble = {};  // a literal
  };
  // Of an account that did not answer.
  struct Pause {
    Steady::time_point until;
    unsigned failures = 0;
  };
  using Pair = std::pair<std::string, std::string>;  // project and component; empty: all of them
  using Jobs = std::map<std::string, Job>;

  void Run();
  void Scan(const Pair& pair);
  Result<void> ScanProject(const std::string& project, const std::string& component);
  void Step(const std::string& key, const crypto::RowNames& names);
  void Refuse(const std::string& key, const storage::Stored<storage::Connection>& row,
              std::uint64_t version, std::string_view why, const access::Caller& caller);
  void Judge(const std::string& key, const storage::Stored<storage::Connection>& row,
             std::uint64_t version, const Failure& failure, const access::Caller& caller);
  bool Schedule(const crypto::RowNames& names);
  void Drop(const std::string& key);
  void PutOff(const std::string& key, std::string_view trouble);
  void PauseAccount(const std::string& key, const std::string& account, std::string_view trouble,
                    std::chrono::seconds at_least);
  void ResumeAccount(const std::string& account);
  Steady::duration PauseAfter(unsigned failures) const;
  Steady::time_point DueOf(const Job& job) const;
  void TouchPair(const crypto::RowNames& names);

  Connections& connections_;
  storage::Store& store_;
  const registry::Grants& grants_;
  const access::ReadPrincipal read_principal_;
  const PropagationSettings settings_;
  const Clock clock_;

  mutable std::mutex guard_;  // guards all below but the thread
  std::condition_variable wake_;
  std::set<Pair> touched_;  // to be scanned
  Jobs jobs_;
  std::map<std::string, Pause> pauses_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace oauthvault::rivery
