#include "daemon/http/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sodium.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "crypto/fields.h"
#include "crypto/hex.h"
#include "daemon/http/reaper.h"
#include "storage/names.h"

namespace oauthvault::http {
namespace {

constexpr unsigned kIdleTimeoutS = 30;  // the library's own, behind the reaper's
constexpr std::size_t kThreadStackSize = 512 * 1024;
constexpr std::size_t kFirstRoom = 16 * 1024;
// TLS 1.2 and later, of the library's own choice of ciphers.
constexpr char kPriorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";

// One connection, from accept to close.
struct Peer {
  int socket = -1;
  std::string text;
  std::uint32_t requests = 0;
};

// One request while it comes in.
struct Incoming {
  Request request;
  crypto::SecretBytes room;
  std::size_t received = 0;

  // Takes a piece of the body. False: the client is to be cut off.
  bool Take(std::span<const std::uint8_t> piece) {
    received += piece.size();
    if (received > kMaxBodySize) {
      request.too_large = true;
      room = crypto::SecretBytes();
      return received <= kMaxDroppedSize;
    }
    if (received > room.Size()) Grow();
    room.Fill([&](std::span<std::uint8_t> bytes) {
      std::ranges::copy(piece, bytes.begin() +
                                   static_cast<std::ptrdiff_t>(received - piece.size()));
    });
    return true;
  }
  // What it had is wiped.
  void Grow() {
    crypto::SecretBytes larger(std::min(std::max(received, 2 * room.Size()), kMaxBodySize));
    larger.Fill([&](std::span<std::uint8_t> to) {
      room.Expose([&](std::span<const std::uint8_t> from) {
        std::ranges::copy(from, to.begin());
      });
    });
    room = std::move(larger);
  }
  void End() {
    if (!request.too_large) room.Truncate(received);
    request.body = std::move(room);
  }
};

std::string PeerText(const sockaddr* address, bool tls) {
  return (tls ? "https:" : "http:") + AddressText(address);
}

std::string NewRequestId() {
  std::array<unsigned char, 8> random;
  randombytes_buf(random.data(), random.size());
  return crypto::HexOf(random);
}

MHD_Result TakeHeader(void* cls, MHD_ValueKind, const char* name, const char* value) noexcept {
  auto& request = *static_cast<Request*>(cls);
  if (value == nullptr) return MHD_YES;
  const auto is = [name](const char* wanted) { return strcasecmp(name, wanted) == 0; };
  if (is("X-StorageApi-Token")) {
    request.storage_token = crypto::SecretBytes::CopyOf(std::string_view(value));
  } else if (is("X-KBC-ManageApiToken")) {
    request.manage_token = crypto::SecretBytes::CopyOf(std::string_view(value));
  } else if (is("Content-Type")) {
    request.content_type = value;
  } else if (is("X-Request-Id") && IsValidId(value)) {
    request.request_id = value;
  }
  return MHD_YES;
}

MHD_Result TakeQuery(void* cls, MHD_ValueKind, const char* name, const char* value) noexcept {
  static_cast<Request*>(cls)->query.emplace_back(name, value == nullptr ? "" : value);
  return MHD_YES;
}

// Paths and queries are decoded once, by us: the library's own way cuts a text at a zero byte.
std::size_t LeaveEscaped(void*, MHD_Connection*, char* text) { return std::strlen(text); }

}  // namespace

struct Server::State {
  Answer answer;
  bool tls = false;
  Timeouts timeouts;
  std::atomic<std::uint64_t>* connections = nullptr;
  Reaper reaper;
  MHD_Daemon* daemon = nullptr;

  Peer& PeerOf(MHD_Connection* connection) const {
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return *static_cast<Peer*>(info->socket_context);
  }

  static void NoteConnection(void* cls, MHD_Connection* connection, void** context,
                             MHD_ConnectionNotificationCode code) noexcept {
    auto& state = *static_cast<State*>(cls);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
      auto* peer = new Peer();
      peer->socket =
          MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
      peer->text = PeerText(
          MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr,
          state.tls);
      *context = peer;
      ++*state.connections;
      state.reaper.Give(peer->socket, state.timeouts.headers);
      return;
    }
    auto* peer = static_cast<Peer*>(*context);
    if (peer == nullptr) return;
    state.reaper.TakeOut(peer->socket);
    --*state.connections;
    delete peer;
    *context = nullptr;
  }

  static MHD_Result Access(void* cls, MHD_Connection* connection, const char* url,
                           const char* method, const char*, const char* data, std::size_t* size,
                           void** context) noexcept {
    auto& state = *static_cast<State*>(cls);
    try {
      if (*context == nullptr) {
        *context = state.Begin(connection, url, method).release();
        return MHD_YES;
      }
      auto& incoming = *static_cast<Incoming*>(*context);
      if (*size > 0) {
        const bool taken = incoming.Take(crypto::AsBytes(std::string_view(data, *size)));
        *size = 0;
        return taken ? MHD_YES : MHD_NO;
      }
      return state.End(connection, incoming);
    } catch (...) {
      return MHD_NO;
    }
  }

  std::unique_ptr<Incoming> Begin(MHD_Connection* connection, const char* url,
                                  const char* method) {
    Peer& peer = PeerOf(connection);
    reaper.Give(peer.socket, timeouts.body);
    auto incoming = std::make_unique<Incoming>();
    Request& request = incoming->request;
    request.method = std::strcmp(method, "HEAD") == 0 ? "GET" : method;
    request.path = url;
    request.peer = peer.text;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, TakeHeader, &request);
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, TakeQuery, &request);
    if (request.request_id.empty()) request.request_id = NewRequestId();
    incoming->room = crypto::SecretBytes(kFirstRoom);
    return incoming;
  }

  MHD_Result End(MHD_Connection* connection, Incoming& incoming) {
    Peer& peer = PeerOf(connection);
    reaper.Hold(peer.socket);
    incoming.End();
    const Reply reply = answer(incoming.request);
    reaper.Give(peer.socket, timeouts.answer);
    return Send(connection, reply, incoming.request.request_id,
                ++peer.requests >= kMaxRequestsPerConnection);
  }

  static MHD_Result Send(MHD_Connection* connection, const Reply& reply,
                         const std::string& request_id, bool last) {
    MHD_Response* response = MHD_create_response_from_buffer(
        reply.body.size(), const_cast<char*>(reply.body.data()), MHD_RESPMEM_MUST_COPY);
    if (response == nullptr) return MHD_NO;
    const auto add = [response](const char* name, const std::string& value) {
      MHD_add_response_header(response, name, value.c_str());
    };
    if (!reply.body.empty()) add("Content-Type", reply.content_type);
    if (!reply.allow.empty()) add("Allow", reply.allow);
    if (reply.status == 401) add("WWW-Authenticate", "Token realm=\"oauthvault\"");
    if (reply.status == 503) add("Retry-After", "5");
    add("Cache-Control", "no-store");
    add("X-Content-Type-Options", "nosniff");
    add("X-Request-Id", request_id);
    if (last) add("Connection", "close");
    const MHD_Result queued = MHD_queue_response(connection, reply.status, response);
    MHD_destroy_response(response);
    return queued;
  }

  static void Completed(void* cls, MHD_Connection* connection, void** context,
                        MHD_RequestTerminationCode) noexcept {
    auto& state = *static_cast<State*>(cls);
    delete static_cast<Incoming*>(*context);
    *context = nullptr;
    state.reaper.Give(state.PeerOf(connection).socket, state.timeouts.headers);
  }
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  if (state_->daemon != nullptr) MHD_stop_daemon(state_->daemon);
}

Result<std::unique_ptr<Server>> Listener::Serve(Answer answer) const {
  auto state = std::make_unique<Server::State>();
  state->answer = std::move(answer);
  state->tls = !certificate_pem_.empty();
  state->timeouts = settings_.timeouts;
  state->connections = &connections_;
  const int socket = fcntl(socket_.Get(), F_DUPFD_CLOEXEC, 0);
  if (socket < 0) return Fail(Code::kUnavailable, "no descriptor is left for the HTTP interface");
  key_pem_.Expose([&](std::span<const std::uint8_t> key) {
    std::array<MHD_OptionItem, 4> pair = {{
        {MHD_OPTION_HTTPS_MEM_CERT, 0, const_cast<char*>(certificate_pem_.c_str())},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, const_cast<std::uint8_t*>(key.data())},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, const_cast<char*>(kPriorities)},
        {MHD_OPTION_END, 0, nullptr},
    }};
    if (!state->tls) pair[0] = pair[3];
    const unsigned flags = static_cast<unsigned>(MHD_USE_INTERNAL_POLLING_THREAD) |
                           MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_ITC |
                           (state->tls ? static_cast<unsigned>(MHD_USE_TLS) : 0U);
    state->daemon = MHD_start_daemon(
        flags, 0, nullptr, nullptr, Server::State::Access, state.get(), MHD_OPTION_ARRAY,
        pair.data(), MHD_OPTION_LISTEN_SOCKET, socket, MHD_OPTION_CONNECTION_LIMIT,
        static_cast<unsigned>(settings_.max_connections), MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        static_cast<unsigned>(settings_.max_connections_per_address),
        MHD_OPTION_CONNECTION_TIMEOUT, kIdleTimeoutS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        2 * kMaxHeadersSize, MHD_OPTION_THREAD_STACK_SIZE, kThreadStackSize,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, LeaveEscaped, nullptr,
        MHD_OPTION_NOTIFY_CONNECTION, Server::State::NoteConnection, state.get(),
        MHD_OPTION_NOTIFY_COMPLETED, Server::State::Completed, state.get(), MHD_OPTION_END);
  });
  if (state->daemon == nullptr) {
    // The library may have closed the socket or not; one descriptor less is better than another's.
    return Fail(Code::kUnavailable, "the HTTP interface cannot start");
  }
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

}  // namespace oauthvault::http
