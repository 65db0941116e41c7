#include "daemon/rivery/accounts.h"

#include <algorithm>
#include <array>
#include <utility>

namespace oauthvault::rivery {
namespace {

Result<void> CheckToken(const crypto::ApiToken& token) {
  const bool printable = token.Bytes().Expose([](std::span<const std::uint8_t> bytes) {
    return std::ranges::all_of(bytes, [](std::uint8_t c) { return c > 0x20 && c < 0x7f; });
  });
  if (token.Empty() || token.Bytes().Size() > kMaxApiTokenSize || !printable) {
    return Fail(Code::kInvalid, "an API token is one line of 1 to 4,096 printable characters");
  }
  return {};
}

Result<void> CheckProjects(const storage::Store& store, const std::vector<std::string>& projects) {
  if (projects == std::vector<std::string>{"*"}) return {};
  for (const std::string& text : projects) {
    auto id = ProjectId::Parse(text);
    if (!id) return Fail(std::move(id));
    auto found = store.Find<storage::Project>(storage::Project::Names(*id));
    if (!found) return Fail(std::move(found));
    if (!*found) return Fail(Code::kNotFound, "register the project before the account", *id);
  }
  return {};
}

// Writes the mark where the row still stands as it was used, and has another one.
Result<void> Mark(storage::Store& store, const AccountId& id, std::uint64_t version,
                  storage::Act act, std::int64_t refused_at_s) {
  auto standing = store.Find<storage::Account>(storage::Account::Names(id));
  if (!standing) return Fail(std::move(standing));
  if (!*standing || (*standing)->version != version ||
      ((*standing)->row.refused_at_s != 0) == (refused_at_s != 0)) {
    return {};
  }
  auto secrets = store.OpenSecrets(**standing);
  if (!secrets) return Fail(std::move(secrets));
  storage::Account account = (*standing)->row;
  account.refused_at_s = refused_at_s;
  act.object = id.Str();
  act.version = version + 1;
  storage::Batch batch(std::move(act));
  batch.Replace(account, version, std::move(*secrets));
  auto committed = store.Commit(std::move(batch));
  // Somebody set it anew just now: the mark is not about what stands.
  if (!committed && committed.error().GetCode() != Code::kConflict) {
    return Fail(std::move(committed));
  }
  return {};
}

// A change that meets the daemon's own mark looks again, so often at most.
constexpr int kMaxSetTries = 8;

// Whether all that became of an account is that a mark was set or taken off.
Result<bool> IsOnlyMarked(const storage::Store& store, const storage::Stored<storage::Account>& was,
                          const storage::Stored<storage::Account>& is) {
  storage::Account as_marked = was.row;
  as_marked.refused_at_s = is.row.refused_at_s;
  if (as_marked != is.row) return false;
  auto old_token = store.OpenSecret(was, crypto::Part::kData);
  if (!old_token) return Fail(std::move(old_token));
  auto token = store.OpenSecret(is, crypto::Part::kData);
  if (!token) return Fail(std::move(token));
  return old_token->Equals(*token);
}

// One try to change what stands, or to add an account where none does.
Result<void> SetOver(storage::Store& store,
                     const std::optional<storage::Stored<storage::Account>>& standing,
                     const AccountId& id, const AccountFields& fields, const Reach& reach,
                     storage::Act act, std::int64_t now_s) {
  if (!standing && (!fields.base_url || !fields.token || !fields.projects)) {
    return Fail(Code::kInvalid, "a new account needs a base URL, an API token and projects", id);
  }
  storage::Account account = standing ? standing->row : storage::Account{.id = id};
  if (fields.base_url) {
    auto url = NormalizeBaseUrl(*fields.base_url, reach);
    if (!url) return Fail(std::move(url));
    if (standing && *url != account.base_url && !fields.token) {
      return Fail(Code::kStale, "a new base URL needs the API token again", id);
    }
    account.base_url = std::move(*url);
  }
  if (fields.projects) {
    if (auto ok = CheckProjects(store, *fields.projects); !ok) return ok;
    account.projects = *fields.projects;
  }
  storage::Secrets secrets;
  if (fields.token) {
    if (auto ok = CheckToken(*fields.token); !ok) return ok;
    secrets.data = fields.token->Bytes().Clone();
    account.refused_at_s = 0;
  } else {
    auto kept = store.OpenSecrets(*standing);
    if (!kept) return Fail(std::move(kept));
    secrets = std::move(*kept);
  }
  account.updated_at_s = now_s;
  account.updated_by = act.principal;

  act.object = id.Str();
  act.version = standing ? standing->version + 1 : 1;
  storage::Batch batch(std::move(act));
  if (standing) {
    batch.Replace(account, standing->version, std::move(secrets));
  } else {
    batch.Insert(account, std::move(secrets));
  }
  auto committed = store.Commit(std::move(batch));
  if (!committed) return Fail(std::move(committed));
  return {};
}

// A type that every catalogue has, for a list that only has to be allowed.
constexpr std::string_view kAnyType = "gspreadsheet";
// Twelve zero bytes: their first four are the time of making, so no connection has this id.
constexpr std::string_view kNobodysId = "000000000000000000000000";

constexpr std::array<Region, 2> kRegions = {{
    {"us", "https://console.rivery.io/api"},
    {"eu", "https://eu-west-1.console.rivery.io/api"},
}};
constexpr std::size_t kMaxRegionSize = 32;

// `eu-west-1`: words of letters with hyphens between them, and a number.
bool IsRegionName(std::string_view name) {
  if (name.size() > kMaxRegionSize || std::ranges::count(name, '-') < 2) return false;
  const std::string_view number = name.substr(name.rfind('-') + 1);
  const std::string_view words = name.substr(0, name.rfind('-'));
  return number.size() == 1 && number[0] >= '1' && number[0] <= '9' && words.front() != '-' &&
         words.back() != '-' && !words.contains("--") &&
         std::ranges::all_of(words, [](char c) { return c == '-' || (c >= 'a' && c <= 'z'); });
}

}  // namespace

std::span<const Region> Regions() { return kRegions; }

Result<std::string> BaseUrlOf(std::string_view region) {
  const auto known = std::ranges::find(kRegions, region, &Region::name);
  if (known != kRegions.end()) return std::string(known->base_url);
  if (!IsRegionName(region)) {
    return Fail(Code::kInvalid,
                "a region is us, eu, or a name such as eu-west-1; name a base URL instead");
  }
  return "https://" + std::string(region) + ".console.rivery.io/api";
}

AccountReport CheckAccount(const Client& client, const OpenAccount& account, Turn& turn) {
  const Endpoint endpoint = account.AsEndpoint(turn);
  AccountReport report;
  const auto ask = [&](std::string_view what, auto reply) {
    report.probes.push_back({what});
    if (!reply) report.probes.back().wrong = std::move(reply.error().error);
    return reply.has_value();
  };
  auto holder = client.Me(endpoint);
  if (holder) report.holder = *holder;
  if (!ask("token", std::move(holder))) return report;
  ask("connection:list", client.List(endpoint, kAnyType));
  ask("connection:edit", client.ProbeEdit(endpoint));
  auto deleted = client.Delete(endpoint, kNobodysId);
  // That there is none is said to who may delete.
  if (!deleted && deleted.error().error.GetCode() == Code::kNotFound) deleted = Reply<void>();
  ask("connection:delete", std::move(deleted));
  return report;
}

Result<storage::Stored<storage::Account>> SetAccount(storage::Store& store, const AccountId& id,
                                                     const AccountFields& fields,
                                                     const Reach& reach, const storage::Act& act,
                                                     std::int64_t now_s) {
  auto standing = store.Find<storage::Account>(storage::Account::Names(id));
  if (!standing) return Fail(std::move(standing));
  for (int tries = 1;; ++tries) {
    auto set = SetOver(store, *standing, id, fields, reach, act, now_s);
    if (set) return store.Get<storage::Account>(storage::Account::Names(id));
    if (set.error().GetCode() != Code::kConflict || !*standing || tries == kMaxSetTries) {
      return Fail(std::move(set));
    }
    auto changed = store.Find<storage::Account>(storage::Account::Names(id));
    if (!changed) return Fail(std::move(changed));
    if (!*changed) return Fail(std::move(set));
    auto only_marked = IsOnlyMarked(store, **standing, **changed);
    if (!only_marked) return Fail(std::move(only_marked));
    if (!*only_marked) return Fail(std::move(set));
    standing = std::move(changed);
  }
}

Result<OpenAccount> OpenAccountFor(const storage::Store& store, const AccountId& id,
                                   const std::optional<ProjectId>& project) {
  auto account = store.Get<storage::Account>(storage::Account::Names(id));
  if (!account) return Fail(std::move(account));
  if (project) {
    const auto& allowed = account->row.projects;
    if (std::ranges::find(allowed, "*") == allowed.end() &&
        std::ranges::find(allowed, project->Str()) == allowed.end()) {
      return Fail(Code::kDenied, "the project may not use this account", id);
    }
  }
  auto token = store.OpenSecret(*account, crypto::Part::kData);
  if (!token) return Fail(std::move(token));
  return OpenAccount{account->row.base_url, crypto::ApiToken(std::move(*token)),
                     account->version, account->row.refused_at_s};
}

Result<void> MarkRefused(storage::Store& store, const AccountId& id, std::uint64_t version,
                         storage::Act act, std::int64_t now_s) {
  act.code = NameOf(Code::kUnauthenticated);
  return Mark(store, id, version, std::move(act), now_s);
}

Result<void> MarkGood(storage::Store& store, const AccountId& id, std::uint64_t version,
                      storage::Act act) {
  return Mark(store, id, version, std::move(act), 0);
}

}  // namespace oauthvault::rivery
