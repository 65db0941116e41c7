// What a daemon that was sealed still has in its memory. Not in sanitized builds, whose heap keeps
// what is freed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "tests/integration/running.h"

namespace oauthvault::integration {
namespace {

constexpr char kDataCanary[] = "canary-data-9c0d1e77";
constexpr char kAppCanary[] = "canary-app-secret-b31f";
constexpr char kTokenCanary[] = "canary-api-token-2d68";
// The keys of the daemon's certificate and of its CA.
constexpr char kPem[] = "-----BEGIN PRIVATE KEY-----\n";

// How often `text` stands in the memory that a process may write. -1: it cannot be read.
int Count(pid_t process, const std::string& text) {
  const std::string folder = "/proc/" + std::to_string(process);
  const int memory = open((folder + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  if (memory < 0) return -1;
  int count = 0;
  std::ifstream maps(folder + "/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, mode) != 3 || mode[1] != 'w') {
      continue;
    }
    // The store's map is sealed bytes.
    if (line.find("data.mdb") != std::string::npos) continue;
    std::string content(end - begin, '\0');
    const ssize_t got = pread(memory, content.data(), content.size(), static_cast<off_t>(begin));
    if (got <= 0) continue;
    content.resize(static_cast<std::size_t>(got));
    for (std::size_t at = 0; (at = content.find(text, at)) != std::string::npos; ++at) ++count;
  }
  close(memory);
  return count;
}

TEST(SealedMemory, HoldsNoKeyAndNoSecret) {
  Place place;
  place.Init();
  place.StartRivery(kTokenCanary);
  place.Serve();
  place.Register();
  place.SetAccount();
  WriteTo(place.At("app"), kAppCanary);
  ASSERT_EQ(place.Cli({"component", "set", "ex-drive", "--app-key", "key", "--app-secret-file",
                       place.At("app").string()}).exit_code, 0);
  ASSERT_EQ(place.Put("main", kDataCanary).exit_code, 0);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(place.Reveal("main"), kDataCanary);
  ASSERT_EQ(place.Put("second", kDataCanary).exit_code, 0);
  for (int i = 0; i < 20; ++i) {
    ASSERT_NE(place.Cli(OnPair({"credentials", "reveal", "main", "second"})).out.find(kDataCanary),
              std::string::npos);
  }
  ASSERT_EQ(place.Cli({"rivery", "types", "--account", "main"}).exit_code, 0);

  const pid_t daemon = place.Server().Id();
  if (geteuid() != 0) {
    // Nobody else may look, which is as good.
    EXPECT_EQ(Count(daemon, kPem), -1);
    return;
  }
  // The controls: what this looks for is found while the vault is open.
  EXPECT_GT(Count(daemon, kPem), 0);
  EXPECT_GT(Count(daemon, place.At("socket").string()), 0);
  ASSERT_EQ(place.Cli({"seal"}).exit_code, 0);
  ASSERT_TRUE(place.AwaitLog(" sealed socket="));
  EXPECT_GT(Count(daemon, place.At("socket").string()), 0);
  for (const char* secret : {kPem, kDataCanary, kAppCanary, kTokenCanary}) {
    EXPECT_EQ(Count(daemon, secret), 0) << secret;
  }
  // And it is the same daemon, which opens again.
  ASSERT_EQ(place.Unseal(ContentOf(place.At("key"))).exit_code, 0);
  ASSERT_TRUE(place.AwaitLog(" serving tcp=", 2));
  EXPECT_EQ(place.Reveal("main"), kDataCanary);
}

}  // namespace
}  // namespace oauthvault::integration
