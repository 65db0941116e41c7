#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/fakes/rivery/fault.h"
#include "tests/fakes/rivery/knobs.h"

namespace oauthvault::fakes {

/// JSON that keeps the order of its keys: the replies have one.
using Json = nlohmann::ordered_json;

/// An API token and what it may do.
struct ApiToken {
  std::string token;
  /// `connection:list`, `connection:edit`, `connection:delete`. Empty: everything.
  std::set<std::string> scopes = {};
};

/// Reads `TOKEN` or `TOKEN:scope,scope`; a scope itself may hold a colon. Nothing: no token.
std::optional<ApiToken> ParseApiToken(std::string_view text);

/// A request after the wire: path decoded, body complete.
struct Request {
  std::string method;
  std::string path;
  std::map<std::string, std::string> query = {};
  std::string authorization = {};  ///< the header's value
  std::string body = {};
};

/// An answer before the wire.
struct Reply {
  int status = 200;
  std::string body = {};
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

/// A JSON answer.
Reply JsonReply(int status, const Json& body);

/// What the person does on the consent page.
enum class Decision : std::uint8_t { kAllow, kDeny };

/// The vendor without a wire: tokens, consents, connections, all in memory. Safe from any thread.
class Vendor {
 public:
  Vendor(std::vector<ApiToken> tokens, const Knobs& knobs);

  /// `http://127.0.0.1:PORT`, for the addresses that replies hold. Set before the first request.
  void SetOrigin(std::string origin);

  /// The operation that a request asks for; nothing when it is not one of the API.
  static std::optional<Operation> OperationOf(const Request& request);

  /// Does what a request to `/api/..` asks and answers as the vendor would.
  Reply Serve(const Request& request);

  /// The consent page (`/consent`) and its two links, and the page of a share link (`/share/..`).
  /// 404 for every other path.
  Reply ServePage(const Request& request);

  /// Clicks for the person. `state`: the value of that name in `auth_uri`. The reply is the page
  /// on which the browser ends: 200, 404 for an unknown state, 409 when decided before, 410 when
  /// too late.
  Reply Click(std::string_view state, Decision decision);

  void SetKnobs(const Knobs& knobs);
  Knobs GetKnobs() const;

  /// Moves this server's clock forward.
  void AdvanceClock(std::chrono::seconds by);

  /// `{"connections": [..], "attempts": [..]}`, credentials in clear: what was really written.
  Json State() const;

 private:
  using Time = std::chrono::sys_time<std::chrono::milliseconds>;

  struct Attempt {
    std::string pull_id;
    std::string state;
    std::string auth_uri;
    std::string datasource_id;
    Time started_at;
    Time expires_at;
    std::optional<Decision> decision = {};
    Time decided_at = {};
    Json credentials = {};
    unsigned reads = 0;
  };

  struct Connection {
    std::string id;
    std::string cross_id;
    std::string type;
    std::string name;
    Json properties = Json::object();
    std::optional<Json> credentials = {};
    Time created_at;
    Time updated_at;
    unsigned writes = 0;
  };

  Time Now() const;
  const ApiToken* TokenOf(const Request& request) const;
  void ClickIfAutomatic(Attempt& attempt);
  void Decide(Attempt& attempt, Decision decision, Time at);
  Reply ReplyOf(ReplyForm form, std::string_view message) const;

  Reply ListTypes() const;
  Reply GetType(std::string_view name) const;
  Reply GetProperties(std::string_view name) const;
  Json PropertiesOf(std::string_view name) const;
  Reply StartOauth2(const Request& request);
  Reply FetchOauth2(const Request& request);
  Reply Create(const Request& request);
  Reply Update(const Request& request, UpdateRoute route, const std::string& id);
  Reply List(const Request& request) const;
  Reply Get(const Request& request, std::string_view id_or_type) const;
  Reply Delete(const Request& request);
  Reply ShareLink(std::string_view type);

  /// Takes type, name, properties and credentials of a body over into `into`. A reply: refused.
  std::optional<Reply> Read(const Json& body, bool is_update, Connection& into) const;
  Json IdJson(const std::string& id) const;
  Json DateJson(Time at) const;
  Json Public(const Connection& connection) const;
  Reply Saved(const Connection& connection) const;

  const std::vector<ApiToken> tokens_;
  std::string origin_;
  mutable std::mutex mutex_;  ///< guards everything below
  Knobs knobs_;
  std::chrono::seconds clock_offset_{0};
  std::vector<Attempt> attempts_;
  std::vector<Connection> connections_;
  std::set<std::string> share_links_;
};

}  // namespace oauthvault::fakes
