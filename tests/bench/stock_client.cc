// What a client of grpc++ sees: raw bytes through its callback interface, in a closed loop.
//   stock_client ADDRESS CA CERTIFICATE KEY METHOD REQUESTS IN_FLIGHT CONNECTIONS SECONDS
// REQUESTS holds gRPC frames. Prints one JSON object.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/histogram.h"

namespace oauthvault::bench {
namespace {

using Clock = std::chrono::steady_clock;

std::string ReadAll(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<grpc::ByteBuffer> MessagesIn(const std::string& frames) {
  std::vector<grpc::ByteBuffer> messages;
  for (std::size_t at = 0; at + 5 <= frames.size();) {
    std::size_t size = 0;
    for (std::size_t i = at + 1; i < at + 5; ++i) {
      size = size << 8 | static_cast<unsigned char>(frames[i]);
    }
    const grpc::Slice slice(frames.data() + at + 5, size);
    messages.emplace_back(&slice, 1);
    at += 5 + size;
  }
  return messages;
}

struct Shared {
  std::string method;
  std::vector<grpc::ByteBuffer> messages;
  std::atomic<std::size_t> next = 0;
  std::atomic<std::uint64_t> errors = 0;
  std::atomic<bool> stopping = false;
  std::atomic<std::size_t> running = 0;
  std::mutex guard;  // guards times
  Histogram times;
};

// One place in flight: asks again when it is answered.
class Place {
 public:
  Place(Shared& shared, std::shared_ptr<grpc::Channel> channel)
      : shared_(shared), stub_(std::move(channel)) {}

  void Ask() {
    context_ = std::make_unique<grpc::ClientContext>();
    context_->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    const std::size_t at = shared_.next++ % shared_.messages.size();
    began_ = Clock::now();
    answer_.Clear();
    stub_.UnaryCall(context_.get(), shared_.method, {}, &shared_.messages[at], &answer_,
                    [this](const grpc::Status& status) { Note(status); });
  }

 private:
  void Note(const grpc::Status& status) {
    if (status.ok()) {
      const std::lock_guard lock(shared_.guard);
      shared_.times.Count((Clock::now() - began_).count());
    } else {
      ++shared_.errors;
    }
    if (shared_.stopping) return --shared_.running, void();
    Ask();
  }

  Shared& shared_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  grpc::ByteBuffer answer_;
  Clock::time_point began_;
};

double OwnCpuUs() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

int Run(int count, char** words) {
  if (count != 10) return 1;
  Shared shared;
  shared.method = words[5];
  shared.messages = MessagesIn(ReadAll(words[6]));
  const std::size_t in_flight = std::stoul(words[7]);
  const std::size_t connections = std::stoul(words[8]);
  const double seconds = std::stod(words[9]);
  const auto credentials =
      grpc::SslCredentials({ReadAll(words[2]), ReadAll(words[4]), ReadAll(words[3])});
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // each channel has its own connection
  arguments.SetSslTargetNameOverride("localhost");
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (std::size_t i = 0; i < connections; ++i) {
    channels.push_back(grpc::CreateCustomChannel(words[1], credentials, arguments));
    if (!channels.back()->WaitForConnected(std::chrono::system_clock::now() +
                                           std::chrono::seconds(30))) {
      return std::fprintf(stderr, "stock_client: no connection\n"), 1;
    }
  }
  std::vector<std::unique_ptr<Place>> places;
  const auto began = Clock::now();
  const double cpu_us = OwnCpuUs();
  shared.running = in_flight;
  for (std::size_t i = 0; i < in_flight; ++i) {
    places.push_back(std::make_unique<Place>(shared, channels[i % connections]));
    places.back()->Ask();
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  shared.stopping = true;
  while (shared.running > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const double took_s = std::chrono::duration<double>(Clock::now() - began).count();
  const auto calls = static_cast<double>(shared.times.Count());
  std::printf("{\"rate\": %.1f, \"p50_us\": %.1f, \"client_cpu_us\": %.1f, \"errors\": %llu}\n",
              calls / took_s, static_cast<double>(shared.times.Quantile(0.5)) / 1000,
              (OwnCpuUs() - cpu_us) / calls,
              static_cast<unsigned long long>(shared.errors.load()));
  return 0;
}

}  // namespace
}  // namespace oauthvault::bench

int main(int count, char** words) { return oauthvault::bench::Run(count, words); }
