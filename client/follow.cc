#include "client/follow.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "client/interrupts.h"
#include "client/rewatch.h"
#include "oauthvault/v1/attempts.pb.h"

namespace oauthvault::client {
namespace {

using std::chrono::milliseconds;

/// How often the countdown and Ctrl-C are looked at.
constexpr milliseconds kTick{200};
/// So many attempts are followed one after the other.
constexpr int kMaxSuccessors = 100;

/// What the watching thread has seen last.
class Sight {
 public:
  void Put(const v1::Attempt& attempt) {
    const std::scoped_lock lock(mutex_);
    attempt_ = attempt;
    ++changes_;
    changed_.notify_all();
  }
  void Put(Failure failure) {
    const std::scoped_lock lock(mutex_);
    failure_ = std::move(failure);
    changed_.notify_all();
  }
  struct Seen {
    v1::Attempt attempt;
    std::uint64_t changes;
    std::optional<Failure> failure;
  };
  /// Waits a tick for something newer than `changes`.
  Seen Look(std::uint64_t changes) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kTick, [&] { return changes_ != changes || failure_; });
    return {attempt_, changes_, failure_};
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  v1::Attempt attempt_;            // guarded by mutex_
  std::uint64_t changes_ = 0;      // guarded by mutex_
  std::optional<Failure> failure_;  // guarded by mutex_
};

void WatchUntilFinal(std::stop_token stop, Vault& vault, const v1::WatchAttemptRequest& request,
                     Sight& sight) {
  Rewatch rewatch(stop);
  bool final = false;
  while (!stop.stop_requested() && !final) {
    auto watched = vault.Watch(request, stop, [&](const v1::Attempt& attempt) {
      rewatch.Heard();
      final = attempt.final();
      sight.Put(attempt);
      return true;
    });
    if (final || stop.stop_requested()) return;
    const bool again = watched || watched.error().code == Code::kUnavailable;
    if (!again || !rewatch.MayGoOn()) {
      sight.Put(watched ? Failure{Code::kUnavailable, "the daemon does not let this be watched"}
                        : watched.error());
      return;
    }
    rewatch.Pause();
  }
}

std::string StateName(const v1::Attempt& attempt) {
  return AsJson(attempt)["state"].get<std::string>();
}

/// The line on standard error.
class Progress {
 public:
  explicit Progress(Style style)
      : terminal_(::isatty(STDERR_FILENO) == 1), silent_(style == Style::kJson && !terminal_) {}
  ~Progress() { Clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(const v1::Attempt& attempt) {
    if (silent_) return;
    std::string line = "attempt " + Printable(attempt.id()) + ": " + StateName(attempt);
    if (attempt.waiting_for() == "account") {
      line += ", paused: Rivery refuses the API token of account " + Printable(attempt.account());
    }
    if (!terminal_) {
      if (line != shown_) std::fprintf(stderr, "%s\n", line.c_str());
      shown_ = line;
      return;
    }
    if (attempt.state() == v1::ATTEMPT_STATE_STARTED && attempt.expires_at_s() > 0) {
      line += ", waiting for consent, " + TimeLeft(attempt.expires_at_s());
    }
    if (line == shown_) return;
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    shown_ = line;
  }
  /// Makes room for other output.
  void Clear() {
    if (terminal_ && !shown_.empty()) std::fputs("\r\033[K", stderr);
    if (terminal_) shown_.clear();
  }

 private:
  static std::string TimeLeft(std::int64_t expires_at_s) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const std::int64_t left = std::max<std::int64_t>(
        0, expires_at_s - std::chrono::duration_cast<std::chrono::seconds>(now).count());
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%lld:%02lld left", static_cast<long long>(left / 60),
                  static_cast<long long>(left % 60));
    return text.data();
  }

  bool terminal_;
  bool silent_;
  std::string shown_;
};

/// Prints the consent link. Answers whether there was one: an attempt that has just gone on has
/// none any more.
Outcome<bool> PrintLink(Session& run, const v1::Attempt& attempt) {
  v1::GetLinkRequest request;
  request.set_project(attempt.project());
  request.set_component(attempt.component());
  request.set_id(attempt.id());
  auto link = run.Call(request);
  if (!link) {
    const Code code = link.error().code;
    if (code == Code::kNotFound || code == Code::kConflict || code == Code::kStale) return false;
    return Refuse(std::move(link));
  }
  nlohmann::ordered_json shown = nlohmann::ordered_json::object();
  shown["attempt"] = attempt.id();
  shown["auth_uri"] = link->auth_uri();
  shown["expires_at_s"] = link->expires_at_s();
  auto written = WriteOut(RenderOne(shown, run.style));
  if (!written) return Refuse(std::move(written));
  return true;
}

Outcome<void> End(Session& run, const v1::Attempt& attempt) {
  auto written = WriteOut(RenderOne(AsJson(attempt), run.style));
  if (!written || attempt.state() != v1::ATTEMPT_STATE_FAILED) return written;
  const bool damaged = attempt.failure().ends_with("_unreadable");
  const bool resumable = attempt.failure() == "expired" || attempt.failure() == "timed_out" ||
                         attempt.failure() == "refused";
  return Refuse(damaged ? Code::kCorrupt : Code::kInvalid,
                "attempt " + attempt.id() + " failed: " + attempt.failure() +
                    (resumable ? "; a new link: oauthvault attempt resume " + attempt.id() +
                                     " --project " + attempt.project() + " --component " +
                                     attempt.component()
                               : ""));
}

/// The attempt that goes on for one that failed.
Outcome<v1::Attempt> SuccessorOf(Session& run, const v1::Attempt& failed) {
  v1::GetAttemptRequest request;
  request.set_project(failed.project());
  request.set_component(failed.component());
  request.set_id(failed.successor());
  return run.Call(request);
}

/// Follows one attempt; answers the one that goes on for it, where there is one.
Outcome<std::optional<v1::Attempt>> FollowOne(Session& run, const v1::Attempt& attempt,
                                              Consent consent, Until until) {
  const auto done = [](Outcome<void> outcome) -> Outcome<std::optional<v1::Attempt>> {
    if (!outcome) return Refuse(std::move(outcome));
    return std::nullopt;
  };
  if (consent == Consent::kNotAsked && until == Until::kLink) {
    return done(WriteOut(RenderOne(AsJson(attempt), run.style)));
  }
  auto vault = run.Reach();
  if (!vault) return Refuse(std::move(vault));
  v1::WatchAttemptRequest request;
  request.set_project(attempt.project());
  request.set_component(attempt.component());
  request.set_id(attempt.id());
  const Interrupts interrupts;
  Sight sight;
  Progress progress(run.style);
  const std::jthread watcher(
      [&](std::stop_token stop) { WatchUntilFinal(stop, **vault, request, sight); });
  v1::Attempt now = attempt;
  std::uint64_t changes = 0;
  bool link_shown = consent == Consent::kNotAsked;
  while (!interrupts.Came()) {
    progress.Update(now);
    if (!link_shown && now.state() == v1::ATTEMPT_STATE_STARTED) {
      progress.Clear();
      auto shown = PrintLink(run, now);
      if (!shown) return Refuse(std::move(shown));
      link_shown = true;
      if (until == Until::kLink) return std::nullopt;
    }
    if (now.final()) {
      progress.Clear();
      if (now.successor().empty()) return done(End(run, now));
      const std::string told = "oauthvault: the credentials of attempt " + Printable(now.id()) +
                               " were lost on their way; a new link goes on for it\n";
      std::fputs(told.c_str(), stderr);
      auto next = SuccessorOf(run, now);
      if (!next) return Refuse(std::move(next));
      return std::optional<v1::Attempt>(std::move(*next));
    }
    auto seen = sight.Look(changes);
    if (seen.failure) return std::unexpected<Failure>(*std::move(seen.failure));
    if (seen.changes != changes) now = std::move(seen.attempt);
    changes = seen.changes;
  }
  progress.Clear();
  const std::string hint = "oauthvault: the attempt goes on in the daemon; follow it again with: "
                           "oauthvault attempt resume " + now.id() + " --project " + now.project() +
                           " --component " + now.component() + '\n';
  std::fputs(hint.c_str(), stderr);
  run.exit_code = kInterruptedExit;
  return std::nullopt;
}

}  // namespace

Outcome<void> Follow(Session& run, const v1::Attempt& attempt, Consent consent, Until until) {
  std::optional<v1::Attempt> next = attempt;
  for (int followed = 0; next && followed < kMaxSuccessors; ++followed) {
    auto ended = FollowOne(run, *next, consent, until);
    if (!ended) return Refuse(std::move(ended));
    next = std::move(*ended);
  }
  return {};
}

}  // namespace oauthvault::client
