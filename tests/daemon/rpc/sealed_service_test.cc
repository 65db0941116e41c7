#include "daemon/rpc/sealed_service.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <google/protobuf/descriptor.h>

#include "crypto/locked_memory.h"
#include "daemon/rpc/access_rules.h"
#include "daemon/rpc/server.h"
#include "tests/daemon/rpc/vault_fixture.h"
#include "tests/storage/temporary_folder.h"

namespace oauthvault::rpc {
namespace {

template <class T>
T Must(Result<T> result) {
  EXPECT_TRUE(result) << (result ? "" : result.error().Message());
  return std::move(*result);
}

// A sealed vault behind its doors, with a passphrase's slot that is cheap to try.
class SealedServiceTest : public testing::Test {
 protected:
  SealedServiceTest() {
    EXPECT_TRUE(crypto::Prepare());
    crypto::NewSlot wanted{.kind = crypto::SlotKind::kPassphrase, .label = "test"};
    wanted.passphrase = crypto::SecretBytes::CopyOf(kPassphrase);
    wanted.cost = crypto::kLeastPassphraseCost;
    const auto keys = folder_.Path() / "keys";
    EXPECT_TRUE(crypto::Keyring::Create(keys, wanted));
    service_.emplace(Must(crypto::Unlocker::Read(keys)), workers_, facts_, counters_,
                     [this](SealedService::Opened opened) { opened_ = std::move(opened); });
    const auto socket = folder_.Path() / "socket";
    Methods methods(rules_);
    service_->AddTo(methods);
    server_ = Must(Server::StartSealed(Must(ListenTcp("127.0.0.1:0")), Must(ListenUnix(socket)),
                                       std::move(methods), {10, std::chrono::seconds(3), 10, 10},
                                       counters_));
    channel_ = grpc::CreateChannel("unix:" + socket.string(),
                                   grpc::experimental::LocalCredentials(UDS));
  }
  ~SealedServiceTest() override { server_->Stop(std::chrono::milliseconds(0)); }

  Result<v1::UnsealResponse> Unseal(const std::string& text) {
    const auto stub = v1::Operations::NewStub(channel_);
    grpc::ClientContext context;
    v1::UnsealRequest request;
    request.set_text(text);
    v1::UnsealResponse response;
    const grpc::Status status = stub->Unseal(&context, request, &response);
    if (status.ok()) return response;
    code_ = status.error_code();
    return Fail(Code::kDenied, "the test's secret was refused");
  }

  static constexpr char kPassphrase[] = "a passphrase of the test";
  const storage::TemporaryFolder folder_;
  const DaemonFacts facts_{"0.0.1-test", "vault.test", "127.0.0.1:1", 7, {}, {}};
  const AccessRules rules_ = Must(AccessRules::FromContract(ContractServices()));
  Workers workers_{"unseal", 1, 4};
  Counters counters_;
  std::optional<SealedService> service_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::optional<SealedService::Opened> opened_;
  grpc::StatusCode code_ = grpc::StatusCode::OK;
};

TEST_F(SealedServiceTest, EveryMethodOfTheContractButTwoIsSealed) {
  int walked = 0;
  for (const std::string_view name : ContractServices()) {
    const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
        std::string(name));
    ASSERT_NE(service, nullptr) << name;
    for (int i = 0; i < service->method_count(); ++i, ++walked) {
      const std::string method = "/" + service->full_name() + "/" + service->method(i)->name();
      const RawAnswer answer = CallRaw(channel_, method, "");
      if (method == "/oauthvault.v1.Operations/Status") {
        EXPECT_TRUE(answer.status.ok());
      } else if (method == "/oauthvault.v1.Operations/Unseal") {
        EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
      } else {
        EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE) << method;
        EXPECT_EQ(answer.status.error_message(), "the vault is sealed") << method;
      }
    }
  }
  EXPECT_GT(walked, 40);
  EXPECT_EQ(CallRaw(channel_, "/some.Other/Method", "").status.error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(SealedServiceTest, CountsWhatWasRefusedAndOpensOnce) {
  EXPECT_FALSE(Unseal("not the passphrase"));
  EXPECT_EQ(code_, grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_FALSE(Unseal(std::string(4097, 'x')));
  EXPECT_EQ(code_, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_FALSE(Unseal("ov1-not-a-share"));
  const auto opened = Unseal(kPassphrase);
  ASSERT_TRUE(opened);
  EXPECT_TRUE(opened->open());
  ASSERT_TRUE(opened_ && opened_->keyring);
  // What has no size to be a secret was not tried.
  EXPECT_EQ(opened_->refused, 2U);
  EXPECT_FALSE(Unseal(kPassphrase));
  EXPECT_EQ(code_, grpc::StatusCode::ALREADY_EXISTS);
}

}  // namespace
}  // namespace oauthvault::rpc
