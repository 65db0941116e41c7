#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"

/// The only room that knows Rivery's names and JSON. This header is the one door to its API.
namespace oauthvault::rivery {

/// The operations of the API that this project drives. Verb and path of each stand in one table
/// (`DefaultRoutes`) that configuration may override.
enum class Operation : std::uint8_t {
  kTypes,         ///< GET  /connection_types
  kOauthStart,    ///< POST /oauth2
  kOauthFetch,    ///< POST /oauth2/credentials
  kCreate,        ///< PUT  /connections
  kUpdate,        ///< PUT  /connections/{id}
  kList,          ///< GET  /connections?connection_type={type}
  kGet,           ///< GET  /connections/{id}
  kDelete,        ///< DELETE /connections?_id={id}
  kProperties,    ///< GET  /connections/properties/{type}
  kMe,            ///< GET  /me
};
std::string_view NameOf(Operation operation);

/// Where an operation goes. `path` is relative to the base URL; `{id}`, `{cross_id}` and `{type}`
/// are replaced, URL-encoded.
struct Route {
  std::string verb;
  std::string path;
};
using Routes = std::map<Operation, Route>;
Routes DefaultRoutes();

/// Bounds of one call.
struct Limits {
  std::chrono::milliseconds connect_timeout{20'000};
  std::chrono::milliseconds call_timeout{60'000};
  std::size_t max_reply_bytes = 4 * 1024 * 1024;
  std::size_t max_header_bytes = 64 * 1024;
  /// Fewer than this many bytes a second for this long ends the call, counted from the first byte
  /// of the answer: until then only `call_timeout` ends it.
  long low_speed_bytes = 100;
  std::chrono::seconds low_speed_time{5};
};

/// Which addresses may be called, beside public ones over https.
struct Reach {
  bool allow_loopback = false;  ///< also permits plain http there
  bool allow_private = false;
};

class Turn;

/// One account to speak for.
struct Endpoint {
  std::string base_url;  ///< `https://console.rivery.io/api`, without a trailing slash
  const crypto::ApiToken& token;
  /// What admitted the call (`Rate::Take`): each request is spent from it, and a wait that Rivery
  /// asks for is obeyed by the whole account. Null: calls that nobody counts, in tests.
  Turn* turn = nullptr;
};

/// Checks and normalises a base URL: https (http on loopback where allowed), a host, no user, no
/// query, no fragment, at most 512 bytes; a trailing slash is cut. Errors: Invalid.
Result<std::string> NormalizeBaseUrl(std::string_view url, const Reach& reach);

/// What the world did to a call. Decides what may be done next.
enum class Fate : std::uint8_t {
  kNeverSent,  ///< the request provably never left: send again freely
  kRefused,    ///< answered, and the answer says that nothing was done
  kUnclear,    ///< it left, and no usable answer came: it may have been done
};

/// A failed call: the error for people, and its fate for the attempt. `http_status` and `body_code`
/// are 0 where there was none. `retry_after` is 0 where the reply named none (clamped to 1 h).
struct Failure {
  Error error;
  Fate fate;
  int http_status = 0;
  int body_code = 0;
  std::chrono::seconds retry_after{0};
};
template <class T>
using Reply = std::expected<T, Failure>;

/// A type of the catalogue.
struct ConnectionType {
  std::string connection_type;
  std::string datasource_id;  ///< the type's own name where the catalogue gives no other
  bool oauth2 = false;
};

/// A started authorization. Both are bearer secrets until the credentials were fetched.
struct StartedOauth {
  crypto::SecretBytes pull_id;
  crypto::SecretBytes auth_uri;
  std::int64_t expires_at_s = 0;  ///< from the pull_id's header, a hint; 0 when it has none
};

/// The answer to a fetch: nothing yet, or the whole reply byte for byte.
struct FetchedOauth {
  bool pending = true;
  crypto::CredentialsData data;  ///< the body verbatim, when not pending
  std::string client_id;         ///< of the reply, where it names one: Rivery's own OAuth client
};

/// A property that connections of a type may have.
struct Property {
  std::string name;
  bool is_secret = false;  ///< a GET never returns it
  bool is_required = false;
};

/// A connection as Rivery lists it. Never secrets.
struct RemoteConnection {
  std::string id;  ///< 24 hex digits, whichever form it came in
  std::string cross_id = {};
  std::string name = {};
  std::string connection_type = {};
  bool credentials_exist = false;
  bool credentials_missing = false;  ///< Rivery says that it holds none
  std::int64_t changed_at_ms = 0;  ///< when it was last changed, by Rivery's clock; 0: not told
  /// A JSON object of properties beside the credentials that an update has to carry, or else they
  /// are gone; empty: none.
  std::string properties = {};
  std::vector<std::string> hidden = {};  ///< secret properties that are set, and cannot be read
};

/// Whom an API token speaks for: Rivery's own ids; empty where the reply names none.
struct TokenHolder {
  std::string account_id;
  std::string environment_id;
};

/// The legacy API over libcurl: connections are reused; deadlines, size caps; TLS >= 1.2; redirects
/// and `next_page` only on the same origin; proxies and .netrc of the environment ignored; a body
/// code >= 400 under HTTP 200 is a failure; nothing secret in any error or log. Private and
/// loopback addresses are refused on the resolved address. Threads: any; each call uses a handle of
/// its own from a pool.
class Client {
 public:
  /// `ca_file`: PEM of the CAs that are trusted in the place of the system's; empty: the system's.
  Client(Routes routes, Limits limits, Reach reach, std::string ca_file = {});
  ~Client();

  /// The catalogue. Follows `next_page` on the same origin.
  Reply<std::vector<ConnectionType>> Types(const Endpoint& endpoint) const;

  /// `validity_s`: 300 to 43,200.
  Reply<StartedOauth> StartOauth(const Endpoint& endpoint, std::string_view datasource_id,
                                 std::chrono::seconds validity) const;

  /// Pending is decided by content: a 2xx whose body has status_code, status or Code in
  /// {200, 201, 202} and holds a token is done, and so is one without any such code that holds an
  /// access or refresh token (it may be readable once only); any other 2xx is pending.
  Reply<FetchedOauth> FetchOauth(const Endpoint& endpoint, const crypto::SecretBytes& pull_id,
                                 const crypto::SecretBytes& auth_uri) const;

  /// `credentials`: a JSON object, sent as it stands. Not idempotent: see Fate.
  Reply<RemoteConnection> Create(const Endpoint& endpoint, std::string_view connection_type,
                                 std::string_view name,
                                 const crypto::SecretBytes& credentials) const;

  /// Always the whole body, `connection.properties` and credentials included: an update without
  /// them would wipe them.
  Reply<RemoteConnection> Update(const Endpoint& endpoint, const RemoteConnection& connection,
                                 std::string_view new_name,
                                 const crypto::SecretBytes& credentials) const;

  /// All connections of a type. Follows `next_page` on the same origin; at most 10,000.
  Reply<std::vector<RemoteConnection>> List(const Endpoint& endpoint,
                                            std::string_view connection_type) const;

  /// One connection with those of the properties that are plain values. NotFound: Rivery has none
  /// with this id.
  Reply<RemoteConnection> Get(const Endpoint& endpoint, std::string_view id,
                              std::span<const Property> properties) const;

  /// Deletes one. NotFound: there was none; Conflict: rivers use it, and it stands.
  Reply<void> Delete(const Endpoint& endpoint, std::string_view id) const;

  /// The properties of a type, in either of the two forms that are seen.
  Reply<std::vector<Property>> Properties(const Endpoint& endpoint,
                                          std::string_view connection_type) const;

  /// Whom the token speaks for. Any token may ask.
  Reply<TokenHolder> Me(const Endpoint& endpoint) const;

  /// Whether the token may edit, without doing anything: an authorization with parameters that no
  /// server takes. Success: it may; the failure is Denied where it may not.
  Reply<void> ProbeEdit(const Endpoint& endpoint) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace oauthvault::rivery
