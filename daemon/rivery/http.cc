#include "daemon/rivery/http.h"

#include <curl/curl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "daemon/rivery/address.h"
#include "daemon/rivery/failure.h"
#include "daemon/rivery/growing.h"

namespace oauthvault::rivery {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxTokenBytes = 4096;
constexpr std::size_t kMaxIdleHandles = 4;
constexpr long kConnectionsPerHandle = 2;
constexpr std::size_t kMaxHeaderValueBytes = 4096;

struct FreeHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, FreeHandle>;

/// Header lines; one of them holds the token, so all are wiped.
class HeaderLines {
 public:
  HeaderLines() = default;
  HeaderLines(const HeaderLines&) = delete;
  HeaderLines& operator=(const HeaderLines&) = delete;
  ~HeaderLines() {
    for (curl_slist* line = lines_; line != nullptr; line = line->next) {
      crypto::Wipe({reinterpret_cast<std::uint8_t*>(line->data), std::strlen(line->data)});
    }
    curl_slist_free_all(lines_);
  }

  bool Add(const char* line) {
    curl_slist* longer = curl_slist_append(lines_, line);
    if (longer == nullptr) return false;
    lines_ = longer;
    return true;
  }

  curl_slist* Get() const { return lines_; }

 private:
  curl_slist* lines_ = nullptr;
};

/// Why our own callbacks ended an exchange.
enum class Stop : std::uint8_t { kNone, kAddress, kBody, kHeaders, kSlow };

/// One exchange while it runs.
struct Progress {
  const Limits& limits;
  const Reach& reach;
  const bool plain;
  GrowingSecret body;
  std::size_t header_bytes = 0;
  std::string location = {};
  std::string retry_after = {};
  Stop stop = Stop::kNone;
  bool has_begun = false;  // the answer has
  Clock::time_point window_start = {};
  std::size_t window_bytes = 0;

  void Count(std::size_t bytes) {
    if (!has_begun) {
      has_begun = true;
      window_start = Clock::now();
    }
    window_bytes += bytes;
  }
};

curl_socket_t OpenSocket(void* user, curlsocktype, curl_sockaddr* address) noexcept {
  auto& progress = *static_cast<Progress*>(user);
  const AddressKind kind = KindOf(&address->addr, address->addrlen);
  if (!MayConnect(kind, progress.reach, progress.plain)) {
    progress.stop = Stop::kAddress;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

std::size_t TakeBody(char* data, std::size_t, std::size_t size, void* user) noexcept {
  auto& progress = *static_cast<Progress*>(user);
  progress.Count(size);
  if (!progress.body.Append(std::string_view(data, size))) {
    progress.stop = Stop::kBody;
    return size + 1;
  }
  return size;
}

/// The value of a header line of that name, without blanks around it. Nothing: another name.
std::string_view ValueOf(std::string_view line, std::string_view name) {
  if (line.size() <= name.size() || line[name.size()] != ':') return {};
  const bool is_it = std::ranges::equal(line.substr(0, name.size()), name, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
  });
  if (!is_it) return {};
  line.remove_prefix(name.size() + 1);
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  while (!line.empty() && static_cast<unsigned char>(line.back()) <= ' ') line.remove_suffix(1);
  return line.size() > kMaxHeaderValueBytes ? std::string_view() : line;
}

std::size_t TakeHeader(char* data, std::size_t, std::size_t size, void* user) noexcept {
  auto& progress = *static_cast<Progress*>(user);
  progress.Count(size);
  progress.header_bytes += size;
  if (progress.header_bytes > progress.limits.max_header_bytes) {
    progress.stop = Stop::kHeaders;
    return size + 1;
  }
  const std::string_view line(data, size);
  if (line.starts_with("HTTP/")) {  // an interim answer (1xx) came before this one
    progress.location.clear();
    progress.retry_after.clear();
  }
  if (const auto value = ValueOf(line, "location"); !value.empty()) progress.location = value;
  if (const auto value = ValueOf(line, "retry-after"); !value.empty()) progress.retry_after = value;
  return size;
}

/// libcurl's own low-speed limit also counts the time in which the server thinks. A create may take
/// long, and ending it early makes its fate unclear; so only an answer that has begun is measured.
int Watch(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
  auto& progress = *static_cast<Progress*>(user);
  const Limits& limits = progress.limits;
  if (!progress.has_begun || limits.low_speed_bytes <= 0) return 0;
  const Clock::time_point now = Clock::now();
  if (now - progress.window_start < limits.low_speed_time) return 0;
  const auto least =
      static_cast<std::size_t>(limits.low_speed_bytes * limits.low_speed_time.count());
  if (progress.window_bytes < least) {
    progress.stop = Stop::kSlow;
    return 1;
  }
  progress.window_start = now;
  progress.window_bytes = 0;
  return 0;
}

/// What a call that ended without a complete answer is for people.
Error ErrorOf(CURLcode code, Stop stop, bool was_sent) {
  const Subject number = Subject::Number(code);
  switch (stop) {
    case Stop::kAddress:
      return {Code::kInvalid,
              "the host of Rivery's base URL resolves to an address that may not be called; check "
              "the URL, or permit it by rivery.allow_private or rivery.allow_loopback"};
    case Stop::kBody: return {Code::kExhausted, "Rivery's reply is larger than is taken"};
    case Stop::kHeaders:
      return {Code::kExhausted, "the headers of Rivery's reply are larger than is taken"};
    case Stop::kSlow: return {Code::kUnavailable, "Rivery's reply came too slowly to wait for it"};
    case Stop::kNone: break;
  }
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return {Code::kUnavailable,
              "the host of Rivery's base URL has no address; check the URL and the name service",
              number};
    case CURLE_COULDNT_CONNECT:
      return {Code::kUnavailable, "no connection to Rivery; check the network and the base URL",
              number};
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return {Code::kUnavailable,
              "no trusted TLS connection to Rivery; check the base URL, this host's clock and its "
              "trusted certificates",
              number};
    case CURLE_FILESIZE_EXCEEDED:
      return {Code::kExhausted, "Rivery announces a larger reply than is taken", number};
    default: break;
  }
  if (!was_sent) {
    return {Code::kUnavailable, "the request to Rivery could not be sent; try again later", number};
  }
  if (code == CURLE_OPERATION_TIMEDOUT) {
    return {Code::kUnavailable,
            "Rivery did not answer in time; what was sent may have been done, so look first",
            number};
  }
  return {Code::kUnavailable,
          "the connection to Rivery broke before its answer was complete; what was sent may have "
          "been done, so look first",
          number};
}

/// Collects whether every option was taken: a handle without its guards must not be used.
struct Options {
  CURL* handle;
  bool all_set = true;

  template <class T>
  void Set(CURLoption option, T value) {
    if (curl_easy_setopt(handle, option, value) != CURLE_OK) all_set = false;
  }
};

bool SetUp(CURL* handle, const HttpRequest& request, const std::string& ca_file,
           Progress& progress, const HeaderLines& headers) {
  const Limits& limits = progress.limits;
  const char* protocols = progress.plain ? "http" : "https";
  const bool changes_something = request.verb != "GET";
  const long timeout_ms = std::max<long>(1, static_cast<long>(request.timeout.count()));
  const long connect_ms =
      std::clamp<long>(static_cast<long>(limits.connect_timeout.count()), 1, timeout_ms);

  Options options{.handle = handle};
  options.Set(CURLOPT_URL, request.url.c_str());
  options.Set(CURLOPT_PATH_AS_IS, 1L);
  options.Set(CURLOPT_PROTOCOLS_STR, protocols);
  options.Set(CURLOPT_REDIR_PROTOCOLS_STR, "https");
  options.Set(CURLOPT_FOLLOWLOCATION, 0L);
  options.Set(CURLOPT_UNRESTRICTED_AUTH, 0L);
  options.Set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  options.Set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  options.Set(CURLOPT_SSL_VERIFYPEER, 1L);
  options.Set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (!ca_file.empty()) {
    options.Set(CURLOPT_CAINFO, ca_file.c_str());
    options.Set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));  // libcurl would add it
  }
  options.Set(CURLOPT_PROXY, "");
  options.Set(CURLOPT_NOPROXY, "*");
  options.Set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  options.Set(CURLOPT_VERBOSE, 0L);
  options.Set(CURLOPT_NOSIGNAL, 1L);
  options.Set(CURLOPT_MAXCONNECTS, kConnectionsPerHandle);
  options.Set(CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
  options.Set(CURLOPT_TIMEOUT_MS, timeout_ms);
  options.Set(CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(limits.max_reply_bytes));
  options.Set(CURLOPT_OPENSOCKETFUNCTION, &OpenSocket);
  options.Set(CURLOPT_OPENSOCKETDATA, &progress);
  options.Set(CURLOPT_WRITEFUNCTION, &TakeBody);
  options.Set(CURLOPT_WRITEDATA, &progress);
  options.Set(CURLOPT_HEADERFUNCTION, &TakeHeader);
  options.Set(CURLOPT_HEADERDATA, &progress);
  options.Set(CURLOPT_XFERINFOFUNCTION, &Watch);
  options.Set(CURLOPT_XFERINFODATA, &progress);
  options.Set(CURLOPT_NOPROGRESS, 0L);
  options.Set(CURLOPT_HTTPHEADER, headers.Get());
  options.Set(CURLOPT_FRESH_CONNECT, changes_something ? 1L : 0L);
  if (changes_something) options.Set(CURLOPT_POSTFIELDS, "");
  options.Set(CURLOPT_CUSTOMREQUEST, std::string(request.verb).c_str());
  return options.all_set;
}

/// libcurl is prepared once for the process.
bool IsCurlReady() {
  static const bool is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return is_ready;
}

}  // namespace

struct Http::Pool {
  std::mutex mutex;
  std::vector<Handle> idle;  // guarded by mutex

  Handle Take() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        Handle handle = std::move(idle.back());
        idle.pop_back();
        return handle;
      }
    }
    return Handle(curl_easy_init());
  }

  void GiveBack(Handle handle) {
    curl_easy_reset(handle.get());  // forgets all pointers, keeps the connections
    const std::lock_guard lock(mutex);
    if (idle.size() < kMaxIdleHandles) idle.push_back(std::move(handle));
  }
};

Http::Http(const Limits& limits, const Reach& reach, std::string ca_file)
    : limits_(limits),
      reach_(reach),
      ca_file_(std::move(ca_file)),
      pool_(std::make_unique<Pool>()) {}
Http::~Http() = default;

std::expected<HttpAnswer, Failure> Http::Exchange(const HttpRequest& request) {
  if (!IsCurlReady()) {
    return std::unexpected(NotSent({Code::kUnavailable, "libcurl cannot start"}));
  }
  Handle handle = pool_->Take();
  Progress progress{.limits = limits_,
                    .reach = reach_,
                    .plain = request.url.starts_with("http://"),
                    .body = GrowingSecret(limits_.max_reply_bytes)};

  // libcurl sends header lines as they are, so the token is checked and cannot add another line.
  HeaderLines headers;
  const crypto::SecretBytes& secret = request.token.Bytes();
  const bool is_token_usable = secret.Expose([&](std::span<const std::uint8_t> token) {
    if (token.empty() || token.size() > kMaxTokenBytes) return false;
    if (!std::ranges::all_of(token, [](std::uint8_t c) { return c > 0x20 && c < 0x7f; })) {
      return false;
    }
    constexpr std::string_view kBearer = "Authorization: Bearer ";
    std::string line;
    line.reserve(kBearer.size() + token.size());  // grows no more, so that no copy is left behind
    line += kBearer;
    line.append(token.begin(), token.end());
    const bool is_added = headers.Add(line.c_str());
    crypto::Wipe(line);
    return is_added;
  });
  if (!is_token_usable) {
    return std::unexpected(
        NotSent({Code::kInvalid, "Rivery's API token must be 1 to 4096 printable characters"}));
  }
  const bool is_ready = handle != nullptr && headers.Add("Accept: application/json") &&
                        headers.Add("Content-Type: application/json") &&
                        headers.Add("Expect:") &&  // no waiting for a "100 Continue"
                        SetUp(handle.get(), request, ca_file_, progress, headers);
  if (!is_ready) {
    return std::unexpected(NotSent({Code::kUnavailable, "libcurl refuses a needed option"}));
  }

  CURLcode code = CURLE_OK;
  if (request.body != nullptr) {
    request.body->Expose([&](std::span<const std::uint8_t> body) {
      // Not copied: sent from the secret's own memory.
      Options options{.handle = handle.get()};
      options.Set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
      options.Set(CURLOPT_POSTFIELDS, body.data());
      code = options.all_set ? curl_easy_perform(handle.get()) : CURLE_BAD_FUNCTION_ARGUMENT;
    });
  } else {
    code = curl_easy_perform(handle.get());
  }

  long status = 0;
  long sent_bytes = 1;  // unless libcurl says otherwise, something left
  curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(handle.get(), CURLINFO_REQUEST_SIZE, &sent_bytes);
  pool_->GiveBack(std::move(handle));
  if (code != CURLE_OK) {
    const bool was_sent = sent_bytes != 0;
    return std::unexpected(Failure{.error = ErrorOf(code, progress.stop, was_sent),
                                   .fate = was_sent ? Fate::kUnclear : Fate::kNeverSent,
                                   .http_status = static_cast<int>(status)});
  }
  return HttpAnswer{.status = static_cast<int>(status),
                    .body = progress.body.Take(),
                    .location = std::move(progress.location),
                    .retry_after = std::move(progress.retry_after)};
}

}  // namespace oauthvault::rivery
