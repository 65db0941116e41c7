#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/access/principal.h"
#include "daemon/rivery/client.h"
#include "daemon/rivery/rate.h"
#include "storage/names.h"
#include "storage/tables/store.h"

namespace oauthvault::rivery {

/// An API token has 1 to 4,096 bytes of printable ASCII.
inline constexpr std::size_t kMaxApiTokenSize = 4096;

/// Rivery's regions and their base URLs: the whole table. Others follow the pattern of `eu`.
struct Region {
  std::string_view name;
  std::string_view base_url;
};
std::span<const Region> Regions();
/// `us`, `eu`, or the name of another region in the form `eu-west-1`. Errors: Invalid.
Result<std::string> BaseUrlOf(std::string_view region);

/// What a caller wants of an account: fields that are absent stay as they are.
struct AccountFields {
  std::optional<std::string> base_url;
  std::optional<crypto::ApiToken> token;
  std::optional<std::vector<std::string>> projects;  ///< ids of registered projects, or one `*`
};

/// Adds an account or changes it. A new base URL asks for the token again: an edited address must
/// not make the vault send the old token elsewhere. A new account needs all three. With a token it
/// is good again. A change that meets the vault's own mark on the account is tried again; one that
/// meets another change is a Conflict.
/// Errors: Invalid, NotFound (a project), Stale (new base URL without the token), Conflict,
/// Unavailable.
Result<storage::Stored<storage::Account>> SetAccount(storage::Store& store, const AccountId& id,
                                                     const AccountFields& fields,
                                                     const Reach& reach, const storage::Act& act,
                                                     std::int64_t now_s);

/// An account opened for one call: its URL and its token.
struct OpenAccount {
  std::string base_url;
  crypto::ApiToken token;
  std::uint64_t version = 0;      ///< of its row, for MarkRefused and MarkGood
  std::int64_t refused_at_s = 0;  ///< not 0: Rivery does not take the token; calls wait

  /// For the calls that `turn` admitted. It lives as long as the endpoint.
  Endpoint AsEndpoint(Turn& turn) const { return {base_url, token, &turn}; }
};

/// Opens an account for calls of `project`, or for the vault's own where `project` is nullopt.
/// Errors: NotFound, Denied (the project may not use it), Corrupt, Unavailable.
Result<OpenAccount> OpenAccountFor(const storage::Store& store, const AccountId& id,
                                   const std::optional<ProjectId>& project);

/// Marks an account whose token Rivery does not take (401), so that whatever would use it waits. A
/// mark is for the row as `version` says: one that was set anew meanwhile stays as it is, and so
/// does one that is marked already. `act` gets the account and, as its code, `UNAUTHENTICATED`.
/// Errors: Corrupt, Unavailable.
Result<void> MarkRefused(storage::Store& store, const AccountId& id, std::uint64_t version,
                         storage::Act act, std::int64_t now_s);
/// Takes the mark off again, likewise. Errors: Corrupt, Unavailable.
Result<void> MarkGood(storage::Store& store, const AccountId& id, std::uint64_t version,
                      storage::Act act);

/// One question to Rivery about a token, and its answer.
struct Probe {
  std::string_view what;  ///< `token`, or a scope
  std::optional<Error> wrong = {};
};
struct AccountReport {
  TokenHolder holder;
  std::vector<Probe> probes;  ///< in the order of asking; after a token that is not taken no others
};
/// So many calls are taken from the budget for a check.
inline constexpr unsigned kCheckCalls = 4;
/// Asks whether the account is reachable, its token taken, and what the token may do, by calls that
/// change nothing: who it speaks for, a list, an authorization with impossible parameters, a delete
/// of an id that nobody has. Rivery never says which of token and region is wrong: the one message
/// names both.
AccountReport CheckAccount(const Client& client, const OpenAccount& account, Turn& turn);

}  // namespace oauthvault::rivery
