#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/secret.h"
#include "crypto/slots.h"
#include "daemon/access/caller.h"
#include "daemon/access/decide.h"
#include "daemon/audit/trail.h"
#include "daemon/audit/trail_file.h"
#include "daemon/custody/store.h"
#include "daemon/registry/components.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/projects.h"
#include "daemon/upkeep/anchor.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"
#include "tests/daemon/acts.h"
#include "tests/storage/memory_engine.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::fakes {

inline constexpr std::string_view kTrustDomain = "vault.test";
/// An access::ReadPrincipal of a vault that believes its own CA alone.
inline Result<access::Principal> ReadPrincipal(std::string_view text) {
  return access::Principal::Parse(text, kTrustDomain);
}
inline constexpr std::string_view kRunner = "spiffe://vault.test/runner/starter";
inline constexpr std::int64_t kVaultNow = 1'800'000'000;
inline constexpr std::string_view kComponentClient = "client-of-the-component";
inline constexpr std::string_view kComponentSecret = "canary-secret-of-the-component";
inline constexpr std::string_view kComponentTokenUrl = "https://provider.example/token";

inline std::string TextOf(const crypto::SecretBytes& secret) {
  return secret.Expose([](auto bytes) { return std::string(bytes.begin(), bytes.end()); });
}
inline crypto::SecretBytes BytesOf(std::string_view text) {
  return crypto::SecretBytes::CopyOf(text);
}

/// The code's name of a result, or `OK`, for comparisons that print well.
template <class T>
std::string CodeOf(const Result<T>& result) {
  return result ? "OK" : std::string(NameOf(result.error().GetCode()));
}

/// A whole vault below the doors: keys, store, trail, grants. Two projects (`acme`, `other`), two
/// components (`sheets`, with Rivery names, and `plain`, without), and a runner that holds store,
/// connect and reveal on (acme, sheets). The trail's disk fails or waits when told to.
class TestVault {
 public:
  enum class On : std::uint8_t { kMemory, kDisk };

  /// A principal may cause `denial_burst` lines about denials at once.
  explicit TestVault(On on = On::kMemory, std::uint32_t denial_burst = audit::kDenialBurst)
      : on_(on), limits_{.denial_burst = denial_burst} {
    if (!crypto::Prepare()) std::abort();
    std::filesystem::create_directory(folder_.Path() / "audit");
    std::filesystem::create_directory(folder_.Path() / "store");
    auto made = crypto::Keyring::Create(KeysFile(), slot_, "the test's slot");
    if (!made) std::abort();
    keyring_ = std::move(*made);
    if (on_ == On::kDisk && !storage::CreateLmdbStore(Settings(), keyring_->Id())) std::abort();
    Open();
    Register();
  }
  ~TestVault() {
    HoldTrail(false);
    grants_.reset();
    store_.reset();
    engine_.reset();
    ledger_.reset();
    trail_.reset();
  }
  TestVault(const TestVault&) = delete;
  TestVault& operator=(const TestVault&) = delete;

  /// As a daemon that starts again: only what is on the disk is left.
  void Reopen() {
    grants_.reset();
    store_.reset();
    if (on_ == On::kDisk) engine_.reset();
    ledger_.reset();
    trail_.reset();
    keyring_.reset();
    auto opened =
        crypto::Keyring::Unlock(KeysFile(), crypto::SlotSecret(slot_.Bytes().Clone()));
    if (!opened) std::abort();
    keyring_ = std::move(*opened);
    Open();
  }

  /// Lets the files of the store go, on disk only, until Reopen: somebody else works on them.
  void CloseStore() {
    grants_.reset();
    store_.reset();
    engine_.reset();
    ledger_.reset();
  }

  storage::Store& Store() { return *store_; }
  audit::Trail& Trail() { return *trail_; }
  registry::Grants& Grants() { return *grants_; }
  crypto::Keyring& Keys() { return *keyring_; }
  storage::Engine& Engine() { return *engine_; }
  /// The same, with its failures; on memory only.
  MemoryEngine& Memory() { return dynamic_cast<MemoryEngine&>(*engine_); }

  const ProjectId project = *ProjectId::Parse("acme");
  const ProjectId other_project = *ProjectId::Parse("other");
  const ComponentId component = *ComponentId::Parse("sheets");
  const ComponentId plain_component = *ComponentId::Parse("plain");

  static access::Principal Runner() {
    return *access::Principal::FromSpiffeId(kRunner, kTrustDomain);
  }
  static access::Caller Caller() { return {Runner(), "127.0.0.1:5", "request-7"}; }

  void Grant(const std::vector<access::Right>& rights, std::string_view on_project = "acme",
             std::string_view on_component = "sheets") {
    auto added = grants_->Add(Runner(), on_project, on_component, rights,
                              SetupAct(), kVaultNow);
    ASSERT_TRUE(added) << added.error().Message();
  }
  void Revoke() { ASSERT_TRUE(grants_->Remove(Runner(), "acme", "sheets", SetupAct())); }

  /// A permit, whatever the grants say: from a table of its own.
  access::Permit PermitFor(access::Right right, std::string_view on_project = "acme",
                           std::string_view on_component = "sheets") const {
    const access::GrantTable table(
        {{std::string(kRunner), "*", "*", {access::Right::kStore, access::Right::kDescribe,
                                           access::Right::kReveal, access::Right::kConnect,
                                           access::Right::kEncrypt}}});
    return *access::Decide(Runner(), right,
                           {std::string(on_project), std::string(on_component)}, table);
  }

  static OauthId IdOf(std::string_view text) { return *OauthId::Parse(text); }

  /// Stores `data` under `id`.
  storage::Stored<storage::Credentials> Put(std::string_view id, std::string_view data) {
    custody::NewCredentials credentials{.id = IdOf(id)};
    credentials.data = crypto::CredentialsData(BytesOf(data));
    auto stored = custody::Put(PermitFor(access::Right::kStore), std::move(credentials),
                               custody::IfThere::kReplace, custody::KeptVersions{}, SetupAct(),
                               *store_, kVaultNow);
    if (!stored) std::abort();
    return std::move(*stored);
  }

  /// Lines from outside the trail itself, oldest first: `act outcome code`.
  std::vector<std::string> Acts() const {
    std::vector<std::string> acts;
    for (const nlohmann::json& line : Lines()) {
      std::string text = line.at("act").get<std::string>() + " " +
                         line.at("outcome").get<std::string>();
      if (line.contains("code")) text += " " + line.at("code").get<std::string>();
      acts.push_back(std::move(text));
    }
    return acts;
  }
  std::vector<nlohmann::json> Lines() const {
    std::vector<nlohmann::json> lines;
    auto shown = trail_->Show(0, audit::kMaxShownLines);
    EXPECT_TRUE(shown);
    if (!shown) return lines;
    for (const audit::Line& line : *shown) {
      nlohmann::json parsed = nlohmann::json::parse(line.json, nullptr, false);
      if (parsed.at("principal") != "-") lines.push_back(std::move(parsed));
    }
    return lines;
  }

  /// The trail's disk answers with an I/O error until it is told not to.
  void FailTrail(bool fails) {
    const std::lock_guard lock(guard_);
    trail_fails_ = fails;
  }
  /// After `count` more syncs the trail's disk fails one.
  void FailOneSyncAfter(std::uint64_t count) {
    const std::lock_guard lock(guard_);
    failing_sync_ = syncs_ + count + 1;
  }
  /// The trail's disk gives nothing more, and what it gave is used up but for the reserve.
  void FillTrail() {
    {
      const std::lock_guard lock(guard_);
      trail_full_ = true;
    }
    audit::Entry entry;
    entry.act = "filling";
    entry.principal = "-";
    entry.outcome = audit::Outcome::kAllowed;
    for (std::size_t together = 512; together > 0; together /= 8) {
      bool taken = true;
      while (taken) {
        std::promise<bool> answered;
        trail_->RecordTogether(std::vector(together, entry), [&](auto recorded) {
          answered.set_value(recorded.has_value());
        });
        taken = answered.get_future().get();
      }
    }
    // Well into the reserve: it is looked at again without a line, which takes less.
    entry.revokes = true;
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(trail_->RecordAndWait(entry));
    ASSERT_FALSE(trail_->HasRoom());
  }
  /// The trail's disk waits in its next sync until it is told not to.
  void HoldTrail(bool holds) {
    const std::lock_guard lock(guard_);
    trail_holds_ = holds;
    changed_.notify_all();
  }
  /// Waits until the trail has asked its disk for `count` more syncs (held and failed ones count).
  void AwaitSyncs(std::uint64_t count) {
    std::unique_lock lock(guard_);
    const std::uint64_t until = syncs_ + count;
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return syncs_ >= until; }));
  }
  /// The same for one sync more than `before`, which was asked of Syncs().
  void AwaitSyncsBeyond(std::uint64_t before) {
    std::unique_lock lock(guard_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return syncs_ > before; }));
  }
  std::uint64_t Syncs() const {
    const std::lock_guard lock(guard_);
    return syncs_;
  }

  const std::filesystem::path& Folder() const { return folder_.Path(); }

 private:
  std::filesystem::path KeysFile() const { return folder_.Path() / "keys"; }
  storage::LmdbSettings Settings() const {
    return {.folder = folder_.Path() / "store", .map_size_bytes = 16u << 20};
  }

  void Open() {
    audit::FileCalls calls = audit::FileCalls::System();
    calls.fdatasync = [this, sync = calls.fdatasync](int file) {
      if (BeforeSync()) return sync(file);
      errno = EIO;
      return -1;
    };
    calls.fallocate = [this, allocate = calls.fallocate](int file, int mode, off_t begin,
                                                         off_t size_bytes) {
      const std::lock_guard lock(guard_);
      if (!trail_full_) return allocate(file, mode, begin, size_bytes);
      errno = ENOSPC;
      return -1;
    };
    auto trail = audit::Trail::Open(folder_.Path() / "audit", keyring_->AuditKey(),
                                    [] { return kVaultNow * 1'000'000; }, std::move(calls),
                                    &limits_);
    if (!trail) std::abort();
    trail_ = std::move(*trail);
    ledger_ = std::make_unique<storage::Ledger>(*keyring_, audit::RecorderOf(*trail_));
    if (on_ == On::kDisk) {
      auto opened = storage::OpenLmdbStore(Settings(), keyring_->Id(), *ledger_);
      if (!opened) std::abort();
      engine_ = std::move(*opened);
    } else if (!engine_) {
      engine_ = std::make_unique<MemoryEngine>(1ull << 30, ledger_.get());
    } else {
      Memory().SetWitness(ledger_.get());
    }
    store_ = std::make_unique<storage::Store>(*engine_, *keyring_);
    if (!upkeep::Reconcile(*store_, *keyring_, *trail_)) std::abort();
    auto grants = registry::Grants::Load(*store_);
    if (!grants) std::abort();
    grants_ = std::move(*grants);
  }

  bool BeforeSync() {
    std::unique_lock lock(guard_);
    const std::uint64_t sync = ++syncs_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !trail_holds_; });
    return !trail_fails_ && sync != failing_sync_;
  }

  void Register() {
    for (const ProjectId& id : {project, other_project}) {
      if (!registry::AddProject(*keyring_, *store_, id, "", SetupAct(), kVaultNow)) std::abort();
    }
    registry::ComponentFields fields;
    fields.app_key = kComponentClient;
    fields.app_secret = crypto::AppSecret(BytesOf(kComponentSecret));
    fields.token_url = kComponentTokenUrl;
    fields.rivery_datasource_id = "gspreadsheet";
    fields.rivery_connection_type = "gspreadsheet";
    if (!registry::SetComponent(*store_, component, std::move(fields),
                                registry::IfRegistered::kRefuse, SetupAct(), kVaultNow) ||
        !registry::SetComponent(*store_, plain_component, {}, registry::IfRegistered::kRefuse,
                                SetupAct(), kVaultNow)) {
      std::abort();
    }
    Grant({access::Right::kStore, access::Right::kConnect, access::Right::kReveal});
  }

  const On on_;
  const audit::TrailLimits limits_;
  const storage::TemporaryFolder folder_;
  const crypto::SlotSecret slot_ = MakeSlot();

  static crypto::SlotSecret MakeSlot() {
    if (!crypto::Prepare()) std::abort();
    return crypto::NewSlotSecret();
  }

  mutable std::mutex guard_;  // guards all below but the parts of the vault
  std::condition_variable changed_;
  std::uint64_t syncs_ = 0;
  std::uint64_t failing_sync_ = 0;  // 0: none
  bool trail_fails_ = false;
  bool trail_holds_ = false;
  bool trail_full_ = false;

  std::unique_ptr<crypto::Keyring> keyring_;
  std::unique_ptr<storage::Ledger> ledger_;
  std::unique_ptr<storage::Engine> engine_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<audit::Trail> trail_;
  std::unique_ptr<registry::Grants> grants_;
};

}  // namespace oauthvault::fakes
