#include "tests/fakes/rivery/vendor.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>
#include <random>

#include "tests/fakes/rivery/catalogue.h"

namespace oauthvault::fakes {
namespace {

constexpr std::size_t kIdBytes = 12;
constexpr std::size_t kStateBytes = 24;
constexpr std::size_t kSecretBytes = 30;
constexpr std::size_t kSignatureBytes = 32;
constexpr std::int64_t kMinValidity_s = 300;
constexpr std::int64_t kMaxValidity_s = 43200;
constexpr std::string_view kEdit = "connection:edit";
constexpr std::string_view kSee = "connection:list";
constexpr std::string_view kRemove = "connection:delete";
constexpr std::string_view kAnyScope = "";
constexpr std::string_view kAccountId = "5f0000000000000000000a01";
constexpr std::string_view kEnvironmentId = "5f0000000000000000000e01";

/// One way to reach an operation. `*` at the end of a path stands for one segment.
struct Route {
  std::string_view method;
  std::string_view path;
  Operation operation;
  std::string_view scope;
  bool has_id = false;  ///< taken only with `_id` in the query
  UpdateRoute update = UpdateRoute::kAny;
};

// The first match counts, so the special stands before the general.
constexpr std::array kRoutes = std::to_array<Route>({
    {"GET", "/api/me", Operation::kMe, kAnyScope},
    {"GET", "/api/connection_types", Operation::kListTypes, kAnyScope},
    {"GET", "/api/connection_types/*", Operation::kGetType, kAnyScope},
    {"GET", "/api/connections/properties/*", Operation::kGetProperties, kAnyScope},
    {"GET", "/api/connections/share_creation_link/*", Operation::kShareLink, kEdit},
    {"POST", "/api/oauth2", Operation::kOauth2Start, kEdit},
    {"POST", "/api/oauth2/credentials", Operation::kOauth2Fetch, kEdit},
    {"PUT", "/api/connections/create/data", Operation::kCreate, kEdit},
    {"PUT", "/api/connections", Operation::kUpdate, kEdit, true, UpdateRoute::kPutQuery},
    {"PATCH", "/api/connections", Operation::kUpdate, kEdit, true, UpdateRoute::kPatchQuery},
    {"PUT", "/api/connections/*", Operation::kUpdate, kEdit, false, UpdateRoute::kPutPath},
    {"PUT", "/api/connections", Operation::kCreate, kEdit},
    {"DELETE", "/api/connections", Operation::kDelete, kRemove, true},
    {"GET", "/api/connections/list", Operation::kList, kSee},
    {"GET", "/api/connections", Operation::kList, kSee},
    {"GET", "/api/connections/*", Operation::kGet, kSee},
});

/// The segment for which the `*` of a route stands; nothing when the path is another one.
std::optional<std::string_view> Match(const Route& route, std::string_view path) {
  if (!route.path.ends_with('*')) {
    return path == route.path ? std::optional<std::string_view>("") : std::nullopt;
  }
  const std::string_view stem = route.path.substr(0, route.path.size() - 1);
  if (!path.starts_with(stem)) return std::nullopt;
  const std::string_view segment = path.substr(stem.size());
  if (segment.empty() || segment.contains('/')) return std::nullopt;
  return segment;
}

const Route* FindRoute(const Request& request) {
  for (const Route& route : kRoutes) {
    if (route.method != request.method || !Match(route, request.path)) continue;
    if (route.has_id && !request.query.contains("_id")) continue;
    return &route;
  }
  return nullptr;
}

std::string RandomBytes(std::size_t count) {
  std::random_device source;
  std::string bytes;
  while (bytes.size() < count) bytes += static_cast<char>(source() & 0xffU);
  return bytes;
}

std::string Hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4U];
    hex += kDigits[byte & 0xfU];
  }
  return hex;
}

std::string Base64Url(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  unsigned bits = 0;
  unsigned held = 0;
  for (const char c : bytes) {
    bits = (bits << 8U) | static_cast<unsigned char>(c);
    held += 8;
    while (held >= 6) {
      held -= 6;
      text += kDigits[(bits >> held) & 0x3fU];
    }
    bits &= (1U << held) - 1U;
  }
  if (held > 0) text += kDigits[(bits << (6 - held)) & 0x3fU];
  return text;
}

std::string RandomHex(std::size_t bytes) { return Hex(RandomBytes(bytes)); }

std::string RandomToken(std::string_view prefix) {
  return std::string(prefix) + Base64Url(RandomBytes(kSecretBytes));
}

bool IsId(std::string_view text) {
  return text.size() == 2 * kIdBytes && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

/// The text under a key; nothing when it is missing or not text.
std::optional<std::string> TextAt(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

/// The id under a key, in either of its two forms.
std::optional<std::string> IdAt(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  if (found != object.end() && found->is_object()) return TextAt(*found, "$oid");
  return TextAt(object, key);
}

/// The body as an object, or nothing.
std::optional<Json> ObjectOf(const Request& request) {
  Json body = Json::parse(request.body, nullptr, false);
  if (!body.is_object()) return std::nullopt;
  return body;
}

Reply Detail(int status, std::string_view detail) {
  return JsonReply(status, {{"detail", detail}});
}

/// The error body that carries its status a second time.
Reply StatusMessage(int status, std::string_view message) {
  return JsonReply(status, {{"status", status}, {"message", message}});
}

Reply UnknownField(const std::string& field) {
  return JsonReply(400, {{"status", 400}, {"message", "unknown field: " + field}});
}

/// The first key of an object that is not in the list; nothing when all are.
std::optional<std::string> KeyBeyond(const Json& object,
                                     std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(known, key) == known.end()) return key;
  }
  return std::nullopt;
}

Reply Page(int status, std::string html) {
  return {.status = status, .body = std::move(html), .content_type = "text/html; charset=utf-8"};
}

/// What the provider behind a datasource hands out, in its own shape. Secrets are fresh each time.
Json FreshCredentials(std::string_view datasource_id) {
  if (datasource_id == "gspreadsheet") {
    return {{"application_id", nullptr},
            {"access_token", RandomToken("ya29.")},
            {"status_code", 200},
            {"expires_in", 3599},
            {"token_type", "Bearer"},
            {"client_id", "000000000000-standin.apps.googleusercontent.com"},
            {"scope",
             "https://www.googleapis.com/auth/drive.readonly "
             "https://www.googleapis.com/auth/spreadsheets.readonly"},
            {"message", "Connected to Google"},
            {"refresh_token", RandomToken("1//0")}};
  }
  if (datasource_id == "fb") {  // long-lived, and no refresh token at all
    return {{"access_token", RandomToken("EAA")},
            {"token_type", "bearer"},
            {"expires_in", 5183944},
            {"status_code", 200},
            {"message", "Connected to Facebook"}};
  }
  if (datasource_id == "salesforce") {  // no expiry, an address of its own
    return {{"access_token", RandomToken("00D")},
            {"refresh_token", RandomToken("5Aep")},
            {"signature", Base64Url(RandomBytes(kSignatureBytes))},
            {"scope", "refresh_token api"},
            {"instance_url", "https://standin.my.salesforce.example"},
            {"id", "https://login.salesforce.example/id/00D0/0050"},
            {"token_type", "Bearer"},
            {"issued_at", "1700000000000"},
            {"status_code", 200},
            {"message", "Connected to Salesforce"}};
  }
  return {{"access_token", RandomToken("at-")},
          {"refresh_token", RandomToken("rt-")},
          {"expires_in", 600},
          {"token_type", "Bearer"},
          {"status_code", 200},
          {"message", "Connected"}};
}

}  // namespace

Reply JsonReply(int status, const Json& body) {
  return {.status = status, .body = body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

std::optional<ApiToken> ParseApiToken(std::string_view text) {
  const std::size_t colon = text.find(':');
  ApiToken token{.token = std::string(text.substr(0, colon))};
  if (token.token.empty()) return std::nullopt;
  if (colon == std::string_view::npos) return token;
  std::string_view rest = text.substr(colon + 1);
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    if (comma != 0) token.scopes.emplace(rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  if (token.scopes.empty()) return std::nullopt;
  return token;
}

Vendor::Vendor(std::vector<ApiToken> tokens, const Knobs& knobs)
    : tokens_(std::move(tokens)), knobs_(knobs) {}

void Vendor::SetOrigin(std::string origin) { origin_ = std::move(origin); }

std::optional<Operation> Vendor::OperationOf(const Request& request) {
  const Route* route = FindRoute(request);
  if (route == nullptr) return std::nullopt;
  return route->operation;
}

Reply Vendor::Serve(const Request& request) {
  const std::lock_guard lock(mutex_);
  const ApiToken* token = TokenOf(request);
  if (token == nullptr) return StatusMessage(401, "Unauthorized");
  const Route* route = FindRoute(request);
  if (route == nullptr) return Detail(404, "Not Found");
  if (!route->scope.empty() && !token->scopes.empty() &&
      !token->scopes.contains(std::string(route->scope))) {
    return StatusMessage(403, "the token lacks the scope " + std::string(route->scope));
  }
  const std::string_view segment = Match(*route, request.path).value_or("");
  switch (route->operation) {
    case Operation::kListTypes: return ListTypes();
    case Operation::kGetType: return GetType(segment);
    case Operation::kGetProperties: return GetProperties(segment);
    case Operation::kOauth2Start: return StartOauth2(request);
    case Operation::kOauth2Fetch: return FetchOauth2(request);
    case Operation::kCreate: return Create(request);
    case Operation::kUpdate:
      return Update(request, route->update,
                    route->has_id ? request.query.at("_id") : std::string(segment));
    case Operation::kList: return List(request);
    case Operation::kGet: return Get(request, segment);
    case Operation::kDelete: return Delete(request);
    case Operation::kShareLink: return ShareLink(segment);
    case Operation::kMe:
      return JsonReply(200, {{"account_id", kAccountId}, {"environment_id", kEnvironmentId}});
  }
  return Detail(404, "Not Found");
}

Reply Vendor::ServePage(const Request& request) {
  const auto state = request.query.find("state");
  if (request.method == "GET" && state != request.query.end()) {
    if (request.path == "/consent/allow") return Click(state->second, Decision::kAllow);
    if (request.path == "/consent/deny") return Click(state->second, Decision::kDeny);
  }
  const std::lock_guard lock(mutex_);
  if (request.path == "/consent" && state != request.query.end()) {
    const auto attempt = std::ranges::find(attempts_, state->second, &Attempt::state);
    if (attempt == attempts_.end()) return Page(404, "<h1>No such consent</h1>\n");
    if (Now() >= attempt->expires_at) return Page(410, "<h1>Too late</h1>\n");
    return Page(200, "<!doctype html>\n<title>Consent</title>\n<h1>Stand-in consent for " +
                         attempt->datasource_id + "</h1>\n<p><a id=\"allow\" href=\"" + origin_ +
                         "/consent/allow?state=" + attempt->state +
                         "\">Allow</a></p>\n<p><a id=\"deny\" href=\"" + origin_ +
                         "/consent/deny?state=" + attempt->state + "\">Deny</a></p>\n");
  }
  constexpr std::string_view kShare = "/share/";
  if (request.path.starts_with(kShare)) {
    // A share link works once: the first look takes it away.
    const bool found = share_links_.erase(request.path.substr(kShare.size())) > 0;
    return found ? Page(200, "<h1>Create a connection</h1>\n") : Page(410, "<h1>Used up</h1>\n");
  }
  return Page(404, "<h1>Not Found</h1>\n");
}

Reply Vendor::Click(std::string_view state, Decision decision) {
  const std::lock_guard lock(mutex_);
  const auto attempt = std::ranges::find(attempts_, state, &Attempt::state);
  if (attempt == attempts_.end()) {
    return JsonReply(404, {{"Connected", "False"}, {"error", "unknown_state"}});
  }
  ClickIfAutomatic(*attempt);
  if (Now() >= attempt->expires_at) {
    return JsonReply(410, {{"Connected", "False"}, {"error", "expired"}});
  }
  if (attempt->decision) {
    return JsonReply(409, {{"Connected", "False"}, {"error", "decided_before"}});
  }
  Decide(*attempt, decision, Now());
  if (decision == Decision::kDeny) {
    return JsonReply(200, {{"Connected", "False"}, {"error", "access_denied"}});
  }
  return JsonReply(200, {{"Connected", "True"}, {"datasource_id", attempt->datasource_id}});
}

void Vendor::SetKnobs(const Knobs& knobs) {
  const std::lock_guard lock(mutex_);
  knobs_ = knobs;
}

Knobs Vendor::GetKnobs() const {
  const std::lock_guard lock(mutex_);
  return knobs_;
}

void Vendor::AdvanceClock(std::chrono::seconds by) {
  const std::lock_guard lock(mutex_);
  clock_offset_ += by;
}

Json Vendor::State() const {
  const std::lock_guard lock(mutex_);
  Json connections = Json::array();
  for (const Connection& connection : connections_) {
    Json row = {{"_id", connection.id},
                {"cross_id", connection.cross_id},
                {"connection_type", connection.type},
                {"connection_name", connection.name},
                {"properties", connection.properties},
                {"credentials", connection.credentials.value_or(Json())},
                {"writes", connection.writes}};
    connections.push_back(std::move(row));
  }
  Json attempts = Json::array();
  for (const Attempt& attempt : attempts_) {
    std::string_view decision = "none";
    if (attempt.decision) decision = *attempt.decision == Decision::kAllow ? "allow" : "deny";
    attempts.push_back({{"pull_id", attempt.pull_id},
                        {"auth_uri", attempt.auth_uri},
                        {"datasource_id", attempt.datasource_id},
                        {"decision", decision},
                        {"expired", Now() >= attempt.expires_at},
                        {"reads", attempt.reads},
                        {"credentials", attempt.credentials}});
  }
  return {{"connections", std::move(connections)}, {"attempts", std::move(attempts)}};
}

Vendor::Time Vendor::Now() const {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now() +
                                                                 clock_offset_);
}

const ApiToken* Vendor::TokenOf(const Request& request) const {
  constexpr std::string_view kScheme = "Bearer ";
  if (!request.authorization.starts_with(kScheme)) return nullptr;
  const auto found = std::ranges::find(
      tokens_, std::string_view(request.authorization).substr(kScheme.size()), &ApiToken::token);
  return found == tokens_.end() ? nullptr : &*found;
}

void Vendor::ClickIfAutomatic(Attempt& attempt) {
  if (attempt.decision || !knobs_.auto_allow) return;
  const Time at = attempt.started_at + *knobs_.auto_allow;
  if (Now() >= at && at < attempt.expires_at) Decide(attempt, Decision::kAllow, at);
}

void Vendor::Decide(Attempt& attempt, Decision decision, Time at) {
  attempt.decision = decision;
  attempt.decided_at = at;
  if (decision == Decision::kAllow) attempt.credentials = FreshCredentials(attempt.datasource_id);
}

Reply Vendor::ReplyOf(ReplyForm form, std::string_view message) const {
  switch (form) {
    case ReplyForm::kOkWithoutCode: return JsonReply(200, {{"message", message}});
    case ReplyForm::kAccepted: return JsonReply(202, {{"message", message}});
    case ReplyForm::kNotFound: return Detail(404, message);
    case ReplyForm::kBadRequest: {
      Json body;
      body["detail"] = Json::array();
      body["detail"].push_back(Json::object({{"msg", message}}));
      return JsonReply(400, body);
    }
    case ReplyForm::kOkWithErrorCode:
      return JsonReply(200, {{"Code", 400}, {"message", message}});
  }
  return Detail(404, message);
}

Reply Vendor::ListTypes() const {
  Json types = Json::array();
  for (const ConnectionType& type : Catalogue()) {
    Json row = {{"connection_type", type.connection_type},
                {"datasource_id", type.datasource_id},
                {"title", type.title}};
    if (type.oauth2) row["oauth2"] = true;
    types.push_back(std::move(row));
  }
  return JsonReply(200, types);
}

Reply Vendor::GetType(std::string_view name) const {
  const ConnectionType* type = FindType(name);
  if (type == nullptr) return Detail(404, "no such connection type");
  return JsonReply(200, {{"connection_type", type->connection_type},
                         {"datasource_id", type->datasource_id},
                         {"title", type->title},
                         {"oauth2", type->oauth2},
                         {"properties", PropertiesOf(name)}});
}

Reply Vendor::GetProperties(std::string_view name) const {
  if (FindType(name) == nullptr) return Detail(404, "no such connection type");
  return JsonReply(200, PropertiesOf(name));
}

Json Vendor::PropertiesOf(std::string_view name) const {
  const bool as_array = knobs_.properties_form == PropertiesForm::kArray;
  Json properties = as_array ? Json::array() : Json::object();
  for (const Property& property : FindType(name)->properties) {
    const Json row = {{"type", property.type}, {"required", property.required}};
    if (as_array) {
      properties.push_back({{"name", property.name},
                            {"type", property.type},
                            {"required", property.required}});
    } else {
      properties[std::string(property.name)] = row;
    }
  }
  return properties;
}

Reply Vendor::StartOauth2(const Request& request) {
  const std::optional<Json> body = ObjectOf(request);
  if (!body) return Detail(400, "the body is not a JSON object");
  if (knobs_.strict_fields) {
    const auto beyond = KeyBeyond(*body, {"datasource_id", "validity_duration"});
    if (beyond) return UnknownField(*beyond);
  }
  // At this route, and only here, 429 says that a parameter is invalid.
  const std::optional<std::string> datasource = TextAt(*body, "datasource_id");
  if (!datasource) return StatusMessage(429, "datasource_id is missing or not a text");
  const auto duration = body->find("validity_duration");
  if (duration == body->end() || !duration->is_number_integer()) {
    return StatusMessage(429, "validity_duration is missing or not an integer");
  }
  const auto validity_s = duration->get<std::int64_t>();
  if (validity_s < kMinValidity_s || validity_s > kMaxValidity_s) {
    return StatusMessage(429, "validity_duration must lie in 300..43200");
  }
  const ConnectionType* type = FindDatasource(*datasource);
  if (type == nullptr || !type->oauth2) {
    return StatusMessage(402, "this datasource does not support OAuth2");
  }

  const Time now = Now();
  const auto issued_at_s = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  const Json header = {{"alg", "HS256"}, {"exp", issued_at_s + validity_s}, {"iat", issued_at_s}};
  const Json payload = {{"pull_id", RandomHex(kIdBytes)}, {"datasource_id", *datasource}};
  Attempt attempt{.pull_id = Base64Url(header.dump()) + "." + Base64Url(payload.dump()) + "." +
                             Base64Url(RandomBytes(kSignatureBytes)),
                  .state = RandomHex(kStateBytes),
                  .auth_uri = {},
                  .datasource_id = *datasource,
                  .started_at = now,
                  .expires_at = now + std::chrono::seconds(validity_s)};
  attempt.auth_uri = origin_ + "/consent?state=" + attempt.state;
  Json reply = {{"pull_id", attempt.pull_id}, {"auth_uri", attempt.auth_uri}};
  if (knobs_.oauth_token) reply["oauth_token"] = RandomToken("");
  attempts_.push_back(std::move(attempt));
  return JsonReply(200, reply);
}

Reply Vendor::FetchOauth2(const Request& request) {
  const std::optional<Json> body = ObjectOf(request);
  if (!body) return Detail(400, "the body is not a JSON object");
  if (knobs_.strict_fields) {
    const auto beyond = KeyBeyond(*body, {"pull_id", "auth_uri"});
    if (beyond) return UnknownField(*beyond);
  }
  const std::optional<std::string> pull_id = TextAt(*body, "pull_id");
  const std::optional<std::string> auth_uri = TextAt(*body, "auth_uri");
  if (!pull_id || !auth_uri) return StatusMessage(402, "pull_id and auth_uri are both needed");
  const auto attempt = std::ranges::find(attempts_, *pull_id, &Attempt::pull_id);
  if (attempt == attempts_.end() || attempt->auth_uri != *auth_uri) {
    return StatusMessage(402, "pull_id and auth_uri are of no known consent");
  }
  ClickIfAutomatic(*attempt);
  if (attempt->decision == Decision::kDeny) {
    return ReplyOf(knobs_.refused, "the person refused: access_denied");
  }
  if (Now() >= attempt->expires_at) return ReplyOf(knobs_.expired, "the pull_id is expired");
  if (!attempt->decision || Now() < attempt->decided_at + knobs_.consent_delay) {
    return ReplyOf(knobs_.pending, "waiting for the consent");
  }
  if (knobs_.credentials_once && attempt->reads > 0) {
    return ReplyOf(knobs_.read_again, "the credentials were read before");
  }
  ++attempt->reads;
  return JsonReply(200, attempt->credentials);
}

std::optional<Reply> Vendor::Read(const Json& body, bool is_update, Connection& into) const {
  const std::optional<std::string> type_name = TextAt(body, "connection_type");
  if (!type_name) return StatusMessage(400, "connection_type is missing or not a text");
  const ConnectionType* type = FindType(*type_name);
  if (type == nullptr) return StatusMessage(400, "connection_type is not known");
  const std::optional<std::string> name = TextAt(body, "connection_name");
  if (!name || name->empty()) return StatusMessage(400, "connection_name is missing or not a text");
  into.type = *type_name;
  into.name = *name;

  // Properties stand beside the name or in an object `properties`. What a type does not know, and
  // what is nested, is dropped without a word; the reply is a success all the same.
  const auto keep = [&](const std::string& key, const Json& value) {
    if (FindProperty(*type, key) != nullptr && value.is_primitive()) into.properties[key] = value;
  };
  for (const auto& [key, value] : body.items()) {
    if (key == "connection_type" || key == "connection_name") continue;
    if (key == "credentials") {
      if (!value.is_object()) return StatusMessage(400, "credentials is not an object");
      into.credentials = value;
    } else if (key == "properties") {
      if (!value.is_object()) return StatusMessage(400, "properties is not an object");
      for (const auto& [inner, inner_value] : value.items()) keep(inner, inner_value);
    } else if (is_update && (key == "_id" || key == "cross_id")) {
      if (IdAt(body, key) != (key == "_id" ? into.id : into.cross_id)) {
        return StatusMessage(400, key + " is of another connection");
      }
    } else if (FindProperty(*type, key) != nullptr) {
      keep(key, value);
    } else if (knobs_.strict_fields) {
      return UnknownField(key);
    }
  }
  return std::nullopt;
}

Reply Vendor::Create(const Request& request) {
  const std::optional<Json> body = ObjectOf(request);
  if (!body) return Detail(400, "the body is not a JSON object");
  // Names need not be unique: a second create of the same makes a second connection.
  Connection connection{.id = RandomHex(kIdBytes),
                        .cross_id = RandomHex(kIdBytes),
                        .type = {},
                        .name = {},
                        .created_at = Now(),
                        .updated_at = Now(),
                        .writes = 1};
  if (std::optional<Reply> refused = Read(*body, false, connection)) return *std::move(refused);
  connections_.push_back(std::move(connection));
  return Saved(connections_.back());
}

Reply Vendor::Update(const Request& request, UpdateRoute route, const std::string& id) {
  if (knobs_.update_route != UpdateRoute::kAny && knobs_.update_route != route) {
    return Detail(404, "Not Found");
  }
  const bool by_cross_id = route == UpdateRoute::kPatchQuery;
  const auto found = std::ranges::find(
      connections_, id, by_cross_id ? &Connection::cross_id : &Connection::id);
  if (found == connections_.end()) return Detail(404, "no such connection");
  const std::optional<Json> body = ObjectOf(request);
  if (!body) return Detail(400, "the body is not a JSON object");

  // An update replaces everything: what the body leaves out is gone, credentials included.
  Connection fresh{.id = found->id,
                   .cross_id = found->cross_id,
                   .type = {},
                   .name = {},
                   .created_at = found->created_at,
                   .updated_at = Now(),
                   .writes = found->writes + 1};
  if (std::optional<Reply> refused = Read(*body, true, fresh)) return *std::move(refused);
  if (fresh.type != found->type) return StatusMessage(400, "connection_type cannot be changed");
  *found = std::move(fresh);
  if (by_cross_id) return JsonReply(200, {{"status", true}, {"count", 1}, {"Code", 200}});
  return Saved(*found);
}

Reply Vendor::List(const Request& request) const {
  const auto wanted = request.query.find("connection_type");
  Json rows = Json::array();
  for (const Connection& connection : connections_) {
    if (wanted != request.query.end() && connection.type != wanted->second) continue;
    rows.push_back(Public(connection));
  }
  if (knobs_.page_size == 0) return JsonReply(200, rows);

  std::size_t page = 1;
  if (const auto text = request.query.find("page"); text != request.query.end()) {
    if (text->second.empty() || text->second.size() > 6 ||
        !std::ranges::all_of(text->second, [](unsigned char c) { return std::isdigit(c) != 0; })) {
      return Detail(400, "page is not a number");
    }
    page = std::max(1UL, std::stoul(text->second));
  }
  const std::size_t begin = std::min((page - 1) * knobs_.page_size, rows.size());
  const std::size_t end = std::min(begin + knobs_.page_size, rows.size());
  Json items = Json::array();
  for (std::size_t i = begin; i < end; ++i) items.push_back(rows[i]);
  Json next;
  if (end < rows.size()) {
    std::string url = origin_ + request.path + "?page=" + std::to_string(page + 1);
    if (wanted != request.query.end()) url += "&connection_type=" + wanted->second;
    next = std::move(url);
  }
  return JsonReply(200, {{"items", std::move(items)}, {"next_page", std::move(next)}});
}

Reply Vendor::Get(const Request& request, std::string_view id_or_type) const {
  if (!IsId(id_or_type)) {
    Request by_type = request;
    by_type.query["connection_type"] = std::string(id_or_type);
    by_type.path = "/api/connections";
    return List(by_type);
  }
  const auto found = std::ranges::find(connections_, id_or_type, &Connection::id);
  if (found == connections_.end()) return Detail(404, "no such connection");
  return JsonReply(200, Public(*found));
}

Reply Vendor::Delete(const Request& request) {
  const auto found = std::ranges::find(connections_, request.query.at("_id"), &Connection::id);
  if (found == connections_.end()) return Detail(404, "no such connection");
  connections_.erase(found);
  return JsonReply(200, {{"status", true}, {"count", 1}, {"Code", 200}});
}

Reply Vendor::ShareLink(std::string_view type) {
  if (FindType(type) == nullptr) return Detail(404, "no such connection type");
  const std::string key = RandomHex(kStateBytes);
  share_links_.insert(key);
  return JsonReply(200, {{"url", origin_ + "/share/" + key}});
}

Json Vendor::IdJson(const std::string& id) const {
  if (knobs_.id_form == IdForm::kOid) return Json::object({{"$oid", id}});
  return id;
}

Json Vendor::DateJson(Time at) const {
  const std::int64_t ms = at.time_since_epoch().count();
  switch (knobs_.date_form) {
    case DateForm::kMilliseconds: return ms;
    case DateForm::kExtended: return Json::object({{"$date", ms}});
    case DateForm::kText: break;
  }
  const std::time_t seconds = std::chrono::system_clock::to_time_t(at);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return std::string(text.data(), size);
}

Json Vendor::Public(const Connection& connection) const {
  Json row = {{"_id", IdJson(connection.id)},
              {"cross_id", IdJson(connection.cross_id)},
              {"connection_type", connection.type},
              {"connection_name", connection.name},
              {"credentials_exists", connection.credentials.has_value()},
              {"created_at", DateJson(connection.created_at)},
              {"updated_at", DateJson(connection.updated_at)}};
  const ConnectionType* type = FindType(connection.type);
  for (const auto& [key, value] : connection.properties.items()) {
    if (FindProperty(*type, key)->type == "password") {
      row["is_" + key + "_encrypted"] = true;
    } else {
      row[key] = value;
    }
  }
  return row;
}

Reply Vendor::Saved(const Connection& connection) const {
  return JsonReply(200, {{"cross_id", IdJson(connection.cross_id)},
                         {"status_code", 200},
                         {"message", "connection saved"},
                         {"_id", IdJson(connection.id)},
                         {"connection_name", connection.name}});
}

}  // namespace oauthvault::fakes
