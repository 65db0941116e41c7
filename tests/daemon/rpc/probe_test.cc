// The daemon that calls itself.

#include "daemon/rpc/probe.h"

#include <gtest/gtest.h>

#include <latch>

#include "daemon/rpc/door.h"
#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

constexpr std::chrono::seconds kShort{1};

class ProbeTest : public testing::Test {
 protected:
  Probe ProbeOf(const std::string& address) {
    return {vault_.Socket(),
            Probe::Tcp{address, "localhost", [this] { return vault_.ShownPem(); },
                       [this] { return NewIdentity(); }},
            counters_};
  }
  Result<registry::ClientKeyPair> NewIdentity() {
    return registry::ClientKeyPair{
        own_.certificate_pem, registry::PrivateKeyPem(crypto::SecretBytes::CopyOf(own_.key_pem))};
  }

  Vault vault_;
  const ClientIdentity own_ = vault_.Issue(kProbePrincipal);  // which leaves a line
  DoorCounters counters_;
};

TEST_F(ProbeTest, ADaemonThatAnswersOnBothDoors_IsHeard) {
  const Probe probe = ProbeOf(vault_.Address());
  const std::uint64_t lines = vault_.Trail().LastSequence();
  const auto heard = probe.Ask(kPatience);
  EXPECT_TRUE(heard) << heard.error().Message();
  EXPECT_EQ(vault_.Trail().LastSequence(), lines) << "the trail is not about the probe";
}

TEST_F(ProbeTest, ACertificateThatWasExchangedMeanwhile_IsAskedForOnceMore) {
  int asked = 0;
  const Probe probe(vault_.Socket(),
                    Probe::Tcp{vault_.Address(), "localhost",
                               [this, &asked] {
                                 return asked++ == 0 ? NewAuthority().certificate_pem
                                                     : vault_.ShownPem();
                               },
                               [this] { return NewIdentity(); }},
                    counters_);
  EXPECT_TRUE(probe.Ask(kPatience));
  EXPECT_EQ(asked, 2);
}

TEST_F(ProbeTest, APortThatTakesConnectionsAndSaysNothing_IsDeaf) {
  auto silent = ListenTcp("127.0.0.1:0");
  ASSERT_TRUE(silent);
  const auto heard = ProbeOf(BoundAddress(*silent)).Ask(kShort);
  ASSERT_FALSE(heard);
  EXPECT_EQ(heard.error().GetCode(), Code::kUnavailable);
  EXPECT_EQ(heard.error().GetText(), "the daemon does not answer itself on its TCP port");
}

TEST_F(ProbeTest, ADoorThatTurnsConnectionsAway_HasHeard) {
  auto listener = ListenTcp("127.0.0.1:0");
  ASSERT_TRUE(listener);
  const std::string address = BoundAddress(*listener);
  auto full = Door::Open(std::move(*listener), {"door-test", 0, nullptr, nullptr, &counters_});
  ASSERT_TRUE(full);
  EXPECT_TRUE(ProbeOf(address).Ask(kShort));
  EXPECT_GT(counters_.Refused(), 0u);
}

TEST_F(ProbeTest, ASocketThatNobodyServes_IsDeaf) {
  const auto nobody = Probe(vault_.Folder() / "nobody.sock", std::nullopt, counters_).Ask(kShort);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().GetText(), "the daemon does not answer itself on its unix socket");
}

TEST_F(ProbeTest, TheWatchdog_IsSilentOnceTheDaemonIsDeaf) {
  const Probe probe(vault_.Socket(), std::nullopt, counters_);
  std::atomic<int> alive = 0;
  std::latch three(3);
  {
    const Watchdog watchdog(probe, std::chrono::milliseconds(5), [&] {
      if (++alive <= 3) three.count_down();
    });
    three.wait();
    vault_.TheServer().Stop(std::chrono::seconds(1));
  }
  const int before = alive;
  std::latch go_on(1);
  {
    const Watchdog watchdog(probe, std::chrono::milliseconds(1), [&] { ++alive; });
    EXPECT_FALSE(probe.Ask(kShort));
  }
  EXPECT_EQ(alive, before);
}

}  // namespace
}  // namespace oauthvault::rpc
