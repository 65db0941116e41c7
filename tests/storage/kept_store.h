#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "storage/check.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::storage {

/// A store as a daemon keeps it: on disk, with keys of its own and a ledger whose record is a list.
/// What goes wrong in the making ends the process. Threads: one, but for what an engine allows.
class KeptStore {
 public:
  explicit KeptStore(std::uint64_t map_size_bytes = 16 << 20);

  /// Opens and closes the store; Open again is a new start, with a ledger that has nothing to do.
  void Open(std::optional<Ledger::Restart> restart = {});
  void Close();

  Engine& GetEngine() { return *engine_; }
  Store& Rows() { return *store_; }
  crypto::Keyring& Keys() const { return *keyring_; }
  LmdbSettings& Settings() { return settings_; }
  std::filesystem::path Folder() const { return settings_.folder; }
  std::filesystem::path KeysFile() const { return folder_.Path() / "keys"; }
  const crypto::SlotSecret& Secret() const { return secret_; }

  /// What was recorded: the epoch and the commit.
  std::vector<std::pair<std::uint64_t, Committed>>& Recorded() { return recorded_; }
  /// What the next recordings answer instead of success.
  void FailRecords(std::optional<Error> error) { record_fails_ = std::move(error); }
  std::uint64_t RecordCalls() const { return record_calls_; }
  /// What is done before each recording, in the writer's thread.
  void BeforeRecord(std::function<void()> wait) { before_record_ = std::move(wait); }

  /// Commits one row, or takes it away, at any version.
  template <Row R>
  Result<std::uint64_t> Put(const R& row, Secrets secrets = {}) {
    Result<std::optional<Stored<R>>> found = store_->Find<R>(row.Names());
    if (!found) return Fail(std::move(found));
    Batch batch(Act{.act = "test.put"});
    if (*found) {
      batch.Replace(row, (*found)->version, std::move(secrets));
    } else {
      batch.Insert(row, std::move(secrets));
    }
    return store_->Commit(std::move(batch));
  }
  template <Row R>
  Result<std::uint64_t> Remove(const R& row) {
    Result<Stored<R>> found = store_->Get<R>(row.Names());
    if (!found) return Fail(std::move(found));
    Batch batch(Act{.act = "test.remove"});
    batch.Remove(row, found->version);
    return store_->Commit(std::move(batch));
  }
  template <Row R>
  crypto::RowKey KeyOf(const R& row) const {
    return keyring_->KeyOf(static_cast<std::uint8_t>(R::kTable), row.Names());
  }
  crypto::RowKey AnchorKey() const {
    return keyring_->KeyOf(static_cast<std::uint8_t>(TableId::kAnchor), Anchor::Names());
  }
  /// Of the summary that counts the row under `key`.
  crypto::RowKey SummaryKeyOf(const crypto::RowKey& key) const;

  /// Registers `projects` projects with their KEKs, and commits rows of all tables, so many in all:
  /// credentials for the most part, with secrets of different sizes. `projects` is at least 1.
  void FillWith(std::size_t rows, std::size_t projects = 3);

  /// The check of this store while it is closed.
  CheckReport Check() const { return CheckStore(Folder(), *keyring_); }

 private:
  const TemporaryFolder folder_;
  LmdbSettings settings_;
  crypto::SlotSecret secret_;
  std::unique_ptr<crypto::Keyring> keyring_;
  std::vector<std::pair<std::uint64_t, Committed>> recorded_;
  std::optional<Error> record_fails_;
  std::uint64_t record_calls_ = 0;
  std::function<void()> before_record_ = [] {};
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Store> store_;
};

/// The entries of the store in a folder that nobody has open, as they lie there.
class RawFile {
 public:
  explicit RawFile(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// All rows but the format row, by their keys.
  std::vector<std::pair<crypto::RowKey, std::string>> Rows() const;
  /// The value under a key; empty: none.
  std::string Get(const std::string& key) const;
  std::string Get(const crypto::RowKey& key) const { return Get(TextOf(key)); }
  /// Puts or removes (nullopt), as somebody with the file does, past every check.
  void Put(const std::string& key, const std::optional<std::string>& value) const;
  void Put(const crypto::RowKey& key, const std::optional<std::string>& value) const {
    Put(TextOf(key), value);
  }

  static std::string TextOf(const crypto::RowKey& key) {
    return {key.bytes.begin(), key.bytes.end()};
  }
  /// The key of the format row.
  static std::string FormatKey() { return std::string(1, '\0'); }

 private:
  std::filesystem::path folder_;
};

}  // namespace oauthvault::storage
