#pragma once

#include <expected>
#include <memory>
#include <string>

#include "crypto/keyring.h"
#include "daemon/config.h"
#include "daemon/refusal.h"
#include "storage/lmdb/lmdb_engine.h"

namespace oauthvault {

/// A vault that was opened, and by what.
struct Opening {
  std::unique_ptr<crypto::Keyring> keyring;  ///< null: the daemon was told to end
  std::string how;                           ///< for the trail
};

/// The keyring that the key file opens; null where none is configured or nothing is at its place.
std::expected<std::unique_ptr<crypto::Keyring>, Refusal> UnlockByKeyFile(const Config& config);

/// The settings of the store in `state`.
storage::LmdbSettings StoreSettings(const Config& config);

}  // namespace oauthvault
