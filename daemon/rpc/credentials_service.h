#pragma once

#include "crypto/keyring.h"
#include "daemon/custody/changes.h"
#include "daemon/custody/inject.h"
#include "daemon/custody/store.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/ticker.h"
#include "daemon/rpc/workers.h"
#include "oauthvault/v1/credentials.pb.h"
#include "storage/tables/store.h"

namespace oauthvault::rpc {

/// credentials.proto. Reveal, RevealMany and Inject write their answer's bytes once, into memory
/// that wipes itself when gRPC lets go of it; they are exactly those of the message. RevealMany
/// stands in reveal_many.cc, Watch in watch_credentials.cc.
class CredentialsService final {
 public:
  CredentialsService(const Edge& edge, Workers& workers, crypto::Keyring& keyring,
                     storage::Store& store, custody::KeptVersions kept_versions,
                     custody::Changes& changes, Ticker& ticker)
      : edge_(edge), workers_(workers), keyring_(keyring), store_(store),
        kept_versions_(kept_versions), changes_(changes), ticker_(ticker) {}

  /// Adds its methods. The object outlives the server.
  void AddTo(Methods& methods);

 private:
  void Store(Call& call);
  void Describe(Call& call);
  void Reveal(Call& call);
  void RevealMany(Call& call);
  void Watch(Call& call);
  void Inject(Call& call);
  void Encrypt(Call& call);
  void List(Call& call);
  void Delete(Call& call);
  void ListVersions(Call& call);
  void RollBack(Call& call);
  void Prune(Call& call);
  void InjectNow(Call& call, Admitted admitted, custody::Injection injection);

  const Edge& edge_;
  Workers& workers_;
  crypto::Keyring& keyring_;
  storage::Store& store_;
  const custody::KeptVersions kept_versions_;
  custody::Changes& changes_;
  Ticker& ticker_;
};

}  // namespace oauthvault::rpc
