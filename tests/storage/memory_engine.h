#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "storage/engine.h"

namespace oauthvault::fakes {

/// An engine in memory, for tests of the rooms above storage. It passes the contract test that the
/// LMDB engine passes, and fails when told to. Threads: any.
class MemoryEngine final : public storage::Engine {
 public:
  /// Rows of at most `capacity_bytes` in all. Without a witness nobody takes part in commits.
  explicit MemoryEngine(std::uint64_t capacity_bytes = 1ull << 30,
                        storage::Witness* witness = nullptr)
      : capacity_bytes_(capacity_bytes), witness_(witness) {}

  /// Another one from now on, as after a new start.
  void SetWitness(storage::Witness* witness) {
    const std::lock_guard lock(mutex_);
    witness_ = witness;
    announced_ = generation_;
  }

  /// The next commit answers `error`, and nothing of it is made.
  void FailNextCommit(Error error) {
    const std::lock_guard lock(mutex_);
    next_commit_ = std::move(error);
  }
  /// The next commit calls `first` before it looks at anything: what another caller does just then.
  void BeforeNextCommit(std::function<void()> first) {
    const std::lock_guard lock(mutex_);
    before_commit_ = std::move(first);
  }
  /// Reads and scans answer `error` until they are told nullopt.
  void FailReads(std::optional<Error> error) {
    const std::lock_guard lock(mutex_);
    reads_ = std::move(error);
  }

  Result<std::vector<std::optional<crypto::SealedRow>>> Read(
      std::span<const crypto::RowKey> keys) const override {
    const std::lock_guard lock(mutex_);
    ++read_count_;
    if (reads_) return std::unexpected(*reads_);
    std::vector<std::optional<crypto::SealedRow>> found;
    for (const crypto::RowKey& key : keys) {
      const auto row = rows_.find(key);
      found.push_back(row == rows_.end() ? std::nullopt : std::optional(row->second));
    }
    return found;
  }

  Result<std::vector<storage::KeyedRow>> Scan(std::span<const std::uint8_t> prefix,
                                              const std::optional<crypto::RowKey>& after,
                                              std::size_t limit) const override {
    if (Result<void> checked = storage::CheckScan(prefix, limit); !checked) {
      return Fail(std::move(checked));
    }
    const std::lock_guard lock(mutex_);
    ++read_count_;
    if (reads_) return std::unexpected(*reads_);
    std::vector<storage::KeyedRow> found;
    for (auto row = after ? rows_.upper_bound(*after) : rows_.begin();
         row != rows_.end() && found.size() < limit; ++row) {
      if (!std::equal(prefix.begin(), prefix.end(), row->first.bytes.begin())) continue;
      found.push_back({row->first, row->second});
    }
    return found;
  }

  Result<std::vector<crypto::RowKey>> ScanKeys(std::span<const std::uint8_t> prefix,
                                               const std::optional<crypto::RowKey>& after,
                                               std::size_t limit) const override {
    auto rows = Scan(prefix, after, limit);
    if (!rows) return Fail(std::move(rows));
    std::vector<crypto::RowKey> keys;
    for (const storage::KeyedRow& keyed : *rows) keys.push_back(keyed.key);
    return keys;
  }

  Result<std::uint64_t> Commit(std::vector<storage::Change> changes, std::string act) override {
    if (Result<void> checked = storage::CheckBatch(changes, act); !checked) {
      return Fail(std::move(checked));
    }
    std::function<void()> first;
    {
      const std::lock_guard lock(mutex_);
      first = std::exchange(before_commit_, nullptr);
    }
    if (first) first();
    const std::lock_guard lock(mutex_);
    if (next_commit_) {
      const Error error = *std::exchange(next_commit_, std::nullopt);
      return std::unexpected(error);
    }
    if (witness_ != nullptr) {
      if (Result<void> settled = witness_->Settle(); !settled) return Fail(std::move(settled));
      announced_ = generation_;
    }
    std::map<crypto::RowKey, crypto::SealedRow> next = rows_;
    std::vector<storage::Touched> touched;
    bool creates = false;
    bool grows = false;
    for (storage::Change& change : changes) {
      const auto row = rows_.find(change.key);
      std::optional<crypto::SealedRow> present;
      if (row != rows_.end()) present = row->second;
      if (!change.expect.HoldsFor(present)) {
        return Fail(Code::kConflict, "the fake's row is not in the state that is expected");
      }
      creates = creates || (change.row && !present);
      grows = grows || (change.row && present && !storage::HardlyGrows(row->second, *change.row));
      touched.push_back({change.key, std::move(present), change.row});
      Put(next, std::move(change));
    }
    const std::uint64_t limit = creates ? storage::CreateLimit(capacity_bytes_)
                                        : storage::ReplaceLimit(capacity_bytes_);
    if ((creates || grows) && SizeOf(next) > limit) {
      return Fail(Code::kExhausted, "the fake is full");
    }
    const std::vector<std::string> acts = {std::move(act)};
    const storage::Transaction transaction{generation_ + 1, generation_ + 1, touched, acts};
    if (witness_ != nullptr) {
      auto attested = witness_->Attest(
          transaction,
          [&](const crypto::RowKey& key) -> Result<std::optional<crypto::SealedRow>> {
            const auto row = next.find(key);
            return row == next.end() ? std::nullopt : std::optional(row->second);
          });
      if (!attested) return Fail(std::move(attested));
      for (storage::Change& change : *attested) Put(next, std::move(change));
    }
    rows_ = std::move(next);
    ++generation_;
    if (witness_ != nullptr) {
      if (auto announced = witness_->Announce(transaction); !announced) {
        return Fail(std::move(announced));
      }
    }
    announced_ = generation_;
    return generation_;
  }

  Result<void> CopyTo(const std::filesystem::path&) const override {
    return Fail(Code::kUnavailable, "the fake has no files to copy");
  }

  std::uint64_t Generation() const override {
    const std::lock_guard lock(mutex_);
    return announced_;
  }

  Result<storage::Fill> GetFill() const override {
    const std::lock_guard lock(mutex_);
    if (reads_) return std::unexpected(*reads_);
    return storage::Fill{SizeOf(rows_), capacity_bytes_, storage::CreateLimit(capacity_bytes_),
                         rows_.size(), false};
  }

  std::uint64_t ReadCount() const override { return read_count_; }

 private:
  static void Put(std::map<crypto::RowKey, crypto::SealedRow>& rows, storage::Change change) {
    rows.erase(change.key);
    if (change.row) rows.emplace(change.key, std::move(*change.row));
  }
  static std::uint64_t SizeOf(const std::map<crypto::RowKey, crypto::SealedRow>& rows) {
    std::uint64_t size_bytes = 0;
    for (const auto& [key, row] : rows) size_bytes += key.bytes.size() + row.Bytes().size();
    return size_bytes;
  }

  const std::uint64_t capacity_bytes_;
  mutable std::mutex mutex_;  // guards all below but the count
  storage::Witness* witness_;
  std::map<crypto::RowKey, crypto::SealedRow> rows_;
  std::uint64_t generation_ = 0;
  std::uint64_t announced_ = 0;
  std::optional<Error> next_commit_;
  std::function<void()> before_commit_;
  std::optional<Error> reads_;
  mutable std::atomic<std::uint64_t> read_count_ = 0;
};

}  // namespace oauthvault::fakes
