#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "storage/engine.h"
#include "storage/tables/act.h"
#include "storage/tables/rows.h"

namespace oauthvault::storage {

/// One batch that is durable: its number and why it was committed.
struct Committed {
  std::uint64_t generation = 0;
  Act act;
};

/// Keeps the anchor and the summaries true: adds them to every transaction, and has its acts
/// recorded outside of the store before anybody is told of it. While an act is not recorded no
/// transaction begins, so the store is at most one ahead of the record. FORMAT.md, "Anchor".
/// Threads: as Witness.
class Ledger final : public Witness {
 public:
  /// Makes the lines about commits of an epoch durable. May be asked again for lines of which it
  /// said that they are not. Errors: Unavailable, Exhausted.
  using Record =
      std::function<Result<void>(std::uint64_t epoch, std::span<const Committed> committed)>;

  /// How the first transaction after a restore begins: in a new epoch, behind what the record ends
  /// with instead of what stands in the store.
  struct Restart {
    std::uint64_t epoch = 0;
    Position previous;
  };

  Ledger(const crypto::Keyring& keyring, Record record, std::optional<Restart> restart = {})
      : keyring_(keyring), record_(std::move(record)), restart_(restart) {}

  Result<void> Settle() override;
  Result<std::vector<Change>> Attest(const Transaction& transaction, const Look& look) override;
  Result<void> Announce(const Transaction& transaction) override;

 private:
  template <Row R>
  struct Standing {
    std::optional<R> row;
    std::uint64_t version = 0;  // 0: not there
    crypto::RowKey key;
  };
  template <Row R>
  Result<Standing<R>> Read(const crypto::RowNames& names, const Look& look) const;
  template <Row R>
  Result<Change> Write(const Standing<R>& standing, const R& row) const;

  const crypto::Keyring& keyring_;
  const Record record_;
  std::optional<Restart> restart_;
  std::uint64_t epoch_ = 0;           // of the transaction that was attested last
  std::vector<Committed> attested_;    // of that transaction, which may come to nothing
  std::vector<Committed> unrecorded_;  // durable, and not yet recorded
};

/// The commits of the transaction that wrote `anchor`. Errors: Corrupt.
Result<std::vector<Committed>> CommitsOf(const Anchor& anchor);

}  // namespace oauthvault::storage
