// What systemd is told, on a socket of the test's own.

#include "daemon/notify.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

namespace oauthvault {
namespace {

class NotifyTest : public testing::Test {
 protected:
  // In the abstract space, as a container's manager has it.
  NotifyTest() : name_("@oauthvault-notify-" + std::to_string(getpid())) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name_.data() + 1, name_.size() - 1);
    receiver_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
    EXPECT_EQ(bind(receiver_, reinterpret_cast<sockaddr*>(&address), size), 0);
    setenv("NOTIFY_SOCKET", name_.c_str(), 1);
  }
  ~NotifyTest() override {
    close(receiver_);
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
  }

  // What was told last; empty: nothing.
  std::string Told() const {
    char text[512];
    const ssize_t size = recv(receiver_, text, sizeof text, MSG_DONTWAIT);
    return size < 0 ? std::string() : std::string(text, static_cast<std::size_t>(size));
  }

  const std::string name_;
  int receiver_ = -1;
};

TEST_F(NotifyTest, EachState_IsToldInTheWordsOfSystemd) {
  setenv("WATCHDOG_USEC", "20000000", 1);
  setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
  const Notifier notifier = Notifier::FromEnvironment();
  ASSERT_TRUE(notifier.WatchdogPeriod());
  EXPECT_EQ(notifier.WatchdogPeriod()->count(), 20'000'000);
  notifier.Ready("serving");
  EXPECT_EQ(Told(), "READY=1\nSTATUS=serving\nWATCHDOG_USEC=20000000\nWATCHDOG=1");
  notifier.Alive();
  EXPECT_EQ(Told(), "WATCHDOG=1");
  notifier.Reloading("opening", std::chrono::seconds(90));
  const std::string reloading = Told();
  EXPECT_TRUE(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC=")) << reloading;
  EXPECT_TRUE(reloading.ends_with("\nSTATUS=opening\nWATCHDOG_USEC=90000000\nWATCHDOG=1\n"
                                  "EXTEND_TIMEOUT_USEC=90000000"))
      << reloading;
  notifier.Stopping();
  EXPECT_EQ(Told(), "STOPPING=1\nSTATUS=stopping");
}

TEST_F(NotifyTest, AWatchdogForAnotherProcess_IsNotOurs) {
  setenv("WATCHDOG_USEC", "20000000", 1);
  setenv("WATCHDOG_PID", "1", 1);
  const Notifier notifier = Notifier::FromEnvironment();
  EXPECT_FALSE(notifier.WatchdogPeriod());
  notifier.Ready("serving");
  EXPECT_EQ(Told(), "READY=1\nSTATUS=serving");
}

TEST_F(NotifyTest, WithoutASocket_NothingIsTold) {
  unsetenv("NOTIFY_SOCKET");
  Notifier::FromEnvironment().Ready("serving");
  EXPECT_EQ(Told(), "");
}

}  // namespace
}  // namespace oauthvault
