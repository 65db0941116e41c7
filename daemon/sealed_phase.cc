#include "daemon/sealed_phase.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include "crypto/unlocker.h"
#include "daemon/ending.h"
#include "daemon/liveness.h"
#include "daemon/rpc/probe.h"
#include "daemon/rpc/sealed_service.h"
#include "daemon/rpc/workers.h"

namespace oauthvault {
namespace {

constexpr std::size_t kUnsealQueue = 16;
// Calls under way have so long to end, and the process as long again.
constexpr std::chrono::milliseconds kPatience{500};

}  // namespace

Result<Listeners> Duplicate(const Listeners& listeners) {
  auto tcp = rpc::Duplicate(listeners.tcp);
  if (!tcp) return Fail(std::move(tcp));
  auto unix_socket = rpc::Duplicate(listeners.unix_socket);
  if (!unix_socket) return Fail(std::move(unix_socket));
  return Listeners{std::move(*tcp), std::move(*unix_socket)};
}

rpc::Server::Settings DoorsOf(const Config& config) {
  return {config.edge.max_connections, std::chrono::milliseconds(config.edge.handshake_timeout_ms),
          config.edge.max_connections_per_address, config.edge.max_handshakes};
}

std::expected<Opening, Refusal> ServeSealed(const Config& config, const Listeners& listeners,
                                            const rpc::DaemonFacts& facts,
                                            const rpc::AccessRules& rules, const Notifier& notifier,
                                            rpc::Counters& counters) {
  auto unlocker = crypto::Unlocker::Read(config.KeysFile());
  if (!unlocker) return Refuse(std::move(unlocker), kAboutKeys);
  auto own = Duplicate(listeners);
  if (!own) return Refuse(std::move(own), kAboutProgram);
  Opening opening;
  Phase phase;
  rpc::Workers workers("unseal", 1, kUnsealQueue);
  rpc::SealedService service(std::move(*unlocker), workers, facts, counters,
                             [&](rpc::SealedService::Opened opened) {
                               opening.keyring = std::move(opened.keyring);
                               opening.how = "unseal refused:" + std::to_string(opened.refused);
                               phase.End();
                             });
  rpc::Methods methods(rules);
  service.AddTo(methods);
  auto server = rpc::Server::StartSealed(std::move(own->tcp), std::move(own->unix_socket),
                                         std::move(methods), DoorsOf(config), counters);
  if (!server) return Refuse(std::move(server), kAboutProgram);
  std::optional<Liveness> liveness;
  liveness.emplace(config, notifier, rpc::Probe(config.socket, std::nullopt, counters.tcp),
                   "sealed");
  spdlog::info("sealed socket={} version={}", config.socket.string(), facts.version);
  const bool opened = phase.AwaitEnd();
  // Passphrases that wait to be stretched must not keep the daemon from ending.
  std::optional<LastResort> last_resort;
  if (!opened) {
    notifier.Stopping();
    last_resort.emplace(2 * kPatience, EndProcess(config.socket));
  }
  liveness.reset();
  (*server)->Stop(kPatience);
  if (!opened) opening.keyring.reset();
  return opening;
}

}  // namespace oauthvault
