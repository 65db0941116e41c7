// The echo without gRPC: nghttp2 and OpenSSL, one thread, over mutual TLS. It answers any call with
// a message and status 0, and shows what HTTP/2 and TLS themselves cost.
//   http2_echo REPLY_BYTES CERTIFICATE KEY CA
// Prints `listening PORT`, and ends with its standard input.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "crypto/descriptor.h"

namespace oauthvault::bench {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kRecordBytes = 16 * 1024;  // of TLS
constexpr int kBacklog = 512;

template <auto kFree>
struct Freed {
  void operator()(auto* what) const { kFree(what); }
};
using Tls = std::unique_ptr<SSL, Freed<SSL_free>>;
using TlsContext = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using Session = std::unique_ptr<nghttp2_session, Freed<nghttp2_session_del>>;

nghttp2_nv Field(std::string_view name, std::string_view value) {
  // nghttp2 does not write there; its interface is of C.
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

// A message with one field of bytes, in gRPC's frame.
std::string ReplyOf(std::uint32_t size) {
  std::string field = "\x0a";
  for (std::uint32_t left = size; field.size() < 2 || left > 0; left >>= 7) {
    field.push_back(static_cast<char>((left & 0x7f) | (left > 0x7f ? 0x80 : 0)));
  }
  field.append(size, 'r');
  std::string reply(5, '\0');
  const std::uint32_t length = htonl(static_cast<std::uint32_t>(field.size()));
  std::memcpy(reply.data() + 1, &length, sizeof length);
  return reply + field;
}

class Connection {
 public:
  Connection(crypto::Descriptor socket, SSL_CTX* tls, const std::string& reply)
      : socket_(std::move(socket)), tls_(SSL_new(tls)), reply_(reply) {
    SSL_set_fd(tls_.get(), socket_.Get());
    SSL_set_accept_state(tls_.get());
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
    nghttp2_session* session = nullptr;
    nghttp2_session_server_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    session_.reset(session);
    const nghttp2_settings_entry streams{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 128};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &streams, 1);
  }

  // Whatever can be read and written now. False: it has ended.
  bool GoOn() { return Read() && (!SSL_is_init_finished(tls_.get()) || Write()); }

 private:
  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* self) {
    const bool is_of_call = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!is_of_call || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    auto* connection = static_cast<Connection*>(self);
    const std::array head{Field(":status", "200"), Field("content-type", "application/grpc")};
    const nghttp2_data_provider body{{.ptr = connection}, Body};
    connection->left_[frame->hd.stream_id] = connection->reply_;
    return nghttp2_submit_response(session, frame->hd.stream_id, head.data(), head.size(), &body);
  }

  static ssize_t Body(nghttp2_session* session, std::int32_t stream, std::uint8_t* into,
                      std::size_t room, std::uint32_t* flags, nghttp2_data_source* source, void*) {
    auto& left_of = static_cast<Connection*>(source->ptr)->left_;
    std::string_view& left = left_of[stream];
    const std::size_t taken = left.copy(reinterpret_cast<char*>(into), room);
    left.remove_prefix(taken);
    if (left.empty()) {
      left_of.erase(stream);
      const nghttp2_nv status = Field("grpc-status", "0");
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      nghttp2_submit_trailer(session, stream, &status, 1);
    }
    return static_cast<ssize_t>(taken);
  }

  bool Read() {
    std::array<std::uint8_t, kReadBytes> bytes;
    while (true) {
      const int size = SSL_read(tls_.get(), bytes.data(), static_cast<int>(bytes.size()));
      if (size <= 0) return WouldWait(size);
      if (nghttp2_session_mem_recv(session_.get(), bytes.data(),
                                   static_cast<std::size_t>(size)) < 0) {
        return false;
      }
    }
  }

  // The answers of whatever was read together go together, record by record.
  bool Write() {
    while (true) {
      while (waiting_.size() < kRecordBytes) {
        const std::uint8_t* bytes = nullptr;
        const ssize_t size = nghttp2_session_mem_send(session_.get(), &bytes);
        if (size < 0) return false;
        if (size == 0) break;
        waiting_.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
      }
      if (waiting_.empty()) return true;
      const int written =
          SSL_write(tls_.get(), waiting_.data(),
                    static_cast<int>(std::min(waiting_.size(), kRecordBytes)));
      if (written <= 0) return WouldWait(written);
      waiting_.erase(0, static_cast<std::size_t>(written));
    }
  }

  bool WouldWait(int result) const {
    const int error = SSL_get_error(tls_.get(), result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
  }

  crypto::Descriptor socket_;
  Tls tls_;
  Session session_;
  const std::string& reply_;
  std::unordered_map<std::int32_t, std::string_view> left_;  // of each stream's answer
  std::string waiting_;  // to be written
};

int SelectHttp2(SSL*, const unsigned char** chosen, unsigned char* size,
                const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* found = nullptr;
  if (nghttp2_select_next_protocol(&found, size, offered, offered_size) != 1) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

TlsContext ContextOf(const char* certificate, const char* key, const char* ca) {
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(context.get(), key, SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_load_verify_locations(context.get(), ca, nullptr) != 1) {
    return nullptr;
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_session_id_context(context.get(), reinterpret_cast<const unsigned char*>("e"), 1);
  SSL_CTX_set_alpn_select_cb(context.get(), SelectHttp2, nullptr);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return context;
}

int Serve(int count, char** words) {
  if (count != 5) return 1;
  const std::string reply = ReplyOf(static_cast<std::uint32_t>(std::stoul(words[1])));
  const TlsContext tls = ContextOf(words[2], words[3], words[4]);
  const crypto::Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (tls == nullptr || bind(listener.Get(), any, size) != 0 ||
      listen(listener.Get(), kBacklog) != 0 || getsockname(listener.Get(), any, &size) != 0) {
    return 1;
  }
  std::printf("listening %d\n", ntohs(address.sin_port));
  std::fflush(stdout);

  const crypto::Descriptor poll(epoll_create1(EPOLL_CLOEXEC));
  const auto follow = [&poll](int file, std::uint32_t what) {
    epoll_event event{what, {.fd = file}};
    epoll_ctl(poll.Get(), EPOLL_CTL_ADD, file, &event);
  };
  follow(listener.Get(), EPOLLIN);
  follow(STDIN_FILENO, EPOLLIN);
  std::unordered_map<int, Connection> connections;
  while (true) {
    std::array<epoll_event, 64> events;
    const int ready = epoll_wait(poll.Get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < ready; ++i) {
      int file = events[static_cast<std::size_t>(i)].data.fd;
      if (file == STDIN_FILENO) return 0;
      if (file == listener.Get()) {
        crypto::Descriptor accepted(accept4(file, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!accepted) continue;
        const int on = 1;
        setsockopt(accepted.Get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        file = accepted.Get();
        connections.try_emplace(file, std::move(accepted), tls.get(), reply);
        follow(file, EPOLLIN | EPOLLOUT | EPOLLET);
      }
      const auto found = connections.find(file);
      if (found != connections.end() && !found->second.GoOn()) connections.erase(found);
    }
  }
}

}  // namespace
}  // namespace oauthvault::bench

int main(int count, char** words) { return oauthvault::bench::Serve(count, words); }
