#include "daemon/ending.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <initializer_list>
#include <system_error>
#include <utility>

namespace oauthvault {
namespace {

// Wakes the one who waits for a phase to end from inside.
constexpr int kInnerSignal = SIGUSR1;

sigset_t EndingSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int one : {SIGTERM, SIGINT, kInnerSignal}) sigaddset(&set, one);
  return set;
}

}  // namespace

void BlockEndingSignals() {
  const sigset_t blocked = EndingSignals();
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
}

bool IsToldToEnd() {
  sigset_t pending;
  return sigpending(&pending) == 0 &&
         (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

void Phase::End() {
  ended_ = true;
  kill(getpid(), kInnerSignal);
}

bool Phase::AwaitEnd() {
  const sigset_t awaited = EndingSignals();
  while (!ended_) {
    int signal = 0;
    sigwait(&awaited, &signal);
    if (signal != kInnerSignal) return false;
  }
  return true;
}

LastResort::LastResort(std::chrono::milliseconds bound, std::function<void()> act)
    : act_(std::move(act)), thread_([this, bound] { Run(bound); }) {}

LastResort::~LastResort() {
  {
    const std::lock_guard lock(guard_);
    stopped_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void LastResort::Run(std::chrono::milliseconds bound) {
  std::unique_lock lock(guard_);
  if (!wake_.wait_for(lock, bound, [this] { return stopped_; })) act_();
}

std::function<void()> EndProcess(std::filesystem::path socket) {
  return [socket = std::move(socket)] {
    std::error_code ignored;
    std::filesystem::remove(socket, ignored);
    spdlog::warn("stopped with calls under way");
    spdlog::default_logger()->flush();
    _exit(0);
  };
}

void BecomeSealed(std::vector<std::string> words) {
  spdlog::warn("sealed with calls under way");
  spdlog::default_logger()->flush();
  if (std::ranges::find(words, kSealedFlag) == words.end()) words.emplace_back(kSealedFlag);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execve("/proc/self/exe", arguments.data(), environ);
  _exit(0);
}

}  // namespace oauthvault
