#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/keyring.h"
#include "crypto/secret.h"
#include "daemon/access/decide.h"
#include "daemon/access/principal.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::registry {

/// How long a token is in force.
inline constexpr std::int64_t kMinTokenTtlS = 60;
inline constexpr std::int64_t kMaxTokenTtlS = 366 * 24 * 3600;
inline constexpr std::int64_t kDefaultTokenTtlS = 90 * 24 * 3600;

/// A token's text: `ovt_` and 256 random bits in lower-case hex.
inline constexpr std::string_view kTokenPrefix = "ovt_";
inline constexpr std::size_t kTokenSize = 4 + 64;

/// An opaque token in clear.
using TokenText = crypto::Secret<struct TokenTextTag>;

/// What a token is to be for. One of a project names the project, a component or `*`, and rights on
/// the pair but reveal; a manage token names none of these, and holds `register`.
struct NewToken {
  std::string title;  ///< for people: who holds it
  std::string project;
  std::string component;
  std::vector<access::Right> rights;
  std::int64_t ttl_s = 0;  ///< 0: kDefaultTokenTtlS
};

/// A token that was made. Its text is nowhere else.
struct IssuedToken {
  storage::Stored<storage::Token> token;
  TokenText text;
};

/// Who shows a token, and what that one may do: Decide with this table, not with the grants.
struct TokenHolder {
  access::Principal principal;
  access::GrantTable rights;
  storage::Token token;
};

/// The opaque tokens of the HTTP interface: rows, found by the keyed hash of the text on every
/// call, so that a revocation, a restore and a shredding act on the next one. Threads: any.
class Tokens {
 public:
  Tokens(storage::Store& store, const crypto::Keyring& keyring)
      : store_(store), keyring_(keyring) {}

  /// Errors: Invalid (title, pair, rights, ttl), NotFound (project, component),
  /// Conflict (the project is being removed), Unavailable.
  Result<IssuedToken> Issue(const NewToken& wanted, storage::Act act, std::int64_t now_s);
  /// Acts on the next call. Errors: NotFound, Conflict, Unavailable.
  Result<void> Revoke(const TokenId& id, storage::Act act);
  /// The holder of a token. Errors: Unauthenticated, the same for a text that is none, one that is
  /// not known and one that has expired; Corrupt, Unavailable.
  Result<TokenHolder> Recognize(std::string_view text, std::int64_t now_s) const;

  /// Revokes those of a project; how many. Errors: Conflict, Corrupt, Unavailable.
  Result<std::uint64_t> RemoveOf(const ProjectId& project, const storage::Act& act);
  /// Revokes all; how many. Errors: as RemoveOf.
  Result<std::uint64_t> RemoveAll(const storage::Act& act);
  /// When the one that ends next does so, 0 where there is none that is in force. Reads all.
  /// Errors: Corrupt, Unavailable.
  Result<std::int64_t> SoonestExpiry(std::int64_t now_s) const;

 private:
  std::string HashOf(std::string_view text) const;
  Result<void> CheckPair(const NewToken& wanted) const;
  Result<std::uint64_t> RemoveWhere(std::string_view project, const storage::Act& act);

  storage::Store& store_;
  const crypto::Keyring& keyring_;
};

}  // namespace oauthvault::registry
