#include "daemon/opening.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "crypto/slots.h"

namespace oauthvault {

std::expected<std::unique_ptr<crypto::Keyring>, Refusal> UnlockByKeyFile(const Config& config) {
  const std::filesystem::path key_file = config.KeyFile();
  std::error_code ignored;
  if (key_file.empty() || !std::filesystem::exists(key_file, ignored)) return nullptr;
  auto secret = crypto::ReadKeyFile(key_file);
  if (!secret) return Refuse(std::move(secret), kAboutKeyFile);
  auto keyring = crypto::Keyring::Unlock(config.KeysFile(), *secret);
  if (!keyring) return Refuse(std::move(keyring), kAboutKeys);
  return std::move(*keyring);
}

storage::LmdbSettings StoreSettings(const Config& config) {
  storage::LmdbSettings settings;
  settings.folder = config.StoreFolder();
  settings.map_size_bytes = config.store.map_size_mib << 20;
  // Each HTTP connection has a thread, and each of them may read; the default is for all others.
  settings.max_readers += config.http.max_connections;
  return settings;
}

}  // namespace oauthvault
