#include "daemon/rivery/propagation.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "daemon/rivery/accounts.h"

namespace oauthvault::rivery {
namespace {

constexpr std::string_view kPeer = "rivery";
constexpr unsigned kMostDoublings = 20;

// No id has a slash.
std::string KeyOf(const crypto::RowNames& names) {
  std::string key = names.project + "/" + names.component;
  for (const std::string& name : names.rest) key += "/" + name;
  return key;
}

// The first of a connection's names behind its pair is its account.
std::string AccountOf(const crypto::RowNames& names) {
  return names.rest.empty() ? std::string() : names.rest.front();
}

bool Passes(const Error& error) {
  return error.GetCode() == Code::kUnavailable || error.GetCode() == Code::kExhausted;
}

// What is refused because of a grant, which may come back without the row being touched.
bool IsForAGrant(const Standing& standing) {
  return standing.step == Step::kRefused && standing.why == kNotPermitted;
}

// What is looked for and what is then done must be the same.
bool IsToBeWritten(const Standing& standing) {
  return standing.step == Step::kBehind || IsForAGrant(standing);
}

}  // namespace

Propagation::Propagation(Connections& connections, storage::Store& store,
                         const registry::Grants& grants, access::ReadPrincipal read_principal,
                         PropagationSettings settings, Clock clock)
    : connections_(connections),
      store_(store),
      grants_(grants),
      read_principal_(std::move(read_principal)),
      settings_(settings),
      clock_(std::move(clock)) {
  using storage::TableId;
  // A project that is shredded leaves nothing to be kept in step.
  store_.Listen(TableId::kCredentials, this, [this](const crypto::RowNames& names) {
    if (!names.component.empty()) TouchPair(names);
  });
  store_.Listen(TableId::kConnections, this, [this](const crypto::RowNames& names) {
    if (!names.component.empty()) Schedule(names);
  });
  store_.Listen(TableId::kAccounts, this,
                [this](const crypto::RowNames& names) { ResumeAccount(AccountOf(names)); });
}

Propagation::~Propagation() {
  Stop();
  store_.StopListening(this);
}

void Propagation::Start() {
  {
    const std::lock_guard lock(guard_);
    touched_.insert(Pair());
  }
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "propagation");
}

void Propagation::Stop() {
  {
    const std::lock_guard lock(guard_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::string Propagation::TroubleOf(const storage::Connection& row) const {
  const std::lock_guard lock(guard_);
  const auto job = jobs_.find(KeyOf(row.Names()));
  return job == jobs_.end() ? std::string() : std::string(job->second.trouble);
}

std::size_t Propagation::WaitingCount() const {
  const std::lock_guard lock(guard_);
  return jobs_.size();
}

// --- what is to be done ----------------------------------------------------------------------

void Propagation::TouchPair(const crypto::RowNames& names) {
  {
    const std::lock_guard lock(guard_);
    touched_.emplace(names.project, names.component);
  }
  wake_.notify_all();
}

// False: too many wait already.
bool Propagation::Schedule(const crypto::RowNames& names) {
  {
    const std::lock_guard lock(guard_);
    if (jobs_.size() >= kMaxWaitingConnections) {
      touched_.emplace(names.project, names.component);
      return false;
    }
    jobs_.try_emplace(KeyOf(names), Job{names, AccountOf(names), Steady::now()});
  }
  wake_.notify_all();
  return true;
}

void Propagation::Drop(const std::string& key) {
  const std::lock_guard lock(guard_);
  jobs_.erase(key);
}

Propagation::Steady::duration Propagation::PauseAfter(unsigned failures) const {
  const Steady::duration pause = settings_.first_pause;
  return std::min<Steady::duration>(pause * (1LL << std::min(failures, kMostDoublings)),
                                    settings_.longest_pause);
}

void Propagation::PutOff(const std::string& key, std::string_view trouble) {
  const std::lock_guard lock(guard_);
  const auto job = jobs_.find(key);
  if (job == jobs_.end()) return;
  job->second.due = Steady::now() + PauseAfter(job->second.failures++);
  job->second.trouble = trouble;
}

void Propagation::PauseAccount(const std::string& key, const std::string& account,
                               std::string_view trouble, std::chrono::seconds at_least) {
  const std::lock_guard lock(guard_);
  Pause& pause = pauses_[account];
  pause.until =
      Steady::now() + std::max<Steady::duration>(PauseAfter(pause.failures++), at_least);
  if (const auto job = jobs_.find(key); job != jobs_.end()) job->second.trouble = trouble;
}

void Propagation::ResumeAccount(const std::string& account) {
  {
    const std::lock_guard lock(guard_);
    pauses_.erase(account);
  }
  wake_.notify_all();
}

Propagation::Steady::time_point Propagation::DueOf(const Job& job) const {
  const auto pause = pauses_.find(job.account);
  return pause == pauses_.end() ? job.due : std::max(job.due, pause->second.until);
}

void Propagation::Run() {
  std::unique_lock lock(guard_);
  while (!stopping_) {
    if (!touched_.empty() && jobs_.size() < kMaxWaitingConnections) {
      const Pair pair = *touched_.begin();
      touched_.erase(touched_.begin());
      lock.unlock();
      Scan(pair);
      lock.lock();
      continue;
    }
    const auto next = std::ranges::min_element(
        jobs_, {}, [this](const auto& entry) { return DueOf(entry.second); });
    if (next == jobs_.end()) {
      wake_.wait(lock);
      continue;
    }
    if (const Steady::time_point due = DueOf(next->second); due > Steady::now()) {
      wake_.wait_until(lock, due);
      continue;
    }
    const std::string key = next->first;
    const crypto::RowNames names = next->second.names;
    lock.unlock();
    Step(key, names);
    lock.lock();
  }
}

void Propagation::Scan(const Pair& pair) {
  const auto scan = [this](const std::string& project, const std::string& component) {
    auto scanned = ScanProject(project, component);
    if (scanned) return;
    // A damaged row is for fsck to tell of; what lies behind it on its page waits for its next
    // change.
    spdlog::error("connections cannot be read, so they are not kept in step project={} code={}",
                  project, NameOf(scanned.error().GetCode()));
  };
  if (!pair.first.empty()) return scan(pair.first, pair.second);
  auto read = store_.ForEach<storage::Project>(
      "", "", [&](const auto& project) { scan(project.row.id.Str(), ""); });
  if (!read) {
    spdlog::error("projects cannot be read, so connections are not kept in step code={}",
                  NameOf(read.error().GetCode()));
  }
}

Result<void> Propagation::ScanProject(const std::string& project, const std::string& component) {
  return store_.ForEach<storage::Connection>(project, component, [&](const auto& connection) {
    const storage::Connection& row = connection.row;
    auto credentials = store_.Find<storage::Credentials>(
        storage::Credentials::Names(row.project, row.component, row.oauth_id));
    if (!credentials) return storage::Walk::kOn;  // damaged: nothing of it can be sent
    const Standing standing = StandingOf(row, *credentials);
    if (!IsToBeWritten(standing)) return storage::Walk::kOn;
    return Schedule(row.Names()) ? storage::Walk::kOn : storage::Walk::kEnds;
  });
}

// --- one connection --------------------------------------------------------------------------

void Propagation::Step(const std::string& key, const crypto::RowNames& names) {
  auto found = store_.Find<storage::Connection>(names);
  if (!found) return Passes(found.error()) ? PutOff(key, found.error().GetText()) : Drop(key);
  if (!*found) return Drop(key);
  const storage::Stored<storage::Connection>& row = **found;
  auto credentials = store_.Find<storage::Credentials>(
      storage::Credentials::Names(row.row.project, row.row.component, row.row.oauth_id));
  if (!credentials) {
    return Passes(credentials.error()) ? PutOff(key, credentials.error().GetText()) : Drop(key);
  }
  const Standing standing = StandingOf(row.row, *credentials);
  if (!IsToBeWritten(standing)) return Drop(key);
  const std::uint64_t version = (*credentials)->version;

  // Rows of earlier releases do not say who answers for them: an update by hand does.
  auto who = read_principal_(row.row.principal);
  const access::Caller vault{who ? *who : access::Principal::LocalAdmin(), std::string(kPeer),
                             row.row.connection_id};
  auto permit = [&]() -> Result<access::Permit> {
    if (!who) return Fail(std::move(who));
    return access::Decide(*who, access::Right::kConnect,
                          access::Scope::Pair(row.row.project, row.row.component),
                          *grants_.InForce());
  }();
  if (!permit) {
    if (IsForAGrant(standing)) return Drop(key);
    return Refuse(key, row, version, kNotPermitted, vault);
  }
  auto account = OpenAccountFor(store_, row.row.account, row.row.project);
  if (!account) {
    if (Passes(account.error())) return PutOff(key, account.error().GetText());
    return Refuse(key, row, version, kNoAccount, vault);
  }
  if (account->refused_at_s != 0) {
    static constexpr Text kWaits =
        "the account's API token was refused; set it anew, or check the account";
    return PauseAccount(key, row.row.account.Str(), kWaits.View(),
                        std::chrono::ceil<std::chrono::seconds>(settings_.longest_pause));
  }
  auto written = connections_.Write(
      std::move(*permit),
      {.name = {row.row.account, row.row.connection_id}, .new_name = {}},
      "connection.propagate", vault, clock_());
  if (!written) return Judge(key, row, version, written.error(), vault);
  ResumeAccount(row.row.account.Str());
  Drop(key);
}

void Propagation::Refuse(const std::string& key, const storage::Stored<storage::Connection>& row,
                         std::uint64_t version, std::string_view why,
                         const access::Caller& caller) {
  auto refused = connections_.Refuse(row, version, why, caller);
  if (!refused) return PutOff(key, refused.error().GetText());
  Drop(key);
}

// Whether it may be sent again is asked of the failure, and of nothing that Rivery wrote.
void Propagation::Judge(const std::string& key, const storage::Stored<storage::Connection>& row,
                        std::uint64_t version, const Failure& failure,
                        const access::Caller& caller) {
  const Error& error = failure.error;
  const bool answered = failure.http_status != 0;
  spdlog::warn("a connection was not brought in step connection={} http={} body={} code={}: {}",
               row.row.connection_id, failure.http_status, failure.body_code,
               NameOf(error.GetCode()), error.GetText());
  switch (error.GetCode()) {
    case Code::kStale: return Refuse(key, row, version, kCredentialsOlder, caller);
    case Code::kCorrupt: return Refuse(key, row, version, kCredentialsUnreadable, caller);
    case Code::kInvalid:
      return Refuse(key, row, version, answered ? kRefusedByRivery : kNotSendable, caller);
    case Code::kNotFound:
      if (answered) return Refuse(key, row, version, kDeletedInRivery, caller);
      return PutOff(key, error.GetText());  // the next look says what is gone
    case Code::kUnauthenticated:
    case Code::kUnavailable:
    case Code::kExhausted:
      return PauseAccount(key, row.row.account.Str(), error.GetText(), failure.retry_after);
    case Code::kDenied:
    case Code::kConflict:
    case Code::kSealed: return PutOff(key, error.GetText());
  }
  __builtin_unreachable();
}

}  // namespace oauthvault::rivery
