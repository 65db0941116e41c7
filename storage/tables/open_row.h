#pragma once

#include <cstdint>
#include <utility>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "crypto/sealed.h"
#include "storage/tables/rows.h"

namespace oauthvault::storage {

/// Whether a row of these names belongs under `key`.
bool IsKeyOf(const crypto::Keyring& keyring, TableId table, const crypto::RowNames& names,
             const crypto::RowKey& key);

/// Opens the meta part of a row that was found under `key`, and checks that the names in it hash
/// back to that key. Errors: Corrupt.
template <Row R>
Result<R> OpenRow(const crypto::Keyring& keyring, const crypto::Owner& owner,
                  const crypto::RowKey& key, const crypto::SealedRow& sealed) {
  Result<crypto::SecretBytes> meta = keyring.Open(owner, key, sealed, crypto::Part::kMeta);
  if (!meta) return Fail(std::move(meta));
  Result<FieldReader> fields = FieldReader::Parse(*meta);
  if (!fields) return Fail(std::move(fields));
  Result<R> row = R::Decode(*fields);
  if (!row) return Fail(std::move(row));
  if (!IsKeyOf(keyring, R::kTable, row->Names(), key)) {
    return Fail(Code::kCorrupt, "a row's names do not belong to the key it was found under");
  }
  return row;
}

}  // namespace oauthvault::storage
