// A test program that checks stores as the daemon does: in a process of its own, which is the same
// program with another verb.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <string_view>

#include "crypto/locked_memory.h"
#include "crypto/sealed.h"
#include "daemon/upkeep/check.h"

namespace {

std::string_view ValueOf(std::string_view word) { return word.substr(word.find('=') + 1); }

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == "check-child") {
    if (!oauthvault::crypto::Prepare()) return 2;
    // What becomes of the process, by the name of the keys file: the root was read, as ever.
    const std::string_view keys = ValueOf(argv[3]);
    char root[32];
    if (keys.find("/ends-") != keys.npos && read(STDIN_FILENO, root, sizeof root) < 0) return 2;
    if (keys.ends_with("/ends-killed")) raise(SIGKILL);
    if (keys.ends_with("/ends-broken")) {
      signal(SIGBUS, SIG_DFL);  // a sanitizer would take it, and exit
      raise(SIGBUS);
    }
    if (keys.ends_with("/ends-silent")) return 0;
    return oauthvault::upkeep::CheckChild(ValueOf(argv[2]), ValueOf(argv[3]));
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
