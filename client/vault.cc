#include "client/vault.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "oauthvault/v1/access.pb.h"
#include "oauthvault/v1/accounts.pb.h"
#include "oauthvault/v1/attempts.grpc.pb.h"
#include "oauthvault/v1/credentials.grpc.pb.h"
#include "oauthvault/v1/operations.pb.h"
#include "oauthvault/v1/tokens.pb.h"
#include "oauthvault/v1/registry.pb.h"

namespace oauthvault::client {
namespace {

using Clock = std::chrono::system_clock;  // gRPC's deadlines are on the wall clock

/// The longest path that fits into sockaddr_un.
constexpr std::size_t kMaxSocketPathSize = 107;
constexpr std::size_t kMaxPemSize = 256 * 1024;
/// A broken read is repeated this often; the pauses double from the first: 3.1 s in all, which is
/// what a daemon needs to restart.
constexpr int kMaxRepeats = 5;
constexpr std::chrono::milliseconds kFirstPause{100};
/// Of a call whose method names none in access.proto.
constexpr std::chrono::seconds kDefaultDeadline{60};
/// How soon gRPC itself tries to connect again after a failure.
constexpr int kMinReconnectMs = 100;
constexpr int kMaxReconnectMs = 2000;
/// Whether a daemon that says nothing is still there is asked this often while a call waits, and it
/// must answer in time: nobody else would notice for a stream. The daemon allows a ping each 30 s.
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;

constexpr std::string_view kCodeKey = "oauthvault-code";
constexpr const char* kRequestIdKey = "x-request-id";
constexpr Method kReveal{"/oauthvault.v1.Credentials/Reveal", Repeat::kWhenTheConnectionBreaks};
constexpr Method kRevealMany{"/oauthvault.v1.Credentials/RevealMany",
                             Repeat::kWhenTheConnectionBreaks};
constexpr Method kInject{"/oauthvault.v1.Credentials/Inject", Repeat::kWhenTheConnectionBreaks};
constexpr Method kAddSlot{"/oauthvault.v1.Operations/AddSlot", Repeat::kNever};
constexpr Method kIssueToken{"/oauthvault.v1.Tokens/Issue", Repeat::kNever};
constexpr Method kReissueSlot{"/oauthvault.v1.Operations/ReissueSlot", Repeat::kNever};

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

Outcome<std::string> ReadPem(const std::filesystem::path& path, std::string_view what,
                             std::string_view option) {
  const std::string name = std::string(what) + " " + path.string();
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    return Refuse(Code::kInvalid, "cannot read the " + name + " (" + std::string(option) +
                                      "): it is missing or not readable by you");
  }
  std::string pem(kMaxPemSize + 1, '\0');
  file.read(pem.data(), static_cast<std::streamsize>(pem.size()));
  const auto size = static_cast<std::size_t>(file.gcount());
  if (size > kMaxPemSize || !Has(std::string_view(pem).substr(0, size), "-----BEGIN ")) {
    crypto::Wipe(pem);
    return Refuse(Code::kInvalid, "the " + name + " (" + std::string(option) + ") is not PEM");
  }
  pem.resize(size);
  return pem;
}

/// 128 random bits: what ties a call to its line in the audit trail and the daemon's log.
std::string NewRequestId() {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::random_device random;
  std::string id;
  for (int word = 0; word < 4; ++word) {
    std::uint32_t bits = random();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4U) id += kHex[bits & 15U];
  }
  return id;
}

/// Bytes for gRPC to send, wiped when it lets go of them.
grpc::Slice WipingSlice(const google::protobuf::MessageLite& message) {
  auto bytes = std::make_unique<std::vector<std::uint8_t>>(message.ByteSizeLong());
  message.SerializeToArray(bytes->data(), static_cast<int>(bytes->size()));
  auto* owned = bytes.release();
  return grpc::Slice(
      owned->data(), owned->size(),
      [](void* held) {
        std::unique_ptr<std::vector<std::uint8_t>> ended(
            static_cast<std::vector<std::uint8_t>*>(held));
        crypto::Wipe(*ended);
      },
      owned);
}

/// Wipes what was received, in gRPC's own buffers: the bytes of this message belong to it alone,
/// and nobody reads them after us.
void WipeReceived(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return;
  for (const grpc::Slice& slice : slices) {
    crypto::Wipe(std::span(const_cast<std::uint8_t*>(slice.begin()), slice.size()));
  }
}

std::optional<Code> CodeNamed(std::string_view name) {
  for (const Code code : {Code::kNotFound, Code::kUnauthenticated, Code::kDenied, Code::kInvalid,
                          Code::kConflict, Code::kStale, Code::kCorrupt, Code::kSealed,
                          Code::kUnavailable, Code::kExhausted}) {
    if (NameOf(code) == name) return code;
  }
  return std::nullopt;
}

/// How far ahead the deadline of a call may lie, as the contract says; the daemon refuses more.
std::chrono::milliseconds LongestDeadlineOf(std::string_view path) {
  std::string name(path.substr(1));  // /package.Service/Method -> package.Service.Method
  std::ranges::replace(name, '/', '.');
  const auto* method =
      google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
  const std::uint32_t seconds =
      method == nullptr ? 0 : method->options().GetExtension(v1::limits).deadline_s();
  return seconds == 0 ? kDefaultDeadline : std::chrono::seconds(seconds);
}

/// For answers without the daemon's own code: from gRPC itself, or something in between.
Code CodeOf(grpc::StatusCode status) {
  switch (status) {
    case grpc::StatusCode::NOT_FOUND: return Code::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::ABORTED: return Code::kConflict;
    case grpc::StatusCode::FAILED_PRECONDITION: return Code::kStale;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::UNIMPLEMENTED: return Code::kInvalid;
    case grpc::StatusCode::UNAUTHENTICATED: return Code::kUnauthenticated;
    case grpc::StatusCode::PERMISSION_DENIED: return Code::kDenied;
    case grpc::StatusCode::DATA_LOSS: return Code::kCorrupt;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return Code::kExhausted;
    default: return Code::kUnavailable;
  }
}

}  // namespace

struct Vault::Wire {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<grpc::GenericStub> stub;
  /// For people: `the socket ..` or the address.
  std::string where;
  bool over_tls = false;
  bool has_certificate = false;
  std::chrono::milliseconds timeout{};
  /// The daemon has answered once, so a break is a restart and not a wrong address.
  std::atomic<bool> answered = false;

  /// What a connection that did not come about means, in words that one can act on. gRPC tells it
  /// only as text.
  Failure WhyNoConnection(std::string_view text) const {
    if (!over_tls) {
      if (Has(text, "Permission denied")) {
        return {Code::kDenied, where + " may be opened by root and the daemon's own user only; "
                                       "others call over TLS (--address, --identity)"};
      }
      return {Code::kUnavailable, "nobody answers at " + where +
                                      ": is oauthvaultd running, and is that its socket "
                                      "(--socket, OAUTHVAULT_SOCKET)?"};
    }
    if (Has(text, "certificate verify failed")) {
      return {Code::kUnauthenticated, "the daemon at " + where +
                                          " shows a certificate that the given CA did not sign, or "
                                          "that has expired (--ca)"};
    }
    if (Has(text, "is not in peer certificate")) {
      return {Code::kUnauthenticated, "the daemon's certificate is not for the name in " + where +
                                          ": use a name that it bears (--address)"};
    }
    if (Has(text, "wrong version number")) {
      return {Code::kInvalid, "whoever answers at " + where + " does not speak TLS (--address)"};
    }
    // What gRPC says when it cannot even begin, because OpenSSL did not take certificate and key.
    if (Has(text, "empty address list")) {
      return {Code::kInvalid, "the certificate and key cannot be used: they are damaged or do not "
                              "belong together (--cert, --key)"};
    }
    if (Has(text, "Ssl handshake failed") || Has(text, "Socket closed") ||
        Has(text, "Connection reset") || Has(text, "Broken pipe")) {
      if (!has_certificate) {
        return {Code::kUnauthenticated, "the daemon at " + where +
                                            " closed the TLS handshake: it wants a client "
                                            "certificate (--cert and --key, or --identity)"};
      }
      return {Code::kUnauthenticated, "the daemon at " + where +
                                          " closed the TLS handshake: it does not take this "
                                          "certificate (expired, or of another CA), or it was "
                                          "stopping"};
    }
    return {Code::kUnavailable, "nobody answers at " + where +
                                    ": is oauthvaultd running, and is that its address "
                                    "(--address, OAUTHVAULT_ADDRESS)?"};
  }

  Failure Translate(const grpc::Status& status, const grpc::ClientContext& call,
                    std::chrono::milliseconds waited) const {
    const auto& trailing = call.GetServerTrailingMetadata();
    if (const auto named = trailing.find(grpc::string_ref(kCodeKey.data(), kCodeKey.size()));
        named != trailing.end()) {
      const std::string_view name(named->second.data(), named->second.size());
      return {CodeNamed(name).value_or(CodeOf(status.error_code())), status.error_message()};
    }
    switch (status.error_code()) {
      case grpc::StatusCode::UNAVAILABLE: return WhyNoConnection(status.error_message());
      case grpc::StatusCode::DEADLINE_EXCEEDED:
        return {Code::kUnavailable, "no answer from " + where + " within " +
                                        std::to_string(waited.count()) +
                                        " ms; it may have been carried out all the same"};
      case grpc::StatusCode::UNIMPLEMENTED:
        return {Code::kInvalid, "the daemon at " + where +
                                    " does not know this call: it is of an older release"};
      default: return {CodeOf(status.error_code()), status.error_message()};
    }
  }

  /// One call, repeated where that is allowed; `reply` is the answer as it came.
  Outcome<void> Send(const Method& method, const grpc::ByteBuffer& request,
                     grpc::ByteBuffer& reply) {
    const std::chrono::milliseconds allowed = std::min(timeout, LongestDeadlineOf(method.path));
    const auto deadline = Clock::now() + allowed;
    const std::string request_id = NewRequestId();
    auto pause = kFirstPause;
    for (int repeats = 0;; ++repeats) {
      grpc::ClientContext call;
      call.set_deadline(deadline);
      call.AddMetadata(kRequestIdKey, request_id);
      grpc::CompletionQueue queue;
      grpc::Status status;
      const auto rpc = stub->PrepareUnaryCall(&call, method.path, request, &queue);
      rpc->StartCall();
      rpc->Finish(&reply, &status, &status);
      void* tag = nullptr;
      bool ok = false;
      queue.Next(&tag, &ok);
      queue.Shutdown();
      while (queue.Next(&tag, &ok)) {
      }
      const bool broke = status.error_code() == grpc::StatusCode::UNAVAILABLE &&
                         call.GetServerTrailingMetadata().empty();
      if (!broke) answered = true;
      if (status.ok()) return {};
      if (!broke || !answered || method.repeat == Repeat::kNever || repeats == kMaxRepeats ||
          Clock::now() + pause >= deadline) {
        return std::unexpected<Failure>(Translate(status, call, allowed));
      }
      std::this_thread::sleep_for(pause);
      pause *= 2;
    }
  }

  /// The same for an answer that holds secrets: `read` takes them out of the buffers, which are
  /// then wiped.
  template <class Read>
  auto SendForSecret(const Method& method, const google::protobuf::MessageLite& request, Read read)
      -> decltype(read(std::declval<google::protobuf::io::ZeroCopyInputStream&>())) {
    const grpc::Slice bytes = WipingSlice(request);
    grpc::ByteBuffer reply;
    auto sent = Send(method, grpc::ByteBuffer(&bytes, 1), reply);
    if (!sent) return Refuse(std::move(sent));
    auto result = [&] {
      grpc::ProtoBufferReader reader(&reply);
      return read(reader);
    }();
    WipeReceived(reply);
    return result;
  }
};

Vault::Vault(std::unique_ptr<Wire> wire) : wire_(std::move(wire)) {}
Vault::Vault(Vault&&) noexcept = default;
Vault& Vault::operator=(Vault&&) noexcept = default;
Vault::~Vault() = default;

Outcome<Vault> Vault::Connect(const Options& options) {
  if (options.socket.empty() == options.address.empty()) {
    return Refuse(Code::kInvalid, options.socket.empty()
                                      ? "say where the vault is: --address HOST:PORT "
                                        "(OAUTHVAULT_ADDRESS) or --socket PATH (OAUTHVAULT_SOCKET)"
                                      : "give either --socket or --address, not both");
  }
  auto wire = std::make_unique<Wire>();
  wire->timeout = options.timeout;
  std::string target;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  if (!options.socket.empty()) {
    if (options.socket.native().size() > kMaxSocketPathSize) {
      return Refuse(Code::kInvalid, "the socket's path (--socket) has more than 107 bytes");
    }
    target = "unix:" + options.socket.string();
    wire->where = "the socket " + options.socket.string();
    credentials = grpc::experimental::LocalCredentials(UDS);
  } else {
    const auto pick = [&](const std::filesystem::path& given, const char* name) {
      return given.empty() && !options.identity.empty() ? options.identity / name : given;
    };
    const auto certificate = pick(options.certificate, "cert.pem");
    const auto key = pick(options.key, "key.pem");
    const auto ca = pick(options.ca, "ca.pem");
    if (ca.empty() || certificate.empty() != key.empty()) {
      return Refuse(Code::kInvalid,
                    "an address needs an identity: --identity DIR (cert.pem, key.pem, ca.pem), or "
                    "--cert, --key and --ca");
    }
    grpc::SslCredentialsOptions pems;
    auto ca_pem = ReadPem(ca, "CA", "--ca");
    if (!ca_pem) return Refuse(std::move(ca_pem));
    pems.pem_root_certs = *std::move(ca_pem);
    if (!certificate.empty()) {
      auto certificate_pem = ReadPem(certificate, "certificate", "--cert");
      if (!certificate_pem) return Refuse(std::move(certificate_pem));
      auto key_pem = ReadPem(key, "key", "--key");
      if (!key_pem) return Refuse(std::move(key_pem));
      pems.pem_cert_chain = *std::move(certificate_pem);
      pems.pem_private_key = *std::move(key_pem);
      wire->has_certificate = true;
    }
    credentials = grpc::SslCredentials(pems);
    crypto::Wipe(pems.pem_private_key);
    target = options.address;
    wire->where = options.address;
    wire->over_tls = true;
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a vault is not reached through a proxy
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kMinReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // as many as that makes
  // Two Vaults of one process do not share a connection: each has its own identity and life.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  wire->channel = grpc::CreateCustomChannel(target, credentials, arguments);
  wire->stub = std::make_unique<grpc::GenericStub>(wire->channel);
  return Vault(std::move(wire));
}

Outcome<Revealed> Vault::Reveal(const CredentialsName& name) {
  v1::RevealRequest request;
  request.set_project(name.project);
  request.set_component(name.component);
  request.set_id(name.id);
  return wire_->SendForSecret(kReveal, request, ReadRevealed);
}

Outcome<std::vector<RevealedItem>> Vault::RevealMany(const CredentialsNames& names) {
  v1::RevealManyRequest request;
  request.set_project(names.project);
  request.set_component(names.component);
  request.mutable_ids()->Assign(names.ids.begin(), names.ids.end());
  return wire_->SendForSecret(kRevealMany, request, ReadRevealedItems);
}

Outcome<crypto::SecretBytes> Vault::Inject(const Recipient& recipient,
                                           std::span<const std::uint8_t> configuration,
                                           OauthIdInOutput oauth_id, Injected injected) {
  v1::InjectRequest request;
  request.set_project(recipient.project);
  request.set_component(recipient.component);
  request.set_configuration_id(recipient.configuration);
  request.set_branch_type(recipient.branch_type);
  request.set_sandbox(injected == Injected::kSandbox);
  request.set_configuration(configuration.data(), configuration.size());
  request.set_drop_id(oauth_id == OauthIdInOutput::kDropped);
  auto finished = wire_->SendForSecret(kInject, request, ReadInjected);
  crypto::Wipe(*request.mutable_configuration());
  return finished;
}

Outcome<NewSlot> Vault::AddSlot(v1::AddSlotRequest& request) {
  auto slot = wire_->SendForSecret(kAddSlot, request, ReadNewSlot);
  crypto::Wipe(*request.mutable_passphrase());
  return slot;
}

Outcome<NewSlot> Vault::ReissueSlot(v1::ReissueSlotRequest& request) {
  auto slot = wire_->SendForSecret(kReissueSlot, request, ReadNewSlot);
  crypto::Wipe(*request.mutable_passphrase());
  return slot;
}

Outcome<NewToken> Vault::IssueToken(const v1::IssueTokenRequest& request) {
  return wire_->SendForSecret(kIssueToken, request, ReadNewToken);
}

Outcome<void> Vault::Exchange(const Method& method, const google::protobuf::MessageLite& request,
                              google::protobuf::MessageLite& response) {
  const grpc::Slice bytes = WipingSlice(request);
  grpc::ByteBuffer reply;
  auto sent = wire_->Send(method, grpc::ByteBuffer(&bytes, 1), reply);
  if (!sent) return sent;
  grpc::ProtoBufferReader reader(&reply);
  if (!response.ParseFromZeroCopyStream(&reader)) {
    return Refuse(Code::kCorrupt, "the daemon's answer cannot be read: are client and daemon of "
                                  "the same release?");
  }
  return {};
}

Outcome<void> Vault::Watch(const v1::WatchAttemptRequest& request, std::stop_token stop,
                           const std::function<bool(const v1::Attempt&)>& seen) {
  grpc::ClientContext call;
  call.set_deadline(Clock::now() + kWatchLifetime);
  call.AddMetadata(kRequestIdKey, NewRequestId());
  const std::stop_callback cancel(stop, [&call] { call.TryCancel(); });
  const auto stub = v1::Attempts::NewStub(wire_->channel);
  const auto stream = stub->Watch(&call, request);
  v1::Attempt attempt;
  bool ended = false;
  while (!ended && stream->Read(&attempt)) ended = !seen(attempt) || attempt.final();
  if (ended) call.TryCancel();
  const grpc::Status status = stream->Finish();
  if (ended || stop.stop_requested()) return {};
  if (status.ok()) return Refuse(Code::kUnavailable, "the daemon ended the watch");
  return std::unexpected<Failure>(wire_->Translate(status, call, kWatchLifetime));
}

Outcome<void> Vault::WatchCredentials(
    const v1::WatchCredentialsRequest& request, std::stop_token stop,
    const std::function<bool(const v1::CredentialsEvent&)>& seen) {
  grpc::ClientContext call;  // without a deadline: it lasts as long as somebody wants to know
  call.AddMetadata(kRequestIdKey, NewRequestId());
  const std::stop_callback cancel(stop, [&call] { call.TryCancel(); });
  const auto stub = v1::Credentials::NewStub(wire_->channel);
  const auto stream = stub->Watch(&call, request);
  v1::CredentialsEvent event;
  bool ended = false;
  while (!ended && stream->Read(&event)) ended = !seen(event);
  if (ended) call.TryCancel();
  const grpc::Status status = stream->Finish();
  if (ended || stop.stop_requested()) return {};
  if (status.ok()) return Refuse(Code::kUnavailable, "the daemon ended the watch of credentials");
  return std::unexpected<Failure>(wire_->Translate(status, call, {}));
}

void WipeSecrets(v1::StoreRequest& request) {
  crypto::Wipe(*request.mutable_data());
  crypto::Wipe(*request.mutable_app_secret());
}

void WipeSecrets(v1::EncryptRequest& request) {
  if (request.has_document()) crypto::Wipe(*request.mutable_document());
  if (request.has_text()) crypto::Wipe(*request.mutable_text());
}

void WipeSecrets(v1::SetComponentRequest& request) {
  if (request.has_app_secret()) crypto::Wipe(*request.mutable_app_secret());
}

void WipeSecrets(v1::SetAccountRequest& request) { crypto::Wipe(*request.mutable_api_token()); }

void WipeSecrets(v1::UnsealRequest& request) { crypto::Wipe(*request.mutable_text()); }

}  // namespace oauthvault::client
