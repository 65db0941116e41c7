// The server as a whole: health, idle connections, floods, and how it stops.

#include "daemon/rpc/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/daemon/rpc/vault_fixture.h"

namespace oauthvault::rpc {
namespace {

// grpc.health.v1.HealthCheckResponse, as bytes.
const std::string kServing = "\x08\x01";
const std::string kNotServing = "\x08\x02";
const std::string kServiceUnknown = "\x08\x03";

// From one of 127.0.0.0/8.
Descriptor ConnectIdle(const Vault& vault, const char* from = "127.0.0.1") {
  const std::string& address = vault.Address();
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port =
      htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  Descriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in own{};
  own.sin_family = AF_INET;
  inet_pton(AF_INET, from, &own.sin_addr);
  EXPECT_EQ(bind(client.Get(), reinterpret_cast<sockaddr*>(&own), sizeof own), 0);
  EXPECT_EQ(connect(client.Get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return client;
}

// Whether the other side closes it within `limit`. gRPC may say something before it does.
bool IsClosedWithin(const Descriptor& client, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    pollfd waited{client.Get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&waited, 1, static_cast<int>(left.count())) != 1) return false;
    char bytes[256];
    if (read(client.Get(), bytes, sizeof bytes) <= 0) return true;
  }
}

// Follows the health of the server, as load balancers do.
class HealthWatch final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit HealthWatch(const std::shared_ptr<grpc::Channel>& channel,
                       const std::string& request = "")
      : stub_(channel), context_(std::make_unique<grpc::ClientContext>()) {
    stub_.PrepareBidiStreamingCall(context_.get(), "/grpc.health.v1.Health/Watch",
                                   grpc::StubOptions{}, this);
    const grpc::Slice bytes(request);
    request_ = grpc::ByteBuffer(&bytes, 1);
    StartWriteLast(&request_, grpc::WriteOptions());
    StartRead(&answer_);
    StartCall();
  }
  ~HealthWatch() override {
    std::unique_lock lock(guard_);
    changed_.wait(lock, [this] { return done_; });
  }

  void Cancel() { context_->TryCancel(); }

  bool WaitFor(const std::string& state) {
    std::unique_lock lock(guard_);
    return changed_.wait_for(lock, kPatience, [&] { return last_ == state; });
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    std::vector<grpc::Slice> slices;
    std::string bytes;
    if (answer_.Dump(&slices).ok()) {
      for (const auto& slice : slices) {
        bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
      }
    }
    {
      const std::lock_guard lock(guard_);
      last_ = bytes;
      changed_.notify_all();
    }
    answer_.Clear();
    StartRead(&answer_);
  }
  void OnDone(const grpc::Status&) override {
    const std::lock_guard lock(guard_);
    done_ = true;
    changed_.notify_all();
  }

 private:
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer answer_;
  std::mutex guard_;  // guards last_ and done_
  std::condition_variable changed_;
  std::string last_;
  bool done_ = false;
};

TEST(Server, Health_AnswersOnBothDoors) {
  Vault vault;
  const auto by_unix = CallRaw(vault.Unix(), "/grpc.health.v1.Health/Check", "");
  EXPECT_TRUE(by_unix.status.ok()) << by_unix.status.error_message();
  EXPECT_EQ(by_unix.bytes, kServing);
  const auto by_tcp =
      CallRaw(vault.Tcp(vault.Issue("runner/r")), "/grpc.health.v1.Health/Check", "");
  EXPECT_TRUE(by_tcp.status.ok()) << by_tcp.status.error_message();
  EXPECT_EQ(by_tcp.bytes, kServing);
}

TEST(Server, Health_OfAServiceByName_IsNotKnown) {
  Vault vault;
  const std::string named = "\x0a\x03" "abc";
  EXPECT_EQ(CallRaw(vault.Unix(), "/grpc.health.v1.Health/Check", named).status.error_code(),
            grpc::StatusCode::NOT_FOUND);
  HealthWatch health(vault.Unix(), named);
  EXPECT_TRUE(health.WaitFor(kServiceUnknown));
  health.Cancel();
}

TEST(Server, EveryCall_IsCountedOnceByItsMethodAndHowItEnded) {
  Vault vault;
  const auto runner = vault.Tcp(vault.Issue("runner/r"));
  EXPECT_TRUE(Ask(vault.Unix()).ok());
  EXPECT_TRUE(Ask(runner).ok());
  EXPECT_FALSE(Reveal(runner, "main").status.ok());
  const std::string on_the_pair = "\x0a\x04" "acme" "\x12\x06" "sheets" "\x1a\x01" "a";
  EXPECT_FALSE(BeginRaw(runner, "/oauthvault.v1.Attempts/Watch", on_the_pair).status.ok());
  EXPECT_TRUE(CallRaw(runner, "/grpc.health.v1.Health/Check", "").status.ok());
  EXPECT_FALSE(CallRaw(runner, "/some.Other/Method", "").status.ok());
  const std::string counted = vault.CountedCalls();
  for (const char* line : {"method=\"Operations.Status\",outcome=\"OK\"} 2\n",
                           "method=\"Credentials.Reveal\",outcome=\"DENIED\"} 1\n",
                           "method=\"Attempts.Watch\",outcome=\"DENIED\"} 1\n",
                           "method=\"other\",outcome=\"OK\"} 1\n",
                           "method=\"other\",outcome=\"REFUSED\"} 1\n"}) {
    EXPECT_NE(counted.find(line), std::string::npos) << line << counted;
  }
}

TEST(Server, AMethodThatIsNotInTheContract_IsUnimplemented) {
  Vault vault;
  EXPECT_EQ(CallRaw(vault.Unix(), "/oauthvault.v1.Credentials/Steal", "").status.error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST(Server, WhatTheContractHasIs_NotToldToStrangers) {
  Vault vault;
  EXPECT_EQ(CallRaw(vault.Unix(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                    "")
                .status.error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST(Server, ACompressedRequest_IsNotUnpacked) {
  Vault vault;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::RevealRequest request;
  request.set_project(kProject);
  request.set_component(kComponent);
  request.set_id(std::string(4096, 'x'));  // small things are not compressed
  v1::RevealResponse response;
  EXPECT_EQ(v1::Credentials::NewStub(vault.Unix())->Reveal(&context, request, &response)
                .error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST(Server, AConnectionWithoutAHandshake_IsClosed) {
  Vault vault({.handshake_timeout = std::chrono::milliseconds(300)});
  const Descriptor silent = ConnectIdle(vault);
  EXPECT_TRUE(IsClosedWithin(silent, std::chrono::seconds(5)));
  const Descriptor babbling = ConnectIdle(vault);
  ASSERT_EQ(write(babbling.Get(), "\x16\x03\x01", 3), 3);  // a TLS record begins, and no more
  EXPECT_TRUE(IsClosedWithin(babbling, std::chrono::seconds(5)));
}

TEST(Server, AfterAFloodOfIdleConnections_AGoodClientIsServed) {
  Vault vault({.max_connections = 20, .handshake_timeout = std::chrono::milliseconds(300)});
  const ClientIdentity identity = vault.Issue("runner/r");
  std::vector<Descriptor> flood;
  for (int i = 0; i < 200; ++i) flood.push_back(ConnectIdle(vault));
  v1::StatusResponse response;
  const auto context = NewContext();
  context->set_wait_for_ready(true);
  const auto status = v1::Operations::NewStub(vault.Tcp(identity))
                          ->Status(context.get(), {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  for (const Descriptor& idle : flood) EXPECT_TRUE(IsClosedWithin(idle, kPatience));
}

TEST(Server, AFloodFromOneAddress_LeavesPlacesForOthers) {
  Vault vault({.max_connections = 20, .handshake_timeout = std::chrono::seconds(60),
               .max_connections_per_address = 10});
  const ClientIdentity identity = vault.Issue("runner/r");
  std::vector<Descriptor> flood;
  for (int i = 0; i < 40; ++i) flood.push_back(ConnectIdle(vault, "127.0.0.9"));
  EXPECT_TRUE(Ask(vault.Tcp(identity)).ok()) << "long before a handshake's time is over";
  EXPECT_GE(vault.GetCounters().tcp.refused_of_address, 30u);
}

TEST(Server, TheCapOfOneDoor_LeavesTheOtherOpen) {
  Vault vault({.max_connections = 2, .handshake_timeout = std::chrono::seconds(60)});
  const Descriptor first = ConnectIdle(vault);
  const Descriptor second = ConnectIdle(vault);
  const Descriptor third = ConnectIdle(vault);
  EXPECT_TRUE(IsClosedWithin(third, kPatience));
  EXPECT_TRUE(Ask(vault.Unix()).ok());
}

TEST(Server, AsManyIdleConnectionsAsThereArePlacesFor_AreKept) {
  // Their own memory is beside what calls may take, so hardly any is left to calls.
  Vault vault({.max_connections = 64, .receive_memory = 256 * 1024});
  const ClientIdentity identity = vault.Issue("runner/r");
  std::vector<std::shared_ptr<grpc::Channel>> idle;
  for (int i = 0; i < 64; ++i) {
    idle.push_back(vault.Tcp(identity));
    ASSERT_TRUE(idle.back()->WaitForConnected(std::chrono::system_clock::now() + kPatience));
  }
  // A channel that was sent away comes again for its call.
  for (const auto& channel : idle) EXPECT_TRUE(Ask(channel).ok());
  EXPECT_EQ(vault.GetCounters().tcp.accepted, 64u);
}

TEST(Server, Stop_SaysSoFirstAndLetsCallsFinish) {
  Vault vault;
  vault.Grant("runner/r", kProject, kComponent, {access::Right::kReveal});
  vault.PutCredentials(kProject, kComponent, "main", "{}");
  const auto channel = vault.Tcp(vault.Issue("runner/r"));
  HealthWatch health(vault.Unix());
  ASSERT_TRUE(health.WaitFor(kServing));
  std::latch under_way(1);
  std::latch go_on(1);
  vault.Engine().after_read = [&, once = std::make_shared<std::atomic_flag>()] {
    if (once->test_and_set()) return;
    under_way.count_down();
    go_on.wait();
  };
  Revealed revealed;
  std::thread caller([&] { revealed = Reveal(channel, "main"); });
  under_way.wait();
  std::thread stopper([&] { vault.TheServer().Stop(std::chrono::seconds(3)); });
  EXPECT_TRUE(health.WaitFor(kNotServing)) << "while the call is under way";
  go_on.count_down();
  caller.join();
  EXPECT_TRUE(revealed.status.ok()) << revealed.status.error_message();
  stopper.join();
  EXPECT_FALSE(Ask(vault.Unix()).ok()) << "the doors are closed";
}

TEST(Server, Stop_DoesNotWaitForWhoFollowsItsHealth) {
  Vault vault;
  HealthWatch health(vault.Unix());
  HealthWatch unknown(vault.Unix(), "\x0a\x03" "abc");
  ASSERT_TRUE(health.WaitFor(kServing));
  ASSERT_TRUE(unknown.WaitFor(kServiceUnknown));
  std::future<void> stopped =
      std::async(std::launch::async, [&] { vault.TheServer().Stop(std::chrono::hours(1)); });
  EXPECT_TRUE(health.WaitFor(kNotServing));
  EXPECT_EQ(stopped.wait_for(kPatience), std::future_status::ready);
  health.Cancel();  // where they were not ended
  unknown.Cancel();
}

TEST(Server, Stop_BeyondItsPatience_GivesCallersUpAndWaitsForTheirStories) {
  Vault vault;
  vault.Grant("runner/r", kProject, kComponent, {access::Right::kReveal});
  vault.PutCredentials(kProject, kComponent, "main", "{}");
  const auto channel = vault.Tcp(vault.Issue("runner/r"));
  std::latch under_way(1);
  std::latch go_on(1);
  vault.Engine().after_read = [&, once = std::make_shared<std::atomic_flag>()] {
    if (once->test_and_set()) return;
    under_way.count_down();
    go_on.wait();
  };
  Revealed revealed;
  std::thread caller([&] { revealed = Reveal(channel, "main"); });
  under_way.wait();
  std::atomic<bool> stopped = false;
  std::thread stopper([&] {
    vault.TheServer().Stop(std::chrono::milliseconds(100));
    stopped = true;
  });
  caller.join();
  EXPECT_FALSE(revealed.status.ok());
  EXPECT_EQ(revealed.response.data(), "");
  EXPECT_FALSE(stopped);
  go_on.count_down();
  stopper.join();
}

TEST(Server, Stop_Twice_IsNoError) {
  Vault vault;
  EXPECT_TRUE(Ask(vault.Unix()).ok());
  vault.TheServer().Stop(std::chrono::seconds(1));
  vault.TheServer().Stop(std::chrono::seconds(1));
}

TEST(Server, AnswersOfOneBatchToOneConnectionAreCorked) {
  Vault vault;
  vault.Grant("runner/r", kProject, kComponent, {access::Right::kReveal});
  vault.PutCredentials(kProject, kComponent, "id", "data");
  const auto channel = vault.Tcp(vault.Issue("runner/r"));
  ASSERT_TRUE(Reveal(channel, "id").status.ok());
  EXPECT_EQ(vault.GetCorks().Corked(), 0u);
  // The first line, whose answer leaves alone, waits until the others stand behind it: one batch.
  constexpr std::size_t kOthers = 5;
  vault.before_write = [&vault, first = true]() mutable {
    if (!std::exchange(first, false)) return;
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (vault.Trail().GetLag().lines < 1 + kOthers && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
    }
  };
  std::vector<std::future<Revealed>> answers;
  for (std::size_t i = 0; i < 1 + kOthers; ++i) {
    answers.push_back(std::async(std::launch::async, [&] { return Reveal(channel, "id"); }));
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.get().status.ok());
  EXPECT_EQ(vault.GetCorks().Corked(), kOthers);
  vault.before_write = nullptr;
}

}  // namespace
}  // namespace oauthvault::rpc
