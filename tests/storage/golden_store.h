#pragma once

#include <cstdint>
#include <string>

#include "storage/tables/act.h"
#include "storage/tables/rows.h"
#include "tests/storage/full_rows.h"

namespace oauthvault::storage {

// What stands in the golden store (tests/golden/storage), beside its own rows.

/// Calls `use` with each row: one of every table, of the project of the credentials.
template <class F>
void ForEachGoldenRow(F&& use) {
  Project project = FullProject();
  project.shredding_at_s = 0;
  use(project);
  use(FullComponent());
  use(FullGrant());
  use(FullIdentity());
  use(FullCredentials());
  use(FullAccount());
  use(FullAttempt());
  use(FullConnection());
  use(FullAuthority());
  use(FullBackup());
  use(FullRewrapping());
}

/// The secret parts of the row of a table.
inline std::string GoldenData(TableId table) {
  return "golden data " + std::to_string(static_cast<int>(table));
}
inline constexpr const char* kGoldenAppSecret = "golden app secret";

/// Of the last commit.
inline Act GoldenAct() {
  return {.act = "golden.act",
          .principal = "local/admin",
          .right = "register",
          .project = "project-acme",
          .component = "keboola.ex-acme",
          .oauth_id = "oauth-main",
          .object = "an object",
          .version = 2,
          .peer = "unix:",
          .request_id = "request-1",
          .code = "a code"};
}
inline constexpr Position kGoldenPosition{3, 14};
inline constexpr Position kGoldenPrevious{3, 13};

}  // namespace oauthvault::storage
