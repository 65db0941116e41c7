// Prints the private key of a vault's CA, PEM, so that the memory of the daemon can be searched for
// it: ca_key FOLDER TRUST_DOMAIN, with `key`, `state` and `audit` in the folder, while no daemon
// serves it.
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>

#include "crypto/keyring.h"
#include "crypto/secret.h"
#include "crypto/slots.h"
#include "daemon/audit/trail.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/store.h"

namespace oauthvault::faults {
namespace {

constexpr std::size_t kMapSizeBytes = std::size_t{8} << 20U;

Result<void> Print(const std::filesystem::path& folder, const std::string& trust_domain) {
  if (auto ready = crypto::Prepare(); !ready) return Fail(std::move(ready));
  auto secret = crypto::ReadKeyFile(folder / "key");
  if (!secret) return Fail(std::move(secret));
  auto keyring = crypto::Keyring::Unlock(folder / "state" / "keys", *secret);
  if (!keyring) return Fail(std::move(keyring));
  auto trail = audit::Trail::Open(folder / "audit", (*keyring)->AuditKey(), [] { return 0; });
  if (!trail) return Fail(std::move(trail));
  storage::LmdbSettings settings;
  settings.folder = folder / "state" / "store";
  settings.map_size_bytes = kMapSizeBytes;
  settings.preallocate = false;
  storage::Ledger ledger(**keyring, audit::RecorderOf(**trail));
  auto engine = storage::OpenLmdbStore(settings, (*keyring)->Id(), ledger);
  if (!engine) return Fail(std::move(engine));
  const storage::Store store(**engine, **keyring);
  auto row = store.Get<storage::Authority>(storage::Authority::Names(trust_domain));
  if (!row) return Fail(std::move(row));
  auto key = store.OpenSecret(*row, crypto::Part::kData);
  if (!key) return Fail(std::move(key));
  key->Expose([](std::span<const std::uint8_t> pem) {
    return std::fwrite(pem.data(), 1, pem.size(), stdout);
  });
  return {};
}

}  // namespace
}  // namespace oauthvault::faults

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  auto printed = oauthvault::faults::Print(argv[1], argv[2]);
  if (!printed) std::fprintf(stderr, "ca_key: %s\n", printed.error().Message().c_str());
  return printed ? 0 : 1;
}
