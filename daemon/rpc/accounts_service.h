#pragma once

#include "daemon/rivery/catalogue.h"
#include "daemon/rivery/client.h"
#include "daemon/rivery/rate.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/accounts.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// accounts.proto: Rivery accounts, and what their catalogue offers.
class AccountsService final {
 public:
  /// `rivery_workers` run what waits for Rivery.
  AccountsService(const Edge& edge, Workers& workers, Workers& rivery_workers,
                  storage::Store& store, const rivery::Client& client, rivery::Rate& rate,
                  rivery::Catalogue& catalogue, rivery::Reach reach)
      : edge_(edge), workers_(workers), rivery_workers_(rivery_workers), store_(store),
        client_(client), rate_(rate), catalogue_(catalogue), reach_(reach) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Set(Call& call);
  void Get(Call& call);
  void List(Call& call);
  void Check(Call& call);
  void ListTypes(Call& call);

  const Edge& edge_;
  Workers& workers_;
  Workers& rivery_workers_;
  storage::Store& store_;
  const rivery::Client& client_;
  rivery::Rate& rate_;
  rivery::Catalogue& catalogue_;
  const rivery::Reach reach_;
};

}  // namespace oauthvault::rpc
