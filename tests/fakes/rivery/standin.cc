#include "tests/fakes/rivery/standin.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace oauthvault::fakes {
namespace {

constexpr std::size_t kMaxRequestBytes = std::size_t{1} << 20U;
constexpr unsigned kIdleTimeout_s = 60;
constexpr unsigned kMaxDelay_ms = 600'000;
constexpr unsigned kMaxTimes = 1000;
constexpr std::string_view kElsewhere = "/elsewhere";
constexpr std::string_view kHtml = "text/html; charset=utf-8";

Reply HtmlReply(int status, std::string_view title) {
  return {.status = status,
          .body = "<html><head><title>" + std::string(title) + "</title></head><body><h1>" +
                  std::string(title) + "</h1></body></html>\n",
          .content_type = std::string(kHtml)};
}

/// A number under a key, `otherwise` when it is missing; nothing when it is not a number up to
/// `largest`.
std::optional<unsigned> NumberAt(const Json& object, std::string_view key, unsigned otherwise,
                                 unsigned largest) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() > largest) return std::nullopt;
  return found->get<unsigned>();
}

std::string_view TextOf(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  return found->get_ref<const std::string&>();
}

Reply Refused(std::string_view why) { return JsonReply(400, {{"refused", why}}); }

/// The list of a reply as one page of several, whose next page lies at `url`.
void PointNextPageTo(Reply& reply, const std::string& url) {
  Json body = Json::parse(reply.body, nullptr, false);
  if (body.is_array()) {
    Json paged = Json::object();
    paged["items"] = std::move(body);
    body = std::move(paged);
  }
  if (!body.is_object()) return;
  body["next_page"] = url;
  reply.body = JsonReply(reply.status, body).body;
}

/// How a reply leaves.
struct Delivery {
  std::size_t promised_bytes = 0;              ///< Content-Length
  std::chrono::milliseconds between_bytes{0};  ///< 0: all at once
};

/// How a request ends when no reply leaves.
enum class Ending : std::uint8_t { kReply, kDrop, kReset };

}  // namespace

struct StandIn::Wire {
  /// A request as it comes in.
  struct Incoming {
    std::string body;
    bool too_large = false;
  };

  /// A body that is sent in an unusual way.
  struct Drip {
    StandIn* server;
    std::string body;
    std::chrono::milliseconds between_bytes;
  };

  static MHD_Result AddQuery(void* cls, MHD_ValueKind /*kind*/, const char* key,
                             const char* value) {
    auto& query = *static_cast<std::map<std::string, std::string>*>(cls);
    query.emplace(key, value == nullptr ? "" : value);
    return MHD_YES;
  }

  static void Completed(void* /*cls*/, MHD_Connection* /*connection*/, void** slot,
                        MHD_RequestTerminationCode /*code*/) {
    delete static_cast<Incoming*>(*slot);
    *slot = nullptr;
  }

  static MHD_Result Access(void* cls, MHD_Connection* connection, const char* path,
                           const char* method, const char* /*version*/, const char* data,
                           std::size_t* size, void** slot) {
    if (*slot == nullptr) {
      *slot = new Incoming;
      return MHD_YES;
    }
    Incoming& incoming = *static_cast<Incoming*>(*slot);
    if (*size > 0) {
      if (incoming.body.size() + *size > kMaxRequestBytes) incoming.too_large = true;
      if (!incoming.too_large) incoming.body.append(data, *size);
      *size = 0;
      return MHD_YES;
    }
    Request request{.method = method, .path = path, .body = std::move(incoming.body)};
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, AddQuery, &request.query);
    const char* authorization =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (authorization != nullptr) request.authorization = authorization;
    StandIn& server = *static_cast<StandIn*>(cls);
    if (incoming.too_large) {
      server.Log(request, "413");
      return Send(server, connection, JsonReply(413, {{"detail", "the request is too large"}}), {});
    }
    return Answer(server, connection, request);
  }

  static MHD_Result Answer(StandIn& server, MHD_Connection* connection, const Request& request) {
    if (request.path.starts_with(kElsewhere)) {
      {
        const std::lock_guard lock(server.mutex_);
        ++server.elsewhere_requests_;
        if (!request.authorization.empty()) ++server.elsewhere_with_token_;
      }
      server.Log(request, "200");
      return Send(server, connection, JsonReply(200, Json::array()), {});
    }
    Reply reply;
    if (request.path.starts_with("/standin/")) {
      reply = server.Control(request);
    } else if (!request.path.starts_with("/api/")) {
      reply = server.vendor_.ServePage(request);
    } else {
      const std::optional<Operation> operation = Vendor::OperationOf(request);
      if (operation) {
        server.Note(*operation, request);
        const std::optional<PlannedFault> fault = server.TakeFault(*operation);
        if (fault) return AnswerWithFault(server, connection, request, *fault);
      }
      reply = server.vendor_.Serve(request);
    }
    server.Log(request, std::to_string(reply.status));
    return Send(server, connection, reply, {});
  }

  static MHD_Result AnswerWithFault(StandIn& server, MHD_Connection* connection,
                                    const Request& request, const PlannedFault& fault) {
    Reply reply;
    Delivery delivery;
    Ending ending = Ending::kReply;
    switch (fault.fault) {
      case Fault::kCommitThenDrop:
        server.vendor_.Serve(request);
        ending = Ending::kDrop;
        break;
      case Fault::kCommitThen502:
        server.vendor_.Serve(request);
        reply = HtmlReply(502, "502 Bad Gateway");
        break;
      case Fault::kCommitLate:
        if (!server.Sleep(fault.delay.value_or(kDefaultLateness))) return MHD_NO;
        reply = server.vendor_.Serve(request);
        break;
      case Fault::kDropThenCommitLate:
        // The client sees the end now; the commit comes when it may have looked already.
        shutdown(SocketOf(connection), SHUT_RDWR);
        if (!server.Sleep(fault.delay.value_or(kDefaultLateness))) return MHD_NO;
        server.vendor_.Serve(request);
        ending = Ending::kDrop;
        break;
      case Fault::kResetBeforeCommit:
        ending = Ending::kReset;
        break;
      case Fault::kResetAfterCommit:
        server.vendor_.Serve(request);
        ending = Ending::kReset;
        break;
      case Fault::kOkWithCode402:
        reply = JsonReply(200, {{"Code", 402},
                                {"message", "There are some rivers that use this connection"},
                                {"rivers", "[\"Stand-in river\"]"}});
        break;
      case Fault::kUnauthorized:
        reply = JsonReply(401, {{"status", 401}, {"message", "Unauthorized"}});
        break;
      case Fault::kForbidden:
        reply = JsonReply(403, {{"status", 403}, {"message", "Forbidden"}});
        break;
      case Fault::kRateLimited:
        reply = JsonReply(429, {{"detail", "Too many requests"}});
        break;
      case Fault::kRateLimitedRetryAfter:
        reply = JsonReply(429, {{"detail", "Too many requests"}});
        reply.headers.emplace_back("Retry-After", std::to_string(fault.retry_after.count()));
        break;
      case Fault::kHtml500:
        reply = HtmlReply(500, "500 Internal Server Error");
        break;
      case Fault::kHtml502:
        reply = HtmlReply(502, "502 Bad Gateway");
        break;
      case Fault::kTruncatedJson:
        reply = server.vendor_.Serve(request);
        reply.body.resize(reply.body.size() / 2);
        break;
      case Fault::kWrongContentLength:
        reply = server.vendor_.Serve(request);
        delivery.promised_bytes = reply.body.size() + kMissingBytes;
        break;
      case Fault::kSlowDrip:
        reply = server.vendor_.Serve(request);
        delivery.between_bytes = fault.delay.value_or(kDefaultDrip);
        break;
      case Fault::kRedirectElsewhere:
        reply = JsonReply(307, Json::object());
        reply.headers.emplace_back("Location", server.elsewhere_ + request.path);
        break;
      case Fault::kNextPageElsewhere:
        reply = server.vendor_.Serve(request);
        PointNextPageTo(reply, server.elsewhere_ + request.path + "?page=2");
        break;
      case Fault::kHugeBody:
        // White space behind the JSON: who reads it all finds a valid reply.
        reply = server.vendor_.Serve(request);
        reply.body.resize(kHugeBodyBytes, ' ');
        break;
    }
    std::string outcome(ending == Ending::kDrop    ? "dropped"
                        : ending == Ending::kReset ? "reset"
                                                   : std::to_string(reply.status));
    server.Log(request, outcome += " " + std::string(RowOf(fault.fault).name));
    if (ending == Ending::kReset) Reset(connection);
    // MHD_NO ends the connection without a byte of an answer.
    if (ending != Ending::kReply) return MHD_NO;
    return Send(server, connection, reply, delivery);
  }

  static int SocketOf(MHD_Connection* connection) {
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  }

  /// Ends a connection with RST. Linger with time 0 is not enough: the library shuts the socket
  /// down before it closes it, and the peer would see an orderly end. Dissolving the association
  /// of a connected stream socket sends the reset at once.
  static void Reset(MHD_Connection* connection) {
    const int fd = SocketOf(connection);
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    sockaddr none{};
    none.sa_family = AF_UNSPEC;
    connect(fd, &none, sizeof none);
  }

  static ssize_t ReadDrip(void* cls, std::uint64_t position, char* buffer, std::size_t max) {
    Drip& drip = *static_cast<Drip*>(cls);
    // More was promised than there is.
    if (position >= drip.body.size()) return MHD_CONTENT_READER_END_WITH_ERROR;
    std::size_t count = std::min(max, drip.body.size() - position);
    if (drip.between_bytes.count() > 0) {
      if (!drip.server->Sleep(drip.between_bytes)) return MHD_CONTENT_READER_END_WITH_ERROR;
      count = 1;
    }
    std::memcpy(buffer, drip.body.data() + position, count);
    return static_cast<ssize_t>(count);
  }

  static void FreeDrip(void* cls) { delete static_cast<Drip*>(cls); }

  static MHD_Result Send(StandIn& server, MHD_Connection* connection, const Reply& reply,
                         const Delivery& delivery) {
    const bool plain = delivery.promised_bytes == 0 && delivery.between_bytes.count() == 0;
    constexpr std::size_t kBlockBytes = 4096;
    MHD_Response* response =
        plain ? MHD_create_response_from_buffer(reply.body.size(),
                                                const_cast<char*>(reply.body.data()),
                                                MHD_RESPMEM_MUST_COPY)
              : MHD_create_response_from_callback(
                    std::max(delivery.promised_bytes, reply.body.size()), kBlockBytes, ReadDrip,
                    new Drip{&server, reply.body, delivery.between_bytes}, FreeDrip);
    if (response == nullptr) return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply.content_type.c_str());
    for (const auto& [name, value] : reply.headers) {
      MHD_add_response_header(response, name.c_str(), value.c_str());
    }
    const MHD_Result queued =
        MHD_queue_response(connection, static_cast<unsigned>(reply.status), response);
    MHD_destroy_response(response);
    return queued;
  }
};

StandIn::StandIn(Options options)
    : vendor_(std::move(options.tokens), options.knobs), log_(options.log) {}

StandIn::~StandIn() { Stop(); }

Result<std::unique_ptr<StandIn>> StandIn::Start(Options options) {
  if (options.tokens.empty()) return Fail(Code::kInvalid, "the stand-in needs an API token");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::unique_ptr<StandIn> server(new StandIn(std::move(options)));
  // Requests wait for the origin, which is known only after the port is.
  std::unique_lock starting(server->mutex_);
  server->daemon_ = MHD_start_daemon(
      MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, nullptr, nullptr,
      Wire::Access, server.get(), MHD_OPTION_SOCK_ADDR, reinterpret_cast<sockaddr*>(&address),
      MHD_OPTION_NOTIFY_COMPLETED, Wire::Completed, nullptr, MHD_OPTION_CONNECTION_TIMEOUT,
      kIdleTimeout_s, MHD_OPTION_END);
  if (server->daemon_ == nullptr) {
    return Fail(Code::kUnavailable, "the stand-in cannot listen on its port");
  }
  const MHD_DaemonInfo* info = MHD_get_daemon_info(server->daemon_, MHD_DAEMON_INFO_BIND_PORT);
  const std::string port = std::to_string(info->port);
  server->origin_ = "http://127.0.0.1:" + port;
  server->base_url_ = server->origin_ + "/api";
  server->elsewhere_ = "http://localhost:" + port + std::string(kElsewhere);
  server->vendor_.SetOrigin(server->origin_);
  starting.unlock();
  return server;
}

void StandIn::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  if (daemon_ != nullptr) MHD_stop_daemon(std::exchange(daemon_, nullptr));
}

void StandIn::AddFault(const PlannedFault& fault) {
  const std::lock_guard lock(mutex_);
  faults_.push_back(fault);
}

void StandIn::ClearFaults() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

bool StandIn::Click(std::string_view auth_uri, Decision decision) {
  constexpr std::string_view kState = "/consent?state=";
  if (!auth_uri.starts_with(origin_)) return false;
  auth_uri.remove_prefix(origin_.size());
  if (!auth_uri.starts_with(kState)) return false;
  return vendor_.Click(auth_uri.substr(kState.size()), decision).status == 200;
}

Json StandIn::State() const {
  Json state = vendor_.State();
  const std::lock_guard lock(mutex_);
  Json& requests = state["requests"] = Json::object();
  for (const OperationRow& row : Operations()) {
    requests[std::string(row.name)] = requests_[static_cast<std::size_t>(row.operation)];
  }
  Json& faults = state["faults_left"] = Json::array();
  for (const PlannedFault& planned : faults_) {
    faults.push_back({{"operation", planned.operation ? NameOf(*planned.operation) : "any"},
                      {"fault", RowOf(planned.fault).name},
                      {"times", planned.times}});
  }
  state["elsewhere"] = {{"requests", elsewhere_requests_}, {"with_token", elsewhere_with_token_}};
  return state;
}

Json StandIn::Received() const {
  const std::lock_guard lock(mutex_);
  return Json(Json::array_t(received_.begin(), received_.end()));
}

Reply StandIn::Control(const Request& request) {
  if (request.method == "GET" && request.path == "/standin/state") return JsonReply(200, State());
  if (request.method == "GET" && request.path == "/standin/received") {
    return JsonReply(200, Received());
  }
  if (request.method == "DELETE" && request.path == "/standin/faults") {
    ClearFaults();
    return JsonReply(200, {{"done", true}});
  }
  if (request.method != "POST") return JsonReply(404, {{"refused", "no such control"}});
  const Json body = Json::parse(request.body, nullptr, false);
  if (!body.is_object()) return Refused("the body is not a JSON object");

  if (request.path == "/standin/faults") {
    for (const auto& [key, value] : body.items()) {
      if (key != "operation" && key != "fault" && key != "times" && key != "delay_ms" &&
          key != "retry_after_s") {
        return Refused("unknown key");
      }
    }
    PlannedFault planned;
    const std::string_view operation = TextOf(body, "operation");
    planned.operation = ParseOperation(operation);
    if (!planned.operation && operation != "any") return Refused("unknown operation");
    const std::optional<Fault> fault = ParseFault(TextOf(body, "fault"));
    if (!fault) return Refused("unknown fault");
    planned.fault = *fault;
    const auto times = NumberAt(body, "times", 1, kMaxTimes);
    const auto delay_ms = NumberAt(body, "delay_ms", 0, kMaxDelay_ms);
    const auto retry_after_s =
        NumberAt(body, "retry_after_s", static_cast<unsigned>(kDefaultRetryAfter.count()),
                 kMaxDelay_ms);
    if (!times || *times == 0 || !delay_ms || !retry_after_s) return Refused("a number is wrong");
    planned.times = *times;
    if (body.contains("delay_ms")) planned.delay = std::chrono::milliseconds(*delay_ms);
    planned.retry_after = std::chrono::seconds(*retry_after_s);
    AddFault(planned);
    return JsonReply(200, {{"done", true}});
  }
  if (request.path == "/standin/knobs") {
    Knobs knobs = GetKnobs();
    for (const auto& [name, value] : body.items()) {
      if (!value.is_string() || !SetKnob(knobs, name, value.get_ref<const std::string&>())) {
        return Refused("no such knob, or not a value of it");
      }
    }
    SetKnobs(knobs);
    return JsonReply(200, {{"done", true}});
  }
  if (request.path == "/standin/clock") {
    const auto advance_s = NumberAt(body, "advance_s", 0, kMaxDelay_ms);
    if (!advance_s) return Refused("advance_s is not a number of seconds");
    AdvanceClock(std::chrono::seconds(*advance_s));
    return JsonReply(200, {{"done", true}});
  }
  return JsonReply(404, {{"refused", "no such control"}});
}

std::optional<PlannedFault> StandIn::TakeFault(Operation operation) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(faults_, [&](const PlannedFault& planned) {
    return !planned.operation || *planned.operation == operation;
  });
  if (found == faults_.end()) return std::nullopt;
  const PlannedFault taken = *found;
  if (--found->times == 0) faults_.erase(found);
  return taken;
}

void StandIn::Note(Operation operation, const Request& request) {
  Json body = Json::parse(request.body, nullptr, false);
  const std::lock_guard lock(mutex_);
  ++requests_[static_cast<std::size_t>(operation)];
  if (request.body.empty()) return;
  if (received_.size() == kMaxReceived) received_.pop_front();
  received_.push_back(
      {{"operation", NameOf(operation)}, {"body", body.is_object() ? std::move(body) : Json()}});
}

void StandIn::Log(const Request& request, std::string_view outcome) {
  if (log_ == nullptr) return;
  // The path came decoded from outside, and that of a share link is a secret.
  std::string path = request.path.starts_with("/share/") ? "/share/.." : request.path;
  std::ranges::replace_if(path, [](char c) { return c <= ' ' || c > '~'; }, '?');
  const std::lock_guard lock(mutex_);
  *log_ << request.method << ' ' << path << ' ' << outcome << std::endl;
}

bool StandIn::Sleep(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !stopped_.wait_for(lock, time, [this] { return stopping_; });
}

}  // namespace oauthvault::fakes
