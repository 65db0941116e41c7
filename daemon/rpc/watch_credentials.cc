// Credentials.Watch: the present state of a pair's credentials, and then what changes.

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "daemon/custody/changes.h"
#include "daemon/rpc/credentials_info.h"
#include "daemon/rpc/credentials_service.h"
#include "daemon/rpc/oauth_ids.h"

namespace oauthvault::rpc {
namespace {

// So many ids wait for a slow reader; each waits once, however often it changes.
constexpr std::size_t kMaxWaitingIds = 4096;
// Rows of the present state that are held at one time.
constexpr std::size_t kRowsAtOnce = 64;

// The ids that are to be told of, in the order in which they changed, each once.
class WaitingIds {
 public:
  std::size_t Size() const { return order_.size(); }
  bool Has(const std::string& id) const { return ids_.contains(id); }
  void Add(const std::string& id) {
    if (ids_.insert(id).second) order_.push_back(id);
  }
  std::string Take() {
    std::string id = std::move(order_.front());
    order_.pop_front();
    ids_.erase(id);
    return id;
  }

 private:
  std::deque<std::string> order_;
  std::unordered_set<std::string> ids_;
};

// One watcher. It holds ids, not events: what an id stands for is read when it is its turn, by a
// worker, so that a slow reader costs no memory and is never told less than was told before.
// The call's loop calls the On.. members, the hub of changes Changed and Refuse, the trail Refuse,
// the ticker Beat, a worker GoOn. OnDone comes after the end and every write have left; work that a
// worker still has then finds the stream finished, which it keeps alive.
class CredentialsStream final : public Streaming,
                                public std::enable_shared_from_this<CredentialsStream> {
 public:
  CredentialsStream(const Edge& edge, Call& call, Workers& workers, const storage::Store& store,
                    Ticker& ticker)
      : edge_(edge), call_(call), workers_(workers), store_(store), ticker_(ticker) {}

  // From here on the call holds it, until OnDone.
  CredentialsStream* Own() {
    own_ = shared_from_this();
    call_.StreamBy(*this);
    return this;
  }

  // Watches before anything is read, so that no change can fall between the two. Runs inside of the
  // handler, so that OnDone cannot come before it returns. `ids`: those that are watched; empty:
  // all of the pair.
  void Begin(access::Scope scope, const access::PairIds& pair, std::vector<OauthId> ids,
             custody::Changes& changes) {
    {
      const std::lock_guard lock(guard_);
      decided_ = true;
      scope_ = std::move(scope);
      pair_ = pair;
      for (const OauthId& id : ids) {
        watched_.insert(id.Str());
        waiting_.Add(id.Str());
      }
      walked_ = !ids.empty();
    }
    token_ = changes.Watch(pair.project, pair.component,
                           {[this](const std::string& id) { Changed(id); },
                            [this](const Error& why) { Refuse(why); }});
    ticker_.Add(this, [this] { Beat(); });
    const std::lock_guard lock(guard_);
    Schedule();
  }

  void Refuse(const Error& error) {
    const std::lock_guard lock(guard_);
    decided_ = true;
    EndBecause(error);
  }

 private:
  void Changed(const std::string& id) {
    const std::lock_guard lock(guard_);
    if (finished_ || (!watched_.empty() && !watched_.contains(id))) return;
    if (waiting_.Size() == kMaxWaitingIds && !waiting_.Has(id)) {
      return EndBecause(Error(Code::kExhausted, "the watch ended, as credentials change faster "
                                                "than they are read; watch again"));
    }
    waiting_.Add(id);
    // What was read of it and is not sent yet is old now.
    std::erase_if(rows_, [&](const v1::CredentialsInfo& row) { return row.id() == id; });
    Schedule();
  }

  void OnWritten(bool ok) override {
    const std::lock_guard lock(guard_);
    writing_ = false;
    if (!ok) return End(grpc::Status::CANCELLED);
    Schedule();
  }

  // While the line of a denial is being written, the trail's thread still has to come back to this
  // object: it ends the stream then.
  void OnCancelled() override {
    const std::lock_guard lock(guard_);
    if (decided_) End(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    ticker_.Remove(this);  // waits for a Beat that is under way
    token_.reset();        // waits for whatever the hub is telling
    { const std::lock_guard lock(guard_); }  // waits for whoever ended the stream
    const std::shared_ptr<CredentialsStream> last = std::move(own_);
  }

  void Beat() {
    const std::lock_guard lock(guard_);
    if (finished_) return;
    if (auto still = edge_.StillPermitted(call_, scope_); !still) {
      return EndBecause(still.error());
    }
    Schedule();  // where the workers' queue was full
  }

  void GoOn() noexcept {
    std::unique_lock lock(guard_);
    try {
      while (!finished_ && !writing_ && HasMore()) Advance(lock);
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      EndBecause(FailedInside());
    }
    going_on_ = false;  // behind the last look at what there is: nobody else sends meanwhile
  }

  // The rest is called with guard_ held.
  bool HasMore() const { return waiting_.Size() != 0 || !rows_.empty() || !walked_ || !caught_up_; }

  void Schedule() {
    if (finished_ || writing_ || going_on_ || !HasMore()) return;
    Workers::Work work = [self = shared_from_this()] { self->GoOn(); };
    // A queue that is full is asked again with the next beat.
    going_on_ = workers_.Post(work);
  }

  // One step: an event sent, or more rows read. `lock` is let go of while the store is read.
  void Advance(std::unique_lock<std::mutex>& lock) {
    if (waiting_.Size() != 0) {
      // Changes go before the rest of the present state: only they could become too many.
      const std::string id = waiting_.Take();
      lock.unlock();
      Result<v1::CredentialsEvent> event = Look(id);
      lock.lock();
      if (finished_) return;
      if (!event) return EndBecause(event.error());
      return Send(*event);
    }
    v1::CredentialsEvent event;
    if (!rows_.empty()) {
      *event.mutable_standing() = std::move(rows_.front());
      rows_.pop_front();
      return Send(event);
    }
    if (!walked_) return ReadRows(lock);
    caught_up_ = true;
    event.set_caught_up(true);
    Send(event);
  }

  void ReadRows(std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    auto page = store_.List<storage::Credentials>(pair_->project.Str(), pair_->component.Str(),
                                                  walked_to_, kRowsAtOnce);
    lock.lock();
    if (finished_) return;
    if (!page) return EndBecause(page.error());
    for (const auto& stored : page->rows) {
      // Changed since it was read, so it is to be read again.
      if (waiting_.Has(stored.row.id.Str())) continue;
      Write(stored, rows_.emplace_back());
    }
    walked_to_ = std::move(page->next);
    walked_ = walked_to_.empty();
  }

  void Send(const v1::CredentialsEvent& event) {
    if (auto still = edge_.StillPermitted(call_, scope_); !still) {
      return EndBecause(still.error());
    }
    writing_ = true;
    call_.Write(Call::Encode(event));
  }

  void EndBecause(const Error& error) {
    if (Finish()) call_.Refuse(error);
  }

  void End(const grpc::Status& status) {
    if (Finish()) call_.End(status);
  }

  // False where it was finished before.
  bool Finish() {
    waiting_ = {};
    rows_.clear();
    return !std::exchange(finished_, true);
  }

  // Without guard_: what is there now. A row that does not verify costs its watchers nothing but
  // its own content.
  Result<v1::CredentialsEvent> Look(const std::string& id_text) const {
    auto id = OauthId::Parse(id_text);
    if (!id) return Fail(std::move(id));
    auto found = store_.Find<storage::Credentials>(
        storage::Credentials::Names(pair_->project, pair_->component, *id));
    v1::CredentialsEvent event;
    if (!found && found.error().GetCode() != Code::kCorrupt) return Fail(std::move(found));
    if (!found) {
      event.mutable_standing()->set_id(id_text);
      event.mutable_standing()->set_damaged(true);
    } else if (*found) {
      Write(**found, *event.mutable_standing());
    } else {
      event.set_absent_id(id_text);
    }
    return event;
  }

  const Edge& edge_;
  Call& call_;
  Workers& workers_;
  const storage::Store& store_;
  Ticker& ticker_;
  std::shared_ptr<CredentialsStream> own_;
  custody::Changes::Token token_;

  // Written once, before anybody else knows of the stream.
  access::Scope scope_;
  std::optional<access::PairIds> pair_;
  std::unordered_set<std::string> watched_;  // empty: all

  std::mutex guard_;  // guards everything below
  WaitingIds waiting_;
  std::deque<v1::CredentialsInfo> rows_;  // of the present state: read, and not sent yet
  std::string walked_to_;                 // the page token of what follows them
  bool walked_ = false;                   // nothing follows
  bool caught_up_ = false;                // that was said
  bool decided_ = false;
  bool going_on_ = false;  // a worker has it, or will
  bool writing_ = false;
  bool finished_ = false;
};

}  // namespace

void CredentialsService::Watch(Call& call) {
  auto asked = Edge::Read<v1::WatchCredentialsRequest>(call);
  if (!asked) return call.Refuse(asked.error());
  Result<access::PairIds> pair = asked->scope.AsPair();
  if (!pair) return call.Refuse(pair.error());
  Result<std::vector<OauthId>> ids = DistinctIds(asked->request.ids());
  if (!ids) return call.Refuse(ids.error());
  auto* stream =
      std::make_shared<CredentialsStream>(edge_, call, workers_, store_, ticker_)->Own();
  edge_.Admit(call, asked->scope, {},
              [this, &call, stream, scope = asked->scope, pair = *pair,
               ids = std::move(*ids)](Result<Admitted> admitted) mutable {
                if (!admitted) return stream->Refuse(admitted.error());
                call.Hold(std::move(admitted->place));
                Take(*stream, [&] {
                  stream->Begin(std::move(scope), pair, std::move(ids), changes_);
                });
              });
}

}  // namespace oauthvault::rpc
