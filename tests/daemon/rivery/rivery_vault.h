#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/rivery/accounts.h"
#include "daemon/rivery/attempts.h"
#include "daemon/rivery/client.h"
#include "daemon/rivery/rate.h"
#include "tests/daemon/custody/test_vault.h"
#include "tests/fakes/rivery/standin.h"

namespace oauthvault::rivery {

inline constexpr std::string_view kApiToken = "canary-api-token-5b1f";
inline constexpr Reach kLoopback{.allow_loopback = true};
inline constexpr std::string_view kData =
    R"({"access_token": "canary-access-77aa","refresh_token":"canary-refresh-88bb"})";

/// A vault, a stand-in Rivery, and the account `eu` on it that every project may use.
class RiveryVault : public testing::Test {
 protected:
  explicit RiveryVault(fakes::TestVault::On on = fakes::TestVault::On::kMemory) : vault_(on) {}

  void SetUp() override {
    auto started = fakes::StandIn::Start(
        {.tokens = {{.token = std::string(kApiToken)}}, .knobs = {}, .log = &log_});
    ASSERT_TRUE(started);
    standin_ = std::move(*started);
    Allow({"*"});
  }

  /// Who may use the account from now on.
  void Allow(std::vector<std::string> projects) {
    AccountFields fields;
    fields.base_url = standin_->BaseUrl();
    fields.token = crypto::ApiToken(fakes::BytesOf(kApiToken));
    fields.projects = std::move(projects);
    auto set = SetAccount(vault_.Store(), account_, std::move(fields), kLoopback,
                          fakes::SetupAct(), fakes::kVaultNow);
    ASSERT_TRUE(set) << set.error().Message();
  }

  /// How many requests of an operation the stand-in has seen.
  int Requests(std::string_view operation) const {
    return standin_->State().at("requests").at(std::string(operation)).get<int>();
  }
  int AllRequests() const {
    const fakes::Json state = standin_->State();
    int sum = 0;
    for (const fakes::Json& count : state.at("requests")) sum += count.get<int>();
    return sum;
  }
  fakes::Json Remote() const { return standin_->State().at("connections"); }

  /// A connection that somebody makes in Rivery itself. Its id.
  std::string MakeRemotely(std::string_view name, std::string_view credentials = "{\"a\":1}") {
    const crypto::ApiToken token(fakes::BytesOf(kApiToken));
    auto created = client_.Create({standin_->BaseUrl(), token}, "gspreadsheet", name,
                                  fakes::BytesOf(credentials));
    EXPECT_TRUE(created);
    return created ? created->id : "";
  }

  Rate rate_{100'000};  // what it does is tested in rate_test.cc
  const AccountId account_ = *AccountId::Parse("eu");
  fakes::TestVault vault_;
  std::ostringstream log_;
  std::unique_ptr<fakes::StandIn> standin_;
  const Client client_{{},
                       Limits{.connect_timeout = std::chrono::milliseconds(2'000),
                              .call_timeout = std::chrono::milliseconds(8'000),
                              .max_reply_bytes = std::size_t{256} * 1024,
                              .max_header_bytes = std::size_t{16} * 1024,
                              .low_speed_bytes = 100,
                              .low_speed_time = std::chrono::seconds(1)},
                       kLoopback};
};

}  // namespace oauthvault::rivery
