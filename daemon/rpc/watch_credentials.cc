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
#include "daemon/rpc/raw_call.h"

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
// gRPC calls the On.. members, the hub of changes Changed and Ended, the ticker Beat, the trail
// Refuse, a worker GoOn. OnDone comes after Finish and after every write have ended; work that a
// worker still has then finds the stream finished, which it keeps alive.
class CredentialsStream final : public grpc::ServerWriteReactor<v1::CredentialsEvent>,
                                public std::enable_shared_from_this<CredentialsStream> {
 public:
  CredentialsStream(const Edge& edge, grpc::CallbackServerContext* call, Workers& workers,
                    const storage::Store& store, Ticker& ticker)
      : edge_(edge), call_(call), workers_(workers), store_(store), ticker_(ticker) {}

  // From here on gRPC holds it, until OnDone.
  CredentialsStream* Own() {
    own_ = shared_from_this();
    return this;
  }

  // Watches before anything is read, so that no change can fall between the two. Runs inside of the
  // handler, so that OnDone cannot come before it returns. `ids`: those that are watched; empty:
  // all of the pair.
  void Begin(const Rule& rule, access::Scope scope, const access::PairIds& pair,
             std::vector<OauthId> ids, custody::Changes& changes, Concurrency::Place place) {
    {
      const std::lock_guard lock(guard_);
      decided_ = true;
      rule_ = &rule;
      scope_ = std::move(scope);
      pair_ = pair;
      for (const OauthId& id : ids) {
        watched_.insert(id.Str());
        waiting_.Add(id.Str());
      }
      walked_ = !ids.empty();
    }
    place_ = std::move(place);
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

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(guard_);
    writing_ = false;
    if (!ok) return End(grpc::Status::CANCELLED);
    Schedule();
  }

  // While the line of a denial is being written, the trail's thread still has to come back to this
  // object: it ends the stream then.
  void OnCancel() override {
    const std::lock_guard lock(guard_);
    if (decided_) End(grpc::Status::CANCELLED);
  }

  void OnDone() override {
    ticker_.Remove(this);  // waits for a Beat that is under way
    token_.reset();        // waits for whatever the hub is telling
    { const std::lock_guard lock(guard_); }  // waits for whoever called Finish
    place_ = {};
    const std::shared_ptr<CredentialsStream> last = std::move(own_);
  }

  void Beat() {
    const std::lock_guard lock(guard_);
    if (finished_) return;
    if (auto still = edge_.StillPermitted(*call_, *rule_, scope_); !still) {
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
      EndBecause(Edge::FailedInside());
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
      return Send(std::move(*event));
    }
    v1::CredentialsEvent event;
    if (!rows_.empty()) {
      *event.mutable_standing() = std::move(rows_.front());
      rows_.pop_front();
      return Send(std::move(event));
    }
    if (!walked_) return ReadRows(lock);
    caught_up_ = true;
    event.set_caught_up(true);
    Send(std::move(event));
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

  void Send(v1::CredentialsEvent event) {
    if (auto still = edge_.StillPermitted(*call_, *rule_, scope_); !still) {
      return EndBecause(still.error());
    }
    written_ = std::move(event);
    writing_ = true;
    StartWrite(&written_);
  }

  // The status writes into the call's metadata, which is not touched once the stream is finished.
  void EndBecause(const Error& error) {
    if (!finished_) End(StatusOf(error, *call_));
  }

  void End(grpc::Status status) {
    if (finished_) return;
    finished_ = true;
    waiting_ = {};
    rows_.clear();
    Finish(std::move(status));
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
  grpc::CallbackServerContext* call_;
  Workers& workers_;
  const storage::Store& store_;
  Ticker& ticker_;
  std::shared_ptr<CredentialsStream> own_;
  custody::Changes::Token token_;
  Concurrency::Place place_;

  // Written once, before anybody else knows of the stream.
  const Rule* rule_ = nullptr;
  access::Scope scope_;
  std::optional<access::PairIds> pair_;
  std::unordered_set<std::string> watched_;  // empty: all

  std::mutex guard_;  // guards everything below
  WaitingIds waiting_;
  std::deque<v1::CredentialsInfo> rows_;  // of the present state: read, and not sent yet
  std::string walked_to_;                 // the page token of what follows them
  bool walked_ = false;                   // nothing follows
  bool caught_up_ = false;                // that was said
  v1::CredentialsEvent written_;
  bool decided_ = false;
  bool going_on_ = false;  // a worker has it, or will
  bool writing_ = false;
  bool finished_ = false;
};

}  // namespace

grpc::ServerWriteReactor<v1::CredentialsEvent>* CredentialsService::Watch(
    grpc::CallbackServerContext* call, const v1::WatchCredentialsRequest* request) noexcept {
  auto* stream =
      std::make_shared<CredentialsStream>(edge_, call, workers_, store_, ticker_)->Own();
  const Rule& rule = edge_.Rules().Of("Credentials.Watch");
  Result<access::Scope> scope = Edge::ScopeOf(rule, *request);
  if (!scope) return stream->Refuse(scope.error()), stream;
  Result<access::PairIds> pair = scope->AsPair();
  if (!pair) return stream->Refuse(pair.error()), stream;
  Result<std::vector<OauthId>> ids = DistinctIds(request->ids());
  if (!ids) return stream->Refuse(ids.error()), stream;
  edge_.Admit(call, rule, request->ByteSizeLong(), *scope, {},
              [this, stream, &rule, scope = *scope, pair = *pair,
               ids = std::move(*ids)](Result<Admitted> admitted) mutable {
                if (!admitted) return stream->Refuse(admitted.error());
                Take([stream](const Error& error) { stream->Refuse(error); }, [&] {
                  stream->Begin(rule, std::move(scope), pair, std::move(ids), changes_,
                                std::move(admitted->place));
                });
              });
  return stream;
}

}  // namespace oauthvault::rpc
