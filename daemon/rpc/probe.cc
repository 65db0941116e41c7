#include "daemon/rpc/probe.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string_view>
#include <utility>

#include "crypto/secret.h"
#include "oauthvault/v1/operations.grpc.pb.h"

namespace oauthvault::rpc {
namespace {

grpc::ChannelArguments OwnConnection() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

bool IsAnswered(const std::shared_ptr<grpc::Channel>& channel, std::chrono::milliseconds patience) {
  grpc::ClientContext call;
  call.set_deadline(std::chrono::system_clock::now() + patience);
  v1::StatusResponse response;
  return v1::Operations::NewStub(channel)->Status(&call, {}, &response).ok();
}

// Who listens on every address is called on the loopback one. No name is looked up.
std::string TargetOf(const std::string& address) {
  if (address.starts_with("0.0.0.0:")) return "ipv4:127.0.0.1" + address.substr(7);
  if (address.starts_with("[::]:")) return "ipv6:[::1]" + address.substr(4);
  return (address.starts_with('[') ? "ipv6:" : "ipv4:") + address;
}

// The first certificate of a chain. gRPC takes it for a trust anchor (X509_V_FLAG_PARTIAL_CHAIN).
std::string LeafOf(const std::string& chain_pem) {
  constexpr std::string_view kEnd = "-----END CERTIFICATE-----\n";
  const std::size_t end = chain_pem.find(kEnd);
  return end == std::string::npos ? chain_pem : chain_pem.substr(0, end + kEnd.size());
}

std::shared_ptr<grpc::Channel> ChannelOf(const Probe::Tcp& tcp, const std::string& shown_pem,
                                         const registry::ClientKeyPair& identity) {
  grpc::SslCredentialsOptions pems;
  pems.pem_root_certs = LeafOf(shown_pem);
  pems.pem_cert_chain = identity.certificate_pem;
  identity.key.Bytes().Expose([&pems](std::span<const std::uint8_t> pem) {
    pems.pem_private_key.assign(reinterpret_cast<const char*>(pem.data()), pem.size());
  });
  const auto credentials = grpc::SslCredentials(pems);
  crypto::Wipe(pems.pem_private_key);
  grpc::ChannelArguments arguments = OwnConnection();
  arguments.SetSslTargetNameOverride(tcp.name);
  return grpc::CreateCustomChannel(TargetOf(tcp.address), credentials, arguments);
}

}  // namespace

Result<void> Probe::Ask(std::chrono::milliseconds patience) const {
  const auto unix_socket =
      grpc::CreateCustomChannel("unix:" + socket_.string(),
                                grpc::experimental::LocalCredentials(UDS), OwnConnection());
  if (!IsAnswered(unix_socket, patience)) {
    return Fail(Code::kUnavailable, "the daemon does not answer itself on its unix socket");
  }
  if (!tcp_) return {};
  const std::uint64_t refused_before = tcp_door_.Refused();
  auto heard = IsTcpHeard(patience);
  if (!heard) return Fail(std::move(heard));
  if (!*heard && tcp_door_.Refused() == refused_before) {
    return Fail(Code::kUnavailable, "the daemon does not answer itself on its TCP port");
  }
  return {};
}

Result<bool> Probe::IsTcpHeard(std::chrono::milliseconds patience) const {
  auto identity = tcp_->identity();
  if (!identity) return Fail(std::move(identity));
  const std::string shown_pem = tcp_->shown_pem();
  if (IsAnswered(ChannelOf(*tcp_, shown_pem, *identity), patience)) return true;
  const std::string shown_now_pem = tcp_->shown_pem();
  return shown_now_pem != shown_pem &&
         IsAnswered(ChannelOf(*tcp_, shown_now_pem, *identity), patience);
}

Watchdog::Watchdog(const Probe& probe, std::chrono::milliseconds interval,
                   std::function<void()> alive)
    : probe_(probe), interval_(interval), alive_(std::move(alive)), thread_([this] { Run(); }) {
  pthread_setname_np(thread_.native_handle(), "probe");
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::Run() {
  std::unique_lock lock(guard_);
  while (!stopping_) {
    wake_.wait_for(lock, interval_, [this] { return stopping_; });
    if (stopping_) return;
    lock.unlock();
    if (const auto heard = probe_.Ask(kProbePatience)) {
      alive_();
    } else {
      spdlog::error("{}", heard.error().GetText());
    }
    lock.lock();
  }
}

}  // namespace oauthvault::rpc
