#include "daemon/upkeep/rewrapper.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

namespace oauthvault::upkeep {
namespace {

constexpr std::size_t kRowsAPage = 500;
// Between two pages others commit.
constexpr std::chrono::milliseconds kBetweenPages{1};
// After a page that could not be committed: a full disk, an audit that cannot write.
constexpr std::chrono::seconds kAfterAFailure{2};
// After one that holds a damaged row, which does not mend by itself.
constexpr std::chrono::seconds kAfterDamage{60};

}  // namespace

Result<void> Rewrapper::Start() {
  const Result<void> found = FindUnfinished();
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "rewrap");
  return found;
}

Result<void> Rewrapper::FindUnfinished() {
  return store_.ForEach<storage::Rewrapping>("", "", [&](const auto& stored) {
    Enqueue(stored.row.owner, stored.row.started_by, stored.row.started_at_s);
  });
}

void Rewrapper::Stop() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<std::uint32_t> Rewrapper::Rotate(const crypto::Owner& owner, storage::Act act) {
  if (!keyring_.HasKek(owner)) {
    return Fail(Code::kNotFound, "there is no key to rotate: the owner is not registered");
  }
  const std::lock_guard one_at_a_time(noting_);
  const std::string started_by = act.principal;
  act.object = TextOf(owner);
  // What is to be done before the key: a daemon that is killed in between finds it, and a pass over
  // rows that need nothing does no harm.
  if (auto noted = Note(owner, std::move(act)); !noted) return Fail(std::move(noted));
  Result<std::uint32_t> version = keyring_.RotateKek(owner);
  Enqueue(owner, started_by, clock_());
  return version;
}

Result<std::uint32_t> Rewrapper::RewrapAll(const storage::Act& act) {
  std::vector<crypto::Owner> owners = {crypto::Owner::Vault()};
  auto read = store_.ForEach<storage::Project>("", "", [&](const auto& project) {
    owners.push_back(crypto::Owner::Project(project.row.id.Str()));
  });
  if (!read) return Fail(std::move(read));
  const std::lock_guard one_at_a_time(noting_);
  std::uint32_t count = 0;
  for (const crypto::Owner& owner : owners) {
    const Result<std::uint32_t> newest = keyring_.NewestVersion(owner);
    if (!newest || *newest == 1) continue;
    storage::Act one = act;
    one.object = TextOf(owner);
    if (auto noted = Note(owner, std::move(one)); !noted) return Fail(std::move(noted));
    Enqueue(owner, act.principal, clock_());
    ++count;
  }
  return count;
}

std::vector<Rewrapper::Progress> Rewrapper::Running() const {
  const std::lock_guard lock(guard_);
  std::vector<Progress> running;
  for (const auto& [key, job] : jobs_) running.push_back(job.progress);
  return running;
}

Result<void> Rewrapper::Note(const crypto::Owner& owner, storage::Act act) {
  const storage::Rewrapping row{owner, clock_(), act.principal};
  auto standing = store_.Find<storage::Rewrapping>(row.Names());
  if (!standing) return Fail(std::move(standing));
  storage::Batch batch(std::move(act));
  if (*standing) {
    batch.Replace(row, (*standing)->version);
  } else {
    batch.Insert(row);
  }
  if (auto committed = store_.Commit(std::move(batch)); !committed) {
    return Fail(std::move(committed));
  }
  return {};
}

void Rewrapper::Enqueue(const crypto::Owner& owner, std::string started_by,
                        std::int64_t started_at_s) {
  {
    const std::lock_guard lock(guard_);
    const auto [entry, is_new] = jobs_.try_emplace({owner.kind, owner.name});
    Job& job = entry->second;
    if (is_new) {
      job.progress.owner = owner;
      job.progress.started_at_s = started_at_s;
      job.started_by = std::move(started_by);
    } else {
      job.again = true;
      job.not_before = {};
    }
    const Result<std::uint32_t> newest = keyring_.NewestVersion(owner);
    if (newest) job.progress.version = *newest;
  }
  wake_.notify_all();
}

// Whose turn it is: the next one behind the last that need not wait. Under `guard_`.
std::map<Rewrapper::Key, Rewrapper::Job>::iterator Rewrapper::NextJob() {
  const auto now = std::chrono::steady_clock::now();
  auto job = jobs_.upper_bound(last_);
  for (std::size_t looked = 0; looked < jobs_.size(); ++looked, ++job) {
    if (job == jobs_.end()) job = jobs_.begin();
    if (job->second.not_before <= now) return job;
  }
  return jobs_.end();
}

void Rewrapper::Run() {
  std::unique_lock lock(guard_);
  while (!stopping_) {
    const auto turn = NextJob();
    if (turn == jobs_.end()) {
      const auto news = [this] { return stopping_ || NextJob() != jobs_.end(); };
      if (jobs_.empty()) {
        wake_.wait(lock, news);
      } else {
        wake_.wait_for(lock, kAfterAFailure, news);
      }
      continue;
    }
    const Key key = last_ = turn->first;
    Job& standing = turn->second;  // stays: this thread alone takes jobs away
    // A new key came: what was looked at is looked at again.
    if (std::exchange(standing.again, false)) standing.next.clear();
    Job job = standing;
    lock.unlock();
    Stepped stepped = Step(job);
    if (stepped == Stepped::kPassEnded && !std::exchange(job.met_work, false)) {
      stepped = Stepped::kDone;
    }
    const bool finished = stepped == Stepped::kDone && Finish(key, job);
    lock.lock();
    if (finished) continue;
    job.again = standing.again;
    job.progress.version = standing.progress.version;
    if (stepped == Stepped::kDone) {
      job.not_before = std::chrono::steady_clock::now() + kAfterAFailure;
    }
    if (job.again) job.not_before = {};
    standing = std::move(job);
    // Others commit between two pages.
    wake_.wait_for(lock, kBetweenPages, [this] { return stopping_; });
  }
}

// Looks at one page.
Rewrapper::Stepped Rewrapper::Step(Job& job) {
  if (job.next.empty()) job.progress.looked_at = 0;
  const storage::Act act{.act = "keys.rewrap",
                         .principal = job.started_by,
                         .object = TextOf(job.progress.owner)};
  auto page = store_.Rewrap(job.progress.owner, job.next, kRowsAPage, act);
  if (!page) {
    const Code code = page.error().GetCode();
    // Shredded meanwhile: nothing is left to rewrap.
    if (code == Code::kNotFound) return Stepped::kDone;
    if (code == Code::kConflict) return Stepped::kPage;  // a row changed: the same page again
    job.not_before = std::chrono::steady_clock::now() +
                     (code == Code::kCorrupt ? kAfterDamage : kAfterAFailure);
    if (std::exchange(job.failed, code) != code) {
      spdlog::error("rows cannot be rewrapped owner={} code={}: {}", TextOf(job.progress.owner),
                    NameOf(code), page.error().GetText());
    }
    return Stepped::kFailed;
  }
  job.failed.reset();
  job.progress.looked_at += page->looked_at;
  job.progress.rewrapped += page->rewrapped;
  job.met_work = job.met_work || page->rewrapped != 0;
  job.next = std::move(page->next);
  return job.next.empty() ? Stepped::kPassEnded : Stepped::kPage;
}

// Takes the owner off the list. False: a new key came, or it cannot be committed now.
bool Rewrapper::Finish(const Key& key, const Job& job) {
  const std::lock_guard one_at_a_time(noting_);
  {
    const std::lock_guard lock(guard_);
    if (jobs_[key].again) return false;
  }
  auto row = store_.Find<storage::Rewrapping>(storage::Rewrapping::Names(job.progress.owner));
  if (!row) return false;
  if (*row) {
    storage::Batch batch(
        storage::Act{.act = "keys.rewrapped",
                     .principal = job.started_by,
                     .object = TextOf(job.progress.owner) +
                               " rows:" + std::to_string(job.progress.rewrapped)});
    batch.Remove((*row)->row, (*row)->version);
    if (!store_.Commit(std::move(batch))) return false;
  }
  const std::lock_guard lock(guard_);
  jobs_.erase(key);
  return true;
}

}  // namespace oauthvault::upkeep
