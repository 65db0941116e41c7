#include "daemon/rivery/client.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <optional>
#include <span>
#include <utility>

#include "daemon/rivery/failure.h"
#include "daemon/rivery/growing.h"
#include "daemon/rivery/http.h"
#include "daemon/rivery/json.h"
#include "daemon/rivery/rate.h"
#include "daemon/rivery/routes.h"
#include "daemon/rivery/url.h"

namespace oauthvault::rivery {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kMaxRedirects = 3;
constexpr int kMaxPages = 1000;
constexpr std::size_t kMaxItems = 10'000;
constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kMaxConnectionNameBytes = 512;
constexpr std::size_t kMaxFlowSecretBytes = std::size_t{8} * 1024;  // a pull_id, an auth_uri
constexpr std::size_t kMaxRequestBytes = std::size_t{1024} * 1024;
constexpr std::size_t kIdDigits = 24;
constexpr std::chrono::seconds kMinValidity{300};
constexpr std::chrono::seconds kMaxValidity{43'200};

// The codes that a body may carry, and every field that some operation needs.
constexpr std::array<std::string_view, 3> kCodeFields = {"status_code", "Code", "status"};
constexpr std::array<std::string_view, 18> kFields = {
    "status_code", "Code",     "status",          "count",           "_id",
    "cross_id",    "client_id", "connection_type", "connection_name", "datasource_id",
    "oauth2",      "oauth",    "credentials_exists", "next_page",
    "updated_at",  "modified_at", "last_modified",   "update_time"};
// Nothing public names the date of the last change: the first of these that is there counts, and a
// reply without any says nothing about it.
constexpr std::span<const std::string_view> kChangedFields = std::span(kFields).last<4>();
constexpr std::array<std::string_view, 2> kFlowSecrets = {"pull_id", "auth_uri"};

/// The body's own code: the worst that is one, or else the first; 0 without any. `true` is none.
int CodeOf(const Document& document) {
  int code = 0;
  for (const std::string_view field : kCodeFields) {
    const auto found = document.fields.find(field);
    if (found == document.fields.end()) continue;
    const auto* number = std::get_if<std::int64_t>(&found->second);
    if (number == nullptr || *number < 100 || *number > 9999) continue;
    if (code == 0 || *number >= 400) code = std::max(code, static_cast<int>(*number));
  }
  return code;
}

bool IsId(std::string_view text) {
  return text.size() == kIdDigits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
         });
}

/// The id under a key; empty when there is none that is one.
std::string IdAt(const Fields& fields, std::string_view key) {
  const std::string* text = TextAt(fields, key);
  return text != nullptr && IsId(*text) ? *text : std::string();
}

/// A date as Rivery writes one (text in RFC 3339, ms) in ms since 1970; 0 for what is none.
std::int64_t DateMs(const FieldValue& value) {
  if (const auto* ms = std::get_if<std::int64_t>(&value)) return std::max<std::int64_t>(*ms, 0);
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return 0;
  std::tm parts{};
  const char* rest = strptime(text->c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) rest = strptime(text->c_str(), "%Y-%m-%d %H:%M:%S", &parts);
  if (rest == nullptr) return 0;
  std::int64_t ms = std::int64_t{timegm(&parts)} * 1000;
  if (*rest == '.') {
    std::int64_t scale = 100;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) ms += scale * (*rest - '0');
  }
  // An offset from UTC; without one it is UTC.
  int hours = 0;
  int minutes = 0;
  if ((*rest == '+' || *rest == '-') && std::sscanf(rest + 1, "%2d:%2d", &hours, &minutes) == 2) {
    ms -= (*rest == '+' ? 1 : -1) * (std::int64_t{hours} * 60 + minutes) * 60'000;
  }
  return std::max<std::int64_t>(ms, 0);
}

/// A connection in a list or by itself. `id` stays empty where there is none that is one.
RemoteConnection ConnectionIn(const Fields& fields) {
  RemoteConnection connection{.id = IdAt(fields, "_id"),
                              .cross_id = IdAt(fields, "cross_id"),
                              .credentials_exist = IsSet(fields, "credentials_exists")};
  const auto told = fields.find("credentials_exists");
  connection.credentials_missing = told != fields.end() && told->second == FieldValue(false);
  if (const std::string* name = TextAt(fields, "connection_name")) connection.name = *name;
  if (const std::string* type = TextAt(fields, "connection_type")) {
    connection.connection_type = *type;
  }
  for (const std::string_view field : kChangedFields) {
    const auto found = fields.find(field);
    if (found == fields.end()) continue;
    connection.changed_at_ms = DateMs(found->second);
    break;
  }
  return connection;
}

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

bool IsFlowSecret(const crypto::SecretBytes& secret) {
  return secret.Expose([](std::span<const std::uint8_t> bytes) {
    return !bytes.empty() && bytes.size() <= kMaxFlowSecretBytes &&
           std::ranges::all_of(bytes, [](std::uint8_t c) { return c > 0x20 && c < 0x7f; });
  });
}

/// An address that may be shown to a person to click on.
bool IsWebAddress(const crypto::SecretBytes& uri, const Reach& reach) {
  return uri.Expose([&](std::span<const std::uint8_t> bytes) {
    const auto begins_with = [&](std::string_view scheme) {
      return bytes.size() > scheme.size() &&
             std::equal(scheme.begin(), scheme.end(), bytes.begin());
    };
    return begins_with("https://") || (reach.allow_loopback && begins_with("http://"));
  });
}

/// A plain value as JSON; nothing when a text is not UTF-8.
std::optional<std::string> JsonOf(const FieldValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  return Quoted(std::get<std::string>(value));
}

/// `{"connection_type": .., "connection_name": .., PROPERTIES, "credentials": ..}`, the last as it
/// stands. `properties` is an object as Get makes one, or empty.
Result<crypto::SecretBytes> ConnectionBody(std::string_view type, std::string_view name,
                                           std::string_view properties,
                                           const crypto::SecretBytes& credentials) {
  if (!IsName(type)) {
    return Fail(Code::kInvalid, "a connection type must be 1 to 128 printable characters");
  }
  const std::optional<std::string> quoted_name = Quoted(name);
  if (name.empty() || name.size() > kMaxConnectionNameBytes || !quoted_name) {
    return Fail(Code::kInvalid, "a connection's name must be 1 to 512 bytes of UTF-8");
  }
  const Result<Document> document = ReadDocument(credentials, {.fields = {}, .secrets = {}});
  if (!document || !document->is_object) {
    return Fail(Code::kInvalid,
                "the credentials for Rivery must be one JSON object without a key twice");
  }
  GrowingSecret body(kMaxRequestBytes);
  const bool fits = body.Append("{\"connection_type\":") && body.Append(*Quoted(type)) &&
                    body.Append(",\"connection_name\":") && body.Append(*quoted_name) &&
                    (properties.empty() ||
                     (body.Append(",") &&
                      body.Append(properties.substr(1, properties.size() - 2)))) &&
                    body.Append(",\"credentials\":") &&
                    credentials.Expose([&](std::span<const std::uint8_t> bytes) {
                      return body.Append(bytes);
                    }) &&
                    body.Append("}");
  if (!fits) return Fail(Code::kExhausted, "the credentials for Rivery are larger than 1 MiB");
  return body.Take();
}

/// The Failure of an answer that was a success by its status but says nothing usable.
Failure Unusable(Error error, int http_status, int body_code) {
  return {.error = std::move(error),
          .fate = Fate::kUnclear,
          .http_status = http_status,
          .body_code = body_code};
}

}  // namespace

/// A success: HTTP 2xx, and no body code from 400.
struct Answered {
  int http_status = 0;
  int body_code = 0;
  Document document;
  crypto::SecretBytes body;
  std::string url;  ///< where it came from, redirects followed
};

struct Client::State {
  const Routes routes;
  const Limits limits;
  const Reach reach;
  Http http;

  State(Routes given_routes, Limits given_limits, Reach given_reach, std::string ca_file)
      : routes(std::move(given_routes)),
        limits(given_limits),
        reach(given_reach),
        http(limits, reach, std::move(ca_file)) {}

  /// Where an operation goes for this account.
  Result<std::string> UrlOf(Operation operation, const Endpoint& endpoint,
                            const RouteNames& names) const {
    Result<std::string> base = NormalizeBaseUrl(endpoint.base_url, reach);
    if (!base) return base;
    Result<std::string> path = FillPath(routes.at(operation), names);
    if (!path) return path;
    return *base + *path;
  }

  /// One call with its redirects, which share its deadline.
  Reply<Answered> Call(Operation operation, const Endpoint& endpoint, std::string url,
                       const crypto::SecretBytes* body = nullptr) {
    const std::string& verb = routes.at(operation).verb;
    const Clock::time_point deadline = Clock::now() + limits.call_timeout;
    for (int redirects = 0;; ++redirects) {
      const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
      if (endpoint.turn != nullptr) endpoint.turn->Spend();
      std::expected<HttpAnswer, Failure> answer =
          http.Exchange({.verb = verb,
                         .url = url,
                         .token = endpoint.token,
                         .body = body,
                         .timeout = std::max(left, milliseconds(1))});
      if (!answer) return std::unexpected(std::move(answer.error()));
      const bool is_redirect = answer->status >= 300 && answer->status < 400;
      if (!is_redirect || verb != "GET" || answer->location.empty()) {
        Reply<Answered> judged = Judge(operation, verb, *std::move(answer), std::move(url));
        if (!judged && endpoint.turn != nullptr) HoldBack(*endpoint.turn, judged.error());
        return judged;
      }
      if (redirects == kMaxRedirects) {
        return std::unexpected(Failure{
            .error = {Code::kUnavailable, "Rivery redirects in a circle; check the base URL",
                      Subject::Number(answer->status)},
            .fate = Fate::kRefused,
            .http_status = answer->status});
      }
      Result<std::string> next = ResolveOnOrigin(url, answer->location);
      if (!next) {
        return std::unexpected(Failure{.error = std::move(next.error()),
                                       .fate = Fate::kRefused,
                                       .http_status = answer->status});
      }
      url = *std::move(next);
    }
  }

  /// A refusal that asks the account to wait.
  static void HoldBack(Turn& turn, const Failure& failure) {
    if (failure.retry_after.count() > 0) {
      turn.Obey(failure.retry_after);
    } else if (failure.error.GetCode() == Code::kExhausted) {
      turn.SlowDown();
    }
  }

  static Reply<Answered> Judge(Operation operation, std::string_view verb, HttpAnswer answer,
                               std::string url) {
    const bool starts_oauth = operation == Operation::kOauthStart;
    const std::span<const std::string_view> secrets =
        starts_oauth ? std::span<const std::string_view>(kFlowSecrets)
                     : std::span<const std::string_view>();
    Result<Document> document =
        ReadDocument(answer.body, {.fields = kFields, .secrets = secrets, .max_items = kMaxItems});
    const int body_code = document ? CodeOf(*document) : 0;
    if (answer.status >= 300 || body_code >= 400) {
      return std::unexpected(
          FailureOf(operation, verb, answer.status, body_code,
                    ParseRetryAfter(answer.retry_after, std::chrono::system_clock::now())));
    }
    if (!document) {
      return std::unexpected(Unusable(std::move(document.error()), answer.status, 0));
    }
    return Answered{.http_status = answer.status,
                    .body_code = body_code,
                    .document = *std::move(document),
                    .body = std::move(answer.body),
                    .url = std::move(url)};
  }

  /// One call of a route.
  Reply<Answered> Ask(Operation operation, const Endpoint& endpoint, const RouteNames& names,
                      const crypto::SecretBytes* body = nullptr) {
    Result<std::string> url = UrlOf(operation, endpoint, names);
    if (!url) return std::unexpected(NotSent(std::move(url.error())));
    return Call(operation, endpoint, *std::move(url), body);
  }

  /// Every page of a list; calls `take` for each item. `take` may refuse one by an error.
  template <class F>
  Reply<void> Walk(Operation operation, const Endpoint& endpoint, const RouteNames& names,
                   F&& take) {
    Result<std::string> url = UrlOf(operation, endpoint, names);
    if (!url) return std::unexpected(NotSent(std::move(url.error())));
    std::size_t items = 0;
    std::string next = *std::move(url);
    for (int page = 0; page < kMaxPages; ++page) {
      Reply<Answered> answered = Call(operation, endpoint, next);
      if (!answered) return std::unexpected(std::move(answered.error()));
      const Document& document = answered->document;
      const auto refuse = [&](Error error) {
        return std::unexpected(
            Unusable(std::move(error), answered->http_status, answered->body_code));
      };
      if (!document.is_list) {
        return refuse({Code::kUnavailable,
                       "Rivery's reply is no list; check the base URL and the routes"});
      }
      items += document.items.size();
      if (items > kMaxItems) {
        return refuse({Code::kExhausted, "Rivery lists more than can be worked with",
                       Subject::Number(static_cast<std::int64_t>(kMaxItems))});
      }
      for (const Fields& item : document.items) {
        if (Result<void> taken = take(item); !taken) return refuse(std::move(taken.error()));
      }
      const std::string* next_page = document.TextAt("next_page");
      if (next_page == nullptr || next_page->empty()) return {};
      Result<std::string> resolved = ResolveOnOrigin(answered->url, *next_page);
      if (!resolved) {
        return std::unexpected(Failure{.error = std::move(resolved.error()),
                                       .fate = Fate::kRefused,
                                       .http_status = answered->http_status});
      }
      next = *std::move(resolved);
    }
    return std::unexpected(Failure{
        .error = {Code::kExhausted, "Rivery's list has no end", Subject::Number(kMaxPages)},
        .fate = Fate::kRefused});
  }
};

namespace {

/// Operations that configuration leaves out keep their routes.
Routes Complete(Routes routes) {
  routes.merge(DefaultRoutes());
  return routes;
}

}  // namespace

Client::Client(Routes routes, Limits limits, Reach reach, std::string ca_file)
    : state_(std::make_unique<State>(Complete(std::move(routes)), limits, reach,
                                     std::move(ca_file))) {}
Client::~Client() = default;

Reply<std::vector<ConnectionType>> Client::Types(const Endpoint& endpoint) const {
  std::vector<ConnectionType> types;
  Reply<void> walked = state_->Walk(
      Operation::kTypes, endpoint, {}, [&](const Fields& item) -> Result<void> {
        const std::string* type = TextAt(item, "connection_type");
        if (type == nullptr || !IsName(*type)) return {};  // not one that could be asked for
        const std::string* datasource = TextAt(item, "datasource_id");
        const bool has_datasource = datasource != nullptr && IsName(*datasource);
        types.push_back({.connection_type = *type,
                         .datasource_id = has_datasource ? *datasource : *type,
                         .oauth2 = IsSet(item, "oauth2") || IsSet(item, "oauth")});
        return {};
      });
  if (!walked) return std::unexpected(std::move(walked.error()));
  return types;
}

Reply<StartedOauth> Client::StartOauth(const Endpoint& endpoint, std::string_view datasource_id,
                                       std::chrono::seconds validity) const {
  if (!IsName(datasource_id)) {
    return std::unexpected(NotSent(
        {Code::kInvalid, "a datasource id must be 1 to 128 printable characters"}));
  }
  if (validity < kMinValidity || validity > kMaxValidity) {
    return std::unexpected(NotSent({Code::kInvalid,
                                    "the validity of an authorization must be 300 to 43200 s",
                                    Subject::Number(validity.count())}));
  }
  const crypto::SecretBytes body = crypto::SecretBytes::CopyOf(
      "{\"datasource_id\":" + *Quoted(datasource_id) +
      ",\"validity_duration\":" + std::to_string(validity.count()) + "}");
  Reply<Answered> answered = state_->Ask(Operation::kOauthStart, endpoint, {}, &body);
  if (!answered) return std::unexpected(std::move(answered.error()));

  auto& secrets = answered->document.secrets;
  StartedOauth started{.pull_id = std::move(secrets["pull_id"]),
                       .auth_uri = std::move(secrets["auth_uri"])};
  if (!IsFlowSecret(started.pull_id) || !IsFlowSecret(started.auth_uri) ||
      !IsWebAddress(started.auth_uri, state_->reach)) {
    return std::unexpected(Unusable(
        {Code::kUnavailable, "Rivery's reply names no pull id or no https address to consent at"},
        answered->http_status, answered->body_code));
  }
  started.expires_at_s = ExpiryOfJws(started.pull_id);
  return started;
}

Reply<FetchedOauth> Client::FetchOauth(const Endpoint& endpoint, const crypto::SecretBytes& pull_id,
                                       const crypto::SecretBytes& auth_uri) const {
  if (!IsFlowSecret(pull_id) || !IsFlowSecret(auth_uri)) {
    return std::unexpected(
        NotSent({Code::kInvalid, "a pull id and its address must be 1 B to 8 KiB of ASCII"}));
  }
  GrowingSecret growing(kMaxRequestBytes);
  const auto append = [&](std::span<const std::uint8_t> text) {
    return growing.AppendQuoted(text);
  };
  const bool fits = growing.Append("{\"pull_id\":") && pull_id.Expose(append) &&
                    growing.Append(",\"auth_uri\":") && auth_uri.Expose(append) &&
                    growing.Append("}");
  if (!fits) {
    return std::unexpected(NotSent({Code::kInvalid, "a pull id and its address cannot be sent"}));
  }
  const crypto::SecretBytes body = growing.Take();
  Reply<Answered> answered = state_->Ask(Operation::kOauthFetch, endpoint, {}, &body);
  if (!answered) return std::unexpected(std::move(answered.error()));

  const Document& document = answered->document;
  const bool says_done = answered->body_code >= 200 && answered->body_code <= 202;
  const bool is_done = document.is_object &&
                       ((says_done && document.holds_token) ||
                        (answered->body_code == 0 && document.holds_access_token));
  FetchedOauth fetched;
  if (!is_done) return fetched;
  fetched.pending = false;
  fetched.data = crypto::CredentialsData(std::move(answered->body));
  if (const std::string* client_id = document.TextAt("client_id")) fetched.client_id = *client_id;
  return fetched;
}

Reply<RemoteConnection> Client::Create(const Endpoint& endpoint, std::string_view connection_type,
                                       std::string_view name,
                                       const crypto::SecretBytes& credentials) const {
  Result<crypto::SecretBytes> body = ConnectionBody(connection_type, name, {}, credentials);
  if (!body) return std::unexpected(NotSent(std::move(body.error())));
  Reply<Answered> answered = state_->Ask(
      Operation::kCreate, endpoint, {.id = {}, .cross_id = {}, .type = connection_type}, &*body);
  if (!answered) return std::unexpected(std::move(answered.error()));

  RemoteConnection created{.id = IdAt(answered->document.fields, "_id"),
                           .cross_id = IdAt(answered->document.fields, "cross_id"),
                           .name = std::string(name),
                           .connection_type = std::string(connection_type),
                           .credentials_exist = true};
  if (created.id.empty()) {
    return std::unexpected(Unusable(
        {Code::kUnavailable,
         "Rivery's reply to a create names no connection; look for it before creating again"},
        answered->http_status, answered->body_code));
  }
  return created;
}

Reply<RemoteConnection> Client::Update(const Endpoint& endpoint, const RemoteConnection& connection,
                                       std::string_view new_name,
                                       const crypto::SecretBytes& credentials) const {
  Result<crypto::SecretBytes> body =
      ConnectionBody(connection.connection_type, new_name, connection.properties, credentials);
  if (!body) return std::unexpected(NotSent(std::move(body.error())));
  Reply<Answered> answered = state_->Ask(
      Operation::kUpdate, endpoint,
      {.id = connection.id, .cross_id = connection.cross_id, .type = connection.connection_type},
      &*body);
  if (!answered) return std::unexpected(std::move(answered.error()));

  // The reply may name the connection, count what was changed, or only say yes.
  const Fields& fields = answered->document.fields;
  const std::string id = IdAt(fields, "_id");
  const std::string cross_id = IdAt(fields, "cross_id");
  const auto count = fields.find("count");
  const auto* changed = count == fields.end() ? nullptr : std::get_if<std::int64_t>(&count->second);
  if (changed != nullptr && *changed == 0) {
    return std::unexpected(Failure{
        .error = {Code::kNotFound,
                  "Rivery changed no connection; look for its id in Rivery, or check the route"},
        .fate = Fate::kRefused,
        .http_status = answered->http_status,
        .body_code = answered->body_code});
  }
  if (!answered->document.is_object || (!id.empty() && id != connection.id)) {
    return std::unexpected(Unusable(
        {Code::kUnavailable,
         "Rivery's reply to an update is about no or another connection; look at both in Rivery"},
        answered->http_status, answered->body_code));
  }
  return RemoteConnection{.id = connection.id,
                          .cross_id = cross_id.empty() ? connection.cross_id : cross_id,
                          .name = std::string(new_name),
                          .connection_type = connection.connection_type,
                          .credentials_exist = true};
}

Reply<std::vector<RemoteConnection>> Client::List(const Endpoint& endpoint,
                                                  std::string_view connection_type) const {
  if (!IsName(connection_type)) {
    return std::unexpected(NotSent(
        {Code::kInvalid, "connections can be listed by a type of 1 to 128 printable characters"}));
  }
  std::vector<RemoteConnection> connections;
  Reply<void> walked = state_->Walk(
      Operation::kList, endpoint, {.id = {}, .cross_id = {}, .type = connection_type},
      [&](const Fields& item) -> Result<void> {
        // The server may not know the filter and list every type.
        const std::string* type = TextAt(item, "connection_type");
        if (type != nullptr && *type != connection_type) return {};
        RemoteConnection connection = ConnectionIn(item);
        connection.connection_type = connection_type;
        // Left out, it might be the very one that is looked for after an unclear create.
        if (connection.id.empty()) {
          return Fail(Code::kUnavailable, "Rivery lists a connection without a usable id");
        }
        connections.push_back(std::move(connection));
        return {};
      });
  if (!walked) return std::unexpected(std::move(walked.error()));
  return connections;
}

Reply<RemoteConnection> Client::Get(const Endpoint& endpoint, std::string_view id,
                                    std::span<const Property> properties) const {
  if (!IsId(id)) {
    return std::unexpected(NotSent({Code::kInvalid, "a connection of Rivery has 24 hex digits"}));
  }
  Reply<Answered> answered = state_->Ask(
      Operation::kGet, endpoint, {.id = id, .cross_id = {}, .type = {}});
  if (!answered) return std::unexpected(std::move(answered.error()));
  RemoteConnection connection = ConnectionIn(answered->document.fields);
  if (connection.id != id) {
    return std::unexpected(Unusable(
        {Code::kUnavailable, "Rivery's reply is about no or another connection than was asked for"},
        answered->http_status, answered->body_code));
  }
  // Once more for what depends on the type.
  std::vector<std::string> names;
  for (const Property& property : properties) {
    names.push_back(property.is_secret ? "is_" + property.name + "_encrypted" : property.name);
  }
  const std::vector<std::string_view> wanted(names.begin(), names.end());
  const Result<Document> document =
      ReadDocument(answered->body, {.fields = wanted, .secrets = {}});
  if (!document) {
    return std::unexpected(
        Unusable(document.error(), answered->http_status, answered->body_code));
  }
  for (std::size_t i = 0; i < properties.size(); ++i) {
    if (properties[i].is_secret) {
      if (IsSet(document->fields, names[i])) connection.hidden.push_back(properties[i].name);
      continue;
    }
    const auto value = document->fields.find(names[i]);
    if (value == document->fields.end()) continue;
    const std::optional<std::string> key = Quoted(names[i]);
    const std::optional<std::string> text = JsonOf(value->second);
    if (!key || !text) continue;
    connection.properties += (connection.properties.empty() ? "{" : ",") + *key + ":" + *text;
  }
  if (!connection.properties.empty()) connection.properties += "}";
  return connection;
}

Reply<void> Client::Delete(const Endpoint& endpoint, std::string_view id) const {
  if (!IsId(id)) {
    return std::unexpected(
        NotSent({Code::kInvalid, "what Rivery is to delete is named by 24 hex digits"}));
  }
  Reply<Answered> answered = state_->Ask(
      Operation::kDelete, endpoint, {.id = id, .cross_id = {}, .type = {}});
  if (!answered) return std::unexpected(std::move(answered.error()));
  const auto count = answered->document.fields.find("count");
  if (count != answered->document.fields.end() && count->second == FieldValue(std::int64_t{0})) {
    return std::unexpected(Failure{.error = {Code::kNotFound, "Rivery deleted no connection"},
                                   .fate = Fate::kRefused,
                                   .http_status = answered->http_status,
                                   .body_code = answered->body_code});
  }
  return {};
}

Reply<std::vector<Property>> Client::Properties(const Endpoint& endpoint,
                                                std::string_view connection_type) const {
  static constexpr std::array<std::string_view, 3> kWanted = {"name", "type", "required"};
  if (!IsName(connection_type)) {
    return std::unexpected(NotSent(
        {Code::kInvalid, "a type whose properties are asked for has 1 to 128 characters"}));
  }
  Reply<Answered> answered = state_->Ask(
      Operation::kProperties, endpoint, {.id = {}, .cross_id = {}, .type = connection_type});
  if (!answered) return std::unexpected(std::move(answered.error()));
  const Result<Document> document =
      ReadDocument(answered->body, {.fields = kWanted, .secrets = {}, .members_by = "name"});
  if (!document || !(document->is_list || document->is_object)) {
    return std::unexpected(Unusable(
        {Code::kUnavailable, "Rivery's reply lists no properties; check the route properties"},
        answered->http_status, answered->body_code));
  }
  std::vector<Property> properties;
  for (const Fields& item : document->items) {
    const std::string* name = TextAt(item, "name");
    if (name == nullptr || !IsName(*name)) continue;
    const std::string* type = TextAt(item, "type");
    properties.push_back({.name = *name,
                          .is_secret = type != nullptr && *type == "password",
                          .is_required = IsSet(item, "required")});
  }
  return properties;
}

Reply<TokenHolder> Client::Me(const Endpoint& endpoint) const {
  static constexpr std::array<std::string_view, 2> kWanted = {"account_id", "environment_id"};
  Reply<Answered> answered = state_->Ask(Operation::kMe, endpoint, {});
  if (!answered) return std::unexpected(std::move(answered.error()));
  const Result<Document> document =
      ReadDocument(answered->body, {.fields = kWanted, .secrets = {}});
  if (!document || !document->is_object) {
    return std::unexpected(Unusable(
        {Code::kUnavailable, "Rivery's reply names no account; check the base URL"},
        answered->http_status, answered->body_code));
  }
  return TokenHolder{.account_id = IdAt(document->fields, "account_id"),
                     .environment_id = IdAt(document->fields, "environment_id")};
}

Reply<void> Client::ProbeEdit(const Endpoint& endpoint) const {
  const auto body = crypto::SecretBytes::CopyOf(
      std::string_view(R"({"datasource_id":"","validity_duration":0})"));
  Result<std::string> url = state_->UrlOf(Operation::kOauthStart, endpoint, {});
  if (!url) return std::unexpected(NotSent(std::move(url.error())));
  Reply<Answered> answered =
      state_->Call(Operation::kOauthStart, endpoint, *std::move(url), &body);
  // That the parameters are wrong is said to who may ask.
  if (!answered && answered.error().error.GetCode() != Code::kInvalid) {
    return std::unexpected(std::move(answered.error()));
  }
  return {};
}

}  // namespace oauthvault::rivery
