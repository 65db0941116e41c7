#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

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
#include "daemon/clock.h"
#include "daemon/config.h"
#include "daemon/custody/changes.h"
#include "daemon/ending.h"
#include "daemon/hardening.h"
#include "daemon/http/edge.h"
#include "daemon/http/server.h"
#include "daemon/metrics/calls.h"
#include "daemon/liveness.h"
#include "daemon/notify.h"
#include "daemon/offline.h"
#include "daemon/opening.h"
#include "daemon/owner.h"
#include "daemon/refusal.h"
#include "daemon/registry/grants.h"
#include "daemon/registry/identities.h"
#include "daemon/registry/tokens.h"
#include "daemon/registry/trust.h"
#include "daemon/rivery/attempts.h"
#include "daemon/rivery/catalogue.h"
#include "daemon/rivery/client.h"
#include "daemon/rivery/connections.h"
#include "daemon/rivery/propagation.h"
#include "daemon/rpc/access_rules.h"
#include "daemon/rpc/accounts_service.h"
#include "daemon/rpc/attempts_service.h"
#include "daemon/rpc/audit_service.h"
#include "daemon/rpc/concurrency.h"
#include "daemon/rpc/connections_service.h"
#include "daemon/rpc/cork.h"
#include "daemon/rpc/counters.h"
#include "daemon/rpc/credentials_service.h"
#include "daemon/rpc/door.h"
#include "daemon/rpc/door_certificate.h"
#include "daemon/rpc/edge.h"
#include "daemon/rpc/operations_service.h"
#include "daemon/rpc/peer.h"
#include "daemon/rpc/probe.h"
#include "daemon/rpc/registry_service.h"
#include "daemon/rpc/server.h"
#include "daemon/rpc/ticker.h"
#include "daemon/rpc/tokens_service.h"
#include "daemon/rpc/tls_credentials.h"
#include "daemon/rpc/trust_service.h"
#include "daemon/rpc/workers.h"
#include "daemon/sealed_phase.h"
#include "daemon/store_check.h"
#include "daemon/upkeep/anchor.h"
#include "daemon/upkeep/check.h"
#include "daemon/upkeep/pruner.h"
#include "daemon/upkeep/restore.h"
#include "daemon/upkeep/rewrapper.h"
#include "daemon/upkeep/shredding.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"

namespace oauthvault {
namespace {

// Threads: 8 for calls, 4 for calls that wait for Rivery, 1 for backups and the like, and one each
// for the doors (2), their certificate, the probe, the ticker, the attempts' driver, the
// propagation, the rewrapper, a check behind the start, the store's writer; two of the trail; two
// of HTTP, and one for each of its connections; 1 to 4 of the calls' loop; gRPC's own.
constexpr std::size_t kCallThreads = 8;
constexpr std::size_t kRiveryThreads = 4;
constexpr std::size_t kUpkeepThreads = 1;
constexpr std::size_t kUpkeepQueue = 4;
constexpr std::size_t kCallQueue = 512;
constexpr std::size_t kRiveryQueue = 64;
// All of the above and gRPC's own, which depend on the machine.
constexpr std::size_t kThreadsNeeded = 64;
// Beyond the configured time at the end: for calls that were cancelled to notice it.
constexpr std::chrono::milliseconds kStopGrace{500};

// Sealing waits this long for calls under way; then they are cancelled, and have so long to end.
constexpr std::chrono::milliseconds kSealPatience{500};
constexpr std::chrono::milliseconds kSealGrace{1500};

constexpr char kAboutListen[] =
    "end the other program or daemon, or name another place with --listen or --socket";
constexpr char kAboutHttp[] =
    "correct [http] listen, certificate and key; plain HTTP is for loopback only";
constexpr char kAboutThreads[] =
    "raise the limit on threads (TasksMax=512, ulimit -u) or the machine's own";
constexpr char kAboutCertificate[] =
    "names takes DNS names and IP addresses; tls.certificate_folder must exist and be the "
    "daemon's to write to";
constexpr char kAboutOwner[] =
    "run it as that owner, who is the daemon's user: `runuser -u oauthvault -- oauthvaultd ..`; a "
    "key that only root may read comes on standard input: `.. < /etc/oauthvault/key`";
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

http::Settings HttpOf(const Config& config) {
  return {config.http.listen, config.http.certificate, config.http.key,
          config.http.max_connections, config.http.max_connections_per_address, {}};
}

// The HTTP interface of one phase. `listener` is null where there is no interface.
std::expected<std::unique_ptr<http::Server>, Refusal> ServeHttp(const http::Listener* listener,
                                                                const http::Edge& edge) {
  if (listener == nullptr) return nullptr;
  auto server = listener->Serve([&edge](const http::Request& request) {
    return edge.Answer(request);
  });
  if (!server) return Refuse(std::move(server), kAboutProgram);
  return std::move(*server);
}

// What both phases have of the HTTP interface, and the counts that outlive them.
struct Http {
  const http::Listener* listener;
  metrics::Calls& calls;
  http::Gauges gauges;
};

// What an open vault was ended by.
enum class OpenEnd : std::uint8_t { kSealed, kStopped };

// The parts list: everything is made here, once for each opening, and given the few things that it
// needs. `become_sealed` seals at any price, and does not return.
std::expected<OpenEnd, Refusal> ServeOpen(const Config& config, const Listeners& listeners,
                                          const rpc::DaemonFacts& facts,
                                          const rpc::AccessRules& rules, Http http,
                                          const Notifier& notifier, rpc::Counters& counters,
                                          Opening opening,
                                          const std::function<void()>& become_sealed) {
  // The last to go but for the keys: it bounds the ends of all others, too.
  std::optional<LastResort> last_resort;
  crypto::Keyring& keyring = *opening.keyring;
  upkeep::LastCheck last_check;
  notifier.Reloading("opening", upkeep::CheckPatience(config.store.map_size_mib << 20));
  if (config.fsck == Config::Fsck::kBefore) {
    if (auto whole = CheckBefore(config, keyring, last_check); !whole) {
      if (IsToldToEnd()) return OpenEnd::kStopped;
      return std::unexpected(std::move(whole.error()));
    }
  }
  rpc::Corks corks;  // outlives the trail
  auto trail = audit::Trail::Open(config.audit, keyring.AuditKey(), NowUs);
  if (!trail) {
    // The trail is opened before the store, so it is what a second daemon meets.
    const bool in_use = trail.error().GetCode() == Code::kConflict;
    return Refuse(std::move(trail), in_use ? kAboutInUse : kAboutTrail);
  }
  (*trail)->CallBackWithin([&corks](const auto& call_back) { corks.Around(call_back); });
  // Before this start's own lines, which have the time of the clock that is to be judged.
  const std::int64_t told_at_s = upkeep::LastToldAtS(**trail);
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
  auto trusts = registry::Trusts::Load(store, config.trust_domain, (*identities)->Authority());
  if (!trusts) return Refuse(std::move(trusts), kAboutStore);
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
  upkeep::Pruner pruner(**identities, store,
                        {std::chrono::days(config.identities.kept_days),
                         std::chrono::days(config.attempts.kept_days)},
                        [&trail] { return (*trail)->HasRoom(); }, told_at_s,
                        {NowS, std::chrono::steady_clock::now});

  const rivery::Reach reach{config.rivery.allow_loopback, config.rivery.allow_private};
  const rivery::Client client(RoutesOf(config), rivery::Limits{}, reach,
                              config.rivery.ca_file);
  rivery::Rate rate(config.rivery.calls_per_minute);
  rivery::AttemptSettings attempt_settings;
  attempt_settings.poll_interval = std::chrono::milliseconds(config.rivery.poll_interval_ms);
  attempt_settings.retry_interval = std::chrono::milliseconds(config.rivery.retry_interval_ms);
  attempt_settings.pending_statuses = config.rivery.pending_statuses;
  attempt_settings.settle_time = std::chrono::milliseconds(config.rivery.settle_time_ms);
  attempt_settings.kept_versions = {config.custody.kept_versions};
  const auto read_principal = [&trusts](std::string_view text) {
    return (*trusts)->InForce()->PrincipalOf(text);
  };
  rivery::Attempts attempts(client, rate, store, **grants, **trail, read_principal,
                            attempt_settings, NowS);
  rivery::Connections connections(client, rate, store, **trail);
  rivery::PropagationSettings propagation_settings;
  propagation_settings.first_pause = std::chrono::milliseconds(config.rivery.update_pause_ms);
  rivery::Propagation propagation(connections, store, **grants, read_principal,
                                  propagation_settings, NowS);
  custody::Changes changes(store);
  rivery::Catalogue catalogue(client, rate,
                              {std::chrono::seconds(config.rivery.catalogue_max_age_s),
                               config.rivery.allow_unchecked});

  Phase phase;
  std::mutex alone;  // held by whatever shows or needs a store and keys that belong together
  const rpc::Peers peers(**identities, **trusts, NowS);
  rpc::Concurrency concurrency({config.edge.max_calls, config.edge.max_calls_per_principal},
                               counters.calls);
  const rpc::Edge edge(peers, **grants, store, **trail, concurrency, counters.calls, NowS);
  rpc::Workers call_workers("calls", kCallThreads, kCallQueue);
  rpc::Workers rivery_workers("rivery-calls", kRiveryThreads, kRiveryQueue);
  rpc::Workers upkeep_workers("upkeep", kUpkeepThreads, kUpkeepQueue);
  rpc::Ticker ticker(rpc::kStreamDecisionInterval);

  rpc::RegistryService registry_service(edge, call_workers, keyring, store, **grants,
                                        **identities, **trusts);
  rpc::TrustService trust_service(edge, call_workers, store, **trusts);
  rpc::CredentialsService credentials_service(edge, call_workers, keyring, store,
                                              {config.custody.kept_versions}, changes, ticker);
  rpc::AccountsService accounts_service(edge, call_workers, rivery_workers, store, client,
                                        rate, catalogue, reach);
  rpc::AttemptsService attempts_service(edge, call_workers, rivery_workers, store, attempts,
                                        catalogue, ticker);
  rpc::ConnectionsService connections_service(edge, call_workers, rivery_workers, store,
                                              connections, propagation);
  rpc::OperationsService operations_service(edge, call_workers, upkeep_workers,
                                            {keyring, store, **grants, rewrapper, last_check,
                                             alone, counters},
                                            facts, [&phase] { phase.End(); });
  rpc::AuditService audit_service(edge, call_workers, store);
  registry::Tokens tokens(store, keyring);
  rpc::TokensService tokens_service(edge, call_workers, store, tokens);

  rpc::TlsCredentials tls;
  const auto let_in = [&tls, &trusts] { tls.LetIn((*trusts)->InForce()->RootsPem()); };
  let_in();
  (*trusts)->OnSwap(let_in);
  const registry::CertificateAuthority& authority = (*identities)->Authority();
  auto door_certificate = rpc::DoorCertificate::Start(
      authority, tls, **trail,
      {config.names, config.trust_domain, config.tls.certificate_folder}, NowS);
  if (!door_certificate) return Refuse(std::move(door_certificate), kAboutCertificate);
  auto own = Duplicate(listeners);
  if (!own) return Refuse(std::move(own), kAboutProgram);
  rpc::Server::Settings doors = DoorsOf(config);
  doors.calls = &http.calls;
  doors.corks = &corks;
  rpc::Methods methods(rules);
  registry_service.AddTo(methods);
  trust_service.AddTo(methods);
  credentials_service.AddTo(methods);
  accounts_service.AddTo(methods);
  attempts_service.AddTo(methods);
  connections_service.AddTo(methods);
  operations_service.AddTo(methods);
  audit_service.AddTo(methods);
  tokens_service.AddTo(methods);
  auto server = rpc::Server::Start(std::move(own->tcp), std::move(own->unix_socket), tls,
                                   std::move(methods), doors, counters);
  if (!server) return Refuse(std::move(server), kAboutProgram);
  http.gauges.daemon_certificate_expires_at_s = [&door = **door_certificate] {
    return door.ExpiresAtS();
  };
  http.gauges.connections_behind = [&propagation] { return propagation.WaitingCount(); };
  http.gauges.last_check = [&last_check]() -> http::Gauges::Check {
    const auto check = last_check.Get();
    return {check.word, check.at_s};
  };
  http::Vault http_vault{keyring, store, tokens, **trail, NowS, {config.custody.kept_versions}};
  const http::Edge http_edge(&http_vault, http.calls, http.gauges);
  auto http_server = ServeHttp(http.listener, http_edge);
  if (!http_server) return std::unexpected(std::move(http_server.error()));
  if (auto started = GoOnWithDamage(rewrapper.Start(), "rewrapping"); !started) {
    return std::unexpected(std::move(started.error()));
  }
  if (auto started = attempts.Start(); !started) return Refuse(std::move(started), kAboutStore);
  propagation.Start();
  pruner.Start();
  std::optional<CheckBehind> behind;
  if (config.fsck == Config::Fsck::kBehind) {
    behind.emplace(config, keyring, alone, last_check);
  }

  rpc::Probe::Tcp as_client{
      facts.address, config.names.front(), [&tls] { return tls.ShownPem(); },
      [&authority, id = "spiffe://" + config.trust_domain + "/" + rpc::kProbePrincipal] {
        return authority.IssueOwnClient(id, rpc::kProbeIdentityTtlS, NowS());
      }};
  std::optional<Liveness> liveness;
  liveness.emplace(config, notifier, rpc::Probe(config.socket, std::move(as_client), counters.tcp),
                   "serving");
  spdlog::info("serving tcp={} socket={} generation={} version={}", facts.address,
               config.socket.string(), (*engine)->Generation(), facts.version);
  const bool sealing = phase.AwaitEnd();
  spdlog::info(sealing ? "sealing" : "stopping");
  if (sealing) {
    notifier.Reloading("sealing", std::chrono::minutes(1));
  } else {
    notifier.Stopping();
  }
  const std::chrono::milliseconds patience =
      sealing ? kSealPatience : std::chrono::milliseconds(config.edge.stop_timeout_ms);
  if (sealing) {
    last_resort.emplace(patience + kSealGrace, become_sealed);
  } else {
    last_resort.emplace(patience + kStopGrace, EndProcess(config.socket));
  }
  operations_service.BreakOff();
  changes.End();
  liveness.reset();
  http_server->reset();
  (*server)->Stop(patience);
  attempts.Stop();
  propagation.Stop();
  rewrapper.Stop();
  pruner.Stop();
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

  if (auto enough = ExpectThreads(kThreadsNeeded); !enough) {
    return Refuse(std::move(enough), kAboutThreads);
  }
  AllowDescriptors();
  const Notifier notifier = Notifier::FromEnvironment();
  rpc::Counters counters;

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
  auto http_listener = http::Listener::Open(HttpOf(config));
  if (!http_listener) return Refuse(std::move(http_listener), kAboutHttp);
  metrics::Calls calls;
  Http http{http_listener->get(), calls, {}};
  http.gauges.version = Version();
  http.gauges.started_at_s = NowS();
  http.gauges.write_doors = [&counters](metrics::Exposition& out) { rpc::Write(counters, out); };
  if (http.listener != nullptr) {
    http.gauges.connections = [&listener = *http.listener] { return listener.Connections(); };
    http.gauges.http_certificate_expires_at_s = http.listener->CertificateExpiresAtS();
    spdlog::info("http origin={}", http.listener->Origin());
  }
  const Listeners listeners{std::move(*tcp), std::move(*unix_socket)};
  const rpc::DaemonFacts facts{Version(),
                               config.trust_domain,
                               rpc::BoundAddress(listeners.tcp),
                               http.gauges.started_at_s,
                               config.StoreFolder(),
                               config.KeysFile()};
  for (;;) {
    if (!opening.keyring) {
      const http::Edge http_edge(nullptr, http.calls, http.gauges);
      auto http_server = ServeHttp(http.listener, http_edge);
      if (!http_server) return std::unexpected(std::move(http_server.error()));
      auto unsealed = ServeSealed(config, listeners, facts, *rules, notifier, counters);
      http_server->reset();
      if (!unsealed) return std::unexpected(std::move(unsealed.error()));
      if (!unsealed->keyring) break;
      opening = std::move(*unsealed);
      // A sealed daemon has nothing open: a restore may have been begun beside it.
      if (auto whole = ExpectNoRestore(config); !whole) return whole;
    }
    auto ended = ServeOpen(config, listeners, facts, *rules, http, notifier, counters,
                           std::exchange(opening, {}), become_sealed);
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
  const bool only_reads = invocation->command == Command::kVerifyAudit ||
                          invocation->command == Command::kCheckChild;
  if (auto own = ExpectOwner(config, geteuid()); !own && !only_reads) {
    return Tell({std::move(own.error()), kAboutOwner});
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
    if (served) return 0;
    if (served.error().error.GetCode() == Code::kCorrupt) served.error().exit_code = kExitDamaged;
    return Tell(served.error());
  }
  auto done = RunOffline(*invocation);
  return done ? *done : Tell(done.error());
}

}  // namespace
}  // namespace oauthvault

int main(int argc, char** argv) { return oauthvault::Run(argc, argv); }
