#include "daemon/audit/trail.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>

#include "crypto/sabotage.h"
#include "daemon/audit/denial_limit.h"
#include "daemon/audit/line.h"
#include "daemon/audit/line_reader.h"
#include "daemon/audit/segments.h"
#include "daemon/audit/trail_file.h"
#include "daemon/audit/verification.h"

namespace oauthvault::audit {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

// A stretch of the file that is searched line by line.
constexpr std::uint64_t kSearchedLinewise = 64 * 1024;

// A writer that wakes by itself looks so often whether there is room again.
constexpr std::chrono::milliseconds kLookAgain{50};
// Denials that were counted are told so often.
constexpr std::chrono::seconds kCountInterval{1};
// So many lines count denials at one time.
constexpr std::size_t kCountLines = 64;
constexpr std::chrono::seconds kClosePatience{10};

// A line must be durable within this time.
constexpr std::chrono::milliseconds kGiven{kAuditTimeoutMs};
constexpr Deadline kNever = Deadline::max();

Entry CountEntry(const DenialLimit::Count& count) {
  Entry entry;
  entry.act = kDenialsAct;
  entry.principal = count.principal;
  entry.outcome = Outcome::kDenied;
  entry.object = "count:" + std::to_string(count.denials);
  return entry;
}

// Where to begin reading to meet the first line behind `after`: the sequences rise through the
// file, so halving it finds the place. Stretches without a readable line are searched in front.
std::uint64_t OffsetBefore(const Segment& end, std::uint64_t after) {
  std::uint64_t low = 0;  // a line begins here, and it is not behind `after` unless it is the first
  std::uint64_t high = end.size_bytes;
  while (high - low > kSearchedLinewise) {
    const std::uint64_t middle = low + (high - low) / 2;
    LineReader reader(end.file->Number(), middle, end.size_bytes);
    std::optional<std::uint64_t> sequence;
    reader.Next();  // the rest of a line whose begin lies before
    LineReader::Found found = LineReader::Found::kLine;
    while (!sequence && found != LineReader::Found::kEnd && reader.Offset() < high) {
      found = reader.Next();
      if (found == LineReader::Found::kUnreadable) return low;
      if (found == LineReader::Found::kLine) sequence = SequenceOf(reader.Text());
    }
    if (sequence && *sequence <= after && reader.Offset() < high) {
      low = reader.Offset();
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace

std::string_view NameOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAllowed: return "allowed";
    case Outcome::kDenied: return "denied";
    case Outcome::kFailed: return "failed";
  }
  std::abort();
}

// The queue is one list of callers in the order of arrival: those at its front whose lines the
// writer has taken, then those whose lines wait. Deadlines have the same order, so both ends of a
// wait, the disk's answer and the time running out, take from the front, and nobody is answered
// twice. The lines that wait are a list of their own, which the writer takes as a whole.
struct Trail::State {
  struct Caller {
    Deadline deadline;
    std::size_t lines = 0;  // that it brought; they are taken together
    Done done;
    // Once they are taken: how many lines of the batch come before and with them; and whether there
    // is no room for them, and none of them is in the batch.
    std::size_t lines_with = 0;
    bool refused = false;
  };
  struct Answer {
    Done done;
    std::size_t lines = 0;
    Result<Recorded> result;
  };

  State(std::unique_ptr<TrailFile> opened, std::uint32_t denial_burst)
      : file(std::move(opened)), end(file->End()), denials(denial_burst) {}

  void Write();
  void AwaitWork(std::unique_lock<std::mutex>& lock);
  bool IsTold(const Entry& entry) const;
  bool HasRoomFor(const Entry& entry) const;
  void TakeWaiting(std::vector<Entry>& batch);
  void WriteBatch(std::vector<Entry>& batch, std::unique_lock<std::mutex>& lock);
  void CloseWhereDue(std::unique_lock<std::mutex>& lock);
  Result<std::uint64_t> AppendAll(std::span<const Entry> batch);
  void Complete();
  void AnswerFront(Result<Recorded> result);
  void AnswerOverdue(Deadline now);

  std::unique_ptr<TrailFile> file;  // its Append: the writing thread's alone

  mutable std::mutex mutex;
  // The mutex guards the members from here to `stopping`.
  std::deque<Caller> callers;
  std::size_t taken = 0;        // of them, at the front: their lines are with the writer
  std::vector<Entry> waiting;   // the lines of the others
  std::vector<Answer> answers;  // for the completion thread
  Around around = [](const auto& call_back) { call_back(); };  // set once
  Deadline completer_looks_at = kNever;  // when it wakes up by itself, for deadlines
  std::size_t unanswered = 0;  // lines that wait, and callbacks that have not returned
  TrailEnd end;
  std::optional<Deadline> failed_at;  // of a line; none since the last one that became durable
  Room room = Room::kAll;
  DenialLimit denials;
  Deadline next_counts;
  // A line was refused because the time ran out, and the writer has not come back since.
  bool stuck = false;
  std::vector<std::promise<Result<void>>> closers;  // who wait for the segment to be closed
  bool writer_ended = false;
  bool stopping = false;

  std::condition_variable to_write;
  std::condition_variable to_complete;
  std::thread writer;
  std::thread completer;
};

void Trail::State::AnswerFront(Result<Recorded> result) {
  Caller& front = callers.front();
  answers.push_back({std::move(front.done), front.lines, std::move(result)});
  callers.pop_front();
  if (taken > 0) --taken;
}

void Trail::State::AnswerOverdue(Deadline now) {
  std::size_t never_written = 0;
  while (!callers.empty() && callers.front().deadline <= now) {
    failed_at = now;
    stuck = true;
    if (taken == 0) never_written += callers.front().lines;
    AnswerFront(Fail(Code::kUnavailable, "the audit line was not durable in time"));
  }
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(never_written));
}

void Trail::State::AwaitWork(std::unique_lock<std::mutex>& lock) {
  // Time may have run out because this thread was held up, and not the disk. Then no line is left,
  // and it comes by to show that it is not stuck.
  const auto has_work = [&] { return stopping || stuck || !waiting.empty() || !closers.empty(); };
  if (denials.HasCounts() || room != Room::kAll) {
    to_write.wait_for(lock, kLookAgain, has_work);
  } else {
    to_write.wait(lock, [&] { return has_work() || denials.HasCounts(); });
  }
}

// A commit that has its line: whoever asks again was not told, for the time had run out.
bool Trail::State::IsTold(const Entry& entry) const {
  return entry.position && *entry.position <= end.head;
}

bool Trail::State::HasRoomFor(const Entry& entry) const {
  // What is committed stands, whatever there is room for.
  const bool may_use_reserve = entry.position || entry.revokes;
  return room == Room::kAll || (room == Room::kAllowed && entry.outcome != Outcome::kDenied) ||
         (may_use_reserve && !crypto::IsSabotaged(crypto::Sabotage::kNoReserve));
}

// Nothing is with the writer, so whoever waits is new. `batch` is empty, and its memory is used
// again.
void Trail::State::TakeWaiting(std::vector<Entry>& batch) {
  batch.swap(waiting);
  auto kept = batch.begin();
  auto next = batch.begin();
  for (Caller& caller : callers) {
    const std::span lines(next, caller.lines);
    next += static_cast<std::ptrdiff_t>(caller.lines);
    caller.refused = !std::ranges::all_of(
        lines, [this](const Entry& line) { return IsTold(line) || HasRoomFor(line); });
    for (Entry& line : lines) {
      if (caller.refused || IsTold(line)) continue;
      if (&*kept != &line) *kept = std::move(line);
      ++kept;
    }
    caller.lines_with = static_cast<std::size_t>(kept - batch.begin());
  }
  batch.erase(kept, batch.end());
  taken = callers.size();
}

void Trail::State::WriteBatch(std::vector<Entry>& batch, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  const Result<std::uint64_t> before = AppendAll(batch);
  lock.lock();
  stuck = false;
  // A failed append too may have gone on in another file.
  end = file->End();
  bool failed = !before;
  while (taken > 0) {
    const Caller& front = callers.front();
    failed = failed || front.refused;
    if (front.refused) {
      AnswerFront(Fail(Code::kUnavailable, "the disk under the audit trail is full"));
    } else if (before) {
      AnswerFront(MakeRecorded(*before + front.lines_with));
    } else {
      AnswerFront(std::unexpected(before.error()));
    }
  }
  if (failed) {
    failed_at = std::chrono::steady_clock::now();
  } else if (!batch.empty()) {
    failed_at.reset();
  }
  const bool has_answers = !answers.empty();
  // Whoever is woken up takes the lock first.
  lock.unlock();
  if (has_answers) to_complete.notify_one();
  batch.clear();
  lock.lock();
}

void Trail::State::CloseWhereDue(std::unique_lock<std::mutex>& lock) {
  if (closers.empty() && !file->IsDue()) return;
  std::vector<std::promise<Result<void>>> asked = std::exchange(closers, {});
  const bool has_lines = end.sequence > end.first_sequence;
  lock.unlock();
  Result<void> closed;
  if (has_lines) closed = file->CloseSegment();
  lock.lock();
  stuck = false;
  // Before anybody is told: whoever asked reads the closed segments by this.
  end = file->End();
  for (auto& one : asked) one.set_value(closed);
}

void Trail::State::Write() {
  // Whoever asks for room before the first line is told how it is.
  const Room at_start = file->MakeRoom(kCountLines);
  std::vector<Entry> batch;
  std::unique_lock lock(mutex);
  room = at_start;
  while (true) {
    AwaitWork(lock);
    const std::size_t lines = waiting.size() + kCountLines;
    lock.unlock();
    const Room found = file->MakeRoom(lines);
    lock.lock();
    room = found;
    const bool last = stopping && waiting.empty();
    const Deadline now = std::chrono::steady_clock::now();
    if (room == Room::kAll && denials.HasCounts() && (last || now >= next_counts)) {
      next_counts = now + kCountInterval;
      const auto counts = denials.TakeCounts(kCountLines);
      std::vector<Entry> told;
      for (const auto& count : counts) told.push_back(CountEntry(count));
      lock.unlock();
      const bool appended = AppendAll(told).has_value();
      lock.lock();
      end = file->End();
      for (const auto& count : counts) {
        if (!appended) denials.PutBack(count);
      }
    }
    if (last && closers.empty()) break;
    TakeWaiting(batch);
    WriteBatch(batch, lock);
    CloseWhereDue(lock);
  }
  writer_ended = true;
  to_complete.notify_one();
}

// Gives the sequence of the line before the first of the batch.
Result<std::uint64_t> Trail::State::AppendAll(std::span<const Entry> batch) {
  if (batch.empty()) return file->End().sequence;
  Result<std::uint64_t> first = file->Append(batch);
  if (!first) return first;
  return *first - 1;
}

void Trail::State::Complete() {
  std::vector<Answer> given;
  std::unique_lock lock(mutex);
  while (true) {
    const Deadline now = std::chrono::steady_clock::now();
    AnswerOverdue(now);
    if (!answers.empty()) {
      given.swap(answers);
      lock.unlock();
      std::size_t lines = 0;
      const auto call_back = [&] {
        for (Answer& answer : given) {
          lines += answer.lines;
          answer.done(std::move(answer.result));
        }
      };
      if (given.size() > 1) {
        around(call_back);
      } else {
        call_back();
      }
      given.clear();
      lock.lock();
      unanswered -= lines;
      continue;
    }
    if (writer_ended) return;
    if (!callers.empty()) {
      completer_looks_at = callers.front().deadline;
    } else {
      // Whoever comes meanwhile need not wake it up. Once nobody came it sleeps without an end.
      completer_looks_at = now < completer_looks_at ? now + kGiven : kNever;
    }
    to_complete.wait_until(lock, completer_looks_at);
  }
}

Trail::Trail(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->writer = std::thread([this] { state_->Write(); });
  state_->completer = std::thread([this] { state_->Complete(); });
  pthread_setname_np(state_->writer.native_handle(), "audit-write");
  pthread_setname_np(state_->completer.native_handle(), "audit-done");
}

Trail::~Trail() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->to_write.notify_one();
  state_->writer.join();
  state_->completer.join();
}

Result<std::unique_ptr<Trail>> Trail::Open(const std::filesystem::path& folder,
                                           const crypto::SecretBytes& audit_key, Clock clock,
                                           FileCalls calls, const TrailLimits* limits) {
  Result<std::unique_ptr<TrailFile>> file =
      TrailFile::Open(folder, audit_key, std::move(clock), std::move(calls),
                      limits != nullptr ? *limits : TrailLimits{});
  if (!file) return Fail(std::move(file));
  return std::unique_ptr<Trail>(new Trail(std::make_unique<State>(
      *std::move(file), limits != nullptr ? limits->denial_burst : kDenialBurst)));
}

void Trail::CallBackWithin(Around around) {
  const std::lock_guard lock(state_->mutex);
  state_->around = std::move(around);
}

// Takes the entries and `done` only where there is no error.
std::optional<Error> Trail::Enqueue(std::span<Entry> entries, Done& done, std::size_t places) {
  const Deadline deadline = std::chrono::steady_clock::now() + kGiven;
  std::unique_lock lock(state_->mutex);
  // Whoever came before waited in vain; behind them it would take the same time again.
  if (state_->stuck) {
    return Error(Code::kUnavailable, "the disk under the audit trail does not answer");
  }
  if (state_->unanswered + entries.size() > places) {
    return Error(Code::kExhausted, "too many audit lines wait for the disk");
  }
  state_->unanswered += entries.size();
  state_->callers.push_back({deadline, entries.size(), std::move(done)});
  std::ranges::move(entries, std::back_inserter(state_->waiting));
  const bool would_oversleep = deadline < state_->completer_looks_at;
  if (would_oversleep) state_->completer_looks_at = deadline;
  // Whoever is woken up takes the lock first.
  lock.unlock();
  state_->to_write.notify_one();
  if (would_oversleep) state_->to_complete.notify_one();
  return std::nullopt;
}

void Trail::Record(Entry entry, Done done) {
  if (crypto::IsSabotaged(crypto::Sabotage::kNoLine) && entry.outcome == Outcome::kAllowed) {
    return done(MakeRecorded(LastSequence()));
  }
  // Whatever leaves to Rivery asks for the right to connect.
  const bool counts_early = crypto::IsSabotaged(crypto::Sabotage::kReplyBeforeAudit) ||
                            (crypto::IsSabotaged(crypto::Sabotage::kSendBeforeAudit) &&
                             entry.right == "connect");
  if (counts_early && entry.outcome == Outcome::kAllowed) {
    done(MakeRecorded(LastSequence()));
    done = [](Result<Recorded>) {};
  }
  const std::size_t places =
      entry.outcome == Outcome::kDenied ? kMaxWaitingDenials : kMaxWaitingLines;
  if (auto refused = Enqueue({&entry, 1}, done, places)) {
    done(std::unexpected(std::move(*refused)));
  }
}

void Trail::RecordTogether(std::vector<Entry> entries, AllDone all_done) {
  const std::size_t count = entries.size();
  // They are taken together, so the last one's number gives those of the others.
  Done done = [count, all_done = std::move(all_done)](Result<Recorded> last) mutable {
    if (!last) return all_done(Fail(std::move(last)));
    std::vector<Recorded> all;
    all.reserve(count);
    for (std::size_t behind = count; behind-- > 0;) {
      all.push_back(MakeRecorded(last->Sequence() - behind));
    }
    all_done(std::move(all));
  };
  if (crypto::IsSabotaged(crypto::Sabotage::kReplyBeforeAudit)) {
    done(MakeRecorded(LastSequence()));
    done = [](Result<Recorded>) {};
  }
  if (auto refused = Enqueue(entries, done, kMaxWaitingLines)) {
    done(std::unexpected(std::move(*refused)));
  }
}

void Trail::RecordDenial(Entry entry, DenialDone done) {
  std::unique_lock lock(state_->mutex);
  // A disk that hangs or is full refuses denials as it refuses all else, counted or not.
  const bool counted =
      !state_->stuck && state_->room == Room::kAll &&
      !state_->denials.Take(entry.principal, std::chrono::steady_clock::now());
  if (counted) state_->to_write.notify_one();
  lock.unlock();
  if (counted) return done({});
  Record(std::move(entry), [done = std::move(done)](Result<Recorded> recorded) mutable {
    if (!recorded) return done(Fail(std::move(recorded)));
    done({});
  });
}

Result<void> Trail::RecordDenialAndWait(Entry entry) {
  std::promise<Result<void>> answer;
  std::future<Result<void>> answered = answer.get_future();
  RecordDenial(std::move(entry), [answer = std::move(answer)](Result<void> result) mutable {
    answer.set_value(std::move(result));
  });
  return answered.get();
}

// Either all of them or none stand in the queue.
Result<void> Trail::RecordCommits(std::uint64_t epoch,
                                  std::span<const storage::Committed> commits) {
  if (commits.empty()) return {};
  std::vector<Entry> entries;
  entries.reserve(commits.size());
  for (const storage::Committed& commit : commits) {
    entries.push_back(EntryOf(commit.act, {epoch, commit.generation}));
  }
  std::promise<Result<Recorded>> answer;
  std::future<Result<Recorded>> answered = answer.get_future();
  Done done = [answer = std::move(answer)](Result<Recorded> result) mutable {
    answer.set_value(std::move(result));
  };
  if (Enqueue(entries, done, kMaxWaitingLines)) {
    return Fail(Code::kUnavailable, "the audit line about a commit cannot wait for the disk");
  }
  Result<Recorded> recorded = answered.get();
  if (!recorded) return Fail(std::move(recorded));
  return {};
}

bool Trail::HasRoom() const {
  const std::lock_guard lock(state_->mutex);
  return state_->room != Room::kNone;
}

Result<std::string> Trail::CloseSegment() {
  std::future<Result<void>> closed;
  {
    const std::lock_guard lock(state_->mutex);
    closed = state_->closers.emplace_back().get_future();
    state_->to_write.notify_one();
  }
  if (closed.wait_for(kClosePatience) != std::future_status::ready) {
    return Fail(Code::kUnavailable, "the segment of the audit trail was not closed in time");
  }
  if (Result<void> done = closed.get(); !done) return Fail(std::move(done));
  auto segments = ClosedSegments(Folder());
  if (!segments) return Fail(std::move(segments));
  if (segments->empty()) return Fail(Code::kNotFound, "there is no line yet to close a segment");
  auto note = ReadSmallFile(Folder() / CheckpointName(segments->back().first_sequence),
                            kMaxCheckpointSize);
  if (!note) return Fail(Code::kUnavailable, "the checkpoint of a closed segment cannot be read");
  return *std::move(note);
}

const std::filesystem::path& Trail::Folder() const { return state_->file->Folder(); }

std::string Trail::Checkpoint() const {
  std::unique_lock lock(state_->mutex);
  const MerkleTree tree = state_->end.tree;
  lock.unlock();
  return state_->file->Signer().Sign(tree);
}

const CheckpointKey& Trail::PublicKey() const { return state_->file->Signer().Public(); }

Result<std::vector<Segment>> Trail::Segments() const {
  std::unique_lock lock(state_->mutex);
  const TrailEnd end = state_->end;
  lock.unlock();
  auto segments = ClosedSegments(state_->file->Folder());
  if (!segments) return segments;
  // Closed since: it is the one that is open here.
  std::erase_if(*segments, [&](const Segment& segment) {
    return segment.first_sequence >= end.first_sequence;
  });
  segments->push_back({state_->file->Path(), false, end.first_sequence, end.file, end.size_bytes});
  return segments;
}

Result<Recorded> Trail::RecordAndWait(Entry entry) {
  std::promise<Result<Recorded>> answer;
  std::future<Result<Recorded>> answered = answer.get_future();
  Record(std::move(entry), [answer = std::move(answer)](Result<Recorded> result) mutable {
    answer.set_value(std::move(result));
  });
  return answered.get();
}

Result<std::vector<Line>> Trail::Show(std::uint64_t after, std::size_t limit) const {
  if (limit == 0 || limit > kMaxShownLines) {
    return Fail(Code::kInvalid, "the limit of shown audit lines is out of bounds",
                Subject::Number(static_cast<std::int64_t>(kMaxShownLines)));
  }
  auto segments = Segments();
  if (!segments) return Fail(std::move(segments));
  // The last segment that begins at or before the first wanted line.
  auto at = std::ranges::find_if(*segments, [after](const Segment& segment) {
    return segment.first_sequence > after + 1;
  });
  if (at != segments->begin()) --at;
  std::vector<Line> lines;
  for (bool first = true; at != segments->end(); ++at, first = false) {
    Segment segment = *at;
    if (segment.file == nullptr) {
      auto opened = OpenSegment(segment);
      if (!opened) return Fail(Code::kUnavailable, "a segment to show cannot be opened");
      segment = *std::move(opened);
    }
    LineReader reader(segment.file->Number(), first ? OffsetBefore(segment, after) : 0,
                      segment.size_bytes);
    while (lines.size() < limit) {
      const LineReader::Found found = reader.Next();
      if (found == LineReader::Found::kEnd) break;
      if (found == LineReader::Found::kUnreadable) {
        return Fail(Code::kUnavailable, "the audit trail cannot be read for showing");
      }
      if (found != LineReader::Found::kLine) continue;
      const std::optional<std::uint64_t> sequence = SequenceOf(reader.Text());
      if (sequence && *sequence > after) lines.push_back({*sequence, std::string(reader.Text())});
    }
    if (lines.size() == limit) break;
  }
  return lines;
}

Result<Verdict> Trail::Verify() const {
  std::unique_lock lock(state_->mutex);
  const TrailEnd end = state_->end;
  lock.unlock();
  auto segments = Segments();
  if (!segments) return Fail(std::move(segments));
  const bool at_its_path = end.file->StandsAt(state_->file->Path());
  Result<Verdict> verdict = VerifySegments(
      *std::move(segments),
      {state_->file->Folder(), &state_->file->Key(), state_->file->Signer().Public(), {}});
  if (!verdict) return verdict;
  if (verdict->last_sequence < end.sequence) {
    AddProblem(*verdict, verdict->lines + 1, "lines at the end of the trail are missing");
  }
  lock.lock();
  const bool same_file = state_->end.file == end.file;
  lock.unlock();
  if (!at_its_path && same_file) {
    AddProblem(*verdict, 1, "the file of the trail was deleted or replaced");
  }
  return verdict;
}

Entry EntryOf(storage::Act act, storage::Position position) {
  Entry entry{std::move(act)};
  entry.outcome = entry.code.empty() ? Outcome::kAllowed : Outcome::kFailed;
  entry.position = position;
  return entry;
}

storage::Ledger::Record RecorderOf(Trail& trail) {
  return [&trail](std::uint64_t epoch, std::span<const storage::Committed> committed) {
    return trail.RecordCommits(epoch, committed);
  };
}

Lag Trail::GetLag() const {
  const std::lock_guard lock(state_->mutex);
  const Deadline now = std::chrono::steady_clock::now();
  Lag lag;
  for (const State::Caller& caller : state_->callers) lag.lines += caller.lines;
  if (!state_->callers.empty()) lag.oldest = now - (state_->callers.front().deadline - kGiven);
  if (state_->failed_at) lag.failed_ago = now - *state_->failed_at;
  return lag;
}

storage::Position Trail::Head() const {
  const std::lock_guard lock(state_->mutex);
  return state_->end.head;
}

std::uint64_t Trail::LastSequence() const {
  const std::lock_guard lock(state_->mutex);
  return state_->end.sequence;
}

Result<Verdict> VerifyFile(const std::filesystem::path& folder,
                           const crypto::SecretBytes& audit_key,
                           const std::vector<std::string>& kept) {
  if (audit_key.Size() != crypto::kKeySize) {
    return Fail(Code::kInvalid, "the key to verify the audit trail has another size");
  }
  auto segments = RestingSegments(folder);
  if (!segments) return Fail(std::move(segments));
  Verification by{folder, &audit_key, CheckpointSigner(audit_key).Public(), {}};
  if (Result<void> added = AddKept(by, kept); !added) return Fail(std::move(added));
  return VerifySegments(*std::move(segments), by);
}

}  // namespace oauthvault::audit
