// deploy/systemd/oauthvaultd.service beside what the daemon does.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "daemon/config.h"
#include "daemon/refusal.h"

namespace oauthvault {
namespace {

std::string ContentOf(const std::string& name) {
  std::ifstream file(OAUTHVAULT_SOURCE_DIR "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// What stands behind `name=` in the unit; empty where that is not there.
std::string Setting(const std::string& name) {
  std::istringstream unit(ContentOf("deploy/systemd/oauthvaultd.service"));
  for (std::string line; std::getline(unit, line);) {
    if (line.starts_with(name + "=")) return line.substr(name.size() + 1);
  }
  return {};
}

TEST(SystemdUnit, DoesNotRestartWhatNoRestartMends) {
  std::istringstream words(Setting("RestartPreventExitStatus"));
  std::set<int> codes;
  for (int code = 0; words >> code;) codes.insert(code);
  const int operator_mends = ExitCodeOf(Code::kInvalid);
  EXPECT_EQ(codes, (std::set<int>{operator_mends, kExitDamaged, kExitPutBack}));
}

TEST(SystemdUnit, HasRoomForTheThreadsOfTheDefaults) {
  // All but those of HTTP's connections, and a process that checks the store.
  constexpr unsigned long kOthers = 128;
  const std::string tasks = Setting("TasksMax");
  ASSERT_FALSE(tasks.empty());
  EXPECT_GE(std::stoul(tasks), Config{}.http.max_connections + kOthers);
  // The advice of a daemon that may not run enough of them.
  EXPECT_NE(ContentOf("daemon/main.cc").find("(TasksMax=" + tasks + ", ulimit -u)"),
            std::string::npos);
}

}  // namespace
}  // namespace oauthvault
