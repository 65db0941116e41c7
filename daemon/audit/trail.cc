#include "daemon/audit/trail.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "daemon/audit/line.h"
#include "daemon/audit/line_reader.h"
#include "daemon/audit/trail_file.h"
#include "daemon/audit/verification.h"

namespace oauthvault::audit {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

// A stretch of the file that is searched line by line.
constexpr std::uint64_t kSearchedLinewise = 64 * 1024;

// Where to begin reading to meet the first line behind `after`: the sequences rise through the
// file, so halving it finds the place. Stretches without a readable line are searched in front.
std::uint64_t OffsetBefore(const TrailEnd& end, std::uint64_t after) {
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

// The queue is one list in the order of arrival: those at its front that the writer has taken, then
// those that wait. Deadlines have the same order, so both ends of a wait, the disk's answer and the
// time running out, take from the front, and nobody is answered twice. Lines that arrive together
// are taken together and have one deadline; the last of them has the callback.
struct Trail::State {
  struct Waiting {
    std::uint64_t ticket = 0;
    Deadline deadline;
    Entry entry;  // moved out when the writer takes it
    Done done;    // may be empty
  };
  struct Answer {
    Done done;
    Result<Recorded> result;
  };

  explicit State(std::unique_ptr<TrailFile> opened) : file(std::move(opened)), end(file->End()) {}

  void Write();
  Result<std::uint64_t> AppendAll(std::span<const Entry> batch);
  void Complete();
  void AnswerFront(Result<Recorded> result);
  void AnswerOverdue(Deadline now);

  std::unique_ptr<TrailFile> file;  // its Append: the writing thread's alone

  mutable std::mutex mutex;
  // The mutex guards the members from here to `stopping`.
  std::deque<Waiting> waiting;
  std::size_t taken = 0;  // at the front of `waiting`, with the writer
  std::uint64_t next_ticket = 0;
  std::deque<Answer> answers;  // for the completion thread
  std::size_t unanswered = 0;  // lines that wait, and callbacks that have not returned
  TrailEnd end;
  bool writer_ended = false;
  bool stopping = false;

  std::condition_variable to_write;
  std::condition_variable to_complete;
  std::thread writer;
  std::thread completer;
};

void Trail::State::AnswerFront(Result<Recorded> result) {
  if (waiting.front().done) {
    answers.push_back({std::move(waiting.front().done), std::move(result)});
  } else {
    --unanswered;
  }
  waiting.pop_front();
  if (taken > 0) --taken;
}

void Trail::State::AnswerOverdue(Deadline now) {
  while (!waiting.empty() && waiting.front().deadline <= now) {
    AnswerFront(Fail(Code::kUnavailable, "the audit line was not durable in time"));
  }
}

// Gives the sequence of the line before the first of the batch.
Result<std::uint64_t> Trail::State::AppendAll(std::span<const Entry> batch) {
  if (batch.empty()) return file->End().sequence;
  Result<std::uint64_t> first = file->Append(batch);
  if (!first) return first;
  return *first - 1;
}

void Trail::State::Write() {
  std::unique_lock lock(mutex);
  while (true) {
    to_write.wait(lock, [&] { return stopping || taken < waiting.size(); });
    // Nothing is with the writer here, so whatever waits is new.
    if (waiting.empty()) break;
    std::vector<Entry> batch;
    batch.reserve(waiting.size());
    std::vector<std::uint64_t> lines_with;  // how many lines there are up to and with each
    lines_with.reserve(waiting.size());
    for (Waiting& one : waiting) {
      // A commit that has its line: whoever asks again was not told, for the time had run out.
      const bool told = one.entry.position && *one.entry.position <= end.head;
      if (!told) batch.push_back(std::move(one.entry));
      lines_with.push_back(batch.size());
    }
    taken = waiting.size();
    const std::uint64_t first_ticket = waiting.front().ticket;
    lock.unlock();
    Result<std::uint64_t> before = AppendAll(batch);
    lock.lock();
    // A failed append too may have gone on in another file.
    end = file->End();
    while (taken > 0) {
      if (before) {
        AnswerFront(MakeRecorded(*before + lines_with[waiting.front().ticket - first_ticket]));
      } else {
        AnswerFront(std::unexpected(before.error()));
      }
    }
    to_complete.notify_one();
  }
  writer_ended = true;
  to_complete.notify_one();
}

void Trail::State::Complete() {
  std::unique_lock lock(mutex);
  while (true) {
    AnswerOverdue(std::chrono::steady_clock::now());
    if (!answers.empty()) {
      std::deque<Answer> now = std::exchange(answers, {});
      lock.unlock();
      const std::size_t count = now.size();
      for (Answer& answer : now) answer.done(std::move(answer.result));
      now.clear();
      lock.lock();
      unanswered -= count;
    } else if (writer_ended) {
      return;
    } else if (waiting.empty()) {
      to_complete.wait(lock);
    } else {
      const Deadline next = waiting.front().deadline;
      to_complete.wait_until(lock, next);
    }
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
                                           FileCalls calls) {
  Result<std::unique_ptr<TrailFile>> file =
      TrailFile::Open(folder, audit_key, std::move(clock), std::move(calls));
  if (!file) return Fail(std::move(file));
  return std::unique_ptr<Trail>(new Trail(std::make_unique<State>(*std::move(file))));
}

// Takes `done` only where there is room.
bool Trail::Enqueue(std::vector<Entry> entries, Done& done, std::size_t places) {
  const Deadline deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(kAuditTimeoutMs);
  const std::lock_guard lock(state_->mutex);
  if (state_->unanswered + entries.size() > places) return false;
  state_->unanswered += entries.size();
  // The completion thread sleeps without an end while nobody waits.
  if (state_->waiting.empty()) state_->to_complete.notify_one();
  for (Entry& entry : entries) {
    state_->waiting.push_back({state_->next_ticket++, deadline, std::move(entry), {}});
  }
  state_->waiting.back().done = std::move(done);
  state_->to_write.notify_one();
  return true;
}

void Trail::Record(Entry entry, Done done) {
  const std::size_t places =
      entry.outcome == Outcome::kDenied ? kMaxWaitingDenials : kMaxWaitingLines;
  std::vector<Entry> entries;
  entries.push_back(std::move(entry));
  if (!Enqueue(std::move(entries), done, places)) {
    done(Fail(Code::kExhausted, "too many audit lines wait for the disk"));
  }
}

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
  if (!Enqueue(std::move(entries), done, kMaxWaitingLines)) {
    return Fail(Code::kUnavailable, "too many audit lines wait for those of a commit");
  }
  Result<Recorded> recorded = answered.get();
  if (!recorded) return Fail(std::move(recorded));
  return {};
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
  std::unique_lock lock(state_->mutex);
  const TrailEnd end = state_->end;
  lock.unlock();
  std::vector<Line> lines;
  LineReader reader(end.file->Number(), OffsetBefore(end, after), end.size_bytes);
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
  return lines;
}

Result<Verdict> Trail::Verify() const {
  std::unique_lock lock(state_->mutex);
  const TrailEnd end = state_->end;
  lock.unlock();
  const bool at_its_path = end.file->StandsAt(state_->file->Path());
  Result<Verdict> verdict =
      VerifyLines(state_->file->Key(), end.file->Number(), end.size_bytes);
  if (!verdict) return verdict;
  if (verdict->last_sequence != end.sequence) {
    AddProblem(*verdict, verdict->lines + 1, "lines at the end of the trail are missing");
  }
  if (!at_its_path) {
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

storage::Position Trail::Head() const {
  const std::lock_guard lock(state_->mutex);
  return state_->end.head;
}

std::uint64_t Trail::LastSequence() const {
  const std::lock_guard lock(state_->mutex);
  return state_->end.sequence;
}

Result<Verdict> VerifyFile(const std::filesystem::path& folder,
                           const crypto::SecretBytes& audit_key) {
  Result<RestingTrail> trail = OpenResting(folder, audit_key);
  if (!trail) return Fail(std::move(trail));
  return VerifyLines(audit_key, trail->file->Number(), trail->size_bytes);
}

}  // namespace oauthvault::audit
