#include "tests/faults/vault_image.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "crypto/keyring.h"
#include "crypto/slots.h"
#include "daemon/audit/trail.h"
#include "daemon/upkeep/anchor.h"
#include "storage/check.h"
#include "storage/lmdb/lmdb_engine.h"
#include "storage/tables/ledger.h"
#include "storage/tables/store.h"

namespace oauthvault::faults {
namespace {

constexpr char kProject[] = "acme";
constexpr char kComponent[] = "ex-drive";

// What may stand under one id: a value, or nothing.
using Standing = std::optional<std::string>;

struct Promised {
  std::map<std::string, std::set<Standing>> values;
  std::set<std::string> projects;
  std::map<std::pair<std::string, std::string>, std::uint64_t> lines;  // act and id, how many
  bool initialised = false;
};

Promised PromisedAt(const std::vector<ClientCall>& calls, std::uint64_t moment_ns) {
  Promised promised;
  for (const ClientCall& call : calls) {
    if (call.began_ns > moment_ns) continue;
    const bool answered = call.answered_ns != 0 && call.answered_ns <= moment_ns;
    if (call.kind == "init") promised.initialised |= answered;
    if (call.kind == "project" && answered) promised.projects.insert(call.id);
    if (call.kind == "reveal" && answered) ++promised.lines[{"Credentials.Reveal", call.id}];
    if (call.kind != "store" && call.kind != "delete") continue;
    std::set<Standing>& may = promised.values.try_emplace(call.id, std::set<Standing>{Standing()})
                                  .first->second;
    if (answered) {
      may.clear();
      ++promised.lines[{call.kind == "store" ? "Credentials.Store" : "Credentials.Delete",
                        call.id}];
    }
    may.insert(call.kind == "store" ? Standing(ValueOf(call.id, call.number, call.size_bytes))
                                    : Standing());
  }
  return promised;
}

std::string TextBehind(const std::string& line, const std::string& mark) {
  const std::size_t at = line.find(mark);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + mark.size();
  return line.substr(begin, line.find('"', begin) - begin);
}

std::string Shown(const Standing& standing) {
  return standing ? standing->substr(0, standing->find(':', standing->find(':') + 1)) : "nothing";
}

template <class T>
std::string Broken(const char* what, const Result<T>& failed) {
  return std::string("DAMAGED: ") + what + ": " + failed.error().Message();
}

std::optional<std::string> TrailViolation(const std::filesystem::path& folder,
                                          const crypto::SecretBytes& key,
                                          const Promised& promised) {
  auto trail = audit::Trail::Open(folder, key, [] { return std::int64_t{1}; });
  if (!trail) return Broken("the trail does not open", trail);
  auto verdict = (*trail)->Verify();
  if (!verdict) return Broken("the trail cannot be verified", verdict);
  std::map<std::pair<std::string, std::string>, std::uint64_t> counted;
  std::ifstream file(folder / "audit.jsonl");
  for (std::string line; std::getline(file, line);) {
    if (line.find(R"("outcome":"allowed")") == std::string::npos) continue;
    ++counted[{TextBehind(line, R"("act":")"), TextBehind(line, R"("oauth_id":")")}];
  }
  for (const auto& [key_of, count] : promised.lines) {
    if (counted[key_of] < count) {
      return "LOST: " + std::to_string(count) + " " + key_of.first + " of " + key_of.second +
             " were acknowledged, " + std::to_string(counted[key_of]) + " stand in the trail";
    }
  }
  if (!verdict->problems.empty()) {
    return "DAMAGED: the trail goes on with a broken line: " + verdict->problems.front().what;
  }
  return std::nullopt;
}

std::optional<std::string> StoreViolation(const storage::Store& store,
                                          const crypto::Keyring& keyring,
                                          const Promised& promised) {
  for (const std::string& id : promised.projects) {
    auto found = store.Find<storage::Project>(storage::Project::Names(*ProjectId::Parse(id)));
    if (!found) return Broken("a project does not open", found);
    if (!*found) return "LOST: the acknowledged project " + id + " is not there";
    if (!keyring.HasKek(crypto::Owner::Project(id))) {
      return "LOST: the key of the acknowledged project " + id + " is not there";
    }
  }
  const auto project = *ProjectId::Parse(kProject);
  const auto component = *ComponentId::Parse(kComponent);
  for (const auto& [id, may] : promised.values) {
    auto found = store.Find<storage::Credentials>(
        storage::Credentials::Names(project, component, *OauthId::Parse(id)));
    if (!found) return Broken("credentials do not open", found);
    Standing standing;
    if (*found) {
      auto data = store.OpenSecret(**found, crypto::Part::kData);
      if (!data) return Broken("a value does not open", data);
      data->Expose([&](std::span<const std::uint8_t> bytes) {
        standing = std::string(bytes.begin(), bytes.end());
      });
    }
    if (may.contains(standing)) continue;
    return "LOST: under " + id + " stands " + Shown(standing) + ", not " + Shown(*may.rbegin());
  }
  return std::nullopt;
}

}  // namespace

std::vector<ClientCall> ReadCalls(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<ClientCall> calls;
  ClientCall call;
  while (file >> call.began_ns >> call.answered_ns >> call.kind >> call.id >> call.number >>
         call.size_bytes) {
    calls.push_back(call);
  }
  std::ranges::stable_sort(calls, {}, &ClientCall::began_ns);
  return calls;
}

std::string ValueOf(const std::string& id, std::uint64_t number, std::size_t size_bytes) {
  const std::string unit = id + ":" + std::to_string(number) + ":";
  std::string value;
  while (value.size() < size_bytes) value += unit;
  value.resize(size_bytes);
  return value;
}

std::optional<std::string> Violation(const std::filesystem::path& folder,
                                     const std::vector<ClientCall>& calls,
                                     std::uint64_t moment_ns, std::uint64_t map_size_bytes) {
  const Promised promised = PromisedAt(calls, moment_ns);
  if (!promised.initialised) return std::nullopt;  // `init` had not answered: nothing is promised
  if (auto ready = crypto::Prepare(); !ready) return Broken("libsodium does not start", ready);
  auto secret = crypto::ReadKeyFile(folder / "key");
  if (!secret) return Broken("the key file does not open", secret);
  auto keyring = crypto::Keyring::Unlock(folder / "state" / "keys", *secret);
  if (!keyring) return Broken("the keys do not open", keyring);
  storage::LmdbSettings settings;
  settings.folder = folder / "state" / "store";
  settings.map_size_bytes = map_size_bytes;
  settings.preallocate = false;
  const storage::CheckReport checked = storage::CheckStore(settings.folder, **keyring);
  if (checked.verdict != storage::Verdict::kWhole) {
    return "DAMAGED: the store does not verify: " +
           std::string(checked.problems.empty() ? "nothing said" : checked.problems.front().what);
  }
  if (auto wrong = TrailViolation(folder / "audit", (*keyring)->AuditKey(), promised)) return wrong;
  // As the daemon starts: the trail's torn end is cut, a missing line is written.
  auto trail = audit::Trail::Open(folder / "audit", (*keyring)->AuditKey(), [] { return 0; });
  if (!trail) return Broken("the trail does not open", trail);
  storage::Ledger ledger(**keyring, audit::RecorderOf(**trail));
  auto engine = storage::OpenLmdbStore(settings, (*keyring)->Id(), ledger);
  if (!engine) return Broken("the store does not open", engine);
  const storage::Store store(**engine, **keyring);
  if (auto reconciled = upkeep::Reconcile(store, **keyring, **trail); !reconciled) {
    return Broken("store and trail do not belong together", reconciled);
  }
  return StoreViolation(store, **keyring, promised);
}

}  // namespace oauthvault::faults
