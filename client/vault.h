#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "client/failure.h"
#include "client/methods.h"
#include "client/revealed.h"
#include "crypto/secret.h"

namespace google::protobuf {
class MessageLite;
}
namespace oauthvault::v1 {
class CredentialsEvent;
class WatchAttemptRequest;
class WatchCredentialsRequest;
}

namespace oauthvault::client {

/// Where the vault is and as whom to call. Either `socket` or `address`.
struct Options {
  /// Path of the daemon's unix socket, at most 107 bytes. The caller is the local admin.
  std::filesystem::path socket;
  /// `host:port` of the daemon's TCP door (mutual TLS). The host must be one of the names in the
  /// daemon's certificate.
  std::string address;
  /// The identity: a folder that holds cert.pem, key.pem and ca.pem, as `oauthvault identity issue`
  /// writes it. The three paths below, where given, go before the folder's files.
  std::filesystem::path identity;
  std::filesystem::path certificate;
  std::filesystem::path key;
  std::filesystem::path ca;
  /// The longest that a call may take, repetitions included; the contract's bound where it is less.
  std::chrono::milliseconds timeout{30'000};
};

/// Which credentials.
struct CredentialsName {
  std::string project;
  std::string component;
  std::string id;
};

/// Which of one project and component: 1 to 64 ids, each once.
struct CredentialsNames {
  std::string project;
  std::string component;
  std::vector<std::string> ids;
};

/// For whom a configuration is filled in.
struct Recipient {
  std::string project;
  std::string component;
  /// The configuration whose sealed values open, too; empty: none.
  std::string configuration;
  /// `default` or `dev`: values that were sealed for this type of branch open, too; empty: none.
  std::string branch_type;
};

/// What happens to `id` and `version` beside injected credentials.
enum class OauthIdInOutput : bool { kKept, kDropped };

/// Whether an injected configuration holds secrets in clear, or is a sandbox's: sealed copies.
enum class Injected : bool { kClear, kSandbox };

/// Wipes and empties the fields of a request that hold secrets.
void WipeSecrets(v1::StoreRequest& request);
void WipeSecrets(v1::EncryptRequest& request);
void WipeSecrets(v1::SetComponentRequest& request);
void WipeSecrets(v1::SetAccountRequest& request);
void WipeSecrets(v1::UnsealRequest& request);

/// Whether a request holds a secret, so that it must be wiped.
template <class Request>
inline constexpr bool kHoldsSecrets = requires(Request& request) { WipeSecrets(request); };

/// A connection to a vault. It is made when the first call needs it, and again when the daemon was
/// restarted: reads that break are repeated for some seconds, writes never are.
///
///   auto vault = Vault::Connect({.address = "vault.example:8443", .identity = "my-identity"});
///   auto revealed = vault->Reveal({.project = "123", .component = "acme.ex-drive", .id = "main"});
///
/// Every call answers with a value or a `Failure`. Its codes:
///   kNotFound kDenied kInvalid kConflict kStale kCorrupt kSealed kExhausted  as the daemon says
///   kUnauthenticated  the daemon does not know the caller; TLS was refused by either side; a
///                     certificate is missing, has expired, or does not fit the name
///   kUnavailable      nobody answers, or not in time; a write may have come about all the same
///   kCorrupt          also: the daemon's answer is not of the contract
///
/// Threads: any number may use one Vault at a time.
class Vault {
 public:
  /// Reads the certificate files; does not wait for the daemon. Errors: kInvalid when neither or
  /// both of socket and address are given, or a file is missing, unreadable or not PEM.
  static Outcome<Vault> Connect(const Options& options);

  Vault(Vault&&) noexcept;
  Vault& operator=(Vault&&) noexcept;
  ~Vault();

  /// Credentials in clear. The secrets go from the connection's buffers, which are wiped, straight
  /// into `Revealed`; no generated message and no std::string ever holds them.
  Outcome<Revealed> Reveal(const CredentialsName& name);

  /// Several in one call, at most 256 KiB in all (kExhausted): one item for each id, in their
  /// order. What is not found, or damaged, is so in its own item. Wiped as in `Reveal`.
  Outcome<std::vector<RevealedItem>> RevealMany(const CredentialsNames& names);

  /// A component's configuration (a JSON object of at most 240 KiB) with the credentials that it
  /// names in place and its sealed values opened. Request and answer are wiped as in `Reveal`.
  Outcome<crypto::SecretBytes> Inject(const Recipient& recipient,
                                      std::span<const std::uint8_t> configuration,
                                      OauthIdInOutput oauth_id,
                                      Injected injected = Injected::kClear);

  /// A new way to open the vault, or a new secret for one that is there. Never repeated. The answer
  /// is wiped as in `Reveal`; the request's passphrase is wiped and empty afterwards, however the
  /// call ended. kCorrupt: the slot may be there all the same, and nobody has its secret.
  Outcome<NewSlot> AddSlot(v1::AddSlotRequest& request);
  Outcome<NewSlot> ReissueSlot(v1::ReissueSlotRequest& request);

  /// A new opaque token. Never repeated. The answer is wiped as in `Reveal`. kCorrupt: the token
  /// may be in force all the same, and nobody has its text.
  Outcome<NewToken> IssueToken(const v1::IssueTokenRequest& request);

  /// Any other method of the contract: the request's type names it (see methods.h). The secret
  /// fields of `StoreRequest`, `EncryptRequest`, `SetComponentRequest`, `SetAccountRequest` and
  /// `UnsealRequest` are wiped and empty afterwards, however the call ended.
  ///
  ///   v1::GetProjectRequest request;
  ///   request.set_id("123");
  ///   Outcome<v1::Project> project = vault.Call(request);
  template <class Request>
  auto Call(Request&& request)
      -> Outcome<typename decltype(kMethod<std::remove_cvref_t<Request>>)::Response> {
    typename decltype(kMethod<std::remove_cvref_t<Request>>)::Response response;
    Outcome<void> done = Exchange(kMethod<std::remove_cvref_t<Request>>, request, response);
    if constexpr (requires { WipeSecrets(request); }) {
      WipeSecrets(request);
    } else {
      static_assert(!kHoldsSecrets<std::remove_cvref_t<Request>>,
                    "a request that holds a secret is not const: it is wiped after the call");
    }
    if (!done) return std::unexpected<Failure>(std::move(done.error()));
    return response;
  }

  /// Calls `seen` with the attempt's present state and with each later one, in the caller's thread,
  /// until the state is final, `seen` returns false, `stop` is asked for, or the stream ends.
  /// One stream lives for at most kWatchLifetime; kUnavailable then, and watching again goes on.
  Outcome<void> Watch(const v1::WatchAttemptRequest& request, std::stop_token stop,
                      const std::function<bool(const v1::Attempt&)>& seen);

  static constexpr std::chrono::seconds kWatchLifetime{120};

  /// Calls `seen` with what the credentials of a pair are, and with each change, in the caller's
  /// thread, until `seen` returns false, `stop` is asked for, or the stream ends: kUnavailable (the
  /// daemon stops, or the connection is an hour old) and kExhausted (too many changes waited),
  /// after which watching again begins with the present state and loses nothing; or as the daemon
  /// says.
  Outcome<void> WatchCredentials(const v1::WatchCredentialsRequest& request, std::stop_token stop,
                                 const std::function<bool(const v1::CredentialsEvent&)>& seen);

 private:
  struct Wire;
  explicit Vault(std::unique_ptr<Wire> wire);
  Outcome<void> Exchange(const Method& method, const google::protobuf::MessageLite& request,
                         google::protobuf::MessageLite& response);

  std::unique_ptr<Wire> wire_;
};

}  // namespace oauthvault::client
