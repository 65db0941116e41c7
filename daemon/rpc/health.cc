#include "daemon/rpc/health.h"

#include <optional>
#include <utility>

#include "grpc/health/v1/health.pb.h"

namespace oauthvault::rpc {
namespace {

using Request = grpc::health::v1::HealthCheckRequest;
using Response = grpc::health::v1::HealthCheckResponse;

grpc::ByteBuffer Saying(Response::ServingStatus status) {
  Response response;
  response.set_status(status);
  return Call::Encode(response);
}

Response::ServingStatus StatusOf(bool serving) {
  return serving ? Response::SERVING : Response::NOT_SERVING;
}

}  // namespace

// One who watches: told how it is, and that it ends, with which the stream ends, too: a stream that
// went on would keep the server from stopping.
class Health::Watcher final : public Streaming {
 public:
  Watcher(Health& health, Call& call) : health_(health), call_(call) {}

  enum class Last : bool { kNo, kYes };

  void Tell(Response::ServingStatus status, Last last) {
    const std::lock_guard lock(guard_);
    wanted_ = status;
    last_ = last;
    Next();
  }

 private:
  void OnWritten(bool ok) override {
    const std::lock_guard lock(guard_);
    writing_ = false;
    if (!ok) return End();
    Next();
  }

  void OnCancelled() override {
    const std::lock_guard lock(guard_);
    End();
  }

  void OnDone() override {
    {
      const std::lock_guard lock(health_.guard_);
      health_.watchers_.erase(this);
    }
    { const std::lock_guard lock(guard_); }  // waits for whoever called End
    delete this;
  }

  // With guard_ held. What changed while a write was under way is told once, as it is then.
  void Next() {
    if (ended_ || writing_) return;
    if (!wanted_) return last_ == Last::kYes ? End() : void();
    writing_ = true;
    call_.Write(Saying(*std::exchange(wanted_, std::nullopt)));
  }

  void End() {
    if (std::exchange(ended_, true)) return;
    call_.End(grpc::Status::CANCELLED);
  }

  Health& health_;
  Call& call_;
  std::mutex guard_;  // guards everything below
  std::optional<Response::ServingStatus> wanted_;
  bool writing_ = false;
  Last last_ = Last::kNo;  // whether nothing comes behind `wanted_`
  bool ended_ = false;
};

void Health::AddTo(Methods& methods) {
  methods.AddBeside("/grpc.health.v1.Health/Check", [this](Call& call) { Check(call); });
  methods.AddBeside("/grpc.health.v1.Health/Watch", [this](Call& call) { Watch(call); });
}

void Health::EndServing() {
  const std::lock_guard lock(guard_);
  ended_ = true;
  for (Watcher* watcher : watchers_) watcher->Tell(Response::NOT_SERVING, Watcher::Last::kYes);
}

void Health::Check(Call& call) {
  const Result<Request> asked = call.Decode<Request>();
  if (!asked) return call.Refuse(asked.error());
  if (!asked->service().empty()) {
    return call.End(grpc::Status(grpc::StatusCode::NOT_FOUND, "service name unknown"));
  }
  std::unique_lock lock(guard_);
  const bool serving = IsServing();
  lock.unlock();
  call.Answer(Saying(StatusOf(serving)));
}

void Health::Watch(Call& call) {
  const Result<Request> asked = call.Decode<Request>();
  if (!asked) return call.Refuse(asked.error());
  auto* watcher = new Watcher(*this, call);
  call.StreamBy(*watcher);
  const std::lock_guard lock(guard_);
  watchers_.insert(watcher);
  watcher->Tell(asked->service().empty() ? StatusOf(IsServing()) : Response::SERVICE_UNKNOWN,
                ended_ ? Watcher::Last::kYes : Watcher::Last::kNo);
}

}  // namespace oauthvault::rpc
