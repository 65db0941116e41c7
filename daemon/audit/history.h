#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "crypto/error.h"
#include "crypto/secret.h"
#include "daemon/audit/trail.h"
#include "storage/tables/rows.h"

namespace oauthvault::audit {

/// A verified line of a trail, as fields.
struct HistoryLine {
  std::uint64_t sequence = 0;
  std::string time;            ///< as in the line: RFC 3339, UTC, microseconds
  storage::Position position;  ///< where the store stood
  /// What the line says. Its `position` is set where the line tells of a commit, and only there.
  Entry entry;
};

/// Gets line after line; an error ends the reading, which then answers with it.
using TakeLine = std::function<Result<void>(const HistoryLine& line)>;

/// Reads what a trail tells of the time behind a position, such as a backup's: every line with a
/// later position, oldest first. Each commit since has its one line among them; other lines, also
/// about what was denied or failed, stand where the last commit before them does. The whole file is
/// verified before the first line is given, in bounded memory however long it is.
/// It reads what is there when it begins, so the daemon must not run, or be the one that asks. A
/// torn last line is not read: nobody was answered on it.
/// Errors: Invalid (key, no such file), Corrupt (a line does not verify, with its number in the
/// file; or the file was begun behind `after`, so that lines are missing), Unavailable (cannot be
/// read), and what `take` answers.
Result<void> ReadHistory(const std::filesystem::path& folder, const crypto::SecretBytes& audit_key,
                         storage::Position after, const TakeLine& take);

}  // namespace oauthvault::audit
