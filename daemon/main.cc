#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "daemon/audit/trail.h"
#include "daemon/config.h"
#include "daemon/hardening.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/identities.h"
#include "daemon/rivery/attempts.h"
#include "daemon/rivery/client.h"
#include "daemon/rivery/connections.h"
#include "daemon/rpc/access_rules.h"
#include "daemon/rpc/accounts_service.h"
#include "daemon/rpc/attempts_service.h"
#include "daemon/rpc/audit_service.h"
#include "daemon/rpc/connections_service.h"
#include "daemon/rpc/credentials_service.h"
#include "daemon/rpc/door.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/operations_service.h"
#include "daemon/rpc/peer.h"
#include "daemon/rpc/registry_service.h"
#include "daemon/rpc/server.h"
#include "daemon/rpc/ticker.h"
#include "daemon/rpc/workers.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/store.h"

namespace oauthvault {
namespace {

constexpr char kVersion[] = "0.1.0";
constexpr std::int64_t kServerCertificateTtlS = 90 * 24 * 3600;

// Threads: 8 for calls, 4 for calls that wait for Rivery, and one each for the doors (2), the
// ticker, the attempts' driver, the store's writer; two of the trail; gRPC's own.
constexpr std::size_t kCallThreads = 8;
constexpr std::size_t kRiveryThreads = 4;
constexpr std::size_t kCallQueue = 512;
constexpr std::size_t kRiveryQueue = 64;
// Beyond the configured time at the end: for calls that were cancelled to notice it.
constexpr std::chrono::milliseconds kStopGrace{500};

std::int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}
std::int64_t NowS() { return NowUs() / 1'000'000; }

// 1: the operator can mend it; 2: the machine or the vault is at fault.
int ExitCodeOf(Code code) {
  switch (code) {
    case Code::kNotFound:
    case Code::kUnauthenticated:
    case Code::kDenied:
    case Code::kInvalid:
    case Code::kConflict:
    case Code::kStale: return 1;
    case Code::kCorrupt:
    case Code::kSealed:
    case Code::kUnavailable:
    case Code::kExhausted: return 2;
  }
  __builtin_unreachable();
}

// Why the daemon does not start, and what its operator can do about it.
struct Refusal {
  Error error;
  const char* advice;
};

template <class T>
std::unexpected<Refusal> Refuse(Result<T>&& failed, const char* advice) {
  return std::unexpected(Refusal{std::move(failed.error()), advice});
}

int Tell(const Refusal& refusal) {
  std::fprintf(stderr, "oauthvaultd: %s\n  %s\n", refusal.error.Message().c_str(), refusal.advice);
  return ExitCodeOf(refusal.error.GetCode());
}

constexpr char kAboutKeyFile[] =
    "key_file opens the vault: a file of mode 0600 that belongs to the daemon's user. Put it back "
    "from its copy, or name it with --key-file. A new vault is made by `oauthvaultd init`";
constexpr char kAboutKeys[] =
    "`keys` in the folder `state` is made by `oauthvaultd init` and opens with the key file it was "
    "made with. Check both paths, or put the file back from a backup";
constexpr char kAboutStore[] =
    "the store lies in `state`/store. Check that path and that no other daemon uses it; a store "
    "that is damaged or another vault's comes back from a backup, together with `keys`";
constexpr char kAboutTrail[] =
    "the trail is audit.jsonl in the folder `audit`. `oauthvaultd verify-audit` shows what does "
    "not verify. Keep the file as evidence, and find out who changed it before it is put back";
constexpr char kAboutTrustDomain[] =
    "trust_domain must be the one that `oauthvaultd init` was given: it cannot be changed later";
constexpr char kAboutListen[] =
    "end the other program or daemon, or name another place with --listen or --socket";
constexpr char kAboutNewVault[] =
    "nothing was overwritten. To serve the vault that is there, start `oauthvaultd`; for a new one "
    "name other folders with --state and --audit";
constexpr char kAboutFolders[] = "check that the folders exist and that the daemon may write there";
constexpr char kAboutNames[] = "names takes DNS names and IP addresses";
constexpr char kAboutProgram[] =
    "this program or the machine is at fault: reinstall, then report it";

storage::LmdbSettings StoreSettings(const Config& config) {
  storage::LmdbSettings settings;
  settings.folder = config.StoreFolder();
  settings.map_size_bytes = config.store.map_size_mib << 20;
  return settings;
}

std::expected<std::unique_ptr<crypto::Keyring>, Refusal> UnlockKeyring(const Config& config) {
  auto secret = crypto::ReadKeyFile(config.key_file);
  if (!secret) return Refuse(std::move(secret), kAboutKeyFile);
  auto keyring = crypto::Keyring::Unlock(config.KeysFile(), *secret);
  if (!keyring) return Refuse(std::move(keyring), kAboutKeys);
  return std::move(*keyring);
}

Result<void> MakeFolder(const std::filesystem::path& folder) {
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

// `oauthvaultd init`: key file unless there is one, keys, store, CA, trail.
std::expected<void, Refusal> Init(const Config& config) {
  if (auto free = ExpectNoVault(config); !free) return Refuse(std::move(free), kAboutNewVault);
  for (const auto& folder : {config.state, config.StoreFolder(), config.audit}) {
    if (auto made = MakeFolder(folder); !made) return Refuse(std::move(made), kAboutFolders);
  }
  if (!std::filesystem::exists(config.key_file)) {
    if (auto made = MakeFolder(config.key_file.parent_path()); !made) {
      return Refuse(std::move(made), kAboutFolders);
    }
    if (auto written = crypto::WriteKeyFile(config.key_file, crypto::NewSlotSecret()); !written) {
      return Refuse(std::move(written), kAboutFolders);
    }
  }
  auto secret = crypto::ReadKeyFile(config.key_file);
  if (!secret) return Refuse(std::move(secret), kAboutKeyFile);
  auto keyring = crypto::Keyring::Create(config.KeysFile(), *secret, "key file");
  if (!keyring) return Refuse(std::move(keyring), kAboutFolders);
  const storage::LmdbSettings settings = StoreSettings(config);
  if (auto made = storage::CreateLmdbStore(settings, (*keyring)->Id()); !made) {
    return Refuse(std::move(made), kAboutFolders);
  }
  auto engine = storage::OpenLmdbStore(settings, (*keyring)->Id());
  if (!engine) return Refuse(std::move(engine), kAboutStore);
  storage::Store store(**engine, **keyring);
  if (auto made = registry::CreateAuthority(store, config.trust_domain, NowS()); !made) {
    return Refuse(std::move(made), kAboutTrustDomain);
  }
  auto trail = audit::Trail::Open(config.audit, (*keyring)->AuditKey(), NowUs);
  if (!trail) return Refuse(std::move(trail), kAboutTrail);
  std::printf("oauthvaultd: the vault is made\n");
  std::printf("  keys   %s\n  store  %s\n  audit  %s\n  key    %s\n", config.KeysFile().c_str(),
              config.StoreFolder().c_str(), config.audit.c_str(), config.key_file.c_str());
  std::printf("Keep a copy of the key file elsewhere: without it nothing opens the vault.\n");
  return {};
}

// `oauthvaultd verify-audit`: 0 when every line verifies, 2 when one does not.
std::expected<int, Refusal> VerifyAudit(const Config& config) {
  auto keyring = UnlockKeyring(config);
  if (!keyring) return std::unexpected(std::move(keyring.error()));
  auto verdict = audit::VerifyFile(config.audit, (*keyring)->AuditKey());
  if (!verdict) return Refuse(std::move(verdict), kAboutTrail);
  for (const auto& problem : verdict->problems) {
    std::fprintf(stderr, "line %llu: %s\n", static_cast<unsigned long long>(problem.line_number),
                 problem.what.c_str());
  }
  std::printf("%llu lines, sequence %llu to %llu: %s\n",
              static_cast<unsigned long long>(verdict->lines),
              static_cast<unsigned long long>(verdict->first_sequence),
              static_cast<unsigned long long>(verdict->last_sequence),
              verdict->problems.empty() ? "every line verifies" : "NOT whole");
  return verdict->problems.empty() ? 0 : 2;
}

rivery::Routes RoutesOf(const Config& config) {
  rivery::Routes routes = rivery::DefaultRoutes();
  for (auto& [operation, route] : routes) {
    const auto configured = config.rivery.routes.find(std::string(rivery::NameOf(operation)));
    if (configured == config.rivery.routes.end()) continue;
    const std::size_t space = configured->second.find(' ');
    route = {configured->second.substr(0, space), configured->second.substr(space + 1)};
  }
  return routes;
}

// Ends the process when stopping takes longer than `bound`: a call to Rivery may last a minute.
// What was acknowledged is durable, and so is each step of an attempt before its call leaves, so
// this is no worse than a kill: the next start goes on from there.
class LastResort {
 public:
  explicit LastResort(std::chrono::milliseconds bound) : thread_([this, bound] { Run(bound); }) {}
  ~LastResort() {
    {
      const std::lock_guard lock(guard_);
      stopped_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  LastResort(const LastResort&) = delete;
  LastResort& operator=(const LastResort&) = delete;

 private:
  void Run(std::chrono::milliseconds bound) {
    std::unique_lock lock(guard_);
    if (wake_.wait_for(lock, bound, [this] { return stopped_; })) return;
    spdlog::warn("stopped with calls under way");
    spdlog::default_logger()->flush();
    _exit(0);
  }

  std::mutex guard_;  // guards stopped_
  std::condition_variable wake_;
  bool stopped_ = false;
  std::thread thread_;  // the last member: it uses the others
};

// The parts list: everything is made here, once, and given the few things that it needs.
std::expected<void, Refusal> Serve(const Config& config) {
  // Blocked before the first thread is made, so that only sigwait below sees them.
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);

  auto rules = rpc::AccessRules::FromContract(rpc::ContractServices());
  if (!rules) return Refuse(std::move(rules), kAboutProgram);

  auto keyring = UnlockKeyring(config);
  if (!keyring) return std::unexpected(std::move(keyring.error()));
  auto engine = storage::OpenLmdbStore(StoreSettings(config), (*keyring)->Id());
  if (!engine) return Refuse(std::move(engine), kAboutStore);
  storage::Store store(**engine, **keyring);
  auto trail = audit::Trail::Open(config.audit, (*keyring)->AuditKey(), NowUs);
  if (!trail) return Refuse(std::move(trail), kAboutTrail);
  auto grants = registry::Grants::Load(store);
  if (!grants) return Refuse(std::move(grants), kAboutStore);
  auto identities = registry::Identities::Load(store, config.trust_domain);
  if (!identities) return Refuse(std::move(identities), kAboutTrustDomain);

  const rivery::Reach reach{config.rivery.allow_loopback, config.rivery.allow_private};
  const rivery::Client client(RoutesOf(config), rivery::Limits{}, reach);
  rivery::AttemptSettings attempt_settings;
  attempt_settings.poll_interval = std::chrono::milliseconds(config.rivery.poll_interval_ms);
  attempt_settings.pending_statuses = config.rivery.pending_statuses;
  attempt_settings.settle_time = std::chrono::milliseconds(config.rivery.settle_time_ms);
  rivery::Attempts attempts(client, store, **grants, **trail, config.trust_domain,
                            attempt_settings, NowS);
  rivery::Connections connections(client, store, **trail);

  const rpc::Peers peers(**identities, NowS);
  const rpc::Edge edge(*rules, peers, **grants, store, **trail, NowS);
  rpc::Workers call_workers("calls", kCallThreads, kCallQueue);
  rpc::Workers rivery_workers("rivery-calls", kRiveryThreads, kRiveryQueue);
  rpc::Ticker ticker(rpc::kStreamDecisionInterval);

  auto tcp = rpc::ListenTcp(config.listen);
  if (!tcp) return Refuse(std::move(tcp), kAboutListen);
  auto unix_socket = rpc::ListenUnix(config.socket);
  if (!unix_socket) return Refuse(std::move(unix_socket), kAboutListen);
  const rpc::DaemonFacts facts{kVersion, config.trust_domain, rpc::BoundAddress(*tcp), NowS()};

  rpc::RegistryService registry_service(edge, call_workers, **keyring, store, **grants,
                                        **identities);
  rpc::CredentialsService credentials_service(edge, call_workers, store);
  rpc::AccountsService accounts_service(edge, call_workers, rivery_workers, store, client, reach);
  rpc::AttemptsService attempts_service(edge, call_workers, store, attempts, ticker);
  rpc::ConnectionsService connections_service(edge, call_workers, rivery_workers, store,
                                              connections);
  rpc::OperationsService operations_service(edge, call_workers, **keyring, store, **grants, facts);
  rpc::AuditService audit_service(edge, call_workers);

  // The daemon's own key lives in memory only: a new pair with every start.
  const registry::CertificateAuthority& authority = (*identities)->Authority();
  auto own_identity =
      authority.IssueServer(config.names, config.trust_domain, kServerCertificateTtlS, NowS());
  if (!own_identity) return Refuse(std::move(own_identity), kAboutNames);
  auto server = rpc::Server::Start(
      std::move(*tcp), std::move(*unix_socket), *own_identity, authority.CertificatePem(),
      {&registry_service, &credentials_service, &accounts_service, &attempts_service,
       &connections_service, &operations_service, &audit_service},
      {config.edge.max_connections, std::chrono::milliseconds(config.edge.handshake_timeout_ms)});
  if (!server) return Refuse(std::move(server), kAboutProgram);
  if (auto started = attempts.Start(); !started) {
    return Refuse(std::move(started), kAboutStore);
  }

  spdlog::info("serving tcp={} socket={} generation={}", facts.address, config.socket.string(),
               (*engine)->Generation());
  int signal = 0;
  sigwait(&ending, &signal);
  spdlog::info("stopping signal={}", signal);
  const std::chrono::milliseconds patience(config.edge.stop_timeout_ms);
  std::error_code ignored;
  std::filesystem::remove(config.socket, ignored);
  const LastResort last_resort(patience + kStopGrace);
  (*server)->Stop(patience);
  attempts.Stop();
  spdlog::info("stopped");
  return {};
}

void StartLog(const std::string& level) {
  auto log = spdlog::stderr_logger_mt("oauthvaultd");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  log->set_level(level == "warning" ? spdlog::level::warn
                 : level == "error" ? spdlog::level::err
                 : level == "debug" ? spdlog::level::debug
                                    : spdlog::level::info);
  spdlog::set_default_logger(std::move(log));
}

int Run(int argc, char** argv) {
  HardenProcess();
  auto invocation = ReadInvocation(argc, argv);
  if (!invocation) {
    const Ending& ending = invocation.error();
    if (ending.exit_code == 0) {
      std::fputs(ending.text.c_str(), stdout);
    } else {
      std::fprintf(stderr, "oauthvaultd: %s\n", ending.text.c_str());
    }
    return ending.exit_code;
  }
  StartLog(invocation->config.log_level);
  if (auto ready = crypto::Prepare(); !ready) {
    return Tell({std::move(ready.error()), kAboutProgram});
  }
  switch (invocation->command) {
    case Command::kServe: {
      auto served = Serve(invocation->config);
      return served ? 0 : Tell(served.error());
    }
    case Command::kInit: {
      auto made = Init(invocation->config);
      return made ? 0 : Tell(made.error());
    }
    case Command::kVerifyAudit: {
      auto verified = VerifyAudit(invocation->config);
      return verified ? *verified : Tell(verified.error());
    }
  }
  __builtin_unreachable();
}

}  // namespace
}  // namespace oauthvault

int main(int argc, char** argv) { return oauthvault::Run(argc, argv); }
