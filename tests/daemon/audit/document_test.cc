// AUDIT.md says what the code does: its fields, their order, and the trail's own acts.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/audit/line.h"
#include "tests/daemon/audit/trail_folder.h"

namespace oauthvault::audit {
namespace {

/// The first word in backquotes of each row of the table behind `heading`; a star behind it makes
/// it `name *`.
std::vector<std::string> RowsBehind(std::string_view heading) {
  std::ifstream file(std::filesystem::path(OAUTHVAULT_SOURCE_DIR) / "daemon/audit/AUDIT.md");
  std::vector<std::string> rows;
  bool behind = false;
  for (std::string line; std::getline(file, line);) {
    if (line == heading) {
      behind = true;
    } else if (behind && line.starts_with("## ")) {
      break;
    } else if (behind && line.starts_with("| `")) {
      const std::size_t end = line.find('`', 3);
      rows.push_back(line.substr(3, end - 3) + (line.substr(end + 1, 2) == " *" ? " *" : ""));
    }
  }
  return rows;
}

nlohmann::ordered_json FieldsOf(const Entry& entry) {
  return nlohmann::ordered_json::parse(
      EncodedLine(entry, {}, 1, StandingClock(), kNoPrevious));
}

TEST(Document, ListsEveryFieldOfALineInItsOrder_AndWhichAreAlwaysThere) {
  Entry full{storage::Act{.act = "a", .principal = "b", .right = "c", .project = "d",
                          .component = "e", .oauth_id = "f", .object = "g", .version = 1,
                          .peer = "h", .request_id = "i", .code = "j"}};
  full.fingerprints = "k";
  full.closes = "l";
  full.tree = "m";
  const auto always = FieldsOf(Entry{});
  const auto all = FieldsOf(full);
  std::vector<std::string> written;
  for (const auto& [name, value] : all.items()) {
    written.push_back(name + (always.contains(name) ? " *" : ""));
  }
  EXPECT_EQ(RowsBehind("## A line"), written);
}

TEST(Document, ListsTheTrailsOwnActs) {
  std::vector<std::string> rows = RowsBehind("## Lines of the trail itself");
  std::erase(rows, "act");  // the head of the table
  EXPECT_EQ(std::set<std::string>(rows.begin(), rows.end()),
            (std::set<std::string>{std::string(kBeginAct), std::string(kCutAct),
                                   std::string(kCloseAct), std::string(kDenialsAct)}));
}

}  // namespace
}  // namespace oauthvault::audit
