#include "tests/storage/kept_store.h"

#include <lmdb.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "storage/lmdb/lmdb_file.h"
#include "tests/storage/full_rows.h"

namespace oauthvault::storage {
namespace {

// Ends the process unless it went well; gives what came of it.
template <class T>
T Must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "the kept store: %s\n", result.error().Message().c_str());
    std::abort();
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

void Must(int rc) {
  if (rc == 0) return;
  std::fprintf(stderr, "the kept store: %s\n", mdb_strerror(rc));
  std::abort();
}

// Opens the file for one use.
template <class F>
void WithFile(const std::filesystem::path& folder, unsigned flags, F&& use) {
  MDB_env* made = nullptr;
  Must(mdb_env_create(&made));
  const Env env(made);
  // Nobody waits for the disk: what is read next is read through the same cache.
  Must(mdb_env_open(made, folder.c_str(), flags | MDB_NOLOCK | MDB_NOSYNC, 0600));
  Txn txn = Must(Begin(made, flags));
  MDB_dbi rows = 0;
  Must(mdb_dbi_open(txn.get(), nullptr, 0, &rows));
  use(txn, rows);
}

}  // namespace

KeptStore::KeptStore(std::uint64_t map_size_bytes) : secret_(crypto::NewSlotSecret()) {
  settings_.folder = folder_.Path() / "store";
  settings_.map_size_bytes = map_size_bytes;
  settings_.preallocate = false;
  std::filesystem::create_directory(settings_.folder);
  keyring_ = Must(crypto::Keyring::Create(KeysFile(), secret_, "the test's slot"));
  Must(CreateLmdbStore(settings_, keyring_->Id()));
  Open();
}

void KeptStore::Open(std::optional<Ledger::Restart> restart) {
  ledger_ = std::make_unique<Ledger>(
      *keyring_,
      [this](std::uint64_t epoch, std::span<const Committed> committed) -> Result<void> {
        ++record_calls_;
        before_record_();
        if (record_fails_) return std::unexpected(*record_fails_);
        for (const Committed& one : committed) recorded_.emplace_back(epoch, one);
        return {};
      },
      restart);
  engine_ = Must(OpenLmdbStore(settings_, keyring_->Id(), *ledger_));
  store_ = std::make_unique<Store>(*engine_, *keyring_);
}

void KeptStore::Close() {
  store_.reset();
  engine_.reset();
  ledger_.reset();
}

crypto::RowKey KeptStore::SummaryKeyOf(const crypto::RowKey& key) const {
  const std::string prefix(key.bytes.begin(), key.bytes.begin() + kSummaryPrefixSize);
  return keyring_->KeyOf(static_cast<std::uint8_t>(TableId::kSummaries), Summary::Names(prefix));
}

void KeptStore::FillWith(std::size_t rows, std::size_t projects) {
  Batch batch(Act{.act = "test.fill"});
  std::size_t pending = 0;
  const auto insert = [&](const auto& row, std::size_t size_bytes) {
    if (rows == 0) return;
    --rows;
    Secrets secrets;
    if (size_bytes > 0) {
      secrets.data = crypto::SecretBytes::CopyOf(std::string(size_bytes, 'd'));
    }
    if (size_bytes % 2 == 1) secrets.app_secret = crypto::SecretBytes::CopyOf(std::string("a"));
    batch.Insert(row, std::move(secrets));
    // Several commits, so that rows come from more than one transaction.
    if (++pending < 10) return;
    pending = 0;
    Must(store_->Commit(std::exchange(batch, Batch(Act{.act = "test.fill"}))));
  };
  for (std::size_t i = 0; i < projects; ++i) {
    Project project = FullProject();
    project.shredding_at_s = 0;
    project.id = ProjectNamed("project-" + std::to_string(i));
    Must(keyring_->EnsureKek(crypto::Owner::Project(project.id.Str())));
    insert(project, 0);
  }
  insert(FullComponent(), 41);
  insert(FullGrant(), 0);
  insert(FullIdentity(), 0);
  insert(FullAccount(), 40);
  insert(FullAuthority(), 1700);
  insert(FullBackup(), 0);
  insert(FullRewrapping(), 0);
  insert(FullToken(), 0);
  insert(FullTrustAnchor(), 0);
  insert(FullRevokedKey(), 0);
  for (std::size_t i = 0; rows > 0; ++i) {
    const ProjectId project = ProjectNamed("project-" + std::to_string(i % projects));
    const ComponentId component = ComponentNamed("component-" + std::to_string(i % 2));
    if (i % 10 == 3) {
      Attempt attempt = FullAttempt();
      attempt.project = project;
      attempt.component = component;
      attempt.id = AttemptNamed("attempt-" + std::to_string(i));
      insert(attempt, 70);
    } else if (i % 10 == 7) {
      Connection connection = FullConnection();
      connection.project = project;
      connection.component = component;
      connection.connection_id = "connection-" + std::to_string(i);
      insert(connection, 0);
    } else if (i % 10 == 5) {
      CredentialsVersion former = FullCredentialsVersion();
      former.version = i + 1;
      former.credentials.project = project;
      former.credentials.component = component;
      insert(former, 90);
    } else {
      Credentials credentials = FullCredentials();
      credentials.project = project;
      credentials.component = component;
      credentials.id = OauthNamed("id-" + std::to_string(i));
      insert(credentials, i % 17 == 5 ? 5001 : 200 + i % 100);
    }
  }
  if (pending > 0) Must(store_->Commit(std::move(batch)));
}

std::vector<std::pair<crypto::RowKey, std::string>> RawFile::Rows() const {
  std::vector<std::pair<crypto::RowKey, std::string>> rows;
  WithFile(folder_, MDB_RDONLY, [&](Txn& txn, MDB_dbi database) {
    const Cursor cursor = Must(OpenCursor(txn.get(), database));
    MDB_val key{};
    MDB_val value{};
    while (mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT) == 0) {
      if (key.mv_size != crypto::kRowKeySize) continue;
      crypto::RowKey row_key;
      std::ranges::copy(BytesOf(key), row_key.bytes.begin());
      const auto bytes = BytesOf(value);
      rows.emplace_back(row_key, std::string(bytes.begin(), bytes.end()));
    }
  });
  return rows;
}

std::string RawFile::Get(const std::string& key) const {
  std::string text;
  WithFile(folder_, MDB_RDONLY, [&](Txn& txn, MDB_dbi rows) {
    MDB_val mdb_key{key.size(), const_cast<char*>(key.data())};
    MDB_val value{};
    const int rc = mdb_get(txn.get(), rows, &mdb_key, &value);
    if (rc == MDB_NOTFOUND) return;
    Must(rc);
    text.assign(static_cast<const char*>(value.mv_data), value.mv_size);
  });
  return text;
}

void RawFile::Put(const std::string& key, const std::optional<std::string>& value) const {
  WithFile(folder_, 0, [&](Txn& txn, MDB_dbi rows) {
    MDB_val mdb_key{key.size(), const_cast<char*>(key.data())};
    if (value) {
      MDB_val mdb_value{value->size(), const_cast<char*>(value->data())};
      Must(mdb_put(txn.get(), rows, &mdb_key, &mdb_value, 0));
    } else {
      Must(mdb_del(txn.get(), rows, &mdb_key, nullptr));
    }
    Must(mdb_txn_commit(txn.release()));
  });
}

}  // namespace oauthvault::storage
