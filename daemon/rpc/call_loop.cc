#include "daemon/rpc/call_loop.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace oauthvault::rpc {
namespace {

// They take the polling from each other, which costs a reveal a tenth to a quarter of its time; but
// one alone does all handshakes (some 4 ms each) and waits for each page that is on the disk.
constexpr std::size_t kProcessorsForAThread = 4;
constexpr std::size_t kMostThreads = 4;
// So many calls can begin at once without waiting for a place to be made.
constexpr std::size_t kWaitingPlaces = 64;

}  // namespace

CallLoop::CallLoop(grpc::ServerBuilder& builder, Methods methods)
    : methods_(std::move(methods)), queue_(builder.AddCompletionQueue()) {
  builder.RegisterAsyncGenericService(&generic_);
}

CallLoop::~CallLoop() {
  queue_->Shutdown();
  if (threads_.empty()) Run();  // never started; a queue has to be empty at its end
  for (std::thread& thread : threads_) thread.join();
}

void CallLoop::Start() {
  const std::size_t threads =
      std::clamp<std::size_t>(std::thread::hardware_concurrency() / kProcessorsForAThread, 1,
                              kMostThreads);
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Run(); });
    pthread_setname_np(threads_.back().native_handle(), "call-loop");
  }
  // Behind the threads: what was requested has to be taken back, too.
  for (std::size_t i = 0; i < kWaitingPlaces; ++i) AwaitOne();
}

void CallLoop::TakeNoMore() {
  const std::lock_guard lock(guard_);
  taking_ = false;
}

void CallLoop::End() {
  std::unique_lock lock(guard_);
  all_ended_.wait(lock, [this] { return calls_ == 0; });
}

// Nothing throws but for want of memory, and an answer that was given up halfway cannot be told
// from one that was not begun: the process ends then.
void CallLoop::Run() noexcept {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    const auto* step = static_cast<const Call::Step*>(tag);
    (step->call->*step->take)(ok);
  }
}

// Under the lock, so that none is requested once the server may have ended.
void CallLoop::AwaitOne() {
  const std::lock_guard lock(guard_);
  if (!taking_) return;
  ++calls_;
  new Call(*this);
}

void CallLoop::Forget(Call* call) {
  delete call;
  const std::lock_guard lock(guard_);
  if (--calls_ == 0) all_ended_.notify_all();
}

}  // namespace oauthvault::rpc
