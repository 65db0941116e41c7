#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "crypto/keyring.h"
#include "crypto/locked_memory.h"
#include "daemon/audit/trail.h"
#include "daemon/config.h"
#include "daemon/ending.h"
#include "daemon/hardening.h"
#include "daemon/offline.h"
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
#include "daemon/sealed_phase.h"
#include "daemon/store_check.h"
#include "daemon/upkeep/anchor.h"
#include "daemon/upkeep/check.h"
#include "daemon/upkeep/restore.h"
#include "daemon/upkeep/rewrapper.h"
#include "daemon/upkeep/shredding.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"

namespace oauthvault {
namespace {

constexpr char kVersion[] = "0.1.0";
constexpr std::int64_t kServerCertificateTtlS = 90 * 24 * 3600;

// Threads: 8 for calls, 4 for calls that wait for Rivery, 1 for backups and the like, and one each
// for the doors (2), the ticker, the attempts' driver, the rewrapper, a check behind the start, the
// store's writer; two of the trail; gRPC's own.
constexpr std::size_t kCallThreads = 8;
constexpr std::size_t kRiveryThreads = 4;
constexpr std::size_t kUpkeepThreads = 1;
constexpr std::size_t kUpkeepQueue = 4;
constexpr std::size_t kCallQueue = 512;
constexpr std::size_t kRiveryQueue = 64;
// Beyond the configured time at the end: for calls that were cancelled to notice it.
constexpr std::chrono::milliseconds kStopGrace{500};

// What the program ends with where store and trail do not belong together: EX_CONFIG, which
// systemd's RestartPreventExitStatus can name.
constexpr int kExitPutBack = 78;
// Sealing waits this long for calls under way; then they are cancelled, and have so long to end.
constexpr std::chrono::milliseconds kSealPatience{500};
constexpr std::chrono::milliseconds kSealGrace{1500};

constexpr char kAboutListen[] =
    "end the other program or daemon, or name another place with --listen or --socket";
constexpr char kAboutNames[] = "names takes DNS names and IP addresses";
constexpr char kAboutLocking[] =
    "raise the limit on locked memory (LimitMEMLOCK=64M, ulimit -l), or accept with "
    "--allow-unlocked that keys may be written to swap";

int Tell(const Refusal& refusal) {
  std::fprintf(stderr, "oauthvaultd: %s\n  %s\n", refusal.error.Message().c_str(), refusal.advice);
  return refusal.exit_code;
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

// What is unfinished is not worth to serve nothing for where a row is damaged: what was begun to be
// shredded is refused all the same, and the next start tries again.
template <class T>
std::expected<void, Refusal> GoOnWithDamage(Result<T>&& finished, const char* what) {
  if (finished) return {};
  if (finished.error().GetCode() != Code::kCorrupt) {
    return Refuse(std::move(finished), kAboutStore);
  }
  spdlog::error("{} is not finished, as a row is damaged: {}", what, finished.error().GetText());
  return {};
}

// What an open vault was ended by.
enum class OpenEnd : std::uint8_t { kSealed, kStopped };

// The parts list: everything is made here, once for each opening, and given the few things that it
// needs. `become_sealed` seals at any price, and does not return.
std::expected<OpenEnd, Refusal> ServeOpen(const Config& config, const Listeners& listeners,
                                          const rpc::DaemonFacts& facts,
                                          const rpc::AccessRules& rules, Opening opening,
                                          const std::function<void()>& become_sealed) {
  // The last to go but for the keys: it bounds the ends of all others, too.
  std::optional<LastResort> last_resort;
  crypto::Keyring& keyring = *opening.keyring;
  upkeep::LastCheck last_check;
  if (config.fsck == Config::Fsck::kBefore) {
    if (auto whole = CheckBefore(config, keyring, last_check); !whole) {
      if (IsToldToEnd()) return OpenEnd::kStopped;
      return std::unexpected(std::move(whole.error()));
    }
  }
  auto trail = audit::Trail::Open(config.audit, keyring.AuditKey(), NowUs);
  if (!trail) {
    // The trail is opened before the store, so it is what a second daemon meets.
    const bool in_use = trail.error().GetCode() == Code::kConflict;
    return Refuse(std::move(trail), in_use ? kAboutInUse : kAboutTrail);
  }
  storage::Ledger ledger(keyring, audit::RecorderOf(**trail));
  auto engine = storage::OpenLmdbStore(StoreSettings(config), keyring.Id(), ledger);
  if (!engine) return Refuse(std::move(engine), kAboutStore);
  storage::Store store(**engine, keyring);
  if (auto reconciled = upkeep::Reconcile(store, keyring, **trail); !reconciled) {
    const bool put_back = reconciled.error().GetCode() == Code::kStale;
    Refusal refusal{std::move(reconciled.error()), kAboutAnchor};
    if (put_back) refusal.exit_code = kExitPutBack;
    return std::unexpected(std::move(refusal));
  }
  auto grants = registry::Grants::Load(store);
  if (!grants) return Refuse(std::move(grants), kAboutStore);
  auto identities = registry::Identities::Load(store, config.trust_domain);
  if (!identities) return Refuse(std::move(identities), kAboutTrustDomain);
  // Behind whatever an operator has to mend first, which leaves no line.
  audit::Entry opened{storage::Act{.act = "open", .principal = "-", .object = opening.how}};
  opened.outcome = audit::Outcome::kAllowed;
  if (auto told = (*trail)->RecordAndWait(std::move(opened)); !told) {
    return Refuse(std::move(told), kAboutTrail);
  }
  if (auto finished = GoOnWithDamage(upkeep::FinishShredding(keyring, store, **grants),
                                     "shredding");
      !finished) {
    return std::unexpected(std::move(finished.error()));
  }
  upkeep::Rewrapper rewrapper(store, keyring, NowS);

  const rivery::Reach reach{config.rivery.allow_loopback, config.rivery.allow_private};
  const rivery::Client client(RoutesOf(config), rivery::Limits{}, reach);
  rivery::AttemptSettings attempt_settings;
  attempt_settings.poll_interval = std::chrono::milliseconds(config.rivery.poll_interval_ms);
  attempt_settings.pending_statuses = config.rivery.pending_statuses;
  attempt_settings.settle_time = std::chrono::milliseconds(config.rivery.settle_time_ms);
  rivery::Attempts attempts(client, store, **grants, **trail, config.trust_domain,
                            attempt_settings, NowS);
  rivery::Connections connections(client, store, **trail);

  Phase phase;
  std::mutex alone;  // held by whatever shows or needs a store and keys that belong together
  const rpc::Peers peers(**identities, NowS);
  const rpc::Edge edge(rules, peers, **grants, store, **trail, NowS);
  rpc::Workers call_workers("calls", kCallThreads, kCallQueue);
  rpc::Workers rivery_workers("rivery-calls", kRiveryThreads, kRiveryQueue);
  rpc::Workers upkeep_workers("upkeep", kUpkeepThreads, kUpkeepQueue);
  rpc::Ticker ticker(rpc::kStreamDecisionInterval);

  rpc::RegistryService registry_service(edge, call_workers, keyring, store, **grants,
                                        **identities);
  rpc::CredentialsService credentials_service(edge, call_workers, store);
  rpc::AccountsService accounts_service(edge, call_workers, rivery_workers, store, client, reach);
  rpc::AttemptsService attempts_service(edge, call_workers, store, attempts, ticker);
  rpc::ConnectionsService connections_service(edge, call_workers, rivery_workers, store,
                                              connections);
  rpc::OperationsService operations_service(edge, call_workers, upkeep_workers,
                                            {keyring, store, **grants, rewrapper, last_check,
                                             alone},
                                            facts, [&phase] { phase.End(); });
  rpc::AuditService audit_service(edge, call_workers);

  // The daemon's own key lives in memory only: a new pair with every opening.
  const registry::CertificateAuthority& authority = (*identities)->Authority();
  auto own_identity =
      authority.IssueServer(config.names, config.trust_domain, kServerCertificateTtlS, NowS());
  if (!own_identity) return Refuse(std::move(own_identity), kAboutNames);
  auto own = Duplicate(listeners);
  if (!own) return Refuse(std::move(own), kAboutProgram);
  auto server = rpc::Server::Start(
      std::move(own->tcp), std::move(own->unix_socket), *own_identity, authority.CertificatePem(),
      {&registry_service, &credentials_service, &accounts_service, &attempts_service,
       &connections_service, &operations_service, &audit_service},
      DoorsOf(config));
  if (!server) return Refuse(std::move(server), kAboutProgram);
  if (auto started = GoOnWithDamage(rewrapper.Start(), "rewrapping"); !started) {
    return std::unexpected(std::move(started.error()));
  }
  if (auto started = attempts.Start(); !started) return Refuse(std::move(started), kAboutStore);
  std::optional<CheckBehind> behind;
  if (config.fsck == Config::Fsck::kBehind) {
    behind.emplace(config, keyring, alone, last_check);
  }

  spdlog::info("serving tcp={} socket={} generation={}", facts.address, config.socket.string(),
               (*engine)->Generation());
  const bool sealing = phase.AwaitEnd();
  spdlog::info(sealing ? "sealing" : "stopping");
  const std::chrono::milliseconds patience =
      sealing ? kSealPatience : std::chrono::milliseconds(config.edge.stop_timeout_ms);
  if (sealing) {
    last_resort.emplace(patience + kSealGrace, become_sealed);
  } else {
    last_resort.emplace(patience + kStopGrace, EndProcess(config.socket));
  }
  operations_service.BreakOff();
  (*server)->Stop(patience);
  attempts.Stop();
  rewrapper.Stop();
  return sealing ? OpenEnd::kSealed : OpenEnd::kStopped;
}

// Removes the socket when the daemon ends, however that comes.
class SocketPath {
 public:
  explicit SocketPath(std::filesystem::path path) : path_(std::move(path)) {}
  ~SocketPath() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  SocketPath(const SocketPath&) = delete;
  SocketPath& operator=(const SocketPath&) = delete;

 private:
  const std::filesystem::path path_;
};

std::expected<void, Refusal> ExpectNoRestore(const Config& config) {
  if (!upkeep::IsRestoring(config.state)) return {};
  return Refuse(Result<void>(Fail(Code::kInvalid, "a restore is not finished")), kAboutRestore);
}

std::expected<void, Refusal> Serve(const Invocation& invocation,
                                   const std::function<void()>& become_sealed) {
  const Config& config = invocation.config;
  BlockEndingSignals();

  if (auto whole = ExpectNoRestore(config); !whole) return whole;
  auto rules = rpc::AccessRules::FromContract(rpc::ContractServices());
  if (!rules) return Refuse(std::move(rules), kAboutProgram);
  // Before the doors open: an operator with a wrong key file is told at once.
  Opening opening{nullptr, "key file"};
  if (!invocation.sealed) {
    auto by_key_file = UnlockByKeyFile(config);
    if (!by_key_file) return std::unexpected(std::move(by_key_file.error()));
    opening.keyring = std::move(*by_key_file);
    if (!opening.keyring && !config.key_file.empty()) {
      spdlog::warn("no key file is there, so the vault stays sealed key_file={}", config.key_file);
    }
  }

  auto tcp = rpc::ListenTcp(config.listen);
  if (!tcp) return Refuse(std::move(tcp), kAboutListen);
  auto unix_socket = rpc::ListenUnix(config.socket);
  if (!unix_socket) return Refuse(std::move(unix_socket), kAboutListen);
  const SocketPath socket_path(config.socket);
  const Listeners listeners{std::move(*tcp), std::move(*unix_socket)};
  const rpc::DaemonFacts facts{kVersion,
                               config.trust_domain,
                               rpc::BoundAddress(listeners.tcp),
                               NowS(),
                               config.StoreFolder(),
                               config.KeysFile()};
  for (;;) {
    if (!opening.keyring) {
      auto unsealed = ServeSealed(config, listeners, facts);
      if (!unsealed) return std::unexpected(std::move(unsealed.error()));
      if (!unsealed->keyring) break;
      opening = std::move(*unsealed);
      // A sealed daemon has nothing open: a restore may have been begun beside it.
      if (auto whole = ExpectNoRestore(config); !whole) return whole;
    }
    auto ended = ServeOpen(config, listeners, facts, *rules, std::exchange(opening, {}),
                           become_sealed);
    if (!ended) return std::unexpected(std::move(ended.error()));
    if (*ended == OpenEnd::kStopped) break;
  }
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
  const Config& config = invocation->config;
  StartLog(config.log_level);
  if (auto ready = crypto::Prepare(); !ready) {
    return Tell({std::move(ready.error()), kAboutProgram});
  }
  // The offline commands are over in a moment; the daemon keeps its keys for months.
  const bool must_lock = invocation->command == Command::kServe && !config.allow_unlocked;
  const auto allowed = must_lock ? crypto::Unlocked::kRefuse : crypto::Unlocked::kAllow;
  if (auto locked = crypto::PrepareLockedMemory(allowed); !locked) {
    return Tell({std::move(locked.error()), kAboutLocking});
  }
  if (invocation->command == Command::kServe) {
    const std::vector<std::string> words(argv, argv + argc);
    auto served = Serve(*invocation, [&words] { BecomeSealed(words); });
    return served ? 0 : Tell(served.error());
  }
  auto done = RunOffline(*invocation);
  return done ? *done : Tell(done.error());
}

}  // namespace
}  // namespace oauthvault

int main(int argc, char** argv) { return oauthvault::Run(argc, argv); }
