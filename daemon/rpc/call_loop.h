#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_builder.h>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/rpc/call.h"
#include "daemon/rpc/methods.h"

namespace oauthvault::rpc {

/// Takes the calls of all methods from gRPC, and everything that becomes of them: one completion
/// queue and one to four threads (`call-loop`), which poll the connections, too. What runs on them
/// may read the store, and nothing else that waits: no commit, no line's sync, no Rivery.
class CallLoop {
 public:
  /// Before `builder` builds the server.
  CallLoop(grpc::ServerBuilder& builder, Methods methods);
  /// Behind End, or before Start.
  ~CallLoop();
  CallLoop(const CallLoop&) = delete;
  CallLoop& operator=(const CallLoop&) = delete;

  /// Takes calls from here on: the server has started.
  void Start();
  /// Before the server's Shutdown: no further call is waited for.
  void TakeNoMore();
  /// Behind the server's Shutdown: waits until every call has ended.
  void End();

 private:
  friend class Call;
  void Run() noexcept;
  void AwaitOne();
  void Forget(Call* call);

  const Methods methods_;
  grpc::AsyncGenericService generic_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::mutex guard_;  // guards the two below
  std::condition_variable all_ended_;
  std::size_t calls_ = 0;  // also those that wait for somebody to call
  bool taking_ = true;
  std::vector<std::thread> threads_;
};

}  // namespace oauthvault::rpc
