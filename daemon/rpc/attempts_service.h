#pragma once

#include <chrono>

#include "daemon/rivery/attempts.h"
#include "daemon/rivery/catalogue.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/ticker.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/attempts.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// A stream decides again at least this often, also when nothing happens on it.
inline constexpr std::chrono::seconds kStreamDecisionInterval{10};

/// attempts.proto: durable runs of the Rivery flow.
class AttemptsService final {
 public:
  /// `rivery_workers` run what may wait for Rivery.
  AttemptsService(const Edge& edge, Workers& workers, Workers& rivery_workers,
                  const storage::Store& store, rivery::Attempts& attempts,
                  rivery::Catalogue& catalogue, Ticker& ticker)
      : edge_(edge), workers_(workers), rivery_workers_(rivery_workers), store_(store),
        attempts_(attempts), catalogue_(catalogue), ticker_(ticker) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Authorize(Call& call);
  void Connect(Call& call);
  void Get(Call& call);
  void GetLink(Call& call);
  void List(Call& call);
  void Watch(Call& call);
  void Cancel(Call& call);
  void Resume(Call& call);

  const Edge& edge_;
  Workers& workers_;
  Workers& rivery_workers_;
  const storage::Store& store_;
  rivery::Attempts& attempts_;
  rivery::Catalogue& catalogue_;
  Ticker& ticker_;
};

}  // namespace oauthvault::rpc
