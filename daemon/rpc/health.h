#pragma once

#include <mutex>
#include <set>

#include "daemon/rpc/call.h"
#include "daemon/rpc/methods.h"

namespace oauthvault::rpc {

/// gRPC's health service, for the server as a whole: what it is asked about any service by name, it
/// does not know. Whoever gets through a door may ask. Threads: any.
class Health {
 public:
  /// `serves`: what it says until the end.
  explicit Health(bool serves) : serves_(serves) {}

  /// Adds its two methods. The object outlives the server.
  void AddTo(Methods& methods);
  /// Says NOT_SERVING from here on; whoever watches is told.
  void EndServing();

 private:
  class Watcher;
  void Check(Call& call);
  void Watch(Call& call);

  bool IsServing() const { return serves_ && !ended_; }

  const bool serves_;
  std::mutex guard_;  // guards the two below; taken before a watcher's own
  bool ended_ = false;
  std::set<Watcher*> watchers_;
};

}  // namespace oauthvault::rpc
