#include "client/vault.h"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "client/input.h"
#include "client/output.h"
#include "oauthvault/v1/accounts.pb.h"
#include "oauthvault/v1/attempts.pb.h"
#include "oauthvault/v1/credentials.pb.h"
#include "oauthvault/v1/operations.pb.h"
#include "oauthvault/v1/registry.pb.h"
#include "tests/client/fake_vault.h"
#include "tests/client/temporary_folder.h"

namespace oauthvault::client {
namespace {

using std::chrono::milliseconds;

std::string TextOf(const crypto::SecretBytes& secret) {
  return secret.Expose([](std::span<const std::uint8_t> bytes) {
    return std::string(bytes.begin(), bytes.end());
  });
}

class VaultTest : public testing::Test {
 protected:
  Vault Connected(milliseconds timeout = milliseconds(10'000)) {
    auto vault = Vault::Connect({.socket = folder_ / "v.sock", .timeout = timeout});
    EXPECT_TRUE(vault);
    return *std::move(vault);
  }

  TemporaryFolder folder_;
  FakeVault fake_{folder_ / "v.sock"};
};

TEST_F(VaultTest, Reveal_GivesTheBytesExactly) {
  v1::RevealResponse response;
  response.set_id("main");
  std::string data;
  for (int byte = 1; byte < 128; ++byte) data += static_cast<char>(byte);
  while (data.size() < kMaxDataSize) data += "\xE2\x82\xAC";
  response.set_data(data);
  response.set_app_secret("s3cret");
  fake_.Set("Credentials/Reveal", {.messages = {response.SerializeAsString()}});
  Vault vault = Connected();
  for (int round = 0; round < 3; ++round) {
    auto revealed = vault.Reveal({.project = "p", .component = "c", .id = "main"});
    ASSERT_TRUE(revealed) << revealed.error().message;
    EXPECT_EQ(TextOf(revealed->data.Bytes()), data);
    EXPECT_EQ(TextOf(revealed->app_secret.Bytes()), "s3cret");
  }
  v1::RevealRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Credentials/Reveal").front()));
  EXPECT_EQ(request.project(), "p");
  EXPECT_EQ(request.component(), "c");
  EXPECT_EQ(request.id(), "main");
  EXPECT_EQ(fake_.LastRequestId().size(), 32U);
}

TEST_F(VaultTest, Reveal_OfAMalformedAnswerIsCorrupt) {
  fake_.Set("Credentials/Reveal", {.messages = {"\x0A\x7F truncated"}});
  auto revealed = Connected().Reveal({.project = "p", .component = "c", .id = "main"});
  ASSERT_FALSE(revealed);
  EXPECT_EQ(revealed.error().code, Code::kCorrupt);
}

TEST_F(VaultTest, Inject_SendsAndGivesTheConfiguration) {
  v1::InjectResponse response;
  response.set_configuration("{\"filled\":true}");
  fake_.Set("Credentials/Inject", {.messages = {response.SerializeAsString()}});
  const auto in = crypto::SecretBytes::CopyOf("{}");
  auto injected = in.Expose([&](std::span<const std::uint8_t> bytes) {
    return Connected().Inject({.project = "p", .component = "c"}, bytes, OauthIdInOutput::kDropped);
  });
  ASSERT_TRUE(injected);
  EXPECT_EQ(TextOf(*injected), "{\"filled\":true}");
  v1::InjectRequest request;
  ASSERT_TRUE(request.ParseFromString(fake_.Requests("Credentials/Inject").front()));
  EXPECT_EQ(request.configuration(), "{}");
  EXPECT_TRUE(request.drop_id());
}

TEST_F(VaultTest, Failure_HasTheDaemonsCodeAndWords) {
  Vault vault = Connected();
  for (const Code code : {Code::kNotFound, Code::kUnauthenticated, Code::kDenied, Code::kInvalid,
                          Code::kConflict, Code::kStale, Code::kCorrupt, Code::kSealed,
                          Code::kUnavailable, Code::kExhausted}) {
    fake_.Set("Registry/GetProject", {.messages = {}, .code = code, .text = "the daemon's words"});
    v1::GetProjectRequest request;
    auto answer = vault.Call(request);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, code) << NameOf(code);
    EXPECT_EQ(answer.error().message, "the daemon's words");
  }
}

TEST_F(VaultTest, Failure_WithoutACodeFollowsTheStatusOfGrpc) {
  Vault vault = Connected();
  const std::vector<std::pair<int, Code>> table = {
      {5, Code::kNotFound},     {6, Code::kConflict},         {10, Code::kConflict},
      {9, Code::kStale},        {3, Code::kInvalid},          {11, Code::kInvalid},
      {12, Code::kInvalid},     {16, Code::kUnauthenticated}, {7, Code::kDenied},
      {15, Code::kCorrupt},     {8, Code::kExhausted},        {13, Code::kUnavailable},
      {2, Code::kUnavailable},  {1, Code::kUnavailable},
  };
  for (const auto& [status, code] : table) {
    fake_.Set("Registry/GetProject", {.messages = {}, .status = status, .text = "in between"});
    v1::GetProjectRequest request;
    auto answer = vault.Call(request);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, code) << status;
  }
}

TEST_F(VaultTest, Call_EndsAtItsDeadline) {
  fake_.Set("Operations/Status", {.messages = {""}, .delay = milliseconds(2000)});
  Vault vault = Connected(milliseconds(100));
  v1::StatusRequest request;
  auto answer = vault.Call(request);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_NE(answer.error().message.find("100 ms"), std::string::npos);
}

TEST_F(VaultTest, Read_SurvivesARestartOfTheDaemon) {
  fake_.Set("Operations/Status", {.messages = {v1::StatusResponse().SerializeAsString()}});
  Vault vault = Connected();
  v1::StatusRequest request;
  ASSERT_TRUE(vault.Call(request));
  fake_.Stop();
  std::thread restart([&] {
    std::this_thread::sleep_for(milliseconds(400));
    fake_.Start();
  });
  auto answer = vault.Call(request);
  restart.join();
  EXPECT_TRUE(answer) << answer.error().message;
}

TEST_F(VaultTest, Write_IsNotRepeatedWhenTheConnectionBreaks) {
  fake_.Set("Operations/Status", {.messages = {v1::StatusResponse().SerializeAsString()}});
  Vault vault = Connected();
  v1::StatusRequest status;
  ASSERT_TRUE(vault.Call(status));
  const auto is_not_repeated = [&](const std::string& method, auto call) {
    fake_.Set(method, {.messages = {}, .delay = milliseconds(300)});
    std::thread stop([&] {
      while (fake_.Requests(method).empty()) std::this_thread::sleep_for(milliseconds(5));
      fake_.Stop();
      fake_.Start();  // a repetition would be answered
    });
    EXPECT_FALSE(call()) << method;
    stop.join();
    EXPECT_EQ(fake_.Requests(method).size(), 1U) << method;
  };
  is_not_repeated("Registry/AddProject", [&] {
    v1::AddProjectRequest request;
    return vault.Call(request).has_value();
  });
  ASSERT_TRUE(vault.Call(status));
  is_not_repeated("Operations/AddSlot", [&] {
    v1::AddSlotRequest request;
    return vault.AddSlot(request).has_value();
  });
}

TEST_F(VaultTest, Call_WipesTheSecretsOfItsRequest) {
  v1::StoreRequest store;
  store.set_data("secret data");
  store.set_app_secret("secret app");
  const std::string* data = &store.data();
  const char* bytes = data->data();
  Vault vault = Connected();
  EXPECT_FALSE(vault.Call(store));  // the fake knows no answer; wiped all the same
  EXPECT_TRUE(store.data().empty());
  EXPECT_TRUE(store.app_secret().empty());
  EXPECT_EQ(std::string_view(bytes + 1, 4), std::string_view("\0\0\0\0", 4));

  v1::SetComponentRequest component;
  component.set_app_secret("secret");
  EXPECT_FALSE(vault.Call(component));
  EXPECT_TRUE(component.app_secret().empty());
  v1::SetAccountRequest account;
  account.set_api_token("secret");
  EXPECT_FALSE(vault.Call(account));
  EXPECT_TRUE(account.api_token().empty());
  v1::UnsealRequest unseal;
  unseal.set_text("secret");
  EXPECT_FALSE(vault.Call(unseal));
  EXPECT_TRUE(unseal.text().empty());
  v1::AddSlotRequest slot;
  slot.set_passphrase("secret");
  EXPECT_FALSE(vault.AddSlot(slot));
  EXPECT_TRUE(slot.passphrase().empty());
  v1::ReissueSlotRequest reissue;
  reissue.set_passphrase("secret");
  EXPECT_FALSE(vault.ReissueSlot(reissue));
  EXPECT_TRUE(reissue.passphrase().empty());

  v1::StoreRequest sent;
  ASSERT_TRUE(sent.ParseFromString(fake_.Requests("Credentials/Store").front()));
  EXPECT_EQ(sent.data(), "secret data");
}

TEST_F(VaultTest, Watch_GivesEveryStateAndEndsWithTheFinalOne) {
  v1::Attempt started;
  started.set_state(v1::ATTEMPT_STATE_STARTED);
  v1::Attempt stored;
  stored.set_state(v1::ATTEMPT_STATE_STORED);
  stored.set_final(true);
  fake_.Set("Attempts/Watch",
            {.messages = {started.SerializeAsString(), stored.SerializeAsString()}});
  std::vector<v1::AttemptState> seen;
  v1::WatchAttemptRequest request;
  const auto watched = Connected().Watch(request, {}, [&](const v1::Attempt& attempt) {
    seen.push_back(attempt.state());
    return true;
  });
  EXPECT_TRUE(watched);
  EXPECT_EQ(seen, (std::vector{v1::ATTEMPT_STATE_STARTED, v1::ATTEMPT_STATE_STORED}));
}

TEST_F(VaultTest, WatchCredentials_GivesEveryEventAndTheReasonOfTheEnd) {
  v1::CredentialsEvent standing;
  standing.mutable_standing()->set_id("main");
  v1::CredentialsEvent caught_up;
  caught_up.set_caught_up(true);
  fake_.Set("Credentials/Watch",
            {.messages = {standing.SerializeAsString(), caught_up.SerializeAsString()},
             .code = Code::kDenied, .text = "no longer"});
  int events = 0;
  v1::WatchCredentialsRequest request;
  const auto count = [&](const v1::CredentialsEvent&) { return ++events != 0; };
  const auto watched = Connected().WatchCredentials(request, {}, count);
  ASSERT_FALSE(watched);
  EXPECT_EQ(watched.error().code, Code::kDenied);
  EXPECT_EQ(events, 2);
  EXPECT_TRUE(Connected().WatchCredentials(
      request, {}, [](const v1::CredentialsEvent&) { return false; }));
}

TEST(Connect, NamesWhatIsMissing) {
  const TemporaryFolder folder;
  std::ofstream(folder / "not.pem") << "no pem";
  const auto told = [](const Options& options, std::string_view words) {
    auto vault = Vault::Connect(options);
    return !vault && vault.error().code == Code::kInvalid &&
           vault.error().message.find(words) != std::string::npos;
  };
  EXPECT_TRUE(told({}, "--socket PATH (OAUTHVAULT_SOCKET)"));
  EXPECT_TRUE(told({.socket = "a", .address = "b"}, "not both"));
  EXPECT_TRUE(told({.socket = std::string(108, 'a')}, "107"));
  EXPECT_TRUE(told({.address = "localhost:1"}, "--identity"));
  EXPECT_TRUE(told({.address = "localhost:1", .identity = folder / "none"}, "ca.pem"));
  EXPECT_TRUE(told({.address = "localhost:1", .ca = folder / "not.pem"}, "not PEM"));
}

/// The failure of a call to a TLS door.
Failure Refusal(const Options& options) {
  auto vault = Vault::Connect(options);
  if (!vault) return vault.error();
  v1::StatusRequest request;
  auto answer = vault->Call(request);
  return answer ? Failure{Code::kConflict, "it was answered"} : answer.error();
}

TEST(Tls, WithTheIdentityOfTheVaultsCa_IsAnswered) {
  const TemporaryFolder folder;
  MakeIdentity(folder / "id");
  FakeVault fake(folder / "id", FakeVault::ClientCertificate::kAsked);
  fake.Set("Operations/Status", {.messages = {v1::StatusResponse().SerializeAsString()}});
  for (const char* host : {"localhost:", "127.0.0.1:"}) {
    EXPECT_EQ(Refusal({.address = host + std::to_string(fake.Port()), .identity = folder / "id"})
                  .message,
              "it was answered");
  }
}

TEST(Tls, Refusals_AreToldApart) {
  const TemporaryFolder folder;
  MakeIdentity(folder / "id");
  MakeIdentity(folder / "other");
  FakeVault fake(folder / "id", FakeVault::ClientCertificate::kAsked);
  const std::string address = "localhost:" + std::to_string(fake.Port());

  const Failure none = Refusal({.address = address, .ca = folder / "id" / "ca.pem"});
  EXPECT_EQ(none.code, Code::kUnauthenticated);
  EXPECT_NE(none.message.find("it wants a client certificate (--cert and --key"), std::string::npos)
      << none.message;

  const Failure foreign = Refusal({.address = address,
                                   .certificate = folder / "other" / "cert.pem",
                                   .key = folder / "other" / "key.pem",
                                   .ca = folder / "id" / "ca.pem"});
  EXPECT_EQ(foreign.code, Code::kUnauthenticated);
  EXPECT_NE(foreign.message.find("does not take this certificate"), std::string::npos)
      << foreign.message;

  const Failure wrong_ca = Refusal({.address = address, .identity = folder / "other"});
  EXPECT_EQ(wrong_ca.code, Code::kUnauthenticated);
  EXPECT_NE(wrong_ca.message.find("the given CA did not sign"), std::string::npos)
      << wrong_ca.message;

  MakeIdentity(folder / "elsewhere", "DNS:elsewhere.example");
  FakeVault named_otherwise(folder / "elsewhere", FakeVault::ClientCertificate::kAsked);
  const Failure name =
      Refusal({.address = "localhost:" + std::to_string(named_otherwise.Port()),
               .identity = folder / "elsewhere"});
  EXPECT_EQ(name.code, Code::kUnauthenticated);
  EXPECT_NE(name.message.find("is not for the name"), std::string::npos) << name.message;

  const Failure mixed = Refusal({.address = address,
                                 .certificate = folder / "id" / "cert.pem",
                                 .key = folder / "other" / "key.pem",
                                 .ca = folder / "id" / "ca.pem"});
  EXPECT_NE(mixed.message.find("do not belong together"), std::string::npos) << mixed.message;

  fake.Stop();
  const Failure gone = Refusal({.address = address, .identity = folder / "id"});
  EXPECT_EQ(gone.code, Code::kUnavailable);
  EXPECT_NE(gone.message.find("nobody answers"), std::string::npos) << gone.message;
}

TEST(Input, Utf8_FollowsRfc3629) {
  const auto valid = [](std::string_view text) {
    return IsUtf8(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  };
  EXPECT_TRUE(valid("plain \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xF4\x8F\xBF\xBF"));
  for (const char* text : {"\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xE2\x82",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3x"}) {
    EXPECT_FALSE(valid(text));
  }
}

TEST(Input, Duration_HasUnits) {
  EXPECT_EQ(ParseDuration("90", "--ttl")->count(), 90);
  EXPECT_EQ(ParseDuration("15m", "--ttl")->count(), 900);
  EXPECT_EQ(ParseDuration("24h", "--ttl")->count(), 86'400);
  EXPECT_EQ(ParseDuration("30d", "--ttl")->count(), 2'592'000);
  for (const char* text : {"", "0", "-1h", "h", "1w", "1h ", "99999999999999999999"}) {
    EXPECT_FALSE(ParseDuration(text, "--ttl")) << text;
  }
}

TEST(Output, Size_HasTheLargestUnitThatFits) {
  EXPECT_EQ(RenderSize(0), "0 B");
  EXPECT_EQ(RenderSize(1023), "1023 B");
  EXPECT_EQ(RenderSize(1024), "1.0 KiB");
  EXPECT_EQ(RenderSize(1'048'575), "1.0 MiB");
  EXPECT_EQ(RenderSize(1'572'864), "1.5 MiB");
  EXPECT_EQ(RenderSize(UINT64_MAX), "16777216.0 TiB");
}

}  // namespace
}  // namespace oauthvault::client
