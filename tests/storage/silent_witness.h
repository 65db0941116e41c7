#pragma once

#include <vector>

#include "storage/engine.h"

namespace oauthvault::storage {

/// Takes part in nothing: for tests of an engine alone.
class SilentWitness final : public Witness {
 public:
  Result<void> Settle() override { return {}; }
  Result<std::vector<Change>> Attest(const Transaction&, const Look&) override {
    return std::vector<Change>();
  }
  Result<void> Announce(const Transaction&) override { return {}; }
};

}  // namespace oauthvault::storage
