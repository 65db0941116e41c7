#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string_view>
#include <utility>

#include "crypto/error.h"
#include "daemon/rpc/concurrency.h"
#include "daemon/rpc/methods.h"

namespace oauthvault::rpc {

class CallLoop;

/// Who answers a call with a stream of messages. The members are called by the call's loop, perhaps
/// several at one time; nothing comes behind OnDone.
class Streaming {
 public:
  /// What Call::Write was given has left; `ok` is false where nobody reads any more.
  virtual void OnWritten(bool ok) = 0;
  /// The caller has gone, or was too late. It may come before anything was written.
  virtual void OnCancelled() = 0;
  /// The stream was ended, and every write before has: the call is gone when this returns.
  virtual void OnDone() = 0;

 protected:
  ~Streaming() = default;
};

/// One call: its request, and the way out. It is answered once: by Answer or Refuse, or as a stream
/// by any number of Write, one at a time, and End or Refuse. It ends itself when the answer has
/// left, or was given up, and gRPC has let go of it; whoever has answered does not touch it again,
/// but for its handler, until that returns. Threads: any, one at a time.
class Call final {
 public:
  /// What was called.
  const Method& GetMethod() const { return *method_; }
  /// What gRPC knows of the call: who, until when, with which metadata. Not whether it was
  /// cancelled: in this interface of gRPC that is not to be asked before it says so.
  const grpc::ServerContextBase& Grpc() const { return context_; }
  /// The bytes that came.
  const grpc::ByteBuffer& Request() const { return request_; }
  /// Whether the caller has gone, or was too late.
  bool IsCancelled() const;

  /// The request as a message. Errors: Invalid.
  template <class Message>
  Result<Message> Decode() const {
    grpc::ByteBuffer shared = request_;  // counts references; the reader wants a mutable one
    grpc::ProtoBufferReader reader(&shared);
    Message message;
    if (!reader.status().ok() || !message.ParseFromZeroCopyStream(&reader)) {
      return Fail(Code::kInvalid, "the request is no message of this method");
    }
    return message;
  }

  /// A message as the bytes that leave.
  template <class Message>
  static grpc::ByteBuffer Encode(const Message& message) {
    grpc::ByteBuffer bytes;
    bool owned = false;
    grpc::GenericSerialize<grpc::ProtoBufferWriter, Message>(message, &bytes, &owned);
    return bytes;
  }

  /// The call's one answer.
  void Answer(grpc::ByteBuffer message) noexcept;
  /// The status that an error becomes, and its code's name in the trailing metadata.
  void Refuse(const Error& error) noexcept;

  /// The place that the call takes up until it has ended: an answer that nobody reads is memory.
  /// Before it is answered.
  void Hold(Concurrency::Place place) { place_ = std::move(place); }
  /// Where the answer's bytes are counted.
  Concurrency::Place& GetPlace() { return place_; }

  /// From here on `streaming` is told what becomes of the call. Once, from the method's handler.
  void StreamBy(Streaming& streaming);
  /// One message of a stream.
  void Write(grpc::ByteBuffer message);
  /// Ends a stream, also while a write is under way (gRPC sends it behind that); or any call with a
  /// status that is gRPC's own and no error of ours: it is counted as OK or REFUSED.
  void End(const grpc::Status& status) noexcept;

 private:
  friend class CallLoop;
  // What the queue gives back, each by a step of its own.
  struct Step {
    Call* call;
    void (Call::*take)(bool ok);
  };

  explicit Call(CallLoop& loop);
  ~Call() = default;
  void OnRequested(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnEnded(bool ok);
  void OnLetGo(bool ok);
  void Leave();
  void Count(std::string_view outcome) const;

  CallLoop& loop_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  grpc::ByteBuffer request_;
  const Method* method_ = nullptr;
  std::chrono::steady_clock::time_point begun_;
  Concurrency::Place place_;
  // What still has to come back: the handler, the end, the letting go, and each write.
  std::atomic<int> awaited_{3};
  mutable std::mutex guard_;  // guards the two below
  Streaming* streaming_ = nullptr;
  bool cancelled_ = false;

  Step requested_{this, &Call::OnRequested};
  Step read_{this, &Call::OnRead};
  Step written_{this, &Call::OnWritten};
  Step ended_{this, &Call::OnEnded};
  Step let_go_{this, &Call::OnLetGo};
};

/// What a caller is told of a story that threw.
Error FailedInside();

/// Takes a step towards the answer of a call, or of a stream that has a Refuse of its own. One that
/// throws has not answered yet, and this does: nobody else would, and the trail's thread would end
/// the process.
template <class Refusing, class Step>
void Take(Refusing& answers, Step step) noexcept {
  try {
    step();
  } catch (...) {
    answers.Refuse(FailedInside());
  }
}

}  // namespace oauthvault::rpc
