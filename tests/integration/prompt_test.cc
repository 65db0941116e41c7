// What a person at a terminal sees while a secret is asked for.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <string>

#include "tests/client/terminal.h"
#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

using client::Terminal;

std::string RecoverOf(const Place& place) {
  return "exec " OAUTHVAULT_BIN_DIR "/oauthvaultd recover --slot shares --shares 2/3 --config " +
         place.Config();
}

TEST(Prompt, Interrupted_GivesTheTerminalItsEchoBack) {
  const Place place;
  place.Init();
  std::filesystem::remove(place.At("key"));
  for (const char end : {'\x03', '\x1c'}) {  // Ctrl-C, and VQUIT's
    Terminal recovering(RecoverOf(place));
    ASSERT_TRUE(recovering.Shows("a passphrase: ")) << recovering.Seen();
    ASSERT_TRUE(Await([&] { return !recovering.Echoes(); }));
    recovering.Type("canary-secret");
    recovering.Type(std::string(1, end));
    EXPECT_EQ(recovering.Wait(), 128 + (end == '\x03' ? SIGINT : SIGQUIT));
    EXPECT_TRUE(recovering.Echoes());
    EXPECT_EQ(recovering.Seen().find("canary-secret"), std::string::npos);
  }
}

TEST(Prompt, Answered_GivesTheTerminalItsEchoBack) {
  const Place place;
  place.Init();
  const std::string key = ContentOf(place.At("key"));
  std::filesystem::remove(place.At("key"));
  Terminal recovering(RecoverOf(place));
  ASSERT_TRUE(recovering.Shows("a passphrase: ")) << recovering.Seen();
  ASSERT_TRUE(Await([&] { return !recovering.Echoes(); }));
  recovering.Type(key);
  EXPECT_TRUE(recovering.Shows("is added")) << recovering.Seen();
  EXPECT_EQ(recovering.Wait(), 0);
  EXPECT_TRUE(recovering.Echoes());
  EXPECT_EQ(recovering.Seen().find(key.substr(0, key.find('\n'))), std::string::npos);
}

}  // namespace
}  // namespace oauthvault::integration
