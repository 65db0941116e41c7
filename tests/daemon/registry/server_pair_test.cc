#include "daemon/registry/server_pair.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/storage/temporary_folder.h"

namespace oauthvault::registry {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;
constexpr std::int64_t kTtlS = 3600;
const std::vector<std::string> kNames = {"vault.example", "127.0.0.1", "::1"};

// A certificate and its key, as text.
struct Pair {
  std::string certificate;
  std::string key;
};

class ServerPairTest : public testing::Test {
 protected:
  ServerPairTest() {
    auto material = CertificateAuthority::Generate("operator.test", kNow);
    EXPECT_TRUE(material);
    ca_pem_ = material->certificate_pem;
    ca_key_ = TextOf(material->key);
    authority_ = *CertificateAuthority::Load(material->certificate_pem, material->key);
  }
  static std::string TextOf(const PrivateKeyPem& key) {
    return key.Bytes().Expose([](std::span<const std::uint8_t> pem) {
      return std::string(pem.begin(), pem.end());
    });
  }
  Pair NewPair(const std::vector<std::string>& names = kNames) const {
    auto issued = authority_->IssueServer(names, "operator.test", kTtlS, kNow);
    EXPECT_TRUE(issued);
    return {issued->certificate_pem, TextOf(issued->key)};
  }
  static Result<ServerIdentity> Check(const Pair& pair, std::int64_t now_s = kNow) {
    return CheckServerPair(pair.certificate,
                           PrivateKeyPem(crypto::SecretBytes::CopyOf(pair.key)), kNames, now_s);
  }
  static std::string Why(const Result<ServerIdentity>& checked) {
    return checked ? "taken" : std::string(checked.error().GetText());
  }

  std::string ca_pem_;
  std::string ca_key_;
  std::unique_ptr<CertificateAuthority> authority_;
};

TEST_F(ServerPairTest, APairThatFits_IsTakenWithItsChain) {
  Pair pair = NewPair();
  const auto checked = Check(pair);
  ASSERT_TRUE(checked) << checked.error().Message();
  EXPECT_EQ(checked->certificate_pem, pair.certificate);
  EXPECT_EQ(checked->expires_at_s, kNow + kTtlS);
  EXPECT_EQ(checked->fingerprint.size(), 64u);
  pair.certificate += ca_pem_;
  EXPECT_TRUE(Check(pair)) << "its CA may follow it";
}

TEST_F(ServerPairTest, WhatDoesNotFit_IsRefusedWithTheReason) {
  const Pair good = NewPair();
  const Pair other = NewPair();
  const std::string torn = good.certificate.substr(0, good.certificate.size() / 2);
  const struct {
    const char* what;
    Pair pair;
    std::int64_t now_s;
    const char* why;
  } rows[] = {
      {"nothing", {"", good.key}, kNow, "the server's certificate is not 1 to 8 PEM certificates"},
      {"torn", {torn, good.key}, kNow, "the server's certificate is not 1 to 8 PEM certificates"},
      {"a torn second certificate", {good.certificate + torn, good.key}, kNow,
       "the server's certificate is not 1 to 8 PEM certificates"},
      {"no key", {good.certificate, "garbage"}, kNow,
       "the server's key is no PEM key without a passphrase"},
      {"another's key", {good.certificate, other.key}, kNow,
       "the server's certificate and key do not belong together"},
      {"before", good, kNow - 7200, "the server's certificate is not valid yet"},
      {"after", good, kNow + kTtlS, "the server's certificate has expired"},
      {"a CA's", {ca_pem_, ca_key_}, kNow,
       "the server's certificate is that of a CA, or does not parse"},
      {"a chain that does not lead on", {good.certificate + other.certificate, good.key}, kNow,
       "a certificate of the server's chain is not signed by the next"},
      {"without a name", NewPair({"vault.example", "127.0.0.1"}), kNow,
       "the server's certificate lacks a name of the daemon"},
  };
  for (const auto& row : rows) EXPECT_EQ(Why(Check(row.pair, row.now_s)), row.why) << row.what;
}

TEST_F(ServerPairTest, TheNameThatLacks_IsTold) {
  const Pair pair = NewPair();
  const auto checked = CheckServerPair(
      pair.certificate, PrivateKeyPem(crypto::SecretBytes::CopyOf(pair.key)), {"other.example"},
      kNow);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().GetSubject(), "other.example");
}

class CertificateFolderTest : public ServerPairTest {
 protected:
  CertificateFolderTest() { EXPECT_TRUE(folder_.Prepare()); }

  std::filesystem::path At(const char* name) const { return temporary_.Path() / name; }
  void Stage(const Pair& pair, mode_t key_mode = 0600) const {
    std::ofstream(At("staging") / "cert.pem") << pair.certificate;
    std::ofstream(At("staging") / "key.pem") << pair.key;
    chmod((At("staging") / "key.pem").c_str(), key_mode);
  }
  // Two looks: what has come to rest is taken.
  std::string Take() {
    for (int look = 0; look < 2; ++look) {
      auto taken = folder_.Take(kNow);
      if (!taken) return std::string(taken.error().GetText());
      if (*taken) return (*taken)->certificate_pem;
    }
    return "nothing";
  }
  std::string Current(std::int64_t now_s = kNow) {
    CertificateFolder anew(temporary_.Path(), kNames);
    auto current = anew.Current(now_s);
    if (!current) return std::string(current.error().GetText());
    return *current ? (*current)->certificate_pem : "nothing";
  }

  storage::TemporaryFolder temporary_;
  CertificateFolder folder_{temporary_.Path(), kNames};
};

TEST_F(CertificateFolderTest, WhatIsStaged_IsTakenWhenItHasComeToRest) {
  EXPECT_EQ(Take(), "nothing");
  EXPECT_EQ(Current(), "nothing");
  const Pair pair = NewPair();
  Stage(pair);
  auto first = folder_.Take(kNow);
  ASSERT_TRUE(first);
  EXPECT_FALSE(*first) << "it may still be being written";
  EXPECT_EQ(Take(), pair.certificate);
  EXPECT_EQ(Current(), pair.certificate);
  EXPECT_EQ(Take(), "nothing");
  EXPECT_TRUE(std::filesystem::is_empty(At("staging")));
  const Pair next = NewPair();
  Stage(next);
  EXPECT_EQ(Take(), next.certificate);
  EXPECT_EQ(Current(), next.certificate);
  EXPECT_FALSE(std::filesystem::exists(At("pair-1"))) << "the key before is gone";
}

TEST_F(CertificateFolderTest, WhatIsRefused_StaysAndIsToldOnceAndTheOneBeforeIsCurrent) {
  const Pair good = NewPair();
  Stage(good);
  ASSERT_EQ(Take(), good.certificate);
  const Pair other = NewPair();
  Stage({good.certificate, other.key});
  EXPECT_EQ(Take(), "the server's certificate and key do not belong together");
  EXPECT_EQ(Take(), "nothing");
  EXPECT_EQ(Current(), good.certificate);
  Stage(other, 0640);
  EXPECT_NE(Take(), other.certificate) << "others may read the key";
  chmod((At("staging") / "key.pem").c_str(), 0600);
  EXPECT_EQ(Take(), other.certificate) << "once it is mended";
}

TEST_F(CertificateFolderTest, HalfAPair_IsNotLookedAt) {
  std::ofstream(At("staging") / "cert.pem") << NewPair().certificate;
  EXPECT_EQ(Take(), "nothing");
  std::filesystem::remove(At("staging") / "cert.pem");
  std::filesystem::remove(At("staging"));
  EXPECT_EQ(Take(), "nothing") << "nor is a staging folder that is gone";
}

TEST_F(CertificateFolderTest, AnInstallationThatWasCutOff_IsDoneAgain) {
  const Pair before = NewPair();
  Stage(before);
  ASSERT_EQ(Take(), before.certificate);
  const Pair next = NewPair();
  Stage(next);
  // As a daemon that dies between the two renames leaves it.
  std::filesystem::rename(At("staging"), At("pair-2"));
  EXPECT_EQ(Current(), before.certificate);
  ASSERT_TRUE(folder_.Prepare());
  EXPECT_EQ(Take(), next.certificate);
  EXPECT_EQ(Current(), next.certificate);
}

TEST_F(CertificateFolderTest, ACurrentPairThatHasEnded_IsTold) {
  const Pair pair = NewPair();
  Stage(pair);
  ASSERT_EQ(Take(), pair.certificate);
  EXPECT_EQ(Current(kNow + kTtlS), "the server's certificate has expired");
}

}  // namespace
}  // namespace oauthvault::registry
