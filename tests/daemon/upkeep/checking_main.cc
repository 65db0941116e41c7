// A test program that checks stores as the daemon does: in a process of its own, which is the same
// program with another verb.
#include <gtest/gtest.h>

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
    return oauthvault::upkeep::CheckChild(ValueOf(argv[2]), ValueOf(argv[3]));
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
