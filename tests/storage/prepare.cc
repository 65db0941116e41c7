#include <gtest/gtest.h>

#include "crypto/secret.h"

namespace {

// As main.cc of the daemon does before anything else.
class Prepared : public testing::Environment {
 public:
  void SetUp() override { ASSERT_TRUE(oauthvault::crypto::Prepare().has_value()); }
};

[[maybe_unused]] const testing::Environment* const kPrepared =
    testing::AddGlobalTestEnvironment(new Prepared);

}  // namespace
