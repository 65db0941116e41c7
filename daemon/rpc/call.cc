#include "daemon/rpc/call.h"

#include "daemon/rpc/call_loop.h"
#include "daemon/rpc/cork.h"
#include "daemon/rpc/status.h"

namespace oauthvault::rpc {

Error FailedInside() {
  return Error(Code::kUnavailable, "the call failed inside the daemon");
}

Call::Call(CallLoop& loop) : loop_(loop) {
  context_.AsyncNotifyWhenDone(&let_go_);
  loop_.generic_.RequestCall(&context_, &stream_, loop_.queue_.get(), loop_.queue_.get(),
                             &requested_);
}

// Not ok: the server ends, and this place was for nobody.
void Call::OnRequested(bool ok) {
  if (!ok) return loop_.Forget(this);
  loop_.AwaitOne();
  begun_ = std::chrono::steady_clock::now();
  method_ = &loop_.methods_.Of(context_.method());
  if (method_->answer) return stream_.Read(&request_, &read_);
  End(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""));
  Leave();
}

// Not ok: no message came, the caller has gone, or it sent too much, which gRPC answers by itself.
void Call::OnRead(bool ok) {
  if (ok) {
    method_->answer(*this);
  } else {
    End(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the call brought no request"));
  }
  Leave();
}

void Call::OnWritten(bool ok) {
  streaming_->OnWritten(ok);
  Leave();
}

void Call::OnEnded(bool) { Leave(); }

void Call::OnLetGo(bool) {
  Streaming* told = nullptr;
  {
    const std::lock_guard lock(guard_);
    cancelled_ = context_.IsCancelled();
    if (cancelled_) told = streaming_;
  }
  if (told != nullptr) told->OnCancelled();
  Leave();
}

void Call::Leave() {
  if (awaited_.fetch_sub(1) != 1) return;
  if (streaming_ != nullptr) streaming_->OnDone();
  loop_.Forget(this);
}

void Call::Count(std::string_view outcome) const {
  if (method_->counted == nullptr) return;
  method_->counted->Count(outcome, std::chrono::steady_clock::now() - begun_);
}

bool Call::IsCancelled() const {
  const std::lock_guard lock(guard_);
  return cancelled_;
}

void Call::Answer(grpc::ByteBuffer message) noexcept {
  Count("OK");
  if (Corks::IsInBatch()) Corks::BeforeAnswerTo(context_.peer());
  stream_.WriteAndFinish(message, grpc::WriteOptions(), grpc::Status::OK, &ended_);
}

void Call::Refuse(const Error& error) noexcept {
  Count(NameOf(error.GetCode()));
  stream_.Finish(StatusOf(error, context_), &ended_);
}

void Call::StreamBy(Streaming& streaming) {
  bool cancelled = false;
  {
    const std::lock_guard lock(guard_);
    streaming_ = &streaming;
    cancelled = cancelled_;
  }
  if (cancelled) streaming.OnCancelled();
}

void Call::Write(grpc::ByteBuffer message) {
  ++awaited_;
  stream_.Write(message, &written_);
}

void Call::End(const grpc::Status& status) noexcept {
  Count(status.ok() ? "OK" : "REFUSED");
  stream_.Finish(status, &ended_);
}

}  // namespace oauthvault::rpc
