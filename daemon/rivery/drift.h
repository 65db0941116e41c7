#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/rivery/client.h"
#include "storage/tables/rows.h"

namespace oauthvault::rivery {

/// In what a connection of Rivery differs from what the vault wrote, as far as a GET shows: never
/// the credentials themselves.
enum class Drift : std::uint8_t {
  kDeleted,           ///< Rivery has none with this id
  kRenamed,           ///< it bears another name
  kTypeChanged,       ///< it is of another type
  kNoCredentials,     ///< Rivery says that it holds none
  kChangedElsewhere,  ///< it was changed after the vault wrote it
  kDuplicate,         ///< Rivery has another one of the same type and name that the vault holds not
};
/// `deleted`, `renamed`, ..
std::string_view NameOf(Drift drift);

/// While nobody has looked at a connection since it was written, its date is compared with this
/// host's clock, which may differ by so much. Changes within it are noticed from the next look on.
inline constexpr std::int64_t kClockTolerance_ms = 120'000;

/// What was found out about one connection.
struct Verified {
  storage::Connection row;
  std::vector<Drift> drift = {};  ///< in the order of the enumeration; empty: as it was written
  std::string remote_name = {};  ///< empty where it is deleted
  std::int64_t changed_at_ms = 0;
  std::vector<std::string> duplicates = {};  ///< ids of the others of its type and name
};

/// Compares. `remote`: nothing where Rivery has none. `listed`: Rivery's connections of the row's
/// type. `held`: the ids of that account that the vault has. Pure.
Verified Compare(const storage::Connection& row, const std::optional<RemoteConnection>& remote,
                 std::span<const RemoteConnection> listed, const std::set<std::string>& held);

}  // namespace oauthvault::rivery
