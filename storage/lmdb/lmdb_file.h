#pragma once

#include <lmdb.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "crypto/error.h"
#include "crypto/sealed.h"

/// What the engine and the check of a store both read of an LMDB file.
namespace oauthvault::storage {

/// The names of the files in a store's folder.
inline constexpr const char* kDataFile = "data.mdb";
inline constexpr const char* kReaderFile = "lock.mdb";

/// Closes an environment.
struct CloseEnv {
  void operator()(MDB_env* env) const { mdb_env_close(env); }
};
/// Ends a transaction without a commit.
struct AbortTxn {
  void operator()(MDB_txn* txn) const { mdb_txn_abort(txn); }
};
/// Closes a cursor, before its transaction ends.
struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};
/// LMDB's handles, each with its owner.
using Env = std::unique_ptr<MDB_env, CloseEnv>;
using Txn = std::unique_ptr<MDB_txn, AbortTxn>;
using Cursor = std::unique_ptr<MDB_cursor, CloseCursor>;

/// Bytes as LMDB takes them (what it only reads, too, through a pointer that is not const), and as
/// it gives them, valid until the transaction ends or writes.
inline MDB_val ValueOf(std::span<const std::uint8_t> bytes) {
  return {bytes.size(), const_cast<std::uint8_t*>(bytes.data())};
}
inline std::span<const std::uint8_t> BytesOf(const MDB_val& value) {
  return {static_cast<const std::uint8_t*>(value.mv_data), value.mv_size};
}

/// The error of a read that LMDB answered with `rc`: Corrupt (pages) or Unavailable.
std::unexpected<Error> ReadFailure(int rc);

/// Errors: as ReadFailure.
Result<Txn> Begin(MDB_env* env, unsigned flags);
Result<Cursor> OpenCursor(MDB_txn* txn, MDB_dbi rows);

/// What a file says of itself in clear. FORMAT.md, "Format row".
struct FormatRow {
  crypto::VaultId vault{};
  std::uint64_t generation = 0;
};

/// Whether it is the key of the format row.
bool IsFormatKey(std::span<const std::uint8_t> key);

/// The format row, or nullopt in a file that has none. Errors: Invalid (another program's file, or
/// another format), Corrupt, Unavailable.
Result<std::optional<FormatRow>> ReadFormatRow(MDB_txn* txn, MDB_dbi rows);

/// Writes it; 0, or LMDB's code.
int PutFormatRow(MDB_txn* txn, MDB_dbi rows, const FormatRow& format_row);

/// How many pages of the file are free for the next transaction. Pages that a read may still see,
/// and those that the last transaction gave up, are not. `txn` only reads. Errors: Corrupt,
/// Unavailable.
Result<std::uint64_t> CountFreePages(MDB_env* env, MDB_txn* txn);

}  // namespace oauthvault::storage
