// Credentials of any content: what is put is what injection writes and another reader finds.

#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "daemon/custody/inject.h"
#include "daemon/custody/reveal.h"
#include "daemon/custody/store.h"
#include "daemon/custody/versions.h"
#include "tests/daemon/custody/test_vault.h"

namespace oauthvault::custody {
namespace {

using access::Right;
using Json = nlohmann::ordered_json;

// Text of any characters that UTF-8 has, with many that JSON writes in a way of its own.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  std::size_t UpTo(std::size_t most) { return random_() % (most + 1); }

  std::string Text(std::size_t characters, bool for_people) {
    static constexpr std::string_view kSpecial = "\"\\/{}[]:,'\x7f \x01\n\r\t\x1f";
    std::string text;
    for (std::size_t i = 0; i < characters; ++i) {
      switch (random_() % 5) {
        case 0: text += for_people ? '"' : kSpecial[random_() % kSpecial.size()]; break;
        case 1: AppendUtf8(CodePoint(), text); break;
        case 2: text += for_people ? "x" : std::string(1, '\0'); break;
        default: text += static_cast<char>(' ' + random_() % 95);
      }
    }
    return text;
  }

 private:
  char32_t CodePoint() {
    const auto point = static_cast<char32_t>(0xA0 + random_() % (0x10FFFF - 0xA0));
    return point >= 0xD800 && point < 0xE000 ? 0x20AC : point;
  }
  static void AppendUtf8(char32_t point, std::string& text) {
    const auto tail = [&](int shift) {
      text += static_cast<char>(0x80U | ((point >> shift) & 0x3FU));
    };
    if (point < 0x800) {
      text += static_cast<char>(0xC0U | (point >> 6U));
    } else if (point < 0x10000) {
      text += static_cast<char>(0xE0U | (point >> 12U));
      tail(6);
    } else {
      text += static_cast<char>(0xF0U | (point >> 18U));
      tail(12);
      tail(6);
    }
    tail(0);
  }

  std::mt19937 random_;
};

class GeneratedCredentials : public testing::Test {
 protected:
  Json Injected() {
    std::promise<Result<crypto::SecretBytes>> promise;
    auto future = promise.get_future();
    custody::Inject(vault_.PermitFor(Right::kReveal),
                    {.document = fakes::BytesOf(
                         R"({"authorization":{"oauth_api":{"id":"one"}}})")},
                    fakes::TestVault::Caller(), vault_.Store(), vault_.Keys(), vault_.Trail(),
                    [&](Result<crypto::SecretBytes> injected) {
                      promise.set_value(std::move(injected));
                    });
    const auto injected = future.get();
    if (!injected) return injected.error().Message();
    return Json::parse(fakes::TextOf(*injected), nullptr, false)
        .at("authorization").at("oauth_api").at("credentials");
  }

  fakes::TestVault vault_;
};

TEST_F(GeneratedCredentials, PutInjectedAndParsed_AreTheSameEightKeysAndSoAreFormerVersions) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Generator any(seed);
  constexpr int kRounds = 60;
  Json before;
  for (int round = 1; round <= kRounds; ++round) {
    NewCredentials credentials{.id = fakes::TestVault::IdOf("one")};
    const std::string data = any.Text(1 + any.UpTo(round == 7 ? 16'000 : 300), false);
    const std::string app_secret = any.UpTo(1) == 0 ? "" : any.Text(1 + any.UpTo(40), false);
    credentials.data = crypto::CredentialsData(fakes::BytesOf(data));
    credentials.authorized_for = any.Text(any.UpTo(40), true);
    credentials.creator_description = any.Text(any.UpTo(40), true);
    if (!app_secret.empty()) {
      credentials.app_key = any.Text(1 + any.UpTo(20), true);
      credentials.app_secret = crypto::AppSecret(fakes::BytesOf(app_secret));
    }
    Json expected;
    expected["id"] = "one";
    expected["authorizedFor"] = credentials.authorized_for;
    expected["creator"]["id"] = fakes::kRunner;
    expected["creator"]["description"] = credentials.creator_description;
    expected["created"] = CreatedText(fakes::kVaultNow + round);
    expected["#data"] = data;
    expected["oauthVersion"] = "2.0";
    expected["appKey"] =
        app_secret.empty() ? std::string(fakes::kComponentClient) : credentials.app_key;
    expected["#appSecret"] =
        app_secret.empty() ? std::string(fakes::kComponentSecret) : app_secret;

    const auto stored = Put(vault_.PermitFor(Right::kStore), std::move(credentials),
                            IfThere::kReplace, KeptVersions{}, fakes::ActBy(fakes::kRunner),
                            vault_.Store(), fakes::kVaultNow + round);
    ASSERT_TRUE(stored) << stored.error().Message();
    ASSERT_EQ(Injected(), expected) << "round " << round;

    // There and back again: what they were before is a version, and nothing is lost of either.
    if (round > 1 && round % 10 == 0) {
      ASSERT_TRUE(RollBack(vault_.PermitFor(Right::kStore), fakes::TestVault::IdOf("one"),
                           stored->version - 1, KeptVersions{}, fakes::SetupAct(),
                           vault_.Store()));
      ASSERT_EQ(Injected(), before) << "round " << round;
    }
    before = std::move(expected);
  }
}

}  // namespace
}  // namespace oauthvault::custody
