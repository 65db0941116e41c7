#pragma once

#include <cstddef>
#include <cstdint>

#include "crypto/sealed.h"
#include "crypto/secret.h"

namespace oauthvault::storage {

/// The vault of the tests.
inline constexpr crypto::VaultId kTestVault = {7, 7, 7};

/// A key whose bytes are `table`, `project` sixteen times, `component` eight times, and `name`.
inline crypto::RowKey KeyOf(std::uint8_t table, std::uint8_t project, std::uint8_t component,
                            std::uint64_t name) {
  crypto::RowKey key;
  key.bytes.fill(0);
  key.bytes[0] = table;
  for (std::size_t i = 1; i < 17; ++i) key.bytes[i] = project;
  for (std::size_t i = 17; i < 25; ++i) key.bytes[i] = component;
  for (std::size_t i = 0; i < 8; ++i) {
    key.bytes[25 + i] = static_cast<std::uint8_t>(name >> (8 * (7 - i)));
  }
  return key;
}

/// A sealed row of nothing in particular, with a meta part of `size_bytes`. Nobody opens it: its
/// key is thrown away.
inline crypto::SealedRow SealedRowOf(const crypto::RowKey& key, std::uint64_t record_version,
                                     std::size_t size_bytes = 20) {
  const crypto::Kek kek(crypto::RandomKey());
  const crypto::PlainParts parts{crypto::SecretBytes(size_bytes), std::nullopt, std::nullopt};
  return *crypto::SealRow(kek, 1, kTestVault, key, record_version, parts);
}

}  // namespace oauthvault::storage
