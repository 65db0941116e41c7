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
/// Whether a row has the names that it was asked for by.
bool AreTheNames(const crypto::RowNames& names, const crypto::RowNames& asked);

/// A row that was read: its fields, its version, and the sealed whole from which secrets open, with
/// the key that opens them.
template <Row R>
struct Stored {
  R row;
  std::uint64_t version;
  crypto::RowKey key;
  crypto::SealedRow sealed;
  crypto::HeldPartKey part_key;
};

/// Opens the meta part of a row that was found under `key`, and checks the names in it: `belongs`
/// says whether a row of these names stands in the right place. Errors: Corrupt.
template <Row R, class Belongs>
Result<Stored<R>> OpenRow(const crypto::Keyring& keyring, const crypto::Owner& owner,
                          const crypto::RowKey& key, crypto::SealedRow sealed, Belongs belongs) {
  Result<crypto::HeldPartKey> part_key = keyring.PartKeyOf(owner, key, sealed);
  if (!part_key) return Fail(std::move(part_key));
  Result<crypto::SecretBytes> meta = keyring.Open(*part_key, key, sealed, crypto::Part::kMeta);
  if (!meta) return Fail(std::move(meta));
  Result<FieldReader> fields = FieldReader::Parse(std::move(*meta));
  if (!fields) return Fail(std::move(fields));
  Result<R> row = R::Decode(*fields);
  if (!row) return Fail(std::move(row));
  if (!belongs(row->Names())) {
    return Fail(Code::kCorrupt, "a row's names do not belong to the key it was found under");
  }
  const std::uint64_t version = sealed.RecordVersion();
  return Stored<R>{std::move(*row), version, key, std::move(sealed), std::move(*part_key)};
}

/// The same of a row whose names are not known before: they have to hash back to the key.
template <Row R>
Result<Stored<R>> OpenRow(const crypto::Keyring& keyring, const crypto::Owner& owner,
                          const crypto::RowKey& key, crypto::SealedRow sealed) {
  return OpenRow<R>(keyring, owner, key, std::move(sealed), [&](const crypto::RowNames& names) {
    return IsKeyOf(keyring, R::kTable, names, key);
  });
}

/// The same of a row whose key was made of the names `asked`, which saves hashing them again.
template <Row R>
Result<Stored<R>> OpenRow(const crypto::Keyring& keyring, const crypto::Owner& owner,
                          const crypto::RowKey& key, crypto::SealedRow sealed,
                          const crypto::RowNames& asked) {
  return OpenRow<R>(keyring, owner, key, std::move(sealed), [&](const crypto::RowNames& names) {
    return AreTheNames(names, asked);
  });
}

}  // namespace oauthvault::storage
