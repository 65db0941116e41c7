#include "tests/bench/connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <string_view>

namespace oauthvault::bench {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kWriteBytes = 64 * 1024;  // so much is collected before it is written
constexpr std::uint32_t kStreamWindow = 1u << 24;
constexpr std::int32_t kConnectionWindow = 1 << 30;

int NumberIn(const std::uint8_t* text, std::size_t size) {
  int number = -1;
  const auto* begin = reinterpret_cast<const char*>(text);
  std::from_chars(begin, begin + size, number);
  return number;
}

std::uint8_t* Bytes(std::string& text) { return reinterpret_cast<std::uint8_t*>(text.data()); }

}  // namespace

std::int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

struct Connection::Stream {
  std::span<const std::uint8_t> body;  // what is left of it
  Answer answer;
};

Connection::Connection(const Target& target, int epoll, OnAnswer on_answer, SSL_SESSION* session)
    : target_(target), epoll_(epoll), on_answer_(std::move(on_answer)) {
  for (const auto& [name, value] : target_.head) {
    // nghttp2 does not write there; its interface is of C.
    head_.push_back({Bytes(const_cast<std::string&>(name)), Bytes(const_cast<std::string&>(value)),
                     name.size(), value.size(),
                     NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE});
  }
  socket_ = ::socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // On one machine connecting waits for nobody but a full backlog.
  if (socket_ < 0 || ::connect(socket_, reinterpret_cast<const sockaddr*>(&target.address),
                               target.address_size) != 0) {
    Fail(std::string("cannot connect: ") + std::strerror(errno));
    return;
  }
  const int on = 1;
  if (target.address.ss_family != AF_UNIX) {
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ::fcntl(socket_, F_SETFL, O_NONBLOCK);
  epoll_event event{EPOLLIN, {.ptr = this}};
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket_, &event);
  if (target.tls == nullptr) {
    Start();
    return;
  }
  tls_ = SSL_new(target.tls);
  SSL_set_fd(tls_, socket_);
  SSL_set_tlsext_host_name(tls_, target.name.c_str());
  SSL_set1_host(tls_, target.name.c_str());
  if (session != nullptr) SSL_set_session(tls_, session);
  SSL_set_connect_state(tls_);
  Handshake();
}

Connection::~Connection() {
  if (session_ != nullptr) nghttp2_session_del(session_);
  // Without the shutdown OpenSSL takes the session for broken, and does not go on with it.
  if (tls_ != nullptr && failure_.empty()) SSL_shutdown(tls_);
  if (tls_ != nullptr) SSL_free(tls_);
  if (socket_ >= 0) ::close(socket_);
}

void Connection::Fail(std::string why) {
  if (failure_.empty()) failure_ = std::move(why);
  if (socket_ >= 0) ::epoll_ctl(epoll_, EPOLL_CTL_DEL, socket_, nullptr);
}

void Connection::Watch(bool also_writing) {
  if (also_writing == watches_writing_ || !failure_.empty()) return;
  watches_writing_ = also_writing;
  epoll_event event{also_writing ? EPOLLIN | EPOLLOUT : EPOLLIN, {.ptr = this}};
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, socket_, &event);
}

void Connection::Handshake() {
  ERR_clear_error();
  const int done = SSL_do_handshake(tls_);
  if (done != 1) {
    const int why = SSL_get_error(tls_, done);
    if (why == SSL_ERROR_WANT_READ) return Watch(false);
    if (why == SSL_ERROR_WANT_WRITE) return Watch(true);
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    return Fail(std::string("no TLS handshake: ") + (reason != nullptr ? reason : "ended"));
  }
  const unsigned char* protocol = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(tls_, &protocol, &size);
  if (std::string_view(reinterpret_cast<const char*>(protocol), size) != "h2") {
    return Fail("the server did not agree to h2");
  }
  Start();
}

void Connection::Start() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name,
                    std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                    std::uint8_t, void*) {
        auto* stream = static_cast<Stream*>(
            nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
        if (stream == nullptr) return 0;
        const std::string_view text(reinterpret_cast<const char*>(name), name_size);
        if (text == ":status") stream->answer.http_status = NumberIn(value, value_size);
        if (text == "grpc-status") stream->answer.grpc_status = NumberIn(value, value_size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t*,
                    std::size_t size, void*) {
        auto* stream = static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
        if (stream != nullptr) stream->answer.bytes += size;
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      callbacks,
      [](nghttp2_session* session, std::int32_t id, std::uint32_t reset_code, void* data) {
        auto* stream = static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
        if (stream == nullptr) return 0;
        auto* self = static_cast<Connection*>(data);
        stream->answer.reset_code = reset_code;
        const Answer answer = stream->answer;
        self->spare_.push_back(stream);
        --self->outstanding_;
        self->on_answer_(*self, answer);
        return 0;
      });
  nghttp2_session_client_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  const std::array<nghttp2_settings_entry, 2> settings{
      {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow}}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  for (const auto& [body, began_ns] : std::exchange(early_, {})) {
    --outstanding_;
    Call(body, began_ns);
  }
  Flush();
}

void Connection::Call(std::span<const std::uint8_t> body, std::int64_t began_ns) {
  ++outstanding_;
  if (session_ == nullptr) return early_.emplace_back(body, began_ns), void();
  if (spare_.empty()) {
    streams_.push_back(std::make_unique<Stream>());
    spare_.push_back(streams_.back().get());
  }
  Stream* const stream = spare_.back();
  spare_.pop_back();
  *stream = {body, {.began_ns = began_ns}};
  nghttp2_data_provider provider{};
  provider.source.ptr = stream;
  provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t room,
                              std::uint32_t* flags, nghttp2_data_source* source,
                              void*) -> ssize_t {
    auto& left = static_cast<Stream*>(source->ptr)->body;
    const std::size_t size = std::min(room, left.size());
    std::memcpy(to, left.data(), size);
    left = left.subspan(size);
    if (left.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(size);
  };
  const std::int32_t id = nghttp2_submit_request(session_, nullptr, head_.data(), head_.size(),
                                                 body.empty() ? nullptr : &provider, stream);
  if (id < 0) return --outstanding_, Fail(nghttp2_strerror(id));
}

void Connection::OnEvents() {
  if (!failure_.empty()) return;
  if (session_ == nullptr) {
    Handshake();
  } else {
    Read();
    if (failure_.empty()) Flush();
  }
}

void Connection::Read() {
  static std::array<std::uint8_t, kReadBytes> buffer;
  while (failure_.empty()) {
    ssize_t size = 0;
    if (tls_ != nullptr) {
      ERR_clear_error();
      const int got = SSL_read(tls_, buffer.data(), static_cast<int>(buffer.size()));
      if (got <= 0) {
        const int why = SSL_get_error(tls_, got);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
        return Fail("the server closed the connection");
      }
      size = got;
    } else {
      size = ::read(socket_, buffer.data(), buffer.size());
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (size <= 0) return Fail("the server closed the socket");
    }
    const ssize_t taken =
        nghttp2_session_mem_recv(session_, buffer.data(), static_cast<std::size_t>(size));
    if (taken < 0) return Fail(nghttp2_strerror(static_cast<int>(taken)));
    // What fills no buffer was all of it; without TLS a further read would say so, for a price.
    if (tls_ == nullptr && static_cast<std::size_t>(size) < buffer.size()) return;
  }
}

bool Connection::WriteSome() {
  const std::size_t left = out_.size() - out_at_;
  ssize_t size = 0;
  if (tls_ != nullptr) {
    ERR_clear_error();
    const int put = SSL_write(tls_, out_.data() + out_at_, static_cast<int>(left));
    if (put <= 0) {
      if (SSL_get_error(tls_, put) != SSL_ERROR_WANT_WRITE) Fail("the server takes no more");
      return false;
    }
    size = put;
  } else {
    size = ::send(socket_, out_.data() + out_at_, left, MSG_NOSIGNAL);
    if (size < 0) {
      if (errno != EAGAIN && errno != EINTR) Fail("the socket takes no more");
      return false;
    }
  }
  out_at_ += static_cast<std::size_t>(size);
  if (out_at_ < out_.size()) return true;
  out_.clear();
  out_at_ = 0;
  return true;
}

void Connection::Flush() {
  while (session_ != nullptr && failure_.empty()) {
    while (out_.size() < kWriteBytes) {
      const std::uint8_t* bytes = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
      if (size < 0) return Fail(nghttp2_strerror(static_cast<int>(size)));
      if (size == 0) break;
      out_.insert(out_.end(), bytes, bytes + size);
    }
    if (out_.empty()) return Watch(false);
    if (!WriteSome()) return Watch(true);
  }
}

std::string Connection::TlsText() const {
  if (tls_ == nullptr || session_ == nullptr) return {};
  return std::string(SSL_get_version(tls_)) + " " + SSL_get_cipher_name(tls_);
}

}  // namespace oauthvault::bench
