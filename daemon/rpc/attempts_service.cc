#include "daemon/rpc/attempts_service.h"

#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "daemon/rivery/order_check.h"

namespace oauthvault::rpc {
namespace {

v1::AttemptState StateOf(storage::AttemptState state) {
  switch (state) {
    case storage::AttemptState::kNew: return v1::ATTEMPT_STATE_NEW;
    case storage::AttemptState::kStarted: return v1::ATTEMPT_STATE_STARTED;
    case storage::AttemptState::kStored: return v1::ATTEMPT_STATE_STORED;
    case storage::AttemptState::kCreating: return v1::ATTEMPT_STATE_CREATING;
    case storage::AttemptState::kCreated: return v1::ATTEMPT_STATE_CREATED;
    case storage::AttemptState::kFailed: return v1::ATTEMPT_STATE_FAILED;
    case storage::AttemptState::kUnclear: return v1::ATTEMPT_STATE_UNCLEAR;
  }
  return v1::ATTEMPT_STATE_UNSPECIFIED;
}

void Write(const storage::Attempt& row, const rivery::Attempts& attempts, v1::Attempt& message) {
  message.set_project(row.project.Str());
  message.set_component(row.component.Str());
  message.set_id(row.id.Str());
  message.set_account(row.account.Str());
  message.set_oauth_id(row.oauth_id.Str());
  message.set_state(StateOf(row.state));
  message.set_final(storage::IsFinal(row));
  message.set_failure(row.failure);
  message.set_connection_name(row.connection_name);
  message.set_connection_id(row.connection_id);
  message.set_created_at_s(row.created_at_s);
  message.set_updated_at_s(row.updated_at_s);
  message.set_expires_at_s(row.expires_at_s);
  message.set_principal(row.principal);
  message.set_deadline_at_s(row.deadline_s);
  message.set_successor(row.successor);
  message.set_predecessor(row.predecessor);
  message.set_waiting_for(std::string(rivery::NameOf(attempts.WaitingFor(row.id))));
}

Result<rivery::Order> OrderOf(const std::string& account, const std::string& oauth_id) {
  auto account_id = AccountId::Parse(account);
  if (!account_id) return Fail(std::move(account_id));
  auto id = OauthId::Parse(oauth_id);
  if (!id) return Fail(std::move(id));
  return rivery::Order{*account_id, *id};
}

Result<storage::Stored<storage::Attempt>> Find(const storage::Store& store,
                                               const access::Scope& scope,
                                               const std::string& id_text) {
  auto pair = scope.AsPair();
  if (!pair) return Fail(std::move(pair));
  auto id = AttemptId::Parse(id_text);
  if (!id) return Fail(std::move(id));
  return store.Get<storage::Attempt>(storage::Attempt::Names(pair->project, pair->component, *id));
}

// One watcher: the attempt's changes in order, a decision before each message and every 10 s.
// The call's loop calls the On.. members, the attempts' driver Changed, the ticker Decide, the
// trail Refuse. The object ends itself in OnDone, which comes after the end and every write have
// left, on another thread: perhaps before whoever ended the stream has let go of guard_.
class WatchStream final : public Streaming {
 public:
  WatchStream(const Edge& edge, Call& call, rivery::Attempts& attempts, Ticker& ticker)
      : edge_(edge), call_(call), attempts_(attempts), ticker_(ticker) {}

  // Subscribes before it reads, so that no change can fall between the two. Runs inside of the
  // handler, so that OnDone cannot come before it returns.
  void Begin(access::Scope scope, const AttemptId& id, const storage::Store& store) {
    {
      const std::lock_guard lock(guard_);
      decided_ = true;
    }
    scope_ = std::move(scope);
    watch_ = attempts_.Subscribe(id, [this](const storage::Attempt& row) { Changed(row); });
    auto found = Find(store, scope_, id.Str());
    ticker_.Add(this, [this] { Decide(); });
    if (!found) return Refuse(found.error());
    const std::lock_guard lock(guard_);
    // A change that came in meanwhile is newer than what was read.
    if (!last_) Queue(found->row);
  }

  void Refuse(const Error& error) {
    const std::lock_guard lock(guard_);
    decided_ = true;
    EndBecause(error);
  }

 private:
  void Changed(const storage::Attempt& row) {
    // The subscription is to an id alone; the decision was about a pair.
    if (row.project.Str() != scope_.project || row.component.Str() != scope_.component) return;
    const std::lock_guard lock(guard_);
    Queue(row);
  }

  void OnWritten(bool ok) override {
    const std::lock_guard lock(guard_);
    writing_ = false;
    if (!ok) return End(grpc::Status::CANCELLED);
    if (written_last_) return End(grpc::Status::OK);
    Next();
  }

  // While the line of a denial is being written, the trail's thread still has to come back to this
  // object: it ends the stream then.
  void OnCancelled() override {
    const std::lock_guard lock(guard_);
    if (decided_) End(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    ticker_.Remove(this);  // waits for a Decide that is under way
    watch_.reset();        // waits for a Changed that is under way
    { const std::lock_guard lock(guard_); }  // waits for whoever ended the stream
    delete this;
  }

  void Decide() {
    const std::lock_guard lock(guard_);
    if (finished_) return;
    if (auto still = edge_.StillPermitted(call_, scope_); !still) EndBecause(still.error());
  }

  // The rest is called with guard_ held.
  void Queue(const storage::Attempt& row) {
    if (finished_) return;
    v1::Attempt next;
    Write(row, attempts_, next);
    // Polls come and go: only what a watcher can act on is a change.
    if (last_ && next.state() == last_->state() &&
        (next.waiting_for() == "account") == (last_->waiting_for() == "account")) {
      return;
    }
    last_ = next;
    waiting_.push_back(std::move(next));
    Next();
  }

  void Next() {
    if (finished_ || writing_ || waiting_.empty()) return;
    if (auto still = edge_.StillPermitted(call_, scope_); !still) {
      return EndBecause(still.error());
    }
    written_last_ = waiting_.front().final();
    writing_ = true;
    call_.Write(Call::Encode(waiting_.front()));
    waiting_.pop_front();
  }

  void End(const grpc::Status& status) {
    if (!std::exchange(finished_, true)) call_.End(status);
  }

  void EndBecause(const Error& error) {
    if (!std::exchange(finished_, true)) call_.Refuse(error);
  }

  const Edge& edge_;
  Call& call_;
  rivery::Attempts& attempts_;
  Ticker& ticker_;
  access::Scope scope_;
  rivery::Attempts::Watch watch_;

  std::mutex guard_;  // guards everything below
  std::deque<v1::Attempt> waiting_;
  std::optional<v1::Attempt> last_;
  bool written_last_ = false;  // what is being written is final
  bool decided_ = false;
  bool writing_ = false;
  bool finished_ = false;
};

}  // namespace

void AttemptsService::AddTo(Methods& methods) {
  methods.Add("Attempts.Authorize", *this, &AttemptsService::Authorize);
  methods.Add("Attempts.Connect", *this, &AttemptsService::Connect);
  methods.Add("Attempts.Get", *this, &AttemptsService::Get);
  methods.Add("Attempts.GetLink", *this, &AttemptsService::GetLink);
  methods.Add("Attempts.List", *this, &AttemptsService::List);
  methods.Add("Attempts.Watch", *this, &AttemptsService::Watch);
  methods.Add("Attempts.Cancel", *this, &AttemptsService::Cancel);
  methods.Add("Attempts.Resume", *this, &AttemptsService::Resume);
}

void AttemptsService::Authorize(Call& call) {
  edge_.Serve<v1::AuthorizeRequest, v1::Attempt>(
      call, rivery_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto order = OrderOf(asked.account(), asked.oauth_id());
        if (!order) return Fail(std::move(order));
        order->authorized_for = asked.authorized_for();
        order->validity_s = asked.validity_s();
        order->deadline_s = asked.deadline_s();
        order->connection_name = asked.connection_name();
        std::optional<access::Permit> to_connect;
        if (!order->connection_name.empty()) {
          auto permit = edge_.AlsoPermit(admitted, access::Right::kConnect);
          if (!permit) return Fail(std::move(permit));
          to_connect = std::move(*permit);
        }
        auto known = rivery::CheckOrder(admitted.permit, *order, admitted.entry, store_,
                                        catalogue_, edge_.GetTrail());
        if (!known) return known;
        auto attempt =
            attempts_.Authorize(admitted.permit, to_connect, *order, admitted.ForCommit());
        if (!attempt) return Fail(std::move(attempt));
        Write(attempt->row, attempts_, answer);
        return {};
      });
}

void AttemptsService::Connect(Call& call) {
  edge_.Serve<v1::ConnectRequest, v1::Attempt>(
      call, rivery_workers_,
      [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto order = OrderOf(asked.account(), asked.oauth_id());
        if (!order) return Fail(std::move(order));
        order->connection_name = asked.connection_name();
        order->deadline_s = asked.deadline_s();
        auto known = rivery::CheckOrder(admitted.permit, *order, admitted.entry, store_,
                                        catalogue_, edge_.GetTrail());
        if (!known) return known;
        auto attempt = attempts_.Connect(admitted.permit, *order, admitted.ForCommit());
        if (!attempt) return Fail(std::move(attempt));
        Write(attempt->row, attempts_, answer);
        return {};
      });
}

void AttemptsService::Get(Call& call) {
  edge_.Serve<v1::GetAttemptRequest, v1::Attempt>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto found = Find(store_, admitted.permit.Where(), asked.id());
        if (!found) return Fail(std::move(found));
        Write(found->row, attempts_, answer);
        return {};
      });
}

void AttemptsService::GetLink(Call& call) {
  edge_.Serve<v1::GetLinkRequest, v1::GetLinkResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = AttemptId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        auto link = attempts_.GetLink(admitted.permit, *id);
        if (!link) return Fail(std::move(link));
        admitted.entry.object = id->Str();
        // A link is a bearer secret until the consent, so its line comes first.
        admitted.entry.outcome = audit::Outcome::kAllowed;
        auto recorded = edge_.GetTrail().RecordAndWait(admitted.entry);
        if (!recorded) return Fail(std::move(recorded));
        admitted.recorded = true;
        link->auth_uri.Expose([&answer](std::span<const std::uint8_t> text) {
          answer.set_auth_uri(reinterpret_cast<const char*>(text.data()), text.size());
        });
        answer.set_expires_at_s(link->expires_at_s);
        return {};
      });
}

void AttemptsService::List(Call& call) {
  edge_.Serve<v1::ListAttemptsRequest, v1::ListAttemptsResponse>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        const access::Scope& where = admitted.permit.Where();
        auto page = store_.List<storage::Attempt>(where.project, where.component,
                                                  asked.page_token(), asked.page_size());
        if (!page) return Fail(std::move(page));
        for (const auto& stored : page->rows) Write(stored.row, attempts_, *answer.add_attempts());
        answer.set_next_page_token(page->next);
        return {};
      });
}

void AttemptsService::Watch(Call& call) {
  auto asked = Edge::Read<v1::WatchAttemptRequest>(call);
  if (!asked) return call.Refuse(asked.error());
  Result<AttemptId> id = AttemptId::Parse(asked->request.id());
  if (!id) return call.Refuse(id.error());
  auto* stream = new WatchStream(edge_, call, attempts_, ticker_);
  call.StreamBy(*stream);
  edge_.Admit(call, asked->scope, {},
              [this, &call, stream, scope = asked->scope, id = *id](Result<Admitted> admitted) {
                if (!admitted) return stream->Refuse(admitted.error());
                call.Hold(std::move(admitted->place));
                Take(*stream, [&] { stream->Begin(scope, id, store_); });
              });
}

void AttemptsService::Cancel(Call& call) {
  edge_.Serve<v1::CancelAttemptRequest, v1::Attempt>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto id = AttemptId::Parse(asked.id());
        if (!id) return Fail(std::move(id));
        admitted.entry.object = id->Str();
        auto attempt =
            attempts_.Cancel(admitted.permit, *id, admitted.ForCommit());
        if (!attempt) return Fail(std::move(attempt));
        Write(attempt->row, attempts_, answer);
        return {};
      });
}

void AttemptsService::Resume(Call& call) {
  edge_.Serve<v1::ResumeAttemptRequest, v1::Attempt>(
      call, workers_, [this](Admitted& admitted, const auto& asked, auto& answer) -> Result<void> {
        auto found = Find(store_, admitted.permit.Where(), asked.id());
        if (!found) return Fail(std::move(found));
        admitted.entry.object = found->row.id.Str();
        std::optional<access::Permit> to_connect;
        if (found->row.connect) {
          auto permit = edge_.AlsoPermit(admitted, access::Right::kConnect);
          if (!permit) return Fail(std::move(permit));
          to_connect = std::move(*permit);
        }
        // The line of the call comes from the edge: often nothing is committed.
        storage::Act act = admitted.entry;
        act.act = "attempt.resumed";
        auto attempt =
            attempts_.Resume(admitted.permit, to_connect, found->row.id, std::move(act));
        if (!attempt) return Fail(std::move(attempt));
        Write(attempt->row, attempts_, answer);
        return {};
      });
}

}  // namespace oauthvault::rpc
