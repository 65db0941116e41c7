#include "daemon/offline.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "crypto/descriptor.h"
#include "crypto/no_echo.h"
#include "crypto/slots.h"
#include "crypto/unlocker.h"
#include "daemon/audit/checkpoint.h"
#include "daemon/audit/extract.h"
#include "daemon/audit/segments.h"
#include "daemon/audit/trail.h"
#include "daemon/audit/verification.h"
#include "daemon/clock.h"
#include "daemon/opening.h"
#include "daemon/registry/identities.h"
#include "daemon/upkeep/anchor.h"
#include "daemon/upkeep/check.h"
#include "daemon/upkeep/restore.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"

namespace oauthvault {
namespace {

constexpr char kAboutFolders[] = "check that the folders exist and that the daemon may write there";
constexpr char kAboutNewVault[] =
    "nothing was overwritten. To serve the vault that is there, start `oauthvaultd`; for a new one "
    "name other folders with --state and --audit";
constexpr char kAboutSlot[] =
    "--slot is key_file, passphrase (read from standard input or a prompt) or shares, with "
    "--shares K/N where 2 <= K <= N <= 16";
constexpr char kAboutSecret[] =
    "bring the secret of any one slot: a key file's line, a passphrase, or shares, one a line, on "
    "standard input or at the prompt";
constexpr char kAboutDaemon[] = "end the daemon first: `systemctl stop oauthvaultd`";
constexpr char kAboutOutput[] = "send the output to a terminal, or to a file that takes it";
constexpr char kAboutStanding[] =
    "the vault is as it was. Where the backup does not verify, take another. Where the trail does "
    "not, `oauthvaultd verify-audit` shows it; moved aside it is not read, and then nobody knows "
    "what was revoked after the backup";
constexpr char kAboutCheckpoint[] =
    "the public key is what `oauthvault audit key` prints, a checkpoint what `oauthvault audit "
    "checkpoint` does, an extract what `oauthvault audit export --project` does; the trail's "
    "folder is named with --audit";
constexpr char kAboutBackup[] = "name the folder of a finished backup of this vault";

constexpr std::size_t kMaxSecretLine = 4096;

// Secrets from standard input, a line each. A terminal shows nothing as long as this lives, so that
// shares which were pasted at once do not show between two questions.
class SecretLines {
 public:
  SecretLines() {
    if (isatty(STDIN_FILENO) == 1) silent_.emplace();
  }
  bool AtTerminal() const { return silent_.has_value(); }

  // The next line; empty at the input's end. A person is asked for it.
  crypto::SecretBytes Next(const char* question) const {
    if (silent_) std::fprintf(stderr, "%s: ", question);
    crypto::SecretBytes line(kMaxSecretLine);
    bool ended = false;
    const std::size_t size = line.Fill([&ended](std::span<std::uint8_t> bytes) {
      std::size_t taken = 0;
      while (taken < bytes.size()) {
        ended = read(STDIN_FILENO, &bytes[taken], 1) != 1;
        if (ended || bytes[taken] == '\n') break;
        ++taken;
      }
      return taken;
    });
    line.Truncate(size);
    if (silent_ && ended) std::fputc('\n', stderr);
    return line;
  }

 private:
  std::optional<crypto::NoEcho> silent_;
};

Result<void> MakeFolders(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Fail(Code::kInvalid, "cannot make the folder", Subject::Path(folder.string()));
  return {};
}

// Looks before anything is written, so that a refused `init` leaves everything as it was.
Result<void> ExpectNoVault(const Config& config) {
  for (const auto& path :
       {config.KeysFile(), config.StoreFolder() / "data.mdb", config.audit / "audit.jsonl"}) {
    std::error_code ignored;
    if (std::filesystem::exists(std::filesystem::symlink_status(path, ignored))) {
      return Fail(Code::kConflict, "a vault is there already", Subject::Path(path.string()));
    }
  }
  return {};
}

// The slot that `--slot` and `--shares` ask for; a passphrase is read here.
Result<crypto::NewSlot> WantedSlot(const Invocation& invocation) {
  crypto::NewSlot wanted;
  wanted.label = invocation.slot == "key_file" ? "key file" : invocation.slot;
  if (invocation.slot == "passphrase") {
    wanted.kind = crypto::SlotKind::kPassphrase;
    const SecretLines lines;
    wanted.passphrase = lines.Next("new passphrase");
    if (lines.AtTerminal() && !wanted.passphrase.Equals(lines.Next("the same once more"))) {
      return Fail(Code::kInvalid, "the two passphrases differ");
    }
  } else if (invocation.slot == "shares") {
    wanted.kind = crypto::SlotKind::kShares;
    const std::string_view text = invocation.shares;
    const std::size_t slash = text.find('/');
    const auto number = [](std::string_view digits, std::uint8_t& value) {
      const auto [end, wrong] =
          std::from_chars(digits.data(), digits.data() + digits.size(), value);
      return wrong == std::errc() && end == digits.data() + digits.size();
    };
    if (slash == std::string_view::npos || !number(text.substr(0, slash), wanted.threshold) ||
        !number(text.substr(slash + 1), wanted.total)) {
      return Fail(Code::kInvalid, "a slot of shares needs --shares K/N");
    }
  }
  return wanted;
}

// What people keep, this once. Unbuffered: standard output's buffer would keep a copy.
Result<void> ShowTexts(const std::vector<crypto::SecretBytes>& texts) {
  constexpr std::array<std::uint8_t, 1> kLineEnd = {'\n'};
  std::fflush(stdout);
  for (const crypto::SecretBytes& text : texts) {
    const bool shown =
        text.Expose([](auto bytes) { return crypto::WriteAll(STDOUT_FILENO, bytes); }) &&
        crypto::WriteAll(STDOUT_FILENO, kLineEnd);
    if (!shown) return Fail(Code::kUnavailable, "the secrets of the slot cannot be printed");
  }
  return {};
}

// Removes what `init` made, unless all of it was made: a vault whose secret nobody has is of no
// use, and would be in the way of the next try. The key file stays: it may be older.
class HalfMade {
 public:
  explicit HalfMade(const Config& config) : config_(config) {}
  ~HalfMade() {
    if (kept_) return;
    std::error_code ignored;
    for (const auto& path :
         {config_.KeysFile(), config_.StoreFolder() / "data.mdb",
          config_.StoreFolder() / "lock.mdb", config_.audit / "audit.jsonl"}) {
      std::filesystem::remove(path, ignored);
    }
  }
  HalfMade(const HalfMade&) = delete;
  HalfMade& operator=(const HalfMade&) = delete;
  void Keep() { kept_ = true; }

 private:
  const Config& config_;
  bool kept_ = false;
};

std::expected<std::unique_ptr<crypto::Keyring>, Refusal> CreateKeys(const Invocation& invocation) {
  const Config& config = invocation.config;
  if (invocation.slot == "key_file") {
    const std::filesystem::path key_file = config.KeyFile();
    if (!std::filesystem::exists(key_file)) {
      if (auto made = MakeFolders(key_file.parent_path()); !made) {
        return Refuse(std::move(made), kAboutFolders);
      }
      if (auto written = crypto::WriteKeyFile(key_file, crypto::NewSlotSecret()); !written) {
        return Refuse(std::move(written), kAboutFolders);
      }
    }
    auto secret = crypto::ReadKeyFile(key_file);
    if (!secret) return Refuse(std::move(secret), kAboutKeyFile);
    auto keyring = crypto::Keyring::Create(config.KeysFile(), *secret, "key file");
    if (!keyring) return Refuse(std::move(keyring), kAboutFolders);
    return std::move(*keyring);
  }
  auto wanted = WantedSlot(invocation);
  if (!wanted) return Refuse(std::move(wanted), kAboutSlot);
  auto created = crypto::Keyring::Create(config.KeysFile(), *wanted);
  if (!created) return Refuse(std::move(created), kAboutSlot);
  if (auto shown = ShowTexts(created->slot.texts); !shown) {
    return Refuse(std::move(shown), kAboutOutput);
  }
  return std::move(created->keyring);
}

// `oauthvaultd init`: keys with one slot, store, CA, trail.
std::expected<int, Refusal> Init(const Invocation& invocation) {
  const Config& config = invocation.config;
  if (auto free = ExpectNoVault(config); !free) return Refuse(std::move(free), kAboutNewVault);
  for (const auto& folder : {config.state, config.StoreFolder(), config.audit}) {
    if (auto made = MakeFolders(folder); !made) return Refuse(std::move(made), kAboutFolders);
  }
  HalfMade made_so_far(config);
  auto keyring = CreateKeys(invocation);
  if (!keyring) return std::unexpected(std::move(keyring.error()));
  const storage::LmdbSettings settings = StoreSettings(config);
  if (auto made = storage::CreateLmdbStore(settings, (*keyring)->Id()); !made) {
    return Refuse(std::move(made), kAboutFolders);
  }
  auto trail = audit::Trail::Open(config.audit, (*keyring)->AuditKey(), NowUs);
  if (!trail) return Refuse(std::move(trail), kAboutTrail);
  storage::Ledger ledger(**keyring, audit::RecorderOf(**trail));
  auto engine = storage::OpenLmdbStore(settings, (*keyring)->Id(), ledger);
  if (!engine) return Refuse(std::move(engine), kAboutStore);
  storage::Store store(**engine, **keyring);
  if (auto made = registry::CreateAuthority(store, config.trust_domain, NowS()); !made) {
    return Refuse(std::move(made), kAboutTrustDomain);
  }
  made_so_far.Keep();
  std::printf("oauthvaultd: the vault is made\n");
  std::printf("  keys   %s\n  store  %s\n  audit  %s\n", config.KeysFile().c_str(),
              config.StoreFolder().c_str(), config.audit.c_str());
  if (invocation.slot == "key_file") {
    std::printf("  key    %s\n", config.KeyFile().c_str());
    std::printf("Keep a copy of the key file elsewhere: without it nothing opens the vault.\n");
  } else if (invocation.slot == "shares") {
    std::printf("Give each share to its holder; they are not shown again.\n");
  }
  return 0;
}

Result<std::unique_ptr<crypto::Keyring>> OpenWithKeyFile(const std::filesystem::path& keys_file,
                                                         const std::filesystem::path& key_file) {
  auto secret = crypto::ReadKeyFile(key_file);
  if (!secret) return Fail(std::move(secret));
  return crypto::Keyring::Unlock(keys_file, *secret);
}

// With the key file, or else with what people bring on standard input. A key file that does not
// open is no reason to stop: these are the commands for when something was lost.
std::expected<std::unique_ptr<crypto::Keyring>, Refusal> OpenKeys(
    const std::filesystem::path& keys_file, const Config& config) {
  std::error_code ignored;
  if (const auto key_file = config.KeyFile();
      !key_file.empty() && std::filesystem::exists(key_file, ignored)) {
    auto keyring = OpenWithKeyFile(keys_file, key_file);
    if (keyring) return std::move(*keyring);
    if (keyring.error().GetCode() == Code::kCorrupt) {
      return Refuse(std::move(keyring), kAboutKeys);
    }
    std::fprintf(stderr, "oauthvaultd: the key file does not open these keys: %s\n",
                 keyring.error().Message().c_str());
  }
  auto unlocker = crypto::Unlocker::Read(keys_file);
  if (!unlocker) return Refuse(std::move(unlocker), kAboutKeys);
  const SecretLines lines;
  for (;;) {
    const crypto::SecretBytes line = lines.Next("a key file's line, a share or a passphrase");
    if (line.Empty()) {
      return Refuse(Result<void>(Fail(Code::kSealed, "nothing that was brought opens the vault")),
                    kAboutSecret);
    }
    auto progress = unlocker->Give(line);
    if (!progress) {
      // A wrong share is told, and does no harm: the next may do.
      std::fprintf(stderr, "oauthvaultd: %s\n", progress.error().Message().c_str());
      continue;
    }
    if (progress->open) break;
    std::fprintf(stderr, "oauthvaultd: %u of %u shares\n", progress->shares_given,
                 progress->shares_needed);
  }
  auto keyring = unlocker->Take();
  if (!keyring) return Refuse(std::move(keyring), kAboutKeys);
  return std::move(*keyring);
}

// `oauthvaultd fsck`: 0 when every row verifies, 2 when one does not.
std::expected<int, Refusal> Fsck(const Invocation& invocation) {
  const Config& config = invocation.config;
  auto keyring = OpenKeys(config.KeysFile(), config);
  if (!keyring) return std::unexpected(std::move(keyring.error()));
  auto checked = upkeep::RunLiveCheck(config.StoreFolder(), config.KeysFile(), **keyring,
                                      upkeep::CheckPatience(config.store.map_size_mib << 20));
  if (!checked) return Refuse(std::move(checked), kAboutStore);
  for (const auto& problem : checked->problems) {
    std::fprintf(stderr, "%s%s%s\n", problem.what.c_str(), problem.row_key.empty() ? "" : ": row ",
                 problem.row_key.c_str());
  }
  using Verdict = upkeep::CheckResult::Verdict;
  std::printf("%llu rows, epoch %llu generation %llu: %s\n",
              static_cast<unsigned long long>(checked->rows),
              static_cast<unsigned long long>(checked->position.epoch),
              static_cast<unsigned long long>(checked->position.generation),
              checked->verdict == Verdict::kWhole     ? "every row verifies"
              : checked->verdict == Verdict::kDamaged ? "DAMAGED rows"
                                                      : "NOT usable");
  return checked->verdict == Verdict::kWhole ? 0 : 2;
}

// Keeps a daemon, and another command of this kind, from using a vault meanwhile. A sealed daemon
// has nothing open; one that is unsealed meanwhile is refused the store.
class Lock {
 public:
  static std::expected<Lock, Refusal> Take(const Config& config) {
    Lock lock;
    for (const auto& path : {config.state, config.StoreFolder() / "vault.lock"}) {
      const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
      if (file < 0) continue;  // no store, no daemon
      lock.files_.push_back(file);
      if (flock(file, LOCK_EX | LOCK_NB) == 0) continue;
      return Refuse(Result<void>(Fail(Code::kConflict, "somebody is using this vault",
                                      Subject::Path(config.state.string()))),
                    kAboutDaemon);
    }
    return lock;
  }
  ~Lock() {
    for (const int file : files_) close(file);
  }
  Lock(Lock&& other) noexcept : files_(std::exchange(other.files_, {})) {}
  Lock& operator=(Lock&&) = delete;

  // The store is opened here now, which locks it itself.
  void LetStoreGo() {
    while (files_.size() > 1) {
      close(files_.back());
      files_.pop_back();
    }
  }

 private:
  Lock() = default;
  std::vector<int> files_;
};

void Print(const upkeep::Restored& restored, bool present) {
  std::printf("oauthvaultd: restored; epoch %llu\n",
              static_cast<unsigned long long>(restored.position.epoch));
  std::printf("  revoked again: %llu grants, %llu identities, %llu CAs outside, %llu keys; "
              "shredded again: %llu projects\n",
              static_cast<unsigned long long>(restored.grants_revoked),
              static_cast<unsigned long long>(restored.identities_revoked),
              static_cast<unsigned long long>(restored.anchors_removed),
              static_cast<unsigned long long>(restored.keys_revoked),
              static_cast<unsigned long long>(restored.projects_shredded));
  std::printf("  tokens revoked: %llu; issue new ones\n",
              static_cast<unsigned long long>(restored.tokens_revoked));
  if (!restored.aside.empty()) std::printf("  before  %s\n", restored.aside.c_str());
  if (!present) {
    std::printf("Slots and keys are those of the backup: remove again the slots that were removed "
                "since,\nand rotate again what was rotated because somebody may know it.\n");
  }
}

// `oauthvaultd restore`: a backup in the place of the vault, or the store as it stands.
std::expected<int, Refusal> DoRestore(const Invocation& invocation) {
  const Config& config = invocation.config;
  for (const auto& folder : {config.state, config.audit}) {
    if (auto made = MakeFolders(folder); !made) return Refuse(std::move(made), kAboutFolders);
  }
  auto lock = Lock::Take(config);
  if (!lock) return std::unexpected(std::move(lock.error()));
  auto finished = upkeep::FinishRestore(config.state);
  if (!finished) return Refuse(std::move(finished), kAboutFolders);
  if (*finished) {
    std::printf("oauthvaultd: the restore that was cut off is finished\n");
    if (!(*finished)->empty()) std::printf("  before  %s\n", (*finished)->c_str());
    return 0;
  }
  const upkeep::VaultPlaces places{config.state, config.audit, StoreSettings(config),
                                   config.trust_domain};
  std::filesystem::path staged;
  if (invocation.present) {
    lock->LetStoreGo();
  } else {
    auto copied = upkeep::StageBackup(invocation.backup, places);
    if (!copied) return Refuse(std::move(copied), kAboutBackup);
    staged = std::move(*copied);
  }
  // Until something is done with the copy the vault is as it was.
  const auto drop = [&] {
    if (!invocation.present) upkeep::DropStaged(config.state);
  };
  auto keyring = OpenKeys((invocation.present ? config.state : staged) / "keys", config);
  if (!keyring) {
    drop();
    return std::unexpected(std::move(keyring.error()));
  }
  auto trail = audit::Trail::Open(config.audit, (*keyring)->AuditKey(), NowUs);
  if (!trail) {
    drop();
    const bool used = trail.error().GetCode() == Code::kConflict;
    return Refuse(std::move(trail), used ? kAboutDaemon : kAboutTrail);
  }
  auto restored =
      upkeep::Restore(staged, places, **keyring, **trail, invocation.reason, NowS());
  if (!restored) {
    const bool again = upkeep::IsRestoring(config.state);
    return Refuse(std::move(restored), again ? kAboutRestore : kAboutStanding);
  }
  Print(*restored, invocation.present);
  return 0;
}

// A new key file, where there is none yet.
Result<void> WriteKeyLine(const std::filesystem::path& path, const crypto::SecretBytes& line) {
  auto secret = line.Expose([](std::span<const std::uint8_t> bytes) {
    return crypto::ParseKeyLine({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  });
  if (!secret) return Fail(std::move(secret));
  return crypto::WriteKeyFile(path, *secret);
}

// The trail is told where it is there; a recovery must work without it.
void TellOfRecovery(const Config& config, const crypto::Keyring& keyring, std::uint32_t slot) {
  std::error_code ignored;
  if (!std::filesystem::exists(config.audit / "audit.jsonl", ignored)) return;
  auto trail = audit::Trail::Open(config.audit, keyring.AuditKey(), NowUs);
  audit::Entry entry{storage::Act{.act = "recover",
                                  .principal = "local/admin",
                                  .object = "slot:" + std::to_string(slot)}};
  entry.outcome = audit::Outcome::kAllowed;
  if (trail && (*trail)->RecordAndWait(std::move(entry))) return;
  std::fprintf(stderr, "oauthvaultd: the audit trail could not be told of the new slot\n");
}

// `oauthvaultd recover`: one slot's secret in, a new slot out. Needs the keys file alone.
std::expected<int, Refusal> Recover(const Invocation& invocation) {
  const Config& config = invocation.config;
  auto lock = Lock::Take(config);
  if (!lock) return std::unexpected(std::move(lock.error()));
  const bool key_file = invocation.slot == "key_file";
  std::error_code ignored;
  if (key_file && invocation.out.empty()) {
    return Refuse(Result<void>(Fail(Code::kInvalid, "a new key file needs --out FILE")),
                  kAboutSlot);
  }
  if (key_file &&
      std::filesystem::exists(std::filesystem::symlink_status(invocation.out, ignored))) {
    return Refuse(Result<void>(Fail(Code::kConflict, "something is at the new key file's place",
                                    Subject::Path(invocation.out.string()))),
                  kAboutSlot);
  }
  auto keyring = OpenKeys(config.KeysFile(), config);
  if (!keyring) return std::unexpected(std::move(keyring.error()));
  auto wanted = WantedSlot(invocation);
  if (!wanted) return Refuse(std::move(wanted), kAboutSlot);
  wanted->label = "recovered";
  auto added = (*keyring)->AddSlot(*wanted);
  if (!added) return Refuse(std::move(added), kAboutSlot);
  auto handed_over = key_file ? WriteKeyLine(invocation.out, added->texts.front())
                              : ShowTexts(added->texts);
  if (!handed_over) {
    // Nobody has its secret.
    (void)(*keyring)->RemoveSlot(added->slot.id);
    return Refuse(std::move(handed_over), key_file ? kAboutFolders : kAboutOutput);
  }
  TellOfRecovery(config, **keyring, added->slot.id);
  std::printf("oauthvaultd: slot %u is added; whoever has its secret opens the vault\n",
              added->slot.id);
  return 0;
}

int Tell(const std::vector<audit::Verdict::Problem>& problems, const char* where) {
  for (const auto& problem : problems) {
    std::fprintf(stderr, "%s %llu: %s\n", where,
                 static_cast<unsigned long long>(problem.line_number), problem.what.c_str());
  }
  return problems.empty() ? 0 : 2;
}

int Tell(const audit::Verdict& verdict) {
  const int code = Tell(verdict.problems, "line");
  std::printf("%llu lines, sequence %llu to %llu, proven by a checkpoint to %llu: %s\n",
              static_cast<unsigned long long>(verdict.lines),
              static_cast<unsigned long long>(verdict.first_sequence),
              static_cast<unsigned long long>(verdict.last_sequence),
              static_cast<unsigned long long>(verdict.proven_sequence),
              code == 0 ? "every line verifies" : "NOT whole");
  return code;
}

// The checkpoints that somebody kept, as they stand in their files.
std::expected<std::vector<std::string>, Refusal> KeptCheckpoints(const Invocation& invocation) {
  std::vector<std::string> kept;
  for (const std::filesystem::path& path : invocation.checkpoints) {
    auto note = audit::ReadSmallFile(path, audit::kMaxCheckpointSize);
    if (!note) {
      return Refuse(Result<void>(Fail(Code::kInvalid, "a checkpoint that was kept is no small file",
                                      Subject::Path(path.string()))),
                    kAboutCheckpoint);
    }
    kept.push_back(*std::move(note));
  }
  return kept;
}

// As an outsider, who has the public key and what was kept, and nothing of the vault's.
std::expected<int, Refusal> VerifyFromOutside(const Invocation& invocation) {
  auto key = audit::CheckpointKey::Parse(invocation.public_key);
  if (!key) return Refuse(std::move(key), kAboutCheckpoint);
  auto kept = KeptCheckpoints(invocation);
  if (!kept) return std::unexpected(std::move(kept.error()));
  if (invocation.extract.empty()) {
    auto verdict = audit::VerifyFromOutside(invocation.config.audit, *key, *kept);
    if (!verdict) return Refuse(std::move(verdict), kAboutCheckpoint);
    return Tell(*verdict);
  }
  auto verdict = audit::VerifyExtract(invocation.extract, *key, *kept);
  if (!verdict) return Refuse(std::move(verdict), kAboutCheckpoint);
  const int code = Tell(verdict->problems, "record");
  std::printf("%llu lines of project %s, none missing from line %llu of the trail to %llu: %s\n",
              static_cast<unsigned long long>(verdict->lines), verdict->project.c_str(),
              static_cast<unsigned long long>(verdict->first_sequence),
              static_cast<unsigned long long>(verdict->last_sequence),
              code == 0 ? "proven" : "NOT proven");
  return code;
}

// `oauthvaultd verify-audit`: 0 when every line verifies, 2 when one does not.
std::expected<int, Refusal> VerifyAudit(const Invocation& invocation) {
  if (!invocation.public_key.empty()) return VerifyFromOutside(invocation);
  if (!invocation.extract.empty()) {
    return Refuse(Result<void>(Fail(Code::kInvalid, "an extract is checked with --public-key")),
                  kAboutCheckpoint);
  }
  const Config& config = invocation.config;
  auto kept = KeptCheckpoints(invocation);
  if (!kept) return std::unexpected(std::move(kept.error()));
  auto keyring = OpenKeys(config.KeysFile(), config);
  if (!keyring) return std::unexpected(std::move(keyring.error()));
  auto verdict = audit::VerifyFile(config.audit, (*keyring)->AuditKey(), *kept);
  if (!verdict) return Refuse(std::move(verdict), kAboutTrail);
  return Tell(*verdict);
}

}  // namespace

std::expected<int, Refusal> RunOffline(const Invocation& invocation) {
  switch (invocation.command) {
    case Command::kInit: return Init(invocation);
    case Command::kFsck: return Fsck(invocation);
    case Command::kRestore: return DoRestore(invocation);
    case Command::kRecover: return Recover(invocation);
    case Command::kVerifyAudit: return VerifyAudit(invocation);
    case Command::kCheckChild:
      return upkeep::CheckChild(invocation.check_folder, invocation.check_keys);
    case Command::kServe: break;
  }
  __builtin_unreachable();
}

}  // namespace oauthvault
