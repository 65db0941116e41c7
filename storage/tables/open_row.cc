#include "storage/tables/open_row.h"

#include "crypto/sabotage.h"

namespace oauthvault::storage {

bool IsKeyOf(const crypto::Keyring& keyring, TableId table, const crypto::RowNames& names,
             const crypto::RowKey& key) {
  return keyring.KeyOf(static_cast<std::uint8_t>(table), names) == key ||
         crypto::IsSabotaged(crypto::Sabotage::kNoAad);
}

bool AreTheNames(const crypto::RowNames& names, const crypto::RowNames& asked) {
  return names == asked || crypto::IsSabotaged(crypto::Sabotage::kNoAad);
}

}  // namespace oauthvault::storage
