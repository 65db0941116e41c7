#include "storage/lmdb/lmdb_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "crypto/fields.h"
#include "storage/lmdb/lmdb_engine.h"

namespace oauthvault::storage {
namespace {

// FORMAT.md, "Format row". Its key is shorter than any row key, and sorts before all.
constexpr std::array<std::uint8_t, 1> kFormatKey = {0};
constexpr std::array<std::uint8_t, 8> kFormatMark = {'o', 'v', 's', 't', 'o', 'r', 'e', 0};
constexpr std::size_t kFormatNumberAt = kFormatMark.size();
constexpr std::size_t kVaultIdAt = kFormatNumberAt + 4;
constexpr std::size_t kGenerationAt = kVaultIdAt + crypto::kVaultIdSize;
constexpr std::size_t kFormatRowSize = kGenerationAt + 8;

// LMDB lists its free pages in a database of its own, under the number of the transaction that gave
// them up. Each list begins with its length.
constexpr MDB_dbi kFreePages = 0;

// LMDB tells of its readers in text only, a line for each: process, thread, transaction; a dash
// where the last is none.
int LowerToReader(const char* line, void* context) {
  const std::string_view text(line);
  const std::size_t last = text.find_last_of(' ') + 1;
  std::size_t number = 0;
  if (std::from_chars(text.data() + last, text.data() + text.size(), number).ec == std::errc()) {
    auto& oldest = *static_cast<std::size_t*>(context);
    oldest = std::min(oldest, number);
  }
  return 0;
}

}  // namespace

std::unexpected<Error> ReadFailure(int rc) {
  switch (rc) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_CURSOR_FULL:
    case MDB_INCOMPATIBLE:  // of a compact copy that met fewer or more pages than there should be
      return Fail(Code::kCorrupt, "the pages of the store are damaged");
    case MDB_READERS_FULL: return Fail(Code::kUnavailable, "too many reads at one time");
    default: return Fail(Code::kUnavailable, "the store cannot be read", Subject::Number(rc));
  }
}

Result<Txn> Begin(MDB_env* env, unsigned flags) {
  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env, nullptr, flags, &txn); rc != 0) return ReadFailure(rc);
  return Txn(txn);
}

Result<Cursor> OpenCursor(MDB_txn* txn, MDB_dbi rows) {
  MDB_cursor* cursor = nullptr;
  if (const int rc = mdb_cursor_open(txn, rows, &cursor); rc != 0) return ReadFailure(rc);
  return Cursor(cursor);
}

bool IsFormatKey(std::span<const std::uint8_t> key) { return std::ranges::equal(key, kFormatKey); }

Result<std::optional<FormatRow>> ReadFormatRow(MDB_txn* txn, MDB_dbi rows) {
  MDB_val key = ValueOf(kFormatKey);
  MDB_val value{};
  const int rc = mdb_get(txn, rows, &key, &value);
  if (rc == MDB_NOTFOUND) return std::optional<FormatRow>();
  if (rc != 0) return ReadFailure(rc);
  const std::span<const std::uint8_t> bytes = BytesOf(value);
  if (bytes.size() < kVaultIdAt ||
      !std::equal(kFormatMark.begin(), kFormatMark.end(), bytes.begin())) {
    return Fail(Code::kInvalid, "the file holds something else than a store of this program");
  }
  // The number comes before anything else: what follows it belongs to that format.
  const auto format = crypto::FromLittleEndian<std::uint32_t>(bytes.subspan(kFormatNumberAt));
  if (format != kStoreFormat) {
    return Fail(Code::kInvalid, "the store has a format that this version does not read",
                Subject::Number(format));
  }
  if (bytes.size() != kFormatRowSize) {
    return Fail(Code::kCorrupt, "the format row of the store has a wrong size");
  }
  FormatRow found;
  std::copy_n(bytes.begin() + kVaultIdAt, found.vault.size(), found.vault.begin());
  found.generation = crypto::FromLittleEndian<std::uint64_t>(bytes.subspan(kGenerationAt));
  return found;
}

int PutFormatRow(MDB_txn* txn, MDB_dbi rows, const FormatRow& format_row) {
  std::array<std::uint8_t, kFormatRowSize> bytes{};
  std::copy(kFormatMark.begin(), kFormatMark.end(), bytes.begin());
  std::ranges::copy(crypto::LittleEndian(kStoreFormat), bytes.begin() + kFormatNumberAt);
  std::copy(format_row.vault.begin(), format_row.vault.end(), bytes.begin() + kVaultIdAt);
  std::ranges::copy(crypto::LittleEndian(format_row.generation), bytes.begin() + kGenerationAt);
  MDB_val key = ValueOf(kFormatKey);
  MDB_val value = ValueOf(bytes);
  return mdb_put(txn, rows, &key, &value, 0);
}

Result<std::uint64_t> CountFreePages(MDB_env* env, MDB_txn* txn) {
  // LMDB itself takes pages that were given up before the last transaction, and before any that a
  // reader looks at.
  MDB_envinfo info{};
  mdb_env_info(env, &info);
  std::size_t oldest = info.me_last_txnid;
  mdb_reader_list(env, LowerToReader, &oldest);

  Result<Cursor> cursor = OpenCursor(txn, kFreePages);
  if (!cursor) return Fail(std::move(cursor));
  std::uint64_t free_pages = 0;
  MDB_val key{};
  MDB_val list{};
  int rc = mdb_cursor_get(cursor->get(), &key, &list, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor->get(), &key, &list, MDB_NEXT)) {
    std::size_t given_up_by = 0;
    std::size_t count = 0;
    if (key.mv_size != sizeof(given_up_by) || list.mv_size < sizeof(count)) {
      return Fail(Code::kCorrupt, "the store's list of free pages is damaged");
    }
    std::memcpy(&given_up_by, key.mv_data, sizeof(given_up_by));
    std::memcpy(&count, list.mv_data, sizeof(count));
    if (given_up_by >= oldest) break;
    free_pages += count;
  }
  if (rc != 0 && rc != MDB_NOTFOUND) return ReadFailure(rc);
  return free_pages;
}

}  // namespace oauthvault::storage
