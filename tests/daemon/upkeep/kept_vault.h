#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/registry/identities.h"
#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::upkeep {

/// Asks until it is true, at most half a minute.
inline bool Await(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

inline std::string ContentOf(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// An engine between a store and another one, to do something at a commit.
class WatchedEngine final : public storage::Engine {
 public:
  /// Called before a commit with its act (as bytes). An error refuses the commit.
  using Before = std::function<Result<void>(const std::string& act)>;
  /// Called after it.
  using After = std::function<void(const std::string& act)>;

  WatchedEngine(storage::Engine& engine, Before before, After after)
      : engine_(engine), before_(std::move(before)), after_(std::move(after)) {}

  Result<std::vector<std::optional<crypto::SealedRow>>> Read(
      std::span<const crypto::RowKey> keys) const override {
    return engine_.Read(keys);
  }
  Result<std::vector<storage::KeyedRow>> Scan(std::span<const std::uint8_t> prefix,
                                              const std::optional<crypto::RowKey>& after,
                                              std::size_t limit) const override {
    return engine_.Scan(prefix, after, limit);
  }
  Result<std::vector<crypto::RowKey>> ScanKeys(std::span<const std::uint8_t> prefix,
                                               const std::optional<crypto::RowKey>& after,
                                               std::size_t limit) const override {
    return engine_.ScanKeys(prefix, after, limit);
  }
  Result<std::uint64_t> Commit(std::vector<storage::Change> changes, std::string act) override {
    if (before_) {
      if (auto allowed = before_(act); !allowed) return Fail(std::move(allowed));
    }
    auto committed = engine_.Commit(std::move(changes), act);
    if (after_) after_(act);
    return committed;
  }
  std::uint64_t Generation() const override { return engine_.Generation(); }
  Result<void> CopyTo(const std::filesystem::path& folder) const override {
    return engine_.CopyTo(folder);
  }
  Result<storage::Fill> GetFill() const override { return engine_.GetFill(); }
  std::uint64_t ReadCount() const override { return engine_.ReadCount(); }

 private:
  storage::Engine& engine_;
  const Before before_;
  const After after_;
};

/// A whole vault on disk, with a CA, and what these tests ask of it.
class KeptVault : public testing::Test {
 protected:
  KeptVault() {
    EXPECT_TRUE(registry::CreateAuthority(vault_.Store(), std::string(fakes::kTrustDomain),
                                          fakes::kVaultNow));
  }

  static storage::Act ActOf(std::string act) {
    return {.act = std::move(act), .principal = "local/admin"};
  }
  static std::string IdOf(std::size_t number) { return "id-" + std::to_string(number); }
  static std::string DataOf(std::size_t number) { return "data of " + IdOf(number); }

  /// Credentials `id-0`, `id-1`, .. of a project in few commits.
  void PutMany(std::size_t count, const ProjectId& project) {
    constexpr std::size_t kAtOnce = 500;
    for (std::size_t next = 0; next < count;) {
      storage::Batch batch(ActOf("test"));
      for (std::size_t i = 0; i < kAtOnce && next < count; ++i, ++next) {
        storage::Secrets secrets;
        secrets.data = fakes::BytesOf(DataOf(next));
        batch.Insert(storage::Credentials{.project = project,
                                          .component = vault_.component,
                                          .id = fakes::TestVault::IdOf(IdOf(next))},
                     std::move(secrets));
      }
      auto committed = vault_.Store().Commit(std::move(batch));
      ASSERT_TRUE(committed) << committed.error().Message();
    }
  }

  /// The value of credentials of `acme`; the error's name when it cannot be had.
  std::string DataIn(const ProjectId& project, std::size_t number) {
    auto stored = vault_.Store().Get<storage::Credentials>(storage::Credentials::Names(
        project, vault_.component, fakes::TestVault::IdOf(IdOf(number))));
    if (!stored) return fakes::CodeOf(stored);
    auto data = vault_.Store().OpenSecret(*stored, crypto::Part::kData);
    return data ? fakes::TextOf(*data) : fakes::CodeOf(data);
  }

  /// All rows of a table, and of a project in it.
  std::vector<storage::KeyedRow> Rows(storage::TableId table, std::string_view project = "") {
    const auto prefix =
        vault_.Keys().PrefixOf(static_cast<std::uint8_t>(table), project, "");
    std::vector<storage::KeyedRow> all;
    for (;;) {
      std::optional<crypto::RowKey> after;
      if (!all.empty()) after = all.back().key;
      auto page = vault_.Engine().Scan(prefix, after, storage::kMaxScanRows);
      EXPECT_TRUE(page);
      if (!page || page->empty()) return all;
      for (storage::KeyedRow& row : *page) all.push_back(std::move(row));
    }
  }

  /// Puts the bytes of one row in the place of another, as whoever has the disk may: the row is
  /// well-formed, and does not verify.
  void Damage(const storage::KeyedRow& victim, const storage::KeyedRow& other) {
    std::vector<storage::Change> changes;
    changes.push_back({victim.key, storage::Expect{}, other.row});
    const auto act = storage::EncodeAct(ActOf("damage"));
    ASSERT_TRUE(vault_.Engine().Commit(std::move(changes), {act.begin(), act.end()}));
  }

  /// A write of `acme` that was sealed now and is committed when it is called: as one that was on
  /// its way meanwhile.
  std::function<void()> WriteOnItsWay(const std::string& id) {
    const storage::Credentials row{.project = vault_.project,
                                   .component = vault_.component,
                                   .id = fakes::TestVault::IdOf(id)};
    storage::FieldWriter fields;
    row.Encode(fields);
    const crypto::RowKey key =
        vault_.Keys().KeyOf(static_cast<std::uint8_t>(storage::Credentials::kTable), row.Names());
    auto sealed = vault_.Keys().Seal(crypto::Owner::Project("acme"), key, 1,
                                     {std::move(fields).Take(), fakes::BytesOf("late"), {}});
    EXPECT_TRUE(sealed);
    return [this, key, sealed = *sealed] {
      std::vector<storage::Change> changes;
      changes.push_back({key, storage::Expect::Absent(), sealed});
      const auto act = storage::EncodeAct(ActOf("late"));
      EXPECT_TRUE(vault_.Engine().Commit(std::move(changes), {act.begin(), act.end()}));
    };
  }

  std::filesystem::path At(const std::string& name) const { return vault_.Folder() / name; }

  fakes::TestVault vault_{fakes::TestVault::On::kDisk};
};

}  // namespace oauthvault::upkeep
